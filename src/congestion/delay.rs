//! The queuing delay in front of the narrowest link, and the rate at which packets leave it.

/// How long the minimum delay is remembered (at most twice this), in microseconds: clock drift stays below a
/// millisecond in this time, and the delay of a longer path is accepted after it.
const FLOOR_FOR: u64 = 10_000_000;

/// The minimum length of a window, in microseconds of the peer's clock: some audio packets and at least two frames.
const WINDOW: i64 = 80_000;

/// After a gap of this length the measurement restarts, in microseconds: nothing was sent, or the peer's clock was set.
const GAP: i64 = 5_000_000;

/// How many windows are remembered.
const WINDOWS: usize = 8;

/// A delay above this is a queue and not jitter, in milliseconds.
const QUEUED: u32 = 50;

/// A queue grows by at least this part of the time if packets leave it far more slowly than they were sent.
const GROWN: i64 = 4;

/// A longer queue that grows is trouble, in milliseconds.
const LONG: u32 = 100;

/// A longer queue that does not shrink is trouble, in milliseconds.
const TOO_LONG: u32 = 250;

/// Queues that differ by less than this count as equal, in milliseconds.
const SAME: u32 = 20;

/// The packets reported by one feedback packet, or by several short ones.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    /// The minimum wait of a packet, in milliseconds. Packets of one frame queue behind each other, which is no
    /// trouble; a queue that never empties is.
    queue: u32,
    bytes: u32,
    micros: u32,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    began: i64,
    newest: i64,
    /// The minimum difference between the two clocks.
    least: i64,
    bytes: u32,
}

/// The packets that arrived one after another out of a queue, by the peer's clock.
#[derive(Debug, Clone, Copy)]
struct Backlog {
    first: i64,
    newest: i64,
    /// Without the first packet.
    bytes: u32,
    /// How long the first and the newest packet waited, in milliseconds.
    first_queue: u32,
    queue: u32,
}

/// One-way delay above its minimum, and the arrival rate, both from the peer's arrival times.
#[derive(Debug, Default)]
pub(super) struct QueuingDelay {
    /// The minimum difference between the two clocks in the current span and in the previous one, and the start of the
    /// current span.
    floor: Option<(i64, i64, u64)>,
    open: Option<Open>,
    /// Newest first.
    windows: [Window; WINDOWS],
    count: usize,
    backlog: Option<Backlog>,
}

impl QueuingDelay {
    /// A packet arrived: `sent` by our clock, `arrived` by the peer's, in microseconds.
    pub(super) fn add(&mut self, sent: u64, arrived: i64, bytes: u32) {
        let delay = arrived.saturating_sub(sent as i64);
        if self.open.is_some_and(|open| arrived < open.began.saturating_sub(GAP)) {
            *self = Self::default();
        }
        self.floor = Some(match self.floor {
            None => (delay, delay, sent),
            Some((current, _, since)) if sent > since + FLOOR_FOR => (delay, current, sent),
            Some((current, before, since)) => (current.min(delay), before, since),
        });
        self.backlog = self.floor().and_then(|floor| {
            let queue = (delay.saturating_sub(floor) / 1000).clamp(0, i64::from(u32::MAX)) as u32;
            let fresh = Backlog { first: arrived, newest: arrived, bytes: 0, first_queue: queue, queue };
            // A queue that has shrunk begins anew.
            let known = self.backlog.filter(|backlog| backlog.first_queue <= queue);
            let backlog = known.unwrap_or(fresh);
            let bytes = if known.is_some() { backlog.bytes.saturating_add(bytes) } else { 0 };
            let newest = backlog.newest.max(arrived);
            (queue > QUEUED).then_some(Backlog { newest, bytes, queue, ..backlog })
        });
        match &mut self.open {
            None => self.open = Some(Open { began: arrived, newest: arrived, least: delay, bytes: 0 }),
            Some(open) => {
                open.newest = open.newest.max(arrived);
                open.least = open.least.min(delay);
                open.bytes = open.bytes.saturating_add(bytes);
            }
        }
    }

