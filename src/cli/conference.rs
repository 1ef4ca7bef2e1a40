//! The flags of `call` and `meet`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::access::TypedToken;
use super::conflict::Conflict;
use super::connect::{chat_input, nickname, server_trust};
use super::meaning::{ChatInput, Member, Sink};
use super::servers::{StunServer, TypedClientRelays};
use super::sink::TypedSinkArgs;
use super::tls::TypedTrust;
use super::values::{self, TypedServer};
use crate::access::JoinCode;
use crate::expect::Expectation;
use crate::id::{RoomId, UserId};
use crate::media::{FileList, MainSource, Sources, Wanted};
use crate::rtp::Latency;

/// The room of calls without `--room`.
const CALLS: &str = "calls";

/// The synthetic devices of a capture.
const TEST_DEVICE: &str = "test";

/// The word for no device.
const NO_DEVICE: &str = "none";

/// The example of each verb in its short help, and the examples in its long help.
pub(super) const CALL_EXAMPLE: &str =
    "Example: classroom call --user 1001 --to 1002     (all flags: classroom call --help)";
pub(super) const CALL_HELP: &str = "Examples:
  classroom call --user 1001 --to 1002
  classroom call --user 1001 --to 1002 --mic    with the microphone alone
  classroom call --user 1001 --to 1002 --speak-file announcement.mp4 --for 1m
  classroom call --user 1002 --answer --once --sink call.mkv
  classroom call --user 1002 --answer --server ws://192.168.1.20:18080

Both need the same server and the same room; without --room that is the room 'calls'. Lines that you type go to the \
other one, and /leave hangs up. The exit code is 0 after a call, 7 if its connection broke and did not come back, 8 if \
an expectation is unmet, 9 if it was declined, 10 if the other one is busy, 11 if nobody answered, and 12 if the other \
one is not there.";
pub(super) const MEET_EXAMPLE: &str =
    "Example: classroom meet --room 10013 --user 1001 --camera --mic     (all flags: classroom meet --help)";
pub(super) const MEET_HELP: &str = "Examples:
  classroom meet --room 10013 --user 1001 --camera --mic
  classroom meet --room 10013 --user 1001 --sink meeting.mkv
  classroom meet --room 10013 --user 1001 --files inbox    take the files that others offer
  classroom meet --room 10013 --user 1001 --sink null --for 30s --expect 'participants>=2'

Lines that you type go to the chat: /to 1002 TEXT writes to 1002 alone, /send notes.pdf offers a file, /hand raises \
your hand, /leave ends, /help lists all commands, those of the owner of the meeting, too. The exit code is 0 at the \
end, 5 if you are refused, and 8 if an expectation is unmet.";

#[derive(Debug, Args)]
pub(super) struct TypedCall {
    /// The room in which both are
    #[arg(long, value_name = "ID", default_value = CALLS, help_heading = "Room")]
    room: RoomId,

    /// Call this user
    #[arg(long, value_name = "ID", help_heading = "Room")]
    to: Option<UserId>,

    /// Wait for calls, and take each of them
    #[arg(long, help_heading = "Room")]
    answer: bool,

    /// With --answer: end after the first call
    #[arg(long, help_heading = "Room", hide_short_help = true)]
    once: bool,

    #[command(flatten)]
    member: TypedMember,

    #[command(flatten)]
    media: TypedOwnMedia,

    #[command(flatten)]
    output: TypedOutput,
}

#[derive(Debug, Args)]
pub(super) struct TypedMeet {
    /// The room of the meeting, for example 10013
    #[arg(long, value_name = "ID", help_heading = "Room")]
    room: RoomId,

    #[command(flatten)]
    member: TypedMember,

    #[command(flatten)]
    media: TypedOwnMedia,

    #[command(flatten)]
    output: TypedOutput,
}

/// The member that joins, and how it reaches the server and the others.
#[derive(Debug, Args)]
struct TypedMember {
    /// Your user id, unique in the room
    #[arg(long, value_name = "ID", help_heading = "Room")]
    user: UserId,

    /// The name that others see [default: the user id]
    #[arg(long, value_name = "NAME", help_heading = "Room", hide_short_help = true)]
    nickname: Option<String>,

    /// The join code of the room, if it has one
    #[arg(long, value_name = "CODE", help_heading = "Room", hide_short_help = true)]
    code: Option<JoinCode>,

    #[command(flatten)]
    token: TypedToken,

    /// Wait at most this long for the server, then exit with 4 [default: for ever]
    #[arg(
        long, value_name = "DURATION", value_parser = values::duration, help_heading = "Network",
        hide_short_help = true
    )]
    timeout: Option<Duration>,

    /// The signalling server [default: on this computer, or one in the local network that has the room]
    #[arg(long, value_name = "URL", env = "CLASSROOM_SERVER", help_heading = "Network")]
    server: Option<TypedServer>,

    /// Learn this computer's public address from this STUN server; may be repeated [default: the servers that the
    /// signalling server names]
    #[arg(long, value_name = "URL", help_heading = "Network", hide_short_help = true)]
    stun: Vec<StunServer>,

    #[command(flatten)]
    turn: TypedClientRelays,

    #[command(flatten)]
    trust: TypedTrust,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What you send")]
