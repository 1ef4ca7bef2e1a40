//! The sentence that people read for an event, and its colours.

use anstyle::{AnsiColor, Style};

use super::event::{EndReason, Event, SpeakingState, StudentState};
use super::format;
use super::order::Order;
use super::source_state::SourceState;
use super::whip::HostKind;
use crate::id::named;
use crate::protocol::channel::OffStage;
use crate::rtp::Track;

/// The most names in a sentence about the lobby.
const NAMED: usize = 5;

impl Event {
    /// The sentence for people; `None` for events that the status line or the final error shows.
    pub fn sentence(&self) -> Option<String> {
        match self {
            Event::Listening { ws, udp, .. } => {
                let media = udp.map(|port| format!("media on UDP port {port}"));
                let parts: Vec<String> =
                    ws.as_ref().map(|ws| format!("listening on {ws}")).into_iter().chain(media).collect();
                (!parts.is_empty()).then(|| parts.join(", "))
            }
            Event::Joined { user, nickname, server } => {
                Some(format!("joined as {} at {server}", named(user, nickname)))
            }
            Event::Waiting { .. } => Some("waiting for the teacher to admit you".into()),
            Event::Student { user, nickname, state } => {
                let does = match state {
                    StudentState::Joined => "has joined",
                    StudentState::Connecting => return None,
                    StudentState::Watching => "is watching",
                    StudentState::Lost => "was lost",
                    StudentState::Refused => "was refused",
                    StudentState::Left => "has left",
                };
                Some(format!("student {} {does}", named(user, nickname)))
            }
            Event::Publisher { user: Some(user), nickname } => {
                Some(format!("{} is teaching", named(user, nickname.as_deref().unwrap_or_default())))
            }
            Event::Publisher { user: None, .. } => Some("the teacher has left; waiting for a teacher".into()),
            Event::Playing { file, index, of } => Some(match of {
                1 => format!("playing {file}"),
                of => format!("playing {file} ({index} of {of})"),
            }),
            Event::Slide(slide) => Some(slide.sentence()),
            Event::Scene(scene) => Some(scene.sentence()),
            Event::FirstFrame { track, after_ms, .. } => Some(format!("first {track} frame after {after_ms:.0} ms")),
            Event::Chat { user, nickname, teacher, text, to, .. } => {
                let role = if *teacher { ", teacher" } else { "" };
                let to = to.as_ref().map(|to| format!(" to {to} alone")).unwrap_or_default();
                Some(format!("<{}{role}{to}> {text}", named(user, nickname)))
            }
            Event::Hand { user, nickname, raised: true, hands } => {
                let place = hands.iter().position(|id| id == user).map_or(hands.len(), |at| at + 1);
                Some(format!("{} raises a hand (number {place})", named(user, nickname)))
            }
            Event::Hand { user, nickname, raised: false, .. } => {
                Some(format!("the hand of {} is lowered", named(user, nickname)))
            }
            Event::Reaction { user, nickname, reaction } => Some(format!("{}: {reaction}!", named(user, nickname))),
            Event::Allowed { comments, reactions, chat, slow_ms } => {
                let word = |on: &bool| if *on { "on" } else { "off" };
                let slow = match slow_ms {
                    0 => String::new(),
                    ms => format!(", one message per student in {}", format::time(f64::from(*ms) / 1000.0)),
                };
                Some(format!(
                    "chat is {}{slow}, chat over the picture is {}, reactions are {}",
                    word(chat),
                    word(comments),
                    word(reactions)
                ))
            }
            Event::Speaking { state, tracks, reason, .. } => speaking(*state, tracks, *reason),
            Event::Order { by, by_nickname, order, user, nickname, code } => {
                let whom = user.as_ref().map(|user| named(user, nickname.as_deref().unwrap_or_default()).to_string());
                let does = order.words(&whom.unwrap_or_default(), code.as_deref().unwrap_or_default())?;
                Some(format!("{} {does}", named(by, by_nickname)))
            }
            Event::Stage { user, nickname, state } => state.sentence(&named(user, nickname).to_string()),
            Event::Whip { server, state, .. } => Some(state.sentence(HostKind::Whip, server)),
            Event::Janus { server, state } => Some(state.sentence(HostKind::Janus, server)),
            Event::Lobby { count: 0, .. } => None,
            Event::Lobby { waiting, count } => {
                let named: Vec<String> =
                    waiting.iter().take(NAMED).map(|who| named(&who.user, &who.nickname).to_string()).collect();
                let more = match count.saturating_sub(named.len()) {
                    0 => String::new(),
                    more => format!(", and {more} more"),
                };
                Some(format!(
                    "waiting to be admitted: {}{more} (/admit 1001, /admit all, /deny 1001)",
                    named.join(", ")
                ))
            }
            Event::ChatCleared => Some("the chat was cleared".into()),
            Event::Source { track, state: SourceState::Stopped } => {
                Some(format!("the {track} has stopped and delivers no pictures"))
            }
            Event::Source { track, state: SourceState::Live } => Some(format!("the {track} is back")),
            Event::Call { user, nickname, state } => Some(state.sentence(&named(user, nickname).to_string())),
            Event::Participant { user, nickname, state } => state.sentence(&named(user, nickname).to_string()),
            Event::File(file) => Some(file.sentence()),
            Event::TeachStats(_) | Event::WatchStats(_) | Event::SpeakerStats(_) | Event::ParticipantStats(_) => None,
            Event::Summary(summary) => Some(summary.text()),
            Event::Path(path) => path.sentence(),
            Event::Trouble { text, .. } => Some(format!("trouble: {text}")),
            Event::TroubleOver { .. } => None,
            Event::Notice { message } => Some(message.clone()),
            Event::Warning { message } => Some(format!("warning: {message}")),
            Event::Ended { reason: EndReason::Failed, .. } => None,
            Event::Ended { reason, .. } => Some(format!("ended: {}", reason.words())),
        }
    }
}

