//! The command line. The only I/O are the variables of the environment and the configuration files.
//!
//! `args` are the flags as clap parses them, `meaning` are the types that commands get, and `convert` leads from one to
//! the other. Flags that contradict each other are refused with an error that names the flags and the next step.

mod access;
mod args;
mod attendance;
mod bench;
mod capture;
mod cluster;
mod conference;
mod conflict;
mod connect;
mod convert;
mod demo;
mod doctor;
mod ice_tcp;
mod janus;
mod janus_flags;
mod lecture;
mod manual;
mod meaning;
mod media;
mod meetings;
mod plan;
mod rooms;
mod secrets;
mod servers;
mod settings;
mod settings_files;
mod sink;
mod site;
mod speak;
mod stage;
mod tls;
mod token;
mod values;
mod via;
mod whip_flags;
mod whip_out;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use clap_complete::Shell;

use self::args::{TypedCli, TypedVerb};
use self::conflict::Conflict;

pub use self::attendance::AttendanceFiles;
pub use self::bench::{Bench, FanOutBench, IngestOffer, Line, Network, VideoBench};
pub use self::conference::{Call, CallRole, ConferenceOutput, Meet};
pub use self::doctor::Doctor;
pub use self::ice_tcp::IceTcp;
pub use self::janus::{JanusAccess, SecretSource, TaughtJanus, WatchedJanus};
pub use self::lecture::{LectureFile, LectureStart};
pub use self::meaning::{
    ChatInput, Cluster, Completions, Demo, DemoLecture, Device, MainSource, Man, Member, Nodes, Rooms, Serve,
    ServeMedia, ServerTrust, Signalling, Sink, Sources, Speaking, Teach, Video, Watch,
};
pub use self::plan::Plan;
pub use self::secrets::{AccessPolicy, CodeChoice, RoomAccess, Secret, TeachingKeySource};
pub use self::servers::{StunServer, TurnLogin, TurnServer};
pub use self::settings::{ConfigError, Origin, Setting, SettingValue, Settings};
pub use self::stage::{StageOptions, StageSink};
pub use self::token::{NewKey, NewKeyKind, SignToken, Signer, Token};
pub(crate) use self::values::duration;
pub use self::values::{Bitrate, Burst};
pub use self::via::{EngineNode, Engines, Via};
pub use self::whip_out::{WhipOut, WhipTarget, WhipToken, WhipVideo};
pub use crate::report::{Output, Verbosity};

/// A parsed command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Cli {
    /// The verb with its arguments.
    pub command: Command,
    /// Whether the output is for people or for scripts.
    pub output: Output,
    /// How much to print for people.
    pub verbosity: Verbosity,
}

/// A verb with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Teach and watch in one process.
    Demo(Demo),
    /// Send a lecture to every student of a room.
    Teach(Box<Teach>),
    /// Receive a lecture.
    Watch(Watch),
    /// Call somebody, or answer calls.
    Call(Box<Call>),
    /// Take part in a meeting.
    Meet(Box<Meet>),
    /// Run only the signalling server.
    Serve(Serve),
    /// Make tokens and keys.
    Token(Token),
    /// List the rooms of a server.
    Rooms(Rooms),
    /// List the devices and encoders of this computer.
    Devices,
    /// Check this computer, or the way to a server.
    Doctor(Doctor),
    /// Print the settings of this computer.
    Config(ShownSettings),
    /// Print a shell completion script.
    Completions(Completions),
    /// Write the manual pages.
    Man(Man),
    /// Measure the cost of a class for its teacher, or the quality over a bad network.
    Bench(Bench),
    /// Plan the machines of a lecture.
    Plan(Plan),
    /// Inspect media files and print the result for the parent process.
    InspectFiles(Vec<PathBuf>),
    /// Draw the pages of this PDF file, as stdin asks, for `teach`.
    DrawSlides(PathBuf),
    /// The students of a bench, in the process that it starts for them.
    BenchStudents,
}

/// `classroom config`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ShownSettings {
    /// The settings that hold.
    pub settings: Settings,
    /// The verb whose settings are wanted; `None` for all verbs.
    pub verb: Option<String>,
    /// The configuration files that were read, the most important one first.
    pub files: Vec<PathBuf>,
    /// The paths at which there is no configuration file.
    pub absent: Vec<PathBuf>,
}

/// Parses a command line without the settings of this computer. The first argument is the program name.
///
/// # Errors
/// clap's error, also for `--help` and `--version`: `error.print()` prints it, and `error.exit_code()` is 2 for a
/// mistake and 0 for help and version.
pub fn parse<I, T>(arguments: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    parse_with(arguments.into_iter().map(Into::into).collect(), ShownSettings::default())
}

/// Parses the command line of this process. Flags that it leaves out have the values of the environment and of the
/// configuration files.
///
/// # Errors
/// As [`parse`], and if a configuration file can't be used.
pub fn parse_here(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let shown = match TypedCli::command().ignore_errors(true).try_get_matches_from(&arguments) {
        Ok(matches) if matches.subcommand_name().is_some_and(settings::has_settings) => {
            let file = matches.get_one::<PathBuf>("config").map(PathBuf::as_path);
            let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
            settings_of(file, variables.collect())
                .map_err(|error| clap::Error::raw(ErrorKind::Io, format!("{error}\n")))?
        }
        _ => ShownSettings::default(),
    };
    parse_with(arguments, shown)
}

