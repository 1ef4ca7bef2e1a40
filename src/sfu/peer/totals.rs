//! What a student has had, as its row in a list tells; and the sum over students, who are here or gone.

use super::{Peer, PeerStats};
use crate::rtp::{Tier, Track};

/// What a student gets of the picture: of the screen, or of the camera where it has no screen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum SentPicture {
    /// The full tier; or the student asked for sound alone.
    #[default]
    Full,
    /// The low tier.
    Low,
    /// Nothing, because its path carries no picture.
    Withheld,
}

/// Counts of all students, those included that are gone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct PeerTotals {
    /// Packets that students said they missed, and asked for again.
    pub nacked: u64,
    /// Packets that were sent again.
    pub resent: u64,
    /// Packets that students reported lost.
    pub lost: u64,
    /// Times that a student said it can't decode.
    pub picture_losses: u64,
    /// Chat and the like that was left out because a student did not read.
    pub unread: u64,
    /// Times that a student was given other tiers than before.
    pub changes: u64,
}

impl PeerTotals {
    /// Adds what one student has had.
    pub(in crate::sfu) fn add(&mut self, stats: &PeerStats) {
        let PeerStats { nacked, resent, lost, picture_losses, unread, changes, .. } = *stats;
        *self = self.plus(Self { nacked, resent, lost, picture_losses, unread, changes });
    }

    /// The sum of both.
    pub(in crate::sfu) fn plus(self, other: Self) -> Self {
        Self {
            nacked: self.nacked + other.nacked,
            resent: self.resent + other.resent,
            lost: self.lost + other.lost,
            picture_losses: self.picture_losses + other.picture_losses,
            unread: self.unread + other.unread,
            changes: self.changes + other.changes,
        }
    }
}

impl Peer {
    /// The student's numbers of now.
    pub(in crate::sfu) fn numbers(&self) -> PeerStats {
        let (packets, bytes) = self.lanes.sent();
        PeerStats { packets, bytes, lost: self.lanes.reported_lost(), picture: self.picture(), ..self.stats }
    }

    fn picture(&self) -> SentPicture {
        let has = |track| self.lanes.tracks().any(|(known, _)| known == track);
        let Some(main) = [Track::Screen, Track::Camera].into_iter().find(|track| has(*track)) else {
            return SentPicture::Full;
        };
        match self.lanes.watched().find(|encoding| encoding.track == main).map(|encoding| encoding.tier) {
            Some(Tier::Full) => SentPicture::Full,
            Some(Tier::Low) => SentPicture::Low,
            None => SentPicture::Withheld,
        }
    }
}
