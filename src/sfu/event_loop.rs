//! The loop of an SFU thread, which is the same for the router and for every worker.
//!
//! A round handles media, then datagrams, then commands, then newcomers, then timers. Each step has a limit and each
//! round has all steps, so no step starves another: a flood of datagrams, commands or newcomers can't starve the
//! lecture, and the lecture can't starve a newcomer.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::suspension;

/// The interval of timers. The core wants to be woken every 50 ms while it connects, and every 200 ms afterwards.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// The time limit of a round for sending media, and for reading datagrams. Sending a key frame of 100 kB to 1,000
/// students takes 150 ms; audio and feedback can't wait that long.
const SLICE: Duration = Duration::from_millis(4);

/// The time by which timers may run early. The runtime's clock has a resolution of one millisecond.
const EARLY: Duration = Duration::from_millis(1);

/// The time limit of a round for commands, most of which take microseconds.
const COMMAND_SLICE: Duration = Duration::from_millis(2);

/// The time limit of a round for peers that have not connected.
const NEWCOMER_SLICE: Duration = Duration::from_millis(4);

/// Whether the loop continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    End,
}

/// The work of one thread. A step that reaches its limit continues in the next round.
pub(super) trait Work {
    /// Notices a suspension of this process, before anything that waited in the meantime is judged.
    fn notice_suspension(&mut self);

    /// Receives frames and sends them, for about this long.
    fn media(&mut self, slice: Duration);

    /// Reads datagrams, and handles those of connected peers, for about this long.
    fn datagrams(&mut self, slice: Duration) -> Next;

    /// Carries out commands, for about this long.
    fn commands(&mut self, slice: Duration) -> Next;

    /// Serves peers that have not connected, for about this long: their datagrams, their timers, and their offers.
    fn newcomers(&mut self, slice: Duration);

    /// Runs the timers of the thread and of connected peers, which are due every [`TICK`].
    fn timers(&mut self);

    /// Whether another round would have work to do now.
    fn has_work(&self) -> bool;

    /// Waits until there is work to do. Cancel-safe.
    async fn wait(&mut self);

    /// A wait has ended: there was no work up to now.
    fn waited(&mut self) {}
}

/// Runs rounds until the work ends.
pub(super) async fn run(work: &mut impl Work) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut timers_ran = Instant::now();
    while round(work, &mut timers_ran) == Next::GoOn {
        if work.has_work() {
            // This lets the runtime poll the socket and the clock.
            tokio::task::yield_now().await;
        } else {
            tokio::select! {
                () = work.wait() => {}
                _ = tick.tick() => {}
            }
            work.waited();
        }
    }
}

fn round(work: &mut impl Work, timers_ran: &mut Instant) -> Next {
    if timers_ran.elapsed() >= suspension::SHORTEST {
        work.notice_suspension();
    }
    work.media(SLICE);
    if work.datagrams(SLICE) == Next::End || work.commands(COMMAND_SLICE) == Next::End {
        return Next::End;
    }
    work.newcomers(NEWCOMER_SLICE);
    // The tick that ends a wait is up to a millisecond late, so the next one must not count as too early.
    if timers_ran.elapsed() + EARLY >= TICK {
        *timers_ran = Instant::now();
        work.timers();
    }
    Next::GoOn
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The amount of work of each kind that was done.
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
    struct Counts {
        frames: usize,
        datagrams: usize,
        commands: usize,
        newcomers: usize,
        timers: usize,
    }

    /// Work of which each kind exceeds what a round can do.
    struct Flooded {
        rounds: usize,
        done: Counts,
        suspensions: usize,
        /// The work done after each round.
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

        fn commands(&mut self, slice: Duration) -> Next {
            assert_eq!(slice, COMMAND_SLICE);
            self.done.commands += 1;
            self.log.push(self.done);
            // Simulates a round that takes this long.
            std::thread::sleep(TICK);
            if self.log.len() == self.rounds { Next::End } else { Next::GoOn }
        }

        fn newcomers(&mut self, slice: Duration) {
            assert_eq!(slice, NEWCOMER_SLICE);
            self.done.newcomers += 1;
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
    fn a_round_after_a_suspension_notices_it_first() {
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
            let all = Counts { frames: round, datagrams: round, commands: round, newcomers: n, timers: n };
            assert_eq!(*done, all, "each round does some of everything");
        }
    }
}
