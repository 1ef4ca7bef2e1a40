//! The requests that wait for a reply, by transaction, and their deadlines. Pure: the time is an argument.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::video_room;
use super::wire::{HandleId, Jsep, Message, PluginData, Text};

/// The most requests that wait at the same time.
const MOST: usize = 64;

/// The reply to a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// To `create` and `attach`: the number of what is new.
    New(u64),
    /// To a message: the data of the plugin.
    Plugin(serde_json::Value, Option<Jsep>),
    /// To all others.
    Done,
}

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoReply {
    /// Janus refuses.
    Refused { code: i64, reason: Text },
    /// The reply makes no sense.
    Senseless(String),
}

/// An event that is no reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Unasked {
    Plugin(HandleId, serde_json::Value, Option<Jsep>),
    Candidate(HandleId, super::wire::Candidate),
    Up(HandleId),
    Hangup(HandleId, Text),
    Detached(HandleId),
    /// The session is gone.
    Over,
}

/// The kind of a message of Janus.
#[derive(Debug, PartialEq)]
pub(super) enum Received<W> {
    /// The reply that somebody waits for.
    Reply(W, Result<Reply, NoReply>),
    Unasked(Unasked),
    /// Nothing to do.
    Nothing,
}

struct Waiting<W> {
    who: W,
    until: Instant,
    ends_with_ack: bool,
}

/// The requests without a reply. `W` is who waits.
pub(super) struct Transactions<W> {
    next: u64,
    /// By the number in their transaction.
    waiting: BTreeMap<u64, Waiting<W>>,
}

impl<W> Transactions<W> {
    pub(super) fn new() -> Self {
        Self { next: 0, waiting: BTreeMap::new() }
    }

    /// A request leaves now, whose reply must come `until` then. Returns its transaction, or `who` if too many wait.
    pub(super) fn begin(&mut self, until: Instant, who: W, ends_with_ack: bool) -> Result<String, W> {
        if self.waiting.len() >= MOST {
            return Err(who);
        }
        self.next += 1;
        self.waiting.insert(self.next, Waiting { who, until, ends_with_ack });
        Ok(format!("t{}", self.next))
    }

    /// When the next request is late.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }

    /// Takes a request that is late.
    pub(super) fn late(&mut self, now: Instant) -> Option<W> {
        let number = *self.waiting.iter().find(|(_, waiting)| waiting.until <= now)?.0;
        self.waiting.remove(&number).map(|waiting| waiting.who)
    }

    /// Takes any request.
    pub(super) fn any(&mut self) -> Option<W> {
        self.waiting.pop_first().map(|(_, waiting)| waiting.who)
    }

    /// A message of Janus. A reply to a transaction that nobody waits for any more is nothing.
    pub(super) fn received(&mut self, message: Message) -> Received<W> {
        match message {
            Message::Success { transaction, data, plugindata, jsep } => {
                let reply = match (data, plugindata) {
                    (Some(new), _) => Ok(Reply::New(new.id)),
                    (None, Some(plugin)) => of_plugin(plugin, jsep),
                    (None, None) => Ok(Reply::Done),
                };
                self.reply(transaction, reply)
            }
            Message::Ack { transaction } => match self.find(transaction.as_deref()) {
                Some(number) if self.waiting.get(&number).is_some_and(|waiting| waiting.ends_with_ack) => {
                    self.reply(transaction, Ok(Reply::Done))
                }
                _ => Received::Nothing,
            },
            Message::Error { transaction, error } => {
                self.reply(transaction, Err(NoReply::Refused { code: error.code, reason: error.reason }))
            }
            Message::Event { transaction, sender, plugindata, jsep } => match self.find(transaction.as_deref()) {
                Some(_) => self.reply(transaction, of_plugin(plugindata, jsep)),
                None => match of_plugin(plugindata, jsep) {
                    Ok(Reply::Plugin(data, jsep)) => Received::Unasked(Unasked::Plugin(sender, data, jsep)),
                    _ => Received::Nothing,
                },
            },
            Message::WebrtcUp { sender } => Received::Unasked(Unasked::Up(sender)),
            Message::Hangup { sender, reason } => {
                Received::Unasked(Unasked::Hangup(sender, reason.unwrap_or_default()))
            }
            Message::Detached { sender } => Received::Unasked(Unasked::Detached(sender)),
            Message::Trickle { sender, candidate } => Received::Unasked(Unasked::Candidate(sender, candidate)),
            Message::Timeout {} => Received::Unasked(Unasked::Over),
            Message::Other => Received::Nothing,
        }
    }

