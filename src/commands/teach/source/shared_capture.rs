//! A capture whose encoders run for the class and for WHIP servers.

use crate::media::Capture;
use crate::rtp::{Encoding, PerEncoding};
use crate::sfu::SfuEvent;

/// A capture with the needs of both.
pub(in crate::commands::teach) struct SharedCapture {
    capture: Capture,
    needs: Needs,
}

/// The users of an encoding.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Need {
    class: bool,
    servers: bool,
}

#[derive(Debug, Default)]
struct Needs(PerEncoding<Need>);

/// An order for the encoder of an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Start,
    Stop,
    /// It runs, and those who need it now begin with a key frame.
    KeyFrame,
}

impl SharedCapture {
    /// A capture that has just started: it makes the best encoding of each track, for the class.
    pub(in crate::commands::teach) fn new(capture: Capture) -> Self {
        let needs = Needs::of_class(&capture.encodings());
        Self { capture, needs }
    }

    pub(in crate::commands::teach) fn capture(&self) -> &Capture {
        &self.capture
    }

    pub(in crate::commands::teach) fn into_capture(self) -> Capture {
        self.capture
    }

    /// Passes the SFU's requests to the encoders. Returns an event that is about something else.
    pub(super) fn on_sfu(&mut self, event: SfuEvent) -> Option<SfuEvent> {
        let SfuEvent::Needed(encoding, is_needed) = event else {
            return crate::endpoints::serve_encoders(&self.capture, event);
        };
        let change = self.needs.set(encoding, |need| need.class = is_needed);
        self.apply(encoding, change);
        None
    }

    /// WHIP servers get exactly these encodings.
    pub(in crate::commands::teach) fn need_for_servers(&mut self, encodings: &[Encoding]) {
        for encoding in Encoding::all() {
            let change = self.needs.set(encoding, |need| need.servers = encodings.contains(&encoding));
            // A server asks for key frames itself.
            self.apply(encoding, change.filter(|change| *change != Change::KeyFrame));
        }
    }

    fn apply(&self, encoding: Encoding, change: Option<Change>) {
        match change {
            Some(Change::Start) => self.capture.need(encoding, true),
            Some(Change::Stop) => self.capture.need(encoding, false),
            Some(Change::KeyFrame) => self.capture.request_key_frame(encoding),
            None => {}
        }
    }
}

impl Needs {
    /// The class needs the best encoding of each track, of which the first one is the best.
    fn of_class(encodings: &[Encoding]) -> Self {
        let mut needs = Self::default();
        let mut best = encodings.to_vec();
        best.dedup_by_key(|encoding| encoding.track);
        best.into_iter().for_each(|encoding| needs.0[encoding].class = true);
        needs
    }

    fn set(&mut self, encoding: Encoding, change: impl FnOnce(&mut Need)) -> Option<Change> {
        let need = &mut self.0[encoding];
        let before = *need;
        change(need);
        match (before.is_some(), need.is_some()) {
            (false, true) => Some(Change::Start),
            (true, false) => Some(Change::Stop),
            (true, true) if before != *need && (need.class && !before.class) => Some(Change::KeyFrame),
            _ => None,
        }
    }
}

impl Need {
    fn is_some(self) -> bool {
        self.class || self.servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{Codec, Tier, Track};

    #[test]
    fn an_encoder_runs_while_somebody_needs_it() {
        let full = Encoding::full(Track::Screen, Codec::H264);
        let low = full.with(Tier::Low);
        let mut needs = Needs::of_class(&[full, low]);
        let class = |needs: &mut Needs, encoding, is_needed| needs.set(encoding, |need| need.class = is_needed);
        let servers = |needs: &mut Needs, encoding, is_needed| needs.set(encoding, |need| need.servers = is_needed);
        assert_eq!(servers(&mut needs, full, true), None, "it runs for the class");
        assert_eq!(class(&mut needs, full, false), None, "it runs for a server");
        assert_eq!(class(&mut needs, full, true), Some(Change::KeyFrame));
        assert_eq!((class(&mut needs, full, false), servers(&mut needs, full, false)), (None, Some(Change::Stop)));
        assert_eq!((servers(&mut needs, low, true), servers(&mut needs, low, true)), (Some(Change::Start), None));
        assert_eq!(servers(&mut needs, low, false), Some(Change::Stop));
    }
}
