//! The participants of a conference as this member sees them: who comes and goes, and which pairs have a connection.
//! Pure.

use std::collections::BTreeMap;

use crate::commands::people;
use crate::id::UserId;
use crate::protocol::{MediaHost, Participant, Participants};

/// One side of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct PairSide {
    /// The other one.
    pub(super) other: Participant,
    /// Whether this side makes the first offer: its entry is the higher one.
    pub(super) offers: bool,
    /// Whether this side gives way when both offer: its user id is the smaller one, as text.
    pub(super) is_polite: bool,
}

/// A change of the participants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum Change {
    /// Another one has entered, or has returned.
    Entered(Participant),
    /// Another one sends other tracks than before.
    Sends(Participant),
    /// Another one asks the owner to be large for everybody.
    Asks(UserId),
    /// Another one has left.
    Left(Participant),
    /// The pair gets a new connection, in place of one that it has.
    Open(PairSide),
    /// The connection to this one ends.
    Close(UserId),
}

/// The participants.
#[derive(Debug)]
pub(in crate::commands) struct ParticipantList {
    me: UserId,
    /// The own entry; `None` while this member takes no part.
    entry: Option<u32>,
    others: BTreeMap<UserId, Participant>,
    media: MediaHost,
}

impl ParticipantList {
    pub(super) fn new(me: UserId) -> Self {
        Self { me, entry: None, others: BTreeMap::new(), media: MediaHost::Publisher }
    }

    /// The host of the media.
    pub(super) fn media(&self) -> MediaHost {
        self.media
    }

    /// Whether this member takes part.
    pub(in crate::commands) fn takes_part(&self) -> bool {
        self.entry.is_some()
    }

    /// Whether this member takes part, and nobody else does.
    pub(in crate::commands) fn is_alone(&self) -> bool {
        self.takes_part() && self.others.is_empty()
    }

    /// Whether nobody takes part.
    pub(in crate::commands) fn is_over(&self) -> bool {
        !self.takes_part() && self.others.is_empty()
    }

    /// The other participants.
    pub(in crate::commands) fn others(&self) -> impl Iterator<Item = &Participant> {
        self.others.values()
    }

    /// The other participant with this id, or the only one with this nickname. The error is a sentence.
    pub(super) fn find(&self, text: &str) -> Result<Participant, String> {
        let known: Vec<(&UserId, &str)> =
            self.others.values().map(|other| (&other.user_id, other.nickname.as_str())).collect();
        let user = people::find(known, text)?;
        self.others.get(&user).cloned().ok_or_else(|| people::nobody(text))
    }

    /// The entry of another one, by which messages to it are addressed.
    pub(super) fn entry_of(&self, other: &UserId) -> Option<u32> {
        self.others.get(other).map(|participant| participant.entry)
    }