/// Reads the settings of this computer; `asked` is the file of `--config`.
fn settings_of(asked: Option<&Path>, variables: Vec<(String, OsString)>) -> Result<ShownSettings, String> {
    let of = |wanted: &str| variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let settings_files::Found { files, absent } = settings_files::find(asked, of)?;
    let texts: Vec<_> =
        variables.into_iter().filter_map(|(name, value)| Some((name, value.into_string().ok()?))).collect();
    let settings = Settings::new(&TypedCli::command(), &files, &texts).map_err(|error| error.to_string())?;
    let files = files.into_iter().map(|(path, _)| path).collect();
    Ok(ShownSettings { settings, verb: None, files, absent })
}

#[cfg(test)]
fn typed_command() -> clap::Command {
    TypedCli::command()
}

fn parse_with(arguments: Vec<OsString>, shown: ShownSettings) -> Result<Cli, clap::Error> {
    let (command, arguments) = shown.settings.apply(TypedCli::command(), arguments);
    let parsed = command.try_get_matches_from(&arguments);
    let verb = |matches: &ArgMatches| matches.subcommand_name().unwrap_or_default().to_owned();
    let settings = shown.settings.clone();
    let parsed = match parsed {
        Ok(matches) => cli_of(&matches, shown).map_err(|error| (verb(&matches), error)),
        Err(error) => {
            let lenient = TypedCli::command().ignore_errors(true).try_get_matches_from(&arguments);
            Err((lenient.as_ref().map(verb).unwrap_or_default(), error))
        }
    };
    parsed.map_err(|(verb, error)| {
        let text = error.to_string();
        let notes = settings.notes(&verb, &text);
        if notes.is_empty() || !error.use_stderr() {
            return error;
        }
        let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        clap::Error::raw(error.kind(), format!("{text}\n\n{}\n", notes.join("\n")))
    })
}

fn cli_of(matches: &ArgMatches, shown: ShownSettings) -> Result<Cli, clap::Error> {
    let TypedCli { verb, json, verbose, quiet, config: _ } = TypedCli::from_arg_matches(matches)?;
    let command = match verb {
        TypedVerb::Demo(typed) => typed.try_into().map(Command::Demo),
        TypedVerb::Teach(typed) => typed.convert(server_source(matches)).map(Box::new).map(Command::Teach),
        TypedVerb::Watch(typed) => typed.try_into().map(Command::Watch),
        TypedVerb::Call(typed) => (*typed).try_into().map(Box::new).map(Command::Call),
        TypedVerb::Meet(typed) => (*typed).try_into().map(Box::new).map(Command::Meet),
        TypedVerb::Serve(typed) => typed.try_into().map(Command::Serve),
        TypedVerb::Token(typed) => typed.try_into().map(Command::Token),
        TypedVerb::Rooms(typed) => typed.try_into().map(Command::Rooms),
        TypedVerb::Devices => Ok(Command::Devices),
        TypedVerb::Doctor(typed) => typed.try_into().map(Command::Doctor),
        TypedVerb::Config(typed) => Ok(Command::Config(ShownSettings { verb: typed.verb, ..shown })),
        TypedVerb::Completions(typed) => Ok(Command::Completions(Completions { shell: typed.shell })),
        TypedVerb::Man(typed) => Ok(Command::Man(Man { folder: typed.folder })),
        TypedVerb::Bench(typed) => typed.try_into().map(Command::Bench),
        TypedVerb::Plan(typed) => Ok(Command::Plan(typed.into())),
        TypedVerb::InspectFiles(typed) => Ok(Command::InspectFiles(typed.paths)),
        TypedVerb::DrawSlides(typed) => Ok(Command::DrawSlides(typed.path)),
        TypedVerb::BenchStudents => Ok(Command::BenchStudents),
    };
    let command = access::check_effect(matches)
        .and(janus_flags::check_effect(matches))
        .and(command)
        .map_err(|conflict| refuse(matches, &conflict))?;
    let verbosity = match (verbose, quiet) {
        (true, _) => Verbosity::Verbose,
        (_, true) => Verbosity::Quiet,
        _ => Verbosity::Normal,
    };
    Ok(Cli { command, output: if json { Output::Json } else { Output::Human }, verbosity })
}

/// The source of the value of `--server`; `None` without a value.
fn server_source(matches: &ArgMatches) -> Option<ValueSource> {
    matches.subcommand().and_then(|(_, verb)| verb.value_source("server"))
}

/// The conflict as a clap error, with the usage of its verb.
fn refuse(matches: &ArgMatches, conflict: &Conflict) -> clap::Error {
    let mut command = TypedCli::command();
    command.build();
    let verb = matches.subcommand_name().unwrap_or_default();
    match command.find_subcommand_mut(verb) {
        Some(verb) => verb.error(ErrorKind::ArgumentConflict, conflict),
        None => command.error(ErrorKind::ArgumentConflict, conflict),
    }
}

/// The script that completes verbs and flags of `classroom` in a shell.
pub fn completions(shell: Shell) -> String {
    // clap_complete would also complete the hidden verbs.
    let all = TypedCli::command();
    let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    let mut shown = clap::Command::new("classroom")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(verbs);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown, "classroom", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual pages of section 1 in roff, each with its file name: `classroom.1` and one a verb, `classroom-teach.1`.
pub fn man_pages() -> Vec<(String, Vec<u8>)> {
    let mut command = TypedCli::command().disable_help_subcommand(true);
    command.build();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    std::iter::once(command.clone()).chain(verbs).filter_map(page).collect()
}

/// The page of a command. Writing into memory does not fail, so there always is one.
fn page(command: clap::Command) -> Option<(String, Vec<u8>)> {
    let page = clap_mangen::Man::new(command);
    let mut roff = Vec::new();
    page.render(&mut roff).ok()?;
    Some((page.get_filename(), roff))
}

#[cfg(test)]
mod tests;
