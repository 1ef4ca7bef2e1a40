//! `classroom meet`: takes part in a meeting.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::breakouts::Whereabouts;
use super::conference::{Conference, ConferenceEvent, ConferenceOptions};
use super::or_never;
use crate::cli::Meet;
use crate::exit::Failure;
use crate::expect;
use crate::id::named;
use crate::protocol::{ClientKind, ClientMessage, RoomKind, ServerMessage};
use crate::report::{EndReason, Reporter};

/// Takes part until `stop`, or until the user leaves or closes the window. Then checks the expectations.
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
        output: &meet.output,
    };
    let mut conference = Conference::start(options, reporter).await?;
    let ended = take_part(&mut conference, reporter, stop).await;
    let received = conference.finish().await;
    let reason = ended?;
    let unmet = expect::unmet(&meet.output.expect, |metric| received.value(metric));
    if unmet.is_empty() { Ok(reason) } else { Err(Failure::expectation_unmet(&unmet)) }
}

async fn take_part(
    conference: &mut Conference<'_>,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
) -> Result<EndReason, Failure> {
    let mut stop = std::pin::pin!(stop);
    // When to try again to enter.
    let mut again = None;
    let mut here = Whereabouts::default();
    // Whether the server has listed this member since it joined, perhaps again.
    let mut is_in = false;
    loop {
        let event = tokio::select! {
            reason = &mut stop => return Ok(reason),
            event = conference.next() => event?,
            () = or_never(again.map(sleep_until)) => {
                again = None;
                ConferenceEvent::Joined
            }
        };
        match event {
            // Also after a reconnection: the server may have restarted.
            ConferenceEvent::Joined => {
                is_in = false;
                if !conference.list().takes_part() {
                    reporter.status("entering the meeting");
                }
                let sends = conference.sends();
                conference.send(ClientMessage::Participate { sends });
            }
            ConferenceEvent::Over(reason) => return Ok(reason),
            ConferenceEvent::Message(ServerMessage::Error { code, message, retry_after_ms, .. }) => {
                if !conference.list().takes_part()
                    && let Some(wait) = retry_after_ms
                {
                    reporter.status(&format!("entering the meeting: {message}"));
                    again = Some(Instant::now() + Duration::from_millis(wait));
                    continue;
                }
                if !conference.list().takes_part() {
                    let why = anyhow::anyhow!("can't enter the meeting at {}: {message}", conference.server());
                    return Err(Failure::refused(why));
                }
                reporter.warn(format!("the server reports an error ({code:?}): {message}"));
            }
            ConferenceEvent::Listed if is_in && conference.list().is_over() => return Ok(EndReason::MeetingOver),
            ConferenceEvent::Listed => {
                is_in |= conference.list().takes_part();
                if conference.list().is_alone() {
                    reporter.status("nobody else is here");
                }
            }
            ConferenceEvent::Leave => return Ok(EndReason::Left),
            ConferenceEvent::Message(ServerMessage::Breakouts(breakouts)) => {
                here.told(&breakouts).into_iter().for_each(|sentence| reporter.notice(sentence));
            }
            ConferenceEvent::Message(ServerMessage::Announcement { user_id, nickname, text }) => {
                let who = named(&user_id, nickname.as_str());
                reporter.notice(format!("{who} says to all breakout rooms: {text}"));
            }
            ConferenceEvent::Message(_) | ConferenceEvent::Connected | ConferenceEvent::Reconnecting => {}
        }
    }
}
