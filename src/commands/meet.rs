//! `classroom meet`: takes part in a meeting.

use std::future::Future;

use super::breakouts::Whereabouts;
use super::conference::{Conference, ConferenceEvent, ConferenceOptions};
use crate::cli::Meet;
use crate::exit::Failure;
use crate::id::named;
use crate::protocol::{ClientKind, ClientMessage, RoomKind, ServerMessage};
use crate::report::{EndReason, Reporter};

/// Takes part until `stop`, the end of the meeting, or until the window is closed.
pub(super) async fn run(
    meet: Meet,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
) -> Result<EndReason, Failure> {
    let options = ConferenceOptions {
        member: &meet.member,
        kind: RoomKind::Meeting,
        client: ClientKind::Meet,
        sources: meet.sources.clone(),
        sink: &meet.sink,
        latency: meet.latency,
    };
    let mut conference = Conference::start(options, reporter).await?;
    let ended = take_part(&mut conference, reporter, stop).await;
    conference.finish().await;
    ended
}

async fn take_part(
    conference: &mut Conference<'_>,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
) -> Result<EndReason, Failure> {
    let mut stop = std::pin::pin!(stop);
    let mut here = Whereabouts::default();
    loop {
        let event = tokio::select! {
            reason = &mut stop => return Ok(reason),
            event = conference.next() => event?,
        };
        match event {
            // Also after a reconnection: the server may have restarted.
            ConferenceEvent::Joined => {
                let sends = conference.sends();
                conference.send(ClientMessage::Participate { sends });
            }
            ConferenceEvent::Over(reason) => return Ok(reason),
            ConferenceEvent::Message(ServerMessage::Error { code, message, .. }) => {
                if !conference.list().takes_part() {
                    let why = anyhow::anyhow!("can't enter the meeting at {}: {message}", conference.server());
                    return Err(Failure::refused(why));
                }
                reporter.warn(format!("the server reports an error ({code:?}): {message}"));
            }
            ConferenceEvent::Message(ServerMessage::Breakouts(breakouts)) => {
                here.told(&breakouts).into_iter().for_each(|sentence| reporter.notice(sentence));
            }
            ConferenceEvent::Message(ServerMessage::Announcement { user_id, nickname, text }) => {
                let who = named(&user_id, nickname.as_str());
                reporter.notice(format!("{who} says to all breakout rooms: {text}"));
            }
            ConferenceEvent::Message(_)
            | ConferenceEvent::Listed
            | ConferenceEvent::Connected
            | ConferenceEvent::Reconnecting => {}
        }
    }
}
