//! The fraction of packets lost on one path, and whether that is trouble.

/// Packets are counted by send time in spans of this length, in microseconds: at least ten packets of audio.
const SPAN: u64 = 200_000;

/// The number of spans that count: one second.
const SPANS: usize = 5;

/// Retransmissions and the codecs cope with this loss; more is trouble.
const BEARABLE: f32 = 0.12;

/// The confidence that the loss is above [`BEARABLE`], in standard deviations: independent losses of 10 % exceed this
/// less than once a day.
const SURENESS: f32 = 4.0;

/// A single event, such as interference or a short outage, is not trouble: this many spans of the last second must have
/// lost half of [`BEARABLE`].
const LOSSY_SPANS: usize = 4;

/// The fewest packets that give a result.
const LEAST: u32 = 20;

#[derive(Debug, Default, Clone, Copy)]
struct Span {
    number: u64,
    sent: u32,
    lost: u32,
}

impl Span {
    /// Whether nothing arrived: an outage, which says nothing about the loss at other times.
    fn is_outage(&self) -> bool {
        self.lost == self.sent
    }
}

/// The packets of the last second: how many were sent, and how many of them were lost.
#[derive(Debug, Default)]
pub(super) struct Loss {
    spans: [Span; SPANS],
    newest: u64,
}

impl Loss {
    /// A packet was received or lost.
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

    /// The fraction lost in the last second with known results, 0 to 1; 0 if too few packets were sent.
    pub(super) fn share(&self) -> f32 {
        let (sent, lost) = self.counts();
        if sent < LEAST { 0.0 } else { lost as f32 / sent as f32 }
    }

    /// Whether more than [`BEARABLE`] is lost, and not only for a moment.
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

    /// Whether this loss is ever trouble, at `per_second` packets per second.
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
    fn ten_percent_loss_is_not_trouble_and_twenty_is() {
        for per_second in [50, 110, 270, 1000] {
            assert!(!trouble(per_second, 600, 0.05));
            assert!(!trouble(per_second, 600, 0.10), "{per_second}");
            assert!(trouble(per_second, 3, 0.35), "{per_second}");
        }
        assert!(trouble(270, 2, 0.20));
        assert!(trouble(270, 1, 0.80));
    }

    #[test]
    fn an_outage_is_not_loss() {
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
    fn too_few_packets_report_no_loss() {
        let mut loss = Loss::default();
        for n in 0..10 {
            loss.record(n * 100_000, n % 2 == 0);
        }
        assert!(loss.share() == 0.0 && !loss.is_trouble());
    }
}
