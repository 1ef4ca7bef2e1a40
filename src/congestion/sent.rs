//! How much is sent to one student.

/// Bytes are counted in spans of this length, in microseconds.
const SPAN: u64 = 250_000;

/// How many whole spans are remembered: 2 s, in which a key frame is little.
const SPANS: usize = 8;

/// Bytes by the time of sending.
#[derive(Debug, Default)]
pub(super) struct SendRate {
    /// One more than the whole ones, for that which is being filled.
    bytes: [u32; SPANS + 1],
    newest: u64,
}

impl SendRate {
    /// So many bytes are sent.
    pub(super) fn add(&mut self, now: u64, bytes: usize) {
        self.go_on(now);
        let span = &mut self.bytes[self.newest as usize % (SPANS + 1)];
        *span = span.saturating_add(bytes.min(u16::MAX.into()) as u32);
    }

    /// Bits a second of the last 2 s, or of those that there were.
    pub(super) fn rate(&mut self, now: u64) -> u32 {
        self.rate_of(now, SPANS)
    }

    /// Bits a second of the last second.
    pub(super) fn rate_of_a_second(&mut self, now: u64) -> u32 {
        self.rate_of(now, SPANS / 2)
    }

    fn rate_of(&mut self, now: u64, spans: usize) -> u32 {
        self.go_on(now);
        let spans = spans.min(self.newest as usize);
        let bytes = (1..=spans as u64).filter_map(|back| self.newest.checked_sub(back));
        let bytes: u64 = bytes.map(|number| u64::from(self.bytes[number as usize % (SPANS + 1)])).sum();
        let bits = (bytes * 8_000_000).checked_div(spans as u64 * SPAN);
        bits.map_or(0, |bits| bits.min(u32::MAX.into()) as u32)
    }

    fn go_on(&mut self, now: u64) {
        let number = now / SPAN;
        for passed in (self.newest + 1..=number).take(SPANS + 1) {
            self.bytes[passed as usize % (SPANS + 1)] = 0;
        }
        if number > self.newest + SPANS as u64 {
            self.bytes = [0; SPANS + 1];
        }
        self.newest = self.newest.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut send_rate = SendRate::default();
        assert_eq!(send_rate.rate(0), 0);
        for at in (0..4_000_000).step_by(10_000) {
            send_rate.add(at, 1250);
            assert!(at < 300_000 || (950_000..=1_000_000).contains(&send_rate.rate(at)));
        }
        assert_eq!((send_rate.rate(4_000_000), send_rate.rate_of_a_second(4_000_000)), (1_000_000, 1_000_000));
        assert_eq!((send_rate.rate(5_000_000), send_rate.rate_of_a_second(5_000_000)), (500_000, 0));
        assert_eq!(send_rate.rate(60_000_000), 0);
        send_rate.add(61_000_000, 250_000);
        assert_eq!(send_rate.rate(61_250_000), 262_140, "no packet has more than 64 kB");
    }
}