    fn find(&self, transaction: Option<&str>) -> Option<u64> {
        let number = transaction?.strip_prefix('t')?.parse().ok()?;
        self.waiting.contains_key(&number).then_some(number)
    }

    fn reply(&mut self, transaction: Option<String>, reply: Result<Reply, NoReply>) -> Received<W> {
        let found = self.find(transaction.as_deref()).and_then(|number| self.waiting.remove(&number));
        found.map_or(Received::Nothing, |waiting| Received::Reply(waiting.who, reply))
    }
}

fn of_plugin(plugin: PluginData, jsep: Option<Jsep>) -> Result<Reply, NoReply> {
    if plugin.plugin == video_room::PLUGIN {
        Ok(Reply::Plugin(plugin.data, jsep))
    } else {
        Err(NoReply::Senseless(format!("answers for the plugin {}", Text::from(plugin.plugin))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn message(value: Value) -> Message {
        Message::parse(&value.to_string()).unwrap()
    }

    fn event(transaction: Option<&str>) -> Message {
        let plugindata = json!({"plugin": video_room::PLUGIN, "data": {"videoroom": "event"}});
        message(json!({"janus": "event", "sender": 9, "transaction": transaction, "plugindata": plugindata}))
    }

    #[test]
    fn a_reply_finds_its_request() {
        let until = Instant::now();
        let mut open = Transactions::new();
        let create = open.begin(until, "create", false).unwrap();
        let join = open.begin(until, "join", false).unwrap();
        let alive = open.begin(until, "alive", true).unwrap();
        assert_eq!(open.received(message(json!({"janus": "ack", "transaction": join}))), Received::Nothing);
        let reply = open.received(event(Some(&join)));
        assert_eq!(reply, Received::Reply("join", Ok(Reply::Plugin(json!({"videoroom": "event"}), None))));
        let reply = open.received(message(json!({"janus": "success", "transaction": create, "data": {"id": 7}})));
        assert_eq!(reply, Received::Reply("create", Ok(Reply::New(7))));
        let ack = json!({"janus": "ack", "transaction": alive});
        assert_eq!(open.received(message(ack.clone())), Received::Reply("alive", Ok(Reply::Done)));
        assert_eq!(open.received(message(ack)), Received::Nothing, "the second one");
        assert_eq!(open.due(), None);
    }

    #[test]
    fn an_event_without_an_open_transaction_is_unasked() {
        let mut open: Transactions<()> = Transactions::new();
        for transaction in [None, Some("t1"), Some("x"), Some("")] {
            assert!(matches!(open.received(event(transaction)), Received::Unasked(Unasked::Plugin(..))));
        }
        let other =
            json!({"janus": "event", "sender": 9, "plugindata": {"plugin": "janus.plugin.echotest", "data": {}}});
        assert_eq!(open.received(message(other)), Received::Nothing);
        let refused = json!({"janus": "error", "error": {"code": 458, "reason": "No such session"}});
        assert_eq!(open.received(message(refused)), Received::Nothing);
    }

    #[test]
    fn requests_are_late_and_few() {
        let now = Instant::now();
        let mut open = Transactions::new();
        let at = |n: usize| now + Duration::from_secs(if n == 0 { 1 } else { 10 });
        let transactions: Vec<String> = (0..MOST).map(|n| open.begin(at(n), n, false).unwrap()).collect();
        assert_eq!(open.begin(now, 99, false), Err(99));
        assert_eq!((open.due(), open.late(now)), (Some(at(0)), None));
        assert_eq!((open.late(at(0)), open.late(at(0)), open.due()), (Some(0), None, Some(at(1))));
        let refused = json!({"janus": "error", "transaction": transactions[1], "error": {"code": 460}});
        let no_reply = NoReply::Refused { code: 460, reason: Text::default() };
        assert_eq!(open.received(message(refused)), Received::Reply(1, Err(no_reply)));
        let late = json!({"janus": "success", "transaction": transactions[0]});
        assert_eq!(open.received(message(late)), Received::Nothing, "nobody waits any more");
    }
}
