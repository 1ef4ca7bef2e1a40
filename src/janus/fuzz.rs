//! For [`crate::fuzz`]: reads a message of Janus as a session and a subscriber do, without a socket.

use tokio::time::Instant;

use super::feeds::Feeds;
use super::transactions::{Received, Reply, Transactions, Unasked};
use super::video_room::{self, Feed, RoomEvent};
use super::wire::Message;

/// What a message leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The texts that people may see.
    pub(crate) texts: Vec<String>,
    /// The publishers that are remembered.
    pub(crate) feeds: usize,
    /// The streams of the publisher that is watched.
    pub(crate) tracks: usize,
}

/// Reads a message, to which a request `t1` waits for a reply. None if it is no message of Janus.
pub(crate) fn read(text: &str) -> Option<Read> {
    let message = Message::parse(text).ok()?;
    let mut open = Transactions::new();
    open.begin(Instant::now(), (), false).ok()?;
    let data = match open.received(message) {
        Received::Reply((), Ok(Reply::Plugin(data, _))) | Received::Unasked(Unasked::Plugin(_, data, _)) => data,
        Received::Unasked(Unasked::Hangup(_, reason)) => {
            return Some(Read { texts: vec![reason.to_string()], ..Read::default() });
        }
        _ => return Some(Read::default()),
    };
    Some(match video_room::parse(data) {
        Ok(RoomEvent::Joined { feeds, .. } | RoomEvent::Feeds(feeds)) => of_feeds(feeds),
        Ok(RoomEvent::Gone(id)) => Read { texts: vec![id.to_string()], ..Read::default() },
        Ok(_) => Read::default(),
        Err(error) => Read { texts: vec![error.reason.to_string()], ..Read::default() },
    })
}

fn of_feeds(list: Vec<Feed>) -> Read {
    let mut read = Read { feeds: list.len(), ..Read::default() };
    read.texts.extend(list.iter().flat_map(|feed| [feed.id.to_string(), feed.display.to_string()]));
    read.texts.extend(list.iter().filter_map(Feeds::undecodable).flatten());
    let mut feeds = Feeds::new(None);
    feeds.joined(list.clone());
    feeds.came(list);
    read.tracks = feeds.current().map_or(0, |(_, streams)| streams.tracks.len());
    feeds.failed();
    read
}