struct TypedOwnMedia {
    /// Send the camera, for example --camera or --camera=/dev/video2
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, require_equals = true)]
    camera: Option<Option<String>>,

    /// Send the microphone, for example --mic or --mic=hw:1
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, require_equals = true)]
    mic: Option<Option<String>>,

    /// Send the screen, for example --screen or --screen=:1
    #[arg(long, value_name = "DISPLAY", num_args = 0..=1, require_equals = true, hide_short_help = true)]
    screen: Option<Option<String>>,

    /// Send this video, picture or sound file in place of camera and microphone
    #[arg(long, value_name = "PATH", hide_short_help = true)]
    speak_file: Option<PathBuf>,

    /// Send a moving ball and a tone in place of camera and microphone
    #[arg(long, hide_short_help = true)]
    speak_test: bool,
}

#[derive(Debug, Args)]
struct TypedOutput {
    /// End after this time [default: until Ctrl-C, or the window is closed]
    #[arg(
        long = "for", value_name = "DURATION", value_parser = values::duration, help_heading = "Room",
        hide_short_help = true
    )]
    length: Option<Duration>,

    /// Check this condition at the end, and exit with 8 if it does not hold. Metrics: participants (the most others at
    /// one time from whom something arrived), fps, width, height and freeze_percent (of the worst picture), freezes and
    /// lost (of all)
    #[arg(
        long, value_name = "'fps>=25'", value_parser = values::conference_expectation, help_heading = "Room",
        hide_short_help = true
    )]
    expect: Vec<Expectation>,

    /// Send each line of stdin to the chat even if stdin is not a terminal; /help lists the commands
    #[arg(long, help_heading = "Room", hide_short_help = true)]
    chat: bool,

    /// Take the files that others offer, and keep them in this directory [default: decline them]
    #[arg(long, value_name = "DIRECTORY", help_heading = "Output", hide_short_help = true)]
    files: Option<PathBuf>,

    #[command(flatten)]
    sink: TypedSinkArgs,

    /// The length of the jitter buffer in milliseconds: auto (20 to 500, depending on the network), a range such as
    /// 40..200, or a fixed length such as 80
    #[arg(
        long, value_name = "MS", default_value = "auto", value_parser = values::latency, help_heading = "Output",
        hide_short_help = true
    )]
    latency: Latency,
}

/// `classroom call`.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The member and its room.
    pub member: Member,
    /// The call to make, or to wait for.
    pub role: CallRole,
    /// The sources of what is sent.
    pub sources: Sources,
    /// How the call is shown, and what ends and checks it.
    pub output: ConferenceOutput,
}

/// The call to make, or to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallRole {
    /// This member calls another one.
    To(UserId),
    /// This member takes calls, each one or only the first.
    Answer {
        /// Whether the program ends after the first call.
        once: bool,
    },
}

/// `classroom meet`.
#[derive(Debug, Clone, PartialEq)]
pub struct Meet {
    /// The member and its room.
    pub member: Member,
    /// The sources of what is sent; `None`: nothing is sent.
    pub sources: Option<Sources>,
    /// How the meeting is shown, and what ends and checks it.
    pub output: ConferenceOutput,
}

/// How a call or a meeting is shown, and what ends and checks it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConferenceOutput {
    /// Where to show or write the others.
    pub sink: Sink,
    /// The length of the jitter buffer.
    pub latency: Latency,
    /// The directory for the files of others; `None`: they are declined.
    pub files: Option<PathBuf>,
    /// Which lines of stdin go to the chat.
    pub chat: ChatInput,
    /// End after this time; `None`: when interrupted, or with the call.
    pub length: Option<Duration>,
    /// Conditions that the whole run must meet.
    pub expect: Vec<Expectation>,
}

impl TryFrom<TypedCall> for Call {
    type Error = Conflict;
    fn try_from(typed: TypedCall) -> Result<Self, Conflict> {
        let TypedCall { room, to, answer, once, member, media, output } = typed;
        let role = match (to, answer) {
            (Some(_), false) if once => return Err(Conflict::OnceWithoutAnswer),
            (Some(to), false) => CallRole::To(to),
            (None, true) => CallRole::Answer { once },
            (Some(_), true) | (None, false) => return Err(Conflict::ToOrAnswer),
        };
        // As far as this computer has them.
        let devices = Sources {
            main: MainSource::Screen(Wanted::No),
            camera: Wanted::IfPresent,
            microphone: Wanted::IfPresent,
            audio: true,
        };
        let sources = media.convert()?.unwrap_or(devices);
        Ok(Self { member: member.convert(room)?, role, sources, output: output.try_into()? })
    }
}

impl TryFrom<TypedMeet> for Meet {
    type Error = Conflict;
    fn try_from(typed: TypedMeet) -> Result<Self, Conflict> {
        let TypedMeet { room, member, media, output } = typed;
        Ok(Self { member: member.convert(room)?, sources: media.convert()?, output: output.try_into()? })
    }
}