    /// A list of the server. Returns the changes, ends first.
    pub(super) fn listed(&mut self, list: Participants) -> Vec<Change> {
        let mine = list.participants.iter().find(|participant| participant.user_id == self.me);
        let entry = mine.map(|participant| participant.entry);
        let has_entered_again = self.entry != entry;
        let returns = std::mem::replace(&mut self.media, list.media) != list.media;
        // On the server there are no new pairs; those of before end by themselves once nobody needs them.
        let has_pairs = list.media == MediaHost::Publisher;
        self.entry = entry;
        let mut others = BTreeMap::new();
        for participant in list.participants {
            // Without an entry of its own, a member only watches who comes and goes.
            if participant.user_id != self.me {
                others.insert(participant.user_id.clone(), participant);
            }
        }
        let before = std::mem::replace(&mut self.others, others);
        let (mut ends, mut begins) = (Vec::new(), Vec::new());
        for (user, known) in &before {
            if !self.others.contains_key(user) {
                ends.extend([Change::Close(user.clone()), Change::Left(known.clone())]);
            } else if has_entered_again && (entry.is_none() || !has_pairs) {
                ends.push(Change::Close(user.clone()));
            }
        }
        for (user, participant) in &self.others {
            let known = before.get(user);
            let is_same = known.is_some_and(|known| known.entry == participant.entry);
            match known {
                Some(known) if is_same && known.sends != participant.sends => {
                    begins.push(Change::Sends(participant.clone()));
                }
                Some(_) if is_same => {}
                _ => begins.push(Change::Entered(participant.clone())),
            }
            if participant.asks_for_spotlight && !(is_same && known.is_some_and(|known| known.asks_for_spotlight)) {
                begins.push(Change::Asks(user.clone()));
            }
            if let Some(entry) = entry
                && has_pairs
                && (!is_same || has_entered_again || returns)
            {
                let (offers, is_polite) = (entry > participant.entry, self.me.as_str() < user.as_str());
                begins.push(Change::Open(PairSide { other: participant.clone(), offers, is_polite }));
            }
        }
        ends.append(&mut begins);
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TrackName;

    fn participant(user: u32, entry: u32, sends: &[TrackName]) -> Participant {
        let user_id = user.to_string().parse().unwrap();
        Participant::new(user_id, "".into(), entry, sends.to_vec())
    }

    fn changes(list: &mut ParticipantList, participants: &[Participant]) -> Vec<String> {
        let listed = list.listed(Participants { participants: participants.to_vec(), ..Participants::default() });
        let word = |change: &Change| match change {
            Change::Entered(who) => format!("{} entered", who.user_id),
            Change::Sends(who) => format!("{} sends {}", who.user_id, who.sends.len()),
            Change::Asks(user) => format!("{user} asks"),
            Change::Left(who) => format!("{} left", who.user_id),
            Change::Open(side) => {
                let word = if side.offers { "offer to" } else { "wait for" };
                format!("{word} {}{}", side.other.user_id, if side.is_polite { " politely" } else { "" })
            }
            Change::Close(user) => format!("close {user}"),
        };
        listed.iter().map(word).collect()
    }

    #[test]
    fn each_pair_of_entries_has_one_connection_and_the_newcomer_offers() {
        let mut list = ParticipantList::new("1002".parse().unwrap());
        let [anna, ben] = [participant(1001, 1, &[]), participant(1002, 2, &[])];
        assert_eq!(changes(&mut list, std::slice::from_ref(&anna)), ["1001 entered"], "not there yet");
        assert!(!list.takes_part());
        assert_eq!(changes(&mut list, &[anna.clone(), ben.clone()]), ["offer to 1001"]);
        assert_eq!(changes(&mut list, &[anna.clone(), ben.clone()]), Vec::<String>::new(), "the same list");
        let cleo = participant(1003, 3, &[TrackName::Audio]);
        let all = [anna.clone(), ben.clone(), cleo.clone()];
        assert_eq!(changes(&mut list, &all), ["1003 entered", "wait for 1003 politely"]);
        let silent = participant(1003, 3, &[]);
        assert_eq!(changes(&mut list, &[anna.clone(), ben.clone(), silent]), ["1003 sends 0"]);
        assert_eq!(list.entry_of(&"1003".parse().unwrap()), Some(3));
        let asks = Participant { asks_for_spotlight: true, ..participant(1003, 3, &[]) };
        assert_eq!(changes(&mut list, &[anna.clone(), ben.clone(), asks.clone()]), ["1003 asks"]);
        assert_eq!(changes(&mut list, &[anna.clone(), ben.clone(), asks]), Vec::<String>::new(), "once");
        // Anna has loaded her page again, and Cleo has left.
        let again = participant(1001, 4, &[]);
        let expected = ["close 1003", "1003 left", "1001 entered", "wait for 1001"];
        assert_eq!(changes(&mut list, &[ben.clone(), again.clone()]), expected);
        // This member has entered again itself.
        assert_eq!(changes(&mut list, &[again.clone(), participant(1002, 5, &[])]), ["offer to 1001"]);
        assert_eq!(changes(&mut list, &[again]), ["close 1001"], "this member takes no part any more");
        assert_eq!(changes(&mut list, &[]), ["close 1001", "1001 left"]);
    }

    #[test]
    fn on_the_server_there_are_no_new_pairs_and_all_again_after_its_failure() {
        let mut list = ParticipantList::new("1002".parse().unwrap());
        let [anna, ben, cleo] = [(1001, 1), (1002, 2), (1003, 3)].map(|(user, entry)| participant(user, entry, &[]));
        assert_eq!(changes(&mut list, &[anna.clone(), ben.clone()]), ["1001 entered", "offer to 1001"]);
        let all = vec![anna, ben, cleo];
        let on_server = Participants { participants: all.clone(), media: MediaHost::Server, ..Participants::default() };
        let entered = list.listed(on_server);
        assert!(matches!(&entered[..], [Change::Entered(who)] if who.entry == 3), "{entered:?}");
        assert_eq!(changes(&mut list, &all), ["offer to 1001", "wait for 1003 politely"]);
    }
}
