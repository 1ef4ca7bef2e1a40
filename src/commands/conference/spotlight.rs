//! The participant that is large for everybody, as this window shows it: only once its picture has arrived. Pure.

use crate::id::UserId;

/// The spotlight of the meeting.
#[derive(Debug)]
pub(super) struct Spotlight {
    /// This member, which this window does not show.
    me: UserId,
    /// The participant of the last list.
    wanted: Option<UserId>,
    /// The participant that is large in this window.
    shown: Option<UserId>,
}

/// A change of the spotlight for the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SpotlightChange {
    /// This one is large for everybody.
    Large(UserId),
    /// This one is not large any more.
    Ended(UserId),
}

impl Spotlight {
    pub(super) fn new(me: UserId) -> Self {
        Self { me, wanted: None, shown: None }
    }

    /// The list of the server names this one. Returns the changes, and whether nobody is large in this window any more.
    pub(super) fn listed(&mut self, spotlight: Option<UserId>) -> (Vec<SpotlightChange>, bool) {
        if self.wanted == spotlight {
            return (Vec::new(), false);
        }
        let before = std::mem::replace(&mut self.wanted, spotlight.clone());
        let ended = before.map(SpotlightChange::Ended).filter(|_| spotlight.is_none());
        // Until the picture of the next one is there, nothing changes.
        let is_over = self.other().is_none() && self.shown.take().is_some();
        (spotlight.map(SpotlightChange::Large).into_iter().chain(ended).collect(), is_over)
    }

    /// A participant whose picture is gone is not large in this window.
    pub(super) fn gone(&mut self, user: &UserId) {
        self.shown.take_if(|shown| shown == user);
    }

    /// Whether the picture of the large participant is still to come.
    pub(super) fn is_awaited(&self) -> bool {
        self.other().is_some_and(|other| self.shown.as_ref() != Some(other))
    }

    /// The participant to show large now. `has_picture` tells whether a frame of it has been decoded.
    pub(super) fn look(&mut self, has_picture: impl Fn(&UserId) -> bool) -> Option<&UserId> {
        if let Some(wanted) = self.other().filter(|wanted| has_picture(wanted)).cloned() {
            self.shown = Some(wanted);
        }
        self.shown.as_ref()
    }

    /// The participant that is large for everybody, by the last list.
    pub(super) fn wanted(&self) -> Option<&UserId> {
        self.wanted.as_ref()
    }

    fn other(&self) -> Option<&UserId> {
        self.wanted.as_ref().filter(|wanted| **wanted != self.me)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_participant_is_large_with_its_first_frame_and_the_one_before_until_then() {
        let [anna, ben, me]: [UserId; 3] = ["1001", "1002", "1003"].map(|user| user.parse().unwrap());
        let mut spotlight = Spotlight::new(me.clone());
        let (changes, is_over) = spotlight.listed(Some(anna.clone()));
        assert_eq!((changes, is_over), (vec![SpotlightChange::Large(anna.clone())], false));
        assert_eq!(spotlight.look(|_| false), None, "nothing has arrived");
        assert!(spotlight.is_awaited());
        assert_eq!(spotlight.look(|user| *user == anna), Some(&anna));
        assert!(!spotlight.is_awaited());
        spotlight.listed(Some(ben.clone()));
        assert_eq!(spotlight.look(|user| *user == anna), Some(&anna), "the next one has no picture yet");
        assert_eq!(spotlight.look(|_| true), Some(&ben));
        assert_eq!(spotlight.listed(Some(me.clone())), (vec![SpotlightChange::Large(me.clone())], true));
        assert_eq!(spotlight.look(|_| true), None, "nobody sees itself here");
        assert!(!spotlight.is_awaited());
        assert_eq!(spotlight.listed(None), (vec![SpotlightChange::Ended(me)], false));
    }
}