    /// The whole feedback packet was read: closes the window if it is long enough.
    pub(super) fn end(&mut self) {
        let (Some(open), Some(floor)) = (self.open, self.floor()) else { return };
        let micros = open.newest.saturating_sub(open.began);
        if micros > GAP {
            self.open = None;
            self.count = 0;
        } else if micros >= WINDOW {
            let queue = (open.least.saturating_sub(floor) / 1000).clamp(0, i64::from(u32::MAX)) as u32;
            self.windows.rotate_right(1);
            self.windows[0] = Window { queue, bytes: open.bytes, micros: micros as u32 };
            self.count = (self.count + 1).min(WINDOWS);
            self.open = Some(Open { began: open.newest, newest: open.newest, least: i64::MAX, bytes: 0 });
        }
    }

    /// The minimum wait in the queue, in milliseconds.
    pub(super) fn queue(&self) -> u32 {
        self.windows().first().map_or(0, |window| window.queue)
    }

    /// Whether a queue grows or persists.
    pub(super) fn is_trouble(&self) -> bool {
        let [newest, before, ..] = self.windows() else { return false };
        let queue = newest.queue;
        let least = self.windows().iter().take(4).map(|window| window.queue).min().unwrap_or(queue);
        let most = self.windows().iter().take(5).map(|window| window.queue).max().unwrap_or(queue);
        let grows = queue >= before.queue && queue >= least + SAME;
        let shrinks = queue + SAME <= most;
        let stays = self.count == WINDOWS && self.windows.iter().all(|window| window.queue > LONG);
        let both_above = |limit| queue > limit && before.queue > limit;
        both_above(LONG) && grows || !shrinks && (both_above(TOO_LONG) || stays)
    }

    /// The arrival rate in bits per second, over the last windows.
    pub(super) fn rate(&self) -> Option<u32> {
        rate(self.windows())
    }

    /// The arrival rate in bits per second while a queue existed, which is the capacity. `None` without a queue.
    pub(super) fn rate_of_full_link(&self) -> Option<u32> {
        let queued = self.windows().iter().take_while(|window| window.queue > QUEUED).count();
        if queued < 2 { None } else { rate(&self.windows[..queued]) }
    }

    /// The rate at which packets have left a growing queue for at least so many microseconds without a break, in bits
    /// per second, and how long the newest one waited, in milliseconds. This is known long before
    /// [`is_trouble`](Self::is_trouble).
    pub(super) fn backlog(&self, micros: i64) -> Option<(u32, u32)> {
        let backlog = self.backlog?;
        let span = backlog.newest.saturating_sub(backlog.first);
        // On a path that has become longer, packets arrive as they were sent, which says nothing about the link.
        let grown = backlog.queue.saturating_sub(backlog.first_queue);
        if i64::from(grown) * 1_000 < span / GROWN {
            return None;
        }
        let rate = (u64::from(backlog.bytes) * 8_000_000).checked_div(u64::try_from(span).ok()?)?;
        (span >= micros).then_some((rate.min(u32::MAX.into()) as u32, backlog.queue))
    }

    /// Accepts the present delay as that of an empty path.
    pub(super) fn believe(&mut self) {
        if let Some((current, before, _)) = &mut self.floor {
            let micros = i64::from(self.windows[0].queue) * 1000;
            let floor = (*current).min(*before).saturating_add(micros);
            (*current, *before) = (floor, floor);
            self.count = 0;
            self.backlog = None;
        }
    }

    /// Drops the windows; the minimum delay is kept.
    pub(super) fn forget_windows(&mut self) {
        self.open = None;
        self.count = 0;
        self.backlog = None;
    }

    fn windows(&self) -> &[Window] {
        &self.windows[..self.count]
    }

    fn floor(&self) -> Option<i64> {
        self.floor.map(|(current, before, _)| current.min(before))
    }
}