/// The sentence about the student's own way to the stage; `None` where a notice says more.
fn speaking(state: SpeakingState, tracks: &[Track], reason: Option<OffStage>) -> Option<String> {
    let tracks: Vec<&str> = tracks.iter().map(|track| track.name()).collect();
    Some(match state {
        SpeakingState::Invited | SpeakingState::Declined | SpeakingState::Connected => return None,
        SpeakingState::Starting => "you come to the stage: camera and microphone start".to_owned(),
        SpeakingState::Live => {
            format!("you are on the stage, and the class gets your {} (/stepdown leaves)", tracks.join(" and "))
        }
        SpeakingState::Ended => match reason {
            Some(OffStage::SteppedDown) => "you have left the stage".to_owned(),
            Some(OffStage::NoAnswer) => "the invitation to the stage was not answered in time".to_owned(),
            Some(OffStage::NoMedia) => "you are not on the stage any more: your media did not arrive".to_owned(),
            Some(OffStage::NoCapacity) => "you can't come to the stage: the server has no capacity for it".to_owned(),
            Some(
                OffStage::Ended | OffStage::Declined | OffStage::NoDevice | OffStage::NotAllowed | OffStage::Unknown,
            )
            | None => "the teacher has taken you off the stage".to_owned(),
        },
    })
}

impl Order {
    /// The sentence about an order; `None` if other events of the order say so.
    fn words(self, whom: &str, code: &str) -> Option<String> {
        Some(match self {
            Order::Mute => format!("mutes {whom}"),
            Order::MuteAll => "mutes everybody".to_owned(),
            Order::Unmute => format!("lets {whom} write again"),
            Order::UnmuteAll => "lets everybody write again".to_owned(),
            Order::Clear => "clears the chat".to_owned(),
            Order::Slow | Order::Lower | Order::LowerAll => return None,
            Order::Stage => format!("invites {whom} to the stage"),
            Order::OffStage => format!("takes {whom} off the stage"),
            Order::ClearStage => "clears the stage".to_owned(),
            Order::Spotlight => format!("shows {whom} large"),
            Order::SpotlightOff => "shows the teacher large".to_owned(),
            Order::OpenFloor => "opens the floor: students come to the stage by themselves".to_owned(),
            Order::CloseFloor => "closes the floor; those on the stage stay there".to_owned(),
            Order::Kick => format!("puts {whom} out of the room"),
            Order::Ban => format!("bans {whom}"),
            Order::Unban => format!("lets {whom} come back"),
            Order::Lock => "locks the room: nobody else can join".to_owned(),
            Order::Unlock => "unlocks the room".to_owned(),
            Order::LobbyOn => "lets newcomers wait to be admitted".to_owned(),
            Order::LobbyOff => "lets newcomers in without waiting".to_owned(),
            Order::Admit => format!("admits {whom}"),
            Order::AdmitAll => "admits all who wait".to_owned(),
            Order::Deny => format!("refuses {whom}"),
            Order::Code => format!("sets the join code {code}"),
            Order::CodeOff => "removes the join code".to_owned(),
            Order::MuteMicrophone => format!("switches the microphone of {whom} off"),
            Order::MuteMicrophones => "switches the microphones of all others off".to_owned(),
            Order::Rename => "renames the meeting".to_owned(),
            Order::HandOver => format!("hands the meeting over to {whom}"),
            Order::RestrictSpotlight => "wants to be asked before somebody is large for everybody".to_owned(),
            Order::FreeSpotlight => "lets everybody be large without asking".to_owned(),
            Order::End => "ends the meeting".to_owned(),
            Order::Split => "opens breakout rooms".to_owned(),
            Order::Assign => format!("moves {whom} to another breakout room"),
            Order::Recall => "calls everybody back".to_owned(),
        })
    }
}