impl TryFrom<TypedOutput> for ConferenceOutput {
    type Error = Conflict;
    fn try_from(typed: TypedOutput) -> Result<Self, Conflict> {
        let TypedOutput { length, expect, chat, files, sink, latency } = typed;
        Ok(Self { sink: sink.try_into()?, latency, files, chat: chat_input(chat), length, expect })
    }
}

impl TypedMember {
    fn convert(self, room: RoomId) -> Result<Member, Conflict> {
        let link = self.server.as_ref().map(|server| server.1.clone()).unwrap_or_default();
        let server = self.server.and_then(|server| server.0);
        Ok(Member {
            nickname: nickname(self.nickname, &self.user),
            room,
            user: self.user,
            code: self.code.or(link.code),
            token: self.token.convert(link.token),
            trust: server_trust(self.trust, server.as_ref())?,
            server,
            timeout: self.timeout,
            stun: self.stun,
            relay_only: self.turn.relay_only,
            turn: self.turn.convert()?,
        })
    }
}

impl TypedOwnMedia {
    /// The sources; `None` if no flag names one.
    fn convert(self) -> Result<Option<Sources>, Conflict> {
        let synthetic = [("--speak-file", self.speak_file.is_some()), ("--speak-test", self.speak_test)];
        let devices =
            [("--camera", self.camera.is_some()), ("--mic", self.mic.is_some()), ("--screen", self.screen.is_some())];
        let mut typed = synthetic.into_iter().chain(devices).filter(|(_, is_typed)| *is_typed).map(|(flag, _)| flag);
        let Some(first) = typed.next() else { return Ok(None) };
        if let Some(second) = typed.next().filter(|_| first.starts_with("--speak")) {
            return Err(Conflict::TwoSources(first, second));
        }
        let device = |typed: Option<Option<String>>| match typed {
            None => Wanted::No,
            Some(Some(name)) if name == NO_DEVICE => Wanted::No,
            Some(name) => Wanted::Yes(name),
        };
        let test = || Wanted::Yes(Some(TEST_DEVICE.to_owned()));
        let no_screen = MainSource::Screen(Wanted::No);
        Ok(Some(match self.speak_file {
            Some(path) => Sources::only(MainSource::Files(FileList::looped(path))),
            None if self.speak_test => Sources { main: no_screen, camera: test(), microphone: test(), audio: true },
            None => Sources {
                main: self.screen.map_or(no_screen, |display| MainSource::Screen(Wanted::Yes(display))),
                camera: device(self.camera),
                microphone: device(self.mic),
                audio: true,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Call, CallRole, ChatInput, Command, Meet, parse};
    use crate::media::{MainSource, Wanted};

    fn command(line: &str) -> Result<Command, String> {
        parse(line.split(' ')).map(|cli| cli.command).map_err(|error| error.to_string())
    }

    fn call(flags: &str) -> Call {
        match command(&format!("classroom call {flags}")) {
            Ok(Command::Call(call)) => *call,
            other => panic!("{flags}: {other:?}"),
        }
    }

    fn meet(flags: &str) -> Meet {
        match command(&format!("classroom meet {flags}")) {
            Ok(Command::Meet(meet)) => *meet,
            other => panic!("{flags}: {other:?}"),
        }
    }

    #[test]
    fn a_call_has_camera_and_microphone_and_a_meeting_only_what_is_named() {
        let to = call("--user 1001 --to 1002");
        assert_eq!((to.member.room.as_str(), &to.role), ("calls", &CallRole::To("1002".parse().unwrap())));
        assert_eq!((&to.sources.camera, &to.sources.microphone), (&Wanted::IfPresent, &Wanted::IfPresent));
        let answer = call("--user 1002 --room 7 --answer --once --mic=hw:1");
        assert_eq!((answer.member.room.as_str(), answer.role), ("7", CallRole::Answer { once: true }));
        assert_eq!(answer.sources.camera, Wanted::No);
        assert_eq!(answer.sources.microphone, Wanted::Yes(Some("hw:1".into())));
        assert_eq!(meet("--room 10013 --user 1001").sources, None);
        let output = meet("--room 10013 --user 1001 --chat --expect participants>=2 --for 5s").output;
        assert_eq!((output.chat, output.expect[0].to_string()), (ChatInput::Always, "participants>=2".to_owned()));
        assert!(command("classroom meet --room 10013 --user 1001 --expect kbps>=2").is_err());
        let file = meet("--room 10013 --user 1001 --speak-file a.mp4").sources.unwrap();
        assert!(matches!(file.main, MainSource::Files(_)), "{file:?}");
    }

    #[test]
    fn a_call_has_one_direction_and_media_one_kind_of_source() {
        for flags in ["--user 1", "--user 1 --to 2 --answer", "--user 1 --to 2 --once"] {
            assert!(command(&format!("classroom call {flags}")).is_err(), "{flags}");
        }
        let error = command("classroom meet --room 1 --user 1 --speak-test --camera").unwrap_err();
        assert!(error.contains("--speak-test and --camera"), "{error}");
    }
}
