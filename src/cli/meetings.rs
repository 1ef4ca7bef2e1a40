//! Who may open rooms for meetings and calls: the flag `--meetings`.

use clap::{Args, ValueEnum};

use crate::room::Meetings;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypedMeetings {
    Anyone,
    Teachers,
    Off,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Rights")]
pub(super) struct TypedMeetingsFlag {
    /// The users who may open a room for a meeting or for calls: teachers, anyone who may join, or nobody
    #[arg(long, value_name = "WHO", value_enum, default_value_t = TypedMeetings::Teachers, hide_short_help = true)]
    meetings: TypedMeetings,
}

impl From<TypedMeetingsFlag> for Meetings {
    fn from(typed: TypedMeetingsFlag) -> Self {
        match typed.meetings {
            TypedMeetings::Anyone => Meetings::Anyone,
            TypedMeetings::Teachers => Meetings::Teachers,
            TypedMeetings::Off => Meetings::Off,
        }
    }
}