impl EndReason {
    /// The reason in words, for the sentence.
    fn words(self) -> &'static str {
        match self {
            EndReason::Duration => "the time of --for is over",
            EndReason::EndOfFile => "the file has ended",
            EndReason::Empty => "no student was there any more",
            EndReason::Interrupted => "interrupted",
            EndReason::WindowClosed => "the window was closed",
            EndReason::LectureOver => "the lecture is over",
            EndReason::CallOver => "the call is over",
            EndReason::MeetingOver => "the meeting is over",
            EndReason::Left => "you have left",
            EndReason::Failed => "failed",
        }
    }
}

/// Adds colours to the sentence of an event. Only the marks and names that this program writes are coloured, not the
/// text of other people.
pub(super) fn coloured(event: &Event, sentence: &str) -> String {
    let end = |marks: &str| sentence.find(marks).map_or(0, |at| at + marks.len());
    let (style, painted) = match event {
        Event::Warning { .. } => (bold(AnsiColor::Yellow), end("warning:")),
        Event::Trouble { .. } => (bold(AnsiColor::Yellow), end("trouble:")),
        Event::Chat { teacher: true, .. } => (bold(AnsiColor::Green), end(">")),
        Event::Chat { .. } => (bold(AnsiColor::Cyan), end(">")),
        Event::Hand { raised: true, .. } | Event::Lobby { .. } => (bold(AnsiColor::Magenta), sentence.len()),
        Event::Reaction { .. } => (Style::new().fg_color(Some(AnsiColor::Magenta.into())), sentence.len()),
        Event::Ended { .. } => (Style::new().bold(), sentence.len()),
        _ => return sentence.to_owned(),
    };
    let (painted, rest) = sentence.split_at(painted);
    format!("{style}{painted}{style:#}{rest}")
}

