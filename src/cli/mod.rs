//! What was typed, and what it means; no I/O but for `$CLASSROOM_SERVER`, which clap reads.
//!
//! Two layers: `args` is what clap accepts, flag by flag; `meaning` is what the commands get, and can't hold a
//! contradiction. Between them conflicts are refused with a sentence that names the flags and the way out.

mod args;
mod bench;
mod manual;
mod meaning;
mod servers;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use self::args::{TypedCli, TypedVerb};
use self::meaning::Conflict;

pub use self::bench::{Bench, FanOutBench, Line, Network, VideoBench};
pub use self::manual::{completions, man_pages};
pub use self::meaning::{
    Completions, Demo, DemoLecture, Device, Lines, MainSource, Man, Rooms, Serve, Signalling, Sink, Sources, Teach,
    Video, Watch,
};
pub use self::servers::{StunServer, TurnServer, TurnTransport};
pub use self::values::{Bitrate, Burst};
pub use crate::report::{Output, Verbosity};

/// A whole command line, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Cli {
    /// What to do.
    pub command: Command,
    /// For whom the output is.
    pub output: Output,
    /// How much is said.
    pub verbosity: Verbosity,
}

/// A verb with everything that was said about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A lecture taught and watched in one process.
    Demo(Demo),
    /// Send a lecture to every student of a room.
    Teach(Teach),
    /// Receive one.
    Watch(Watch),
    /// The signalling server alone.
    Serve(Serve),
    /// Who teaches where.
    Rooms(Rooms),
    /// What can be captured here.
    Devices,
    /// Shell completions.
    Completions(Completions),
    /// The manual pages.
    Man(Man),
    /// What a class costs its teacher, or what it sees over a bad network.
    Bench(Bench),
    /// An inspection of files, for the process that asks.
    InspectFiles(Vec<PathBuf>),
    /// The students of a bench, in the process that it starts for them.
    BenchStudents,
}

/// Understands a command line, program name first.
///
/// The error is clap's: `error.print()` shows it, or the help or version that was asked for, and `error.exit_code()`
/// is 2 for a mistake and 0 for help and version.
pub fn parse<I, T>(arguments: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let matches = TypedCli::command().try_get_matches_from(arguments)?;
    let TypedCli { verb, json, verbose, quiet } = TypedCli::from_arg_matches(&matches)?;
    let command = match verb {
        TypedVerb::Demo(typed) => typed.try_into().map(Command::Demo),
        TypedVerb::Teach(typed) => typed.mean(&typed_flags(&matches)).map(Command::Teach),
        TypedVerb::Watch(typed) => typed.try_into().map(Command::Watch),
        TypedVerb::Serve(typed) => typed.try_into().map(Command::Serve),
        TypedVerb::Rooms(typed) => Ok(Command::Rooms(typed.into())),
        TypedVerb::Devices => Ok(Command::Devices),
        TypedVerb::Completions(typed) => Ok(Command::Completions(Completions { shell: typed.shell })),
        TypedVerb::Man(typed) => Ok(Command::Man(Man { folder: typed.folder })),
        TypedVerb::Bench(typed) => typed.try_into().map(Command::Bench),
        TypedVerb::InspectFiles(typed) => Ok(Command::InspectFiles(typed.paths)),
        TypedVerb::BenchStudents => Ok(Command::BenchStudents),
    };
    let command = command.map_err(|conflict| refuse(&matches, &conflict))?;
    let verbosity = match (verbose, quiet) {
        (true, _) => Verbosity::Verbose,
        (_, true) => Verbosity::Quiet,
        _ => Verbosity::Normal,
    };
    Ok(Cli { command, output: if json { Output::Json } else { Output::Human }, verbosity })
}

/// Which of the flags of `teach` that have a default, or an environment variable, were typed.
fn typed_flags(matches: &ArgMatches) -> Vec<&'static str> {
    let Some((_, verb)) = matches.subcommand() else { return Vec::new() };
    let encoding = [
        ("codec", "--codec"),
        ("size", "--size"),
        ("fps", "--fps"),
        ("bitrate", "--bitrate"),
        ("tiers", "--tiers"),
        ("content", "--content"),
    ];
    encoding
        .into_iter()
        .chain([("server", "--server")])
        .filter(|(id, _)| verb.value_source(id) == Some(ValueSource::CommandLine))
        .map(|(_, flag)| flag)
        .collect()
}

/// A conflict as clap would say it, with the usage of the verb it is about.
fn refuse(matches: &ArgMatches, conflict: &Conflict) -> clap::Error {
    let mut command = TypedCli::command();
    command.build();
    let verb = matches.subcommand_name().unwrap_or_default();
    match command.find_subcommand_mut(verb) {
        Some(verb) => verb.error(ErrorKind::ArgumentConflict, conflict),
        None => command.error(ErrorKind::ArgumentConflict, conflict),
    }
}

#[cfg(test)]
mod tests;
