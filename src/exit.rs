//! Exit codes for scripts, and [`Failure`], which carries an exit code and an error.

use std::fmt;
use std::process::ExitCode;

use crate::media::MediaError;

/// The exit code of the process. The numbers are stable; `docs/labs.md` has this table.
///
/// SIGINT and SIGTERM leave the room and end with [`Exit::Ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// A normal end: `--for` or the file was over, the window was closed, or the user interrupted the process.
    Ended = 0,
    /// A bug, or a computer without free memory, file descriptors or ports.
    Internal = 1,
    /// A usage error; clap uses the same number.
    Usage = 2,
    /// Nothing to capture, or a missing GStreamer plug-in (the error names its package).
    NothingToCapture = 3,
    /// No signalling server answered.
    ServerUnreachable = 4,
    /// The server or the teacher refused, for example because the user id is taken or the room is full.
    Refused = 5,
    /// Nobody taught within `--timeout`.
    NobodyTaught = 6,
    /// The lecture broke off and did not come back within `--retry`.
    MediaLost = 7,
    /// An expectation of `--expect` was not met.
    ExpectationUnmet = 8,
    /// `call`: the other one declined the call.
    Declined = 9,
    /// `call`: the other one is in a call.
    Busy = 10,
    /// `call`: nobody answered the call.
    NoAnswer = 11,
    /// `call`: nobody of this user id is in the room.
    NotThere = 12,
}

impl Exit {
    /// All exit codes, in order.
    pub const ALL: [Exit; 13] = [
        Exit::Ended,
        Exit::Internal,
        Exit::Usage,
        Exit::NothingToCapture,
        Exit::ServerUnreachable,
        Exit::Refused,
        Exit::NobodyTaught,
        Exit::MediaLost,
        Exit::ExpectationUnmet,
        Exit::Declined,
        Exit::Busy,
        Exit::NoAnswer,
        Exit::NotThere,
    ];

    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The meaning in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Ended => "ended well",
            Exit::Internal => "internal error",
            Exit::Usage => "usage",
            Exit::NothingToCapture => "nothing to capture, or a missing plug-in",
            Exit::ServerUnreachable => "server unreachable",
            Exit::Refused => "refused",
            Exit::NobodyTaught => "nobody taught in time",
            Exit::MediaLost => "media lost",
            Exit::ExpectationUnmet => "expectation unmet",
            Exit::Declined => "call declined",
            Exit::Busy => "busy",
            Exit::NoAnswer => "no answer",
            Exit::NotThere => "not there",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a command failed: an exit code for scripts and an error for people.
///
/// `?` on an [`anyhow::Error`] gives [`Exit::Internal`].
#[derive(Debug)]
pub struct Failure {
    /// The exit code of the process.
    pub exit: Exit,
    /// The error with its causes.
    pub error: anyhow::Error,
}

impl Failure {
    /// A failure with any exit code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// [`Exit::Internal`].
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Internal, error)
    }

    /// [`Exit::Usage`], for mistakes that only the attempt shows: a missing file, a port in use.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// [`Exit::ServerUnreachable`].
    pub fn unreachable(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::ServerUnreachable, error)
    }

    /// [`Exit::Refused`].
    pub fn refused(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Refused, error)
    }

    /// [`Exit::NobodyTaught`].
    pub fn nobody_taught(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::NobodyTaught, error)
    }

    /// [`Exit::MediaLost`].
    pub fn media_lost(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::MediaLost, error)
    }

    /// [`Exit::ExpectationUnmet`], from the sentences of [`crate::expect::unmet`].
    pub fn expectation_unmet(unmet: &[String]) -> Self {
        Self::new(Exit::ExpectationUnmet, anyhow::anyhow!("{}", unmet.join("; ")))
    }
}

/// The whole chain of causes on one line, without the leading `error: `.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = format!("{:#}", self.error);
        let lines: Vec<&str> = chain.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        f.write_str(&lines.join("; "))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(error)
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        let exit = match &error {
            MediaError::File { .. } | MediaError::Contract { .. } => Exit::Usage,
            MediaError::NothingToCapture { .. }
            | MediaError::MissingElement { .. }
            | MediaError::NoDecoder { .. }
            | MediaError::NoEncoder { .. }
            | MediaError::Device { .. } => Exit::NothingToCapture,
            MediaError::Pipeline { .. } => Exit::Internal,
            MediaError::Scene { cause, .. } => return Self::new(Self::from(*cause.clone()).exit, error),
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn exit_codes_are_stable_and_in_order() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, (0..=12).collect::<Vec<u8>>());
    }

    #[test]
    fn the_guide_for_labs_has_every_exit_code() {
        let guide = include_str!("../docs/labs.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(guide.contains(&row), "docs/labs.md lacks the row {row:?}");
        }
    }

    #[test]
    fn a_failure_is_one_line_with_its_causes() {
        let result: anyhow::Result<()> = Err(anyhow!("connection refused\n  by peer"));
        let failure = result.context("no server at ws://localhost:18080").map_err(Failure::unreachable).unwrap_err();
        assert_eq!(failure.exit.code(), 4);
        assert_eq!(failure.to_string(), "no server at ws://localhost:18080: connection refused; by peer");
    }

    #[test]
    fn a_plain_error_is_internal() {
        fn fails() -> Result<(), Failure> {
            Err(anyhow!("no memory"))?;
            Ok(())
        }
        assert_eq!(fails().unwrap_err().exit, Exit::Internal);
    }
}
