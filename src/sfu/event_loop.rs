//! The order in which a thread of the SFU does its work: the same for the router and for every worker.
//!
//! A round is media, then datagrams, then commands, then timers. Each step has a limit and each round has all four, so
//! no step starves another: neither a flood of datagrams or commands the lecture, nor the lecture a newcomer.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::suspension;

/// How often timers are looked at. The core wants to be woken every 50 ms while it connects, then every 200 ms.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// How long a round sends media, and how long it reads datagrams. A key frame of 100 kB for 1,000 students takes 150
/// ms, audio and feedback can't wait that long.
const SLICE: Duration = Duration::from_millis(4);

/// How much before their time timers may run. The runtime's clock has a resolution of a millisecond.
const EARLY: Duration = Duration::from_millis(1);

/// Commands of a round: an offer costs half a millisecond.
const COMMANDS: usize = 8;

/// How the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    End,
}

/// The work of one thread. What a step leaves undone waits for the next round.
pub(super) trait Work {
    /// Notices that this process was suspended, before anything that waited meanwhile is judged.
    fn notice_suspension(&mut self);

    /// Takes frames and sends them, for about this long.
    fn media(&mut self, slice: Duration);

    /// Reads datagrams, for about this long.
    fn datagrams(&mut self, slice: Duration) -> Next;

    /// Carries out this many commands at the most.
    fn commands(&mut self, most: usize) -> Next;

    /// Does what is due every [`TICK`].
    fn timers(&mut self);

    /// Whether another round would find something to do now.
    fn has_work(&self) -> bool;

    /// Waits until there is something to do. Cancel-safe.
    async fn wait(&mut self);
}

/// Does rounds until the work ends.
pub(super) async fn run(work: &mut impl Work) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut timers_ran = Instant::now();
    while round(work, &mut timers_ran) == Next::GoOn {
        if work.has_work() {
            // The runtime looks at socket and clock.
            tokio::task::yield_now().await;
        } else {
            tokio::select! {
                () = work.wait() => {}
                _ = tick.tick() => {}
            }
        }
    }
}

fn round(work: &mut impl Work, timers_ran: &mut Instant) -> Next {
    if timers_ran.elapsed() >= suspension::SHORTEST {
        work.notice_suspension();
    }
    work.media(SLICE);
    if work.datagrams(SLICE) == Next::End || work.commands(COMMANDS) == Next::End {
        return Next::End;
    }
    // The tick that ends a wait comes up to a millisecond late, and the next one must not be too early for it.
    if timers_ran.elapsed() + EARLY >= TICK {
        *timers_ran = Instant::now();
        work.timers();
    }
    Next::GoOn
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What waits, and what was done of it.
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
    struct Counts {
        frames: usize,
        datagrams: usize,
        commands: usize,
        timers: usize,
    }

    /// Work that has far more of everything than a round can do.
    struct Flooded {
        rounds: usize,
        done: Counts,
        suspensions: usize,
        /// After each round.
        log: Vec<Counts>,
    }

    impl Work for Flooded {
        fn notice_suspension(&mut self) {
            self.suspensions += 1;
        }

        fn media(&mut self, slice: Duration) {
            assert_eq!(slice, SLICE);
            self.done.frames += 1;
        }

        fn datagrams(&mut self, slice: Duration) -> Next {
            assert_eq!(slice, SLICE);
            self.done.datagrams += 1;
            Next::GoOn
        }

        fn commands(&mut self, most: usize) -> Next {
            self.done.commands += most;
            self.log.push(self.done);
            // As if the round had taken that long.
            std::thread::sleep(TICK);
            if self.log.len() == self.rounds { Next::End } else { Next::GoOn }
        }

        fn timers(&mut self) {
            self.done.timers += 1;
        }

        fn has_work(&self) -> bool {
            true
        }

        async fn wait(&mut self) {
            unreachable!("there is work");
        }
    }

    #[test]
    fn a_round_after_a_suspension_begins_with_noticing_it() {
        let mut work = Flooded { rounds: 9, done: Counts::default(), suspensions: 0, log: Vec::new() };
        let mut timers_ran = Instant::now().checked_sub(suspension::SHORTEST).unwrap();
        round(&mut work, &mut timers_ran);
        assert_eq!((work.suspensions, work.done.timers), (1, 1));
        round(&mut work, &mut timers_ran);
        assert_eq!(work.suspensions, 1, "timers have run since");
    }

    #[tokio::test]
    async fn no_kind_of_work_starves_another() {
        let mut work = Flooded { rounds: 20, done: Counts::default(), suspensions: 0, log: Vec::new() };
        run(&mut work).await;
        for (n, done) in work.log.iter().enumerate() {
            let round = n + 1;
            let all = Counts { frames: round, datagrams: round, commands: round * COMMANDS, timers: n };
            assert_eq!(*done, all, "each round does some of everything");
        }
    }
}
