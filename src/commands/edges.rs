//! The edges of a lecture, at the holder of its media: their data channels carry the messages of many students, which
//! the holder handles as if the students were connected to its own SFU.

use std::collections::{BTreeSet, HashMap};

use crate::id::UserId;
use crate::protocol::edge::{FromEdge, ToEdge};
use crate::rtp::Encoding;
use crate::sfu::{Departure, Sfu, SfuEvent};

/// The most students at all edges of a lecture.
const MAX_STUDENTS: usize = 10_000;

/// The edges of a lecture, and their students.
#[derive(Debug, Default)]
pub(super) struct Edges {
    ids: BTreeSet<UserId>,
    /// The edge of each student.
    students: HashMap<UserId, UserId>,
    /// The encodings that the edges know.
    told: Vec<Encoding>,
}

/// The meaning of an event of the SFU.
#[derive(Debug)]
pub(super) enum Meaning {
    /// The event is about a student of this SFU, or about the answer to anybody.
    Own(SfuEvent),
    /// These are events of students at edges, in the form of the SFU's own ones.
    AtEdges(Vec<SfuEvent>),
}

impl Edges {
    /// The server says which users are edges.
    pub(super) fn set(&mut self, edges: Vec<UserId>) {
        // The connection of an edge that is gone may still carry something.
        let busy: BTreeSet<UserId> = self.students.values().cloned().collect();
        self.ids = edges.into_iter().chain(busy).collect();
    }

    /// Whether a user is an edge.
    pub(super) fn contains(&self, user: &UserId) -> bool {
        self.ids.contains(user)
    }

    /// The edge that serves a student.
    pub(super) fn of(&self, student: &UserId) -> Option<&UserId> {
        self.students.get(student)
    }

    /// Reads an event of the SFU, whose lecture has these encodings.
    pub(super) fn on_event(&mut self, event: SfuEvent, sfu: &Sfu, encodings: impl Fn() -> Vec<Encoding>) -> Meaning {
        let user = match &event {
            SfuEvent::Connected(user) | SfuEvent::ChannelOpen(user) => user,
            SfuEvent::Heard { user, .. } | SfuEvent::Gone { user, .. } => user,
            _ => return Meaning::Own(event),
        };
        if !self.contains(user) {
            return match &event {
                // The student has come here from an edge.
                SfuEvent::Connected(user) => {
                    self.forget(user, sfu);
                    Meaning::Own(event)
                }
                // It has gone from here to an edge.
                SfuEvent::Gone { user, .. } if self.students.contains_key(user) => Meaning::AtEdges(Vec::new()),
                _ => Meaning::Own(event),
            };
        }
        Meaning::AtEdges(match event {
            SfuEvent::ChannelOpen(edge) => {
                self.told = encodings();
                sfu.tell(edge, &encodings_text(&self.told));
                Vec::new()
            }
            SfuEvent::Heard { user: edge, text } => self.heard(&edge, &text, sfu).into_iter().collect(),
            SfuEvent::Gone { user: edge, .. } => {
                let gone = self.students.extract_if(|_, of| *of == edge).map(|(student, _)| student);
                gone.map(|user| SfuEvent::Gone { user, why: Departure::Lost }).collect()
            }
            _ => Vec::new(),
        })
    }

    /// A student is at no edge any more.
    fn forget(&mut self, student: &UserId, sfu: &Sfu) {
        if let Some(edge) = self.students.remove(student) {
            self.count(&edge, sfu);
        }
    }

    /// Tells the SFU how many students an edge has.
    fn count(&self, edge: &UserId, sfu: &Sfu) {
        sfu.serves(edge.clone(), self.students.values().filter(|of| *of == edge).count());
    }

    fn heard(&mut self, edge: &UserId, text: &str, sfu: &Sfu) -> Option<SfuEvent> {
        let is_at = |student: &UserId| self.students.get(student) == Some(edge);
        match FromEdge::parse(text)? {
            FromEdge::Connected(user) => {
                if self.contains(&user) || self.students.len() >= MAX_STUDENTS {
                    return None;
                }
                self.forget(&user, sfu);
                self.students.insert(user.clone(), edge.clone());
                self.count(edge, sfu);
                // An earlier connection to this SFU serves nobody.
                sfu.remove(user.clone());
                Some(SfuEvent::Connected(user))
            }
            FromEdge::Opened(user) => is_at(&user).then_some(SfuEvent::ChannelOpen(user)),
            FromEdge::Heard(user, text) => is_at(&user).then_some(SfuEvent::Heard { user, text }),
            FromEdge::Gone { user, has_left } => {
                let why = if has_left { Departure::Left } else { Departure::Lost };
                is_at(&user).then(|| {
                    self.forget(&user, sfu);
                    SfuEvent::Gone { user, why }
                })
            }
            FromEdge::Receive(tiers) => {
                sfu.limit(edge.clone(), tiers.into());
                None
            }
        }
    }

    /// Tells the edges the encodings of the lecture if they have changed.
    pub(super) fn tell_encodings(&mut self, encodings: Vec<Encoding>, sfu: &Sfu) {
        if !self.ids.is_empty() && self.told != encodings {
            let text = encodings_text(&encodings);
            self.ids.iter().for_each(|edge| sfu.tell(edge.clone(), &text));
            self.told = encodings;
        }
    }

    /// Sends a message to one student, wherever it is connected.
    pub(super) fn tell(&self, user: UserId, text: String, sfu: &Sfu) {
        match self.of(&user) {
            Some(edge) => sfu.tell(edge.clone(), &ToEdge::To(user, text).to_text()),
            None => sfu.tell(user, &text),
        }
    }
}

fn encodings_text(encodings: &[Encoding]) -> String {
    // Names always have a JSON form.
    ToEdge::Encodings(serde_json::to_string(encodings).unwrap_or_default()).to_text()
}