fn bold(colour: AnsiColor) -> Style {
    Style::new().bold().fg_color(Some(colour.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;
    use crate::protocol::TrackName;
    use crate::report::{StageEnd, StageState, TeachStats, Waiting};
    use crate::rtp::Track;

    fn user(id: &str) -> UserId {
        id.parse().unwrap()
    }

    #[test]
    fn only_the_mark_of_a_warning_is_coloured() {
        let event = Event::Warning { message: "no sound card".into() };
        let sentence = event.sentence().unwrap_or_default();
        assert_eq!(coloured(&event, &sentence), "\x1b[1m\x1b[33mwarning:\x1b[0m no sound card");
    }

    #[test]
    fn the_name_of_a_speaker_is_coloured_and_the_text_is_not() {
        let user = "1001".parse().unwrap();
        let nickname = "Anna".to_owned();
        let event = Event::Chat { id: 1, user, nickname, teacher: false, text: "a > b".into(), to: None };
        let sentence = event.sentence().unwrap_or_default();
        assert!(coloured(&event, &sentence).ends_with("\x1b[0m a > b"), "{sentence}");
    }

    #[test]
    fn a_notice_is_not_coloured() {
        let event = Event::Notice { message: "screen :0".into() };
        assert_eq!(coloured(&event, "screen :0"), "screen :0");
    }

    #[test]
    fn people_read_sentences() {
        let sentence = |event: Event| event.sentence().unwrap_or_default();
        let listening = Event::Listening {
            ws: Some("ws://a/ws".into()),
            page: None,
            room_page: None,
            code: None,
            fingerprint: None,
            udp: Some(18080),
        };
        assert_eq!(sentence(listening), "listening on ws://a/ws, media on UDP port 18080");
        assert_eq!(
            sentence(Event::FirstFrame { track: Track::Screen, after_ms: 281.3, after_start_ms: 0.0 }),
            "first screen frame after 281 ms"
        );
        assert_eq!(sentence(Event::Warning { message: "no sound card".into() }), "warning: no sound card");
        let (author, nickname) = (|| user("1001"), || "S-01".to_owned());
        let said =
            |teacher, to| Event::Chat { id: 1, user: author(), nickname: nickname(), teacher, text: "hi".into(), to };
        assert_eq!(sentence(said(false, None)), "<S-01 (1001)> hi");
        assert_eq!(sentence(said(true, None)), "<S-01 (1001), teacher> hi");
        assert_eq!(sentence(said(false, Some(user("1002")))), "<S-01 (1001) to 1002 alone> hi");
        let hand =
            |raised| Event::Hand { user: user("1001"), nickname: "S-01".into(), raised, hands: vec![user("1001")] };
        assert_eq!(sentence(hand(true)), "S-01 (1001) raises a hand (number 1)");
        assert_eq!(sentence(hand(false)), "the hand of S-01 (1001) is lowered");
        let left = |nickname: &str| {
            sentence(Event::Student { user: user("1001"), nickname: nickname.into(), state: StudentState::Left })
        };
        assert_eq!([left("Anna"), left("")], ["student Anna (1001) has left", "student 1001 has left"]);
        let teaches = Event::Publisher { user: Some(user("9999")), nickname: Some("Ms Li".into()) };
        assert_eq!(sentence(teaches), "Ms Li (9999) is teaching");
        assert_eq!(sentence(Event::TeachStats(TeachStats::default())), "");
        let order = |order, whom: Option<&str>| {
            sentence(Event::Order {
                by: user("9999"),
                by_nickname: "Ms Li".into(),
                order,
                user: whom.map(user),
                nickname: whom.map(|_| "Anna".into()),
                code: (order == Order::Code).then(|| "472913".into()),
            })
        };
        assert_eq!(order(Order::Mute, Some("1001")), "Ms Li (9999) mutes Anna (1001)");
        assert_eq!(order(Order::UnmuteAll, None), "Ms Li (9999) lets everybody write again");
        assert_eq!(order(Order::Slow, None), "", "the permissions follow");
        assert_eq!(order(Order::Kick, Some("1001")), "Ms Li (9999) puts Anna (1001) out of the room");
        assert_eq!(order(Order::Code, None), "Ms Li (9999) sets the join code 472913");
        let stage = |state| sentence(Event::Stage { user: user("1001"), nickname: "Anna".into(), state });
        let tracks = vec![TrackName::Audio, TrackName::Camera];
        assert_eq!(stage(StageState::Live { tracks }), "Anna (1001) is on the stage, with sound and camera");
        let ended = |reason| stage(StageState::Ended { reason });
        assert_eq!(ended(StageEnd::SteppedDown), "Anna (1001) has left the stage");
        assert_eq!(ended(StageEnd::Ended), "", "the order says so");
        let lobby = |count: usize| {
            let waiting = (0..count).map(|n| Waiting { user: user(&n.to_string()), nickname: "".into() }).collect();
            sentence(Event::Lobby { waiting, count })
        };
        assert_eq!(lobby(0), "");
        assert!(lobby(2).starts_with("waiting to be admitted: 0, 1 ("), "{}", lobby(2));
        assert!(lobby(9).starts_with("waiting to be admitted: 0, 1, 2, 3, 4, and 4 more ("), "{}", lobby(9));
        let allowed = |chat, slow_ms| sentence(Event::Allowed { comments: true, reactions: false, chat, slow_ms });
        let rest = "chat over the picture is on, reactions are off";
        assert_eq!(allowed(false, 0), format!("chat is off, {rest}"));
        assert_eq!(allowed(true, 90_000), format!("chat is on, one message per student in 1:30, {rest}"));
        let ended = Event::Ended { reason: EndReason::Interrupted, exit: 0, message: None };
        assert_eq!(sentence(ended), "ended: interrupted");
    }
}