fn rate(windows: &[Window]) -> Option<u32> {
    let micros: u64 = windows.iter().map(|window| u64::from(window.micros)).sum();
    let bytes: u64 = windows.iter().map(|window| u64::from(window.bytes)).sum();
    (bytes * 8_000_000).checked_div(micros).map(|bits| bits.min(u32::MAX.into()) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feedback every 100 ms on a packet every 10 ms that waits for `queue(time)`. All in milliseconds.
    fn fed(millis: u64, queue: impl Fn(u64) -> u64) -> (QueuingDelay, Option<u64>) {
        let (mut delay, mut trouble) = (QueuingDelay::default(), None);
        for at in (0..millis).step_by(10) {
            delay.add(at * 1000, ((at + queue(at)) * 1000) as i64 - 77_000_000, 1250);
            if at % 100 == 90 {
                delay.end();
                trouble = trouble.or(delay.is_trouble().then_some(at));
            }
        }
        (delay, trouble)
    }

    #[test]
    fn a_growing_queue_is_trouble_within_600_ms() {
        let (delay, trouble) = fed(3_000, |at| at.saturating_sub(1_000) / 2);
        assert!((1_300..1_600).contains(&trouble.unwrap()), "{trouble:?}");
        let full = delay.rate_of_full_link().unwrap();
        assert!((650_000..680_000).contains(&full), "a million comes in one and a half of the time: {full}");
        let (delay, trouble) = fed(3_000, |_| 40);
        assert_eq!((trouble, delay.queue(), delay.rate_of_full_link()), (None, 0, None));
        assert!((990_000..1_010_000).contains(&delay.rate().unwrap()));
    }

    #[test]
    fn a_standing_queue_is_trouble_and_a_shrinking_one_is_not() {
        let stays = |long| fed(9_000, move |at| if at < 2_000 { 20 } else { long }).1;
        assert!(stays(170).is_some_and(|at| at < 3_000));
        assert_eq!(stays(110), None);
        assert_eq!(fed(9_000, |at| if at < 2_000 { 20 } else { (4_300 - at.min(4_300)) / 10 }).1, None);
    }

    #[test]
    fn jitter_and_bursts_are_not_a_queue() {
        assert_eq!(fed(60_000, |at| at * 7919 % 31).1, None);
        assert_eq!(fed(60_000, |at| (at % 100) * 3).1, None);
    }

    #[test]
    fn a_growing_queue_tells_the_rate_of_the_link_before_it_is_trouble_and_a_longer_path_tells_nothing() {
        let (delay, trouble) = fed(1_200, |at| at.saturating_sub(1_000));
        let (rate, queue) = delay.backlog(80_000).unwrap();
        assert!((490_000..510_000).contains(&rate) && (185..=190).contains(&queue), "{rate} {queue}");
        assert_eq!((trouble, delay.backlog(1_000_000)), (None, None));
        assert_eq!(fed(2_000, |at| if at < 1_000 { 20 } else { 120 }).0.backlog(0), None);
        assert_eq!(fed(2_000, |at| at * 7919 % 31).0.backlog(0), None);
    }

    #[test]
    fn the_delay_of_a_longer_path_is_accepted_after_a_while() {
        let way = |at| if at < 5_000 { 20 } else { 420 };
        assert!(fed(6_000, way).1.is_some());
        assert_eq!(fed(30_000, way).0.queue(), 0);
        let mut delay = fed(6_000, way).0;
        assert_eq!(delay.queue(), 400);
        delay.believe();
        delay.add(6_000_000, 6_420_000 - 77_000_000, 1250);
        delay.add(6_100_000, 6_520_000 - 77_000_000, 1250);
        delay.end();
        assert_eq!(delay.queue(), 0);
    }

    #[test]
    fn a_clock_jump_resets_the_delay() {
        let mut delay = fed(2_000, |_| 20).0;
        for at in 0..20u64 {
            delay.add(2_000_000 + at * 10_000, at as i64 * 10_000 - 999_000_000, 1250);
        }
        delay.end();
        assert_eq!((delay.queue(), delay.is_trouble()), (0, false));
        assert!(delay.rate().is_some());
        delay.add(3_000_000, i64::MAX, 1250);
        delay.add(3_000_000, i64::MIN, 1250);
        delay.end();
        assert!(!delay.is_trouble());
    }
}
