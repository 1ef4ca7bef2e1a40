//! How much is lost on the way to one student, and whether that is trouble.

/// Packets are counted by the time of sending, in spans of this length, in microseconds: long enough for some ten
/// packets of sound.
const SPAN: u64 = 200_000;

/// How many spans are looked at: a second.
const SPANS: usize = 5;

/// This share of lost packets repairs and the codec's own means cope with; more is trouble.
const BEARABLE: f32 = 0.12;

/// How sure one must be that the bearable share is exceeded, in standard deviations: 10 % of independent losses come
/// here less than once in a day.
const SURENESS: f32 = 4.0;

/// A single event, an interference or a short outage, is no trouble: so many spans of the last second must have losses
/// of half of the bearable share.
const LOSSY_SPANS: usize = 4;

/// The fewest packets that tell anything.
const LEAST: u32 = 20;

#[derive(Debug, Default, Clone, Copy)]
struct Span {
    number: u64,
    sent: u32,
    lost: u32,
}

impl Span {
    /// Where nothing came, there was no way for a while. That is silence, and tells nothing of the share that is lost
    /// where there is a way.
    fn is_outage(&self) -> bool {
        self.lost == self.sent
    }
}

/// The packets of the last second, by what became of them.
#[derive(Debug, Default)]
pub(super) struct Loss {
    spans: [Span; SPANS],
    newest: u64,
}

impl Loss {
    /// A packet's fate is decided.
    pub(super) fn record(&mut self, sent: u64, lost: bool) {
        let number = sent / SPAN;
        let span = &mut self.spans[number as usize % SPANS];
        if span.number < number {
            *span = Span { number, ..Span::default() };
        }
        if span.number == number {
            span.sent += 1;
            span.lost += u32::from(lost);
            self.newest = self.newest.max(number);
        }
    }

    /// The share that was lost in the last second of which anything is known, 0 to 1; 0 where it was too little to tell.
    pub(super) fn share(&self) -> f32 {
        let (sent, lost) = self.counts();
        if sent < LEAST { 0.0 } else { lost as f32 / sent as f32 }
    }

    /// Whether more is lost than can be borne, for longer than a moment.
    pub(super) fn is_trouble(&self) -> bool {
        let (sent, lost) = self.counts();
        let deviation = (sent as f32 * BEARABLE * (1.0 - BEARABLE)).sqrt();
        let lossy = self.recent().filter(|span| span.lost as f32 >= span.sent as f32 * BEARABLE / 2.0).count();
        sent >= LEAST && lossy >= LOSSY_SPANS && lost as f32 > sent as f32 * BEARABLE + SURENESS * deviation
    }

    fn recent(&self) -> impl Iterator<Item = &Span> {
        let newest = self.newest;
        self.spans.iter().filter(move |span| span.number + SPANS as u64 > newest && !span.is_outage())
    }

    fn counts(&self) -> (u32, u32) {
        self.recent().fold((0, 0), |(sent, lost), span| (sent + span.sent, lost + span.lost))
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Whether packets, so many a second with this share lost, were trouble ever.
    fn trouble(per_second: u64, seconds: u64, share: f64) -> bool {
        let (mut loss, mut rng) = (Loss::default(), StdRng::seed_from_u64(7));
        let mut trouble = false;
        for n in 0..per_second * seconds {
            loss.record(n * 1_000_000 / per_second, rng.random_bool(share));
            trouble |= loss.is_trouble();
        }
        trouble
    }

    #[test]
    fn ten_percent_are_no_trouble_and_twenty_five_are() {
        for per_second in [50, 110, 270, 1000] {
            assert!(!trouble(per_second, 600, 0.05));
            assert!(!trouble(per_second, 600, 0.10), "{per_second}");
            assert!(trouble(per_second, 3, 0.35), "{per_second}");
        }
        assert!(trouble(270, 2, 0.20));
        assert!(trouble(270, 1, 0.80));
    }

    #[test]
    fn an_outage_is_no_trouble_of_loss() {
        for begin in (0..200).step_by(10) {
            let mut loss = Loss::default();
            for millis in (0..3_000).step_by(4) {
                loss.record(millis * 1_000, (1_000 + begin..1_500 + begin).contains(&millis));
                assert!(!loss.is_trouble(), "{begin} {millis}");
            }
            assert_eq!(loss.share(), 0.0);
        }
    }

    #[test]
    fn few_packets_tell_nothing() {
        let mut loss = Loss::default();
        for n in 0..10 {
            loss.record(n * 100_000, n % 2 == 0);
        }
        assert!(loss.share() == 0.0 && !loss.is_trouble());
    }
}
