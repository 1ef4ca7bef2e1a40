//! Values of flags from the environment and from configuration files, for flags that the command line leaves out.
//!
//! A flag wins over its variable `CLASSROOM_FLAG`, which wins over the user's file, which wins over the system's file.
//! A key of a file is the long name of a flag, in the table of a verb or, for all verbs that have the flag, above the
//! tables. Such a value is clap's default value, so flags that contradict it win.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The verbs that have settings. The others do what their command line says, on every computer.
pub(super) const VERBS: [&str; 8] = ["demo", "teach", "watch", "call", "meet", "serve", "rooms", "doctor"];

/// Flags that ask for something else than the work of the verb.
const NO_SETTINGS: [&str; 5] = ["help", "version", "config", "no-config", "print-mediamtx"];

/// The most bytes of a configuration file.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A variable of the environment.
    Variable(String),
    /// A line of a configuration file, from 1.
    File(PathBuf, usize),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "${name}"),
            Self::File(path, line) => write!(f, "{}, line {line}", path.display()),
        }
    }
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingValue {
    /// The flag is not given.
    Off,
    /// The flag is given without a value.
    On,
    /// The flag is given with each of these values.
    Values(Vec<String>),
}

/// A flag of a verb that has a value without being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The verb.
    pub verb: String,
    /// The long name of the flag, without `--`.
    pub flag: String,
    /// The value.
    pub value: SettingValue,
    /// Where the value comes from.
    pub origin: Origin,
    /// Whether the value is a secret, which is not printed.
    pub is_secret: bool,
}

/// The refusal of a configuration file.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}:{column}: {message}", path.display())]
pub struct ConfigError {
    path: PathBuf,
    line: usize,
    column: usize,
    message: String,
}

/// The settings of all verbs: for each flag the one that wins.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Settings(Vec<Setting>);

impl Settings {
    /// The settings of these files, the most important one first, and of these variables. `command` knows the flags.
    pub(super) fn new(
        command: &Command,
        files: &[(PathBuf, String)],
        variables: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        settings.add_variables(command, variables);
        for (path, text) in files {
            ConfigFile { path, text, command }.read(&mut settings)?;
        }
        settings.0.sort_by(|a, b| (&a.verb, &a.flag).cmp(&(&b.verb, &b.flag)));
        Ok(settings)
    }

    /// The settings, sorted by verb and flag.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }

    /// A flag that is set already keeps its value.
    fn add(&mut self, setting: Setting) {
        if !self.0.iter().any(|known| known.verb == setting.verb && known.flag == setting.flag) {
            self.0.push(setting);
        }
    }

    /// clap itself reads the variables that are declared with their flags.
    fn add_variables(&mut self, command: &Command, variables: &[(String, String)]) {
        for (name, text) in variables {
            let Some(flag) = name.strip_prefix("CLASSROOM_") else { continue };
            let flag = flag.to_ascii_lowercase().replace('_', "-");
            for verb in VERBS {
                let Some(arg) = flag_of(command, verb, &flag).filter(|arg| arg.get_env().is_none()) else { continue };
                let value = match text.as_str() {
                    _ if takes(arg) == Takes::Value => SettingValue::Values(vec![text.clone()]),
                    "" | "0" | "false" | "no" | "off" if takes(arg) == Takes::Nothing => SettingValue::Off,
                    "" => SettingValue::On,
                    _ if takes(arg) == Takes::Nothing => SettingValue::On,
                    value => SettingValue::Values(vec![value.to_owned()]),
                };
                self.add(Setting {
                    verb: verb.to_owned(),
                    flag: flag.clone(),
                    value,
                    origin: Origin::Variable(name.clone()),
                    is_secret: arg.is_hide_env_values_set(),
                });
            }
        }
    }

    /// The command with these settings as its default values, and the arguments with the flags that have no value.
    /// Settings that contradict a typed flag are left out.
    pub(super) fn apply(&self, mut command: Command, mut arguments: Vec<OsString>) -> (Command, Vec<OsString>) {
        let Some((verb, typed)) = typed_flags(&command, &arguments) else { return (command, arguments) };
        let mut built = command.clone();
        built.build();
        let Some(flags) = built.find_subcommand(&verb) else { return (command, arguments) };
        for setting in self.0.iter().filter(|setting| setting.verb == verb) {
            let Some(arg) = flag_of(&built, &verb, &setting.flag) else { continue };
            let contradicts = |other: &&Arg| {
                let both = flags.get_arg_conflicts_with(arg).into_iter().any(|one| one.get_id() == other.get_id());
                both || flags.get_arg_conflicts_with(other).into_iter().any(|one| one.get_id() == arg.get_id())
            };
            let mut given = flags.get_arguments().filter(|arg| typed.iter().any(|id| arg.get_id() == id.as_str()));
            if given.any(|other| other.get_id() == arg.get_id() || contradicts(&other)) {
                continue;
            }
            let id = arg.get_id().clone();
            let values = match &setting.value {
                SettingValue::Off => continue,
                SettingValue::On if takes(arg) == Takes::Nothing => vec!["true".to_owned()],
                SettingValue::On => {
                    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
                    arguments.insert(end, format!("--{}", setting.flag).into());
                    continue;
                }
                SettingValue::Values(values) => values.clone(),
            };
            // A default value does not satisfy what clap requires.
            let set = |arg: Arg| {
                arg.default_values(values).required(false).required_unless_present(Resettable::<clap::Id>::Reset)
            };
            command = match arg.is_global_set() {
                true => command.mut_arg(id, set),
                false => command.mut_subcommand(&verb, |flags| flags.mut_arg(id, set)),
            };
        }
        (command, arguments)
    }

    /// Lines about the settings that an error names.
    pub(super) fn notes(&self, verb: &str, error: &str) -> Vec<String> {
        let is_named = |setting: &&Setting| {
            let flag = format!("--{}", setting.flag);
            let mut words = error.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            setting.verb == verb && setting.value != SettingValue::Off && words.any(|word| word == flag)
        };
        let line = |setting: &Setting| format!("--{} is set by {}", setting.flag, setting.origin);
        self.0.iter().filter(is_named).map(line).collect()
    }
}

/// Whether this verb reads the settings of the computer, or shows them.
pub(super) fn has_settings(verb: &str) -> bool {
    VERBS.contains(&verb) || verb == "config"
}

/// The values that a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    ValueOrNothing,
}

fn takes(arg: &Arg) -> Takes {
    match (arg.get_action(), arg.get_num_args()) {
        (ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count, _) => Takes::Nothing,
        (_, Some(range)) if range.min_values() == 0 => Takes::ValueOrNothing,
        _ => Takes::Value,
    }
}

/// The flag of a verb with this long name, if it may be a setting.
fn flag_of<'a>(command: &'a Command, verb: &str, flag: &str) -> Option<&'a Arg> {
    if NO_SETTINGS.contains(&flag) || !VERBS.contains(&verb) {
        return None;
    }
    let own = command.find_subcommand(verb)?.get_arguments();
    let global = command.get_arguments().filter(|arg| arg.is_global_set());
    own.chain(global).find(|arg| arg.get_long() == Some(flag))
}

/// The verb of a command line, and the ids of its flags. `None` where clap has something else to say, such as help.
fn typed_flags(command: &Command, arguments: &[OsString]) -> Option<(String, Vec<String>)> {
    let matches = command.clone().ignore_errors(true).try_get_matches_from(arguments).ok()?;
    let (verb, flags) = matches.subcommand()?;
    let is_typed = |id: &&clap::Id| {
        matches!(flags.value_source(id.as_str()), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    Some((verb.to_owned(), flags.ids().filter(is_typed).map(|id| id.as_str().to_owned()).collect()))
}

/// A configuration file, and the command that knows its flags.
struct ConfigFile<'a> {
    path: &'a Path,
    text: &'a str,
    command: &'a Command,
}

impl ConfigFile<'_> {
    fn read(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, error.message())
        })?;
        // The table of a verb wins over what is above the tables.
        for (name, value) in table.get_ref() {
            let (name, at) = (name.get_ref().as_ref(), name.span().start);
            let DeValue::Table(flags) = value.get_ref() else { continue };
            if !VERBS.contains(&name) {
                let known = VERBS.join(", ");
                return Err(self.error(at, format!("there is no table [{name}]: the tables are {known}")));
            }
            for (flag, value) in flags {
                let (flag, at) = (flag.get_ref().as_ref(), flag.span().start);
                let arg = flag_of(self.command, name, flag).ok_or_else(|| self.unknown(at, flag, &[name]))?;
                settings.add(self.setting(name, arg, value)?);
            }
        }
        for (flag, value) in table.get_ref() {
            let (flag, at) = (flag.get_ref().as_ref(), flag.span().start);
            if value.get_ref().is_table() {
                continue;
            }
            let verbs = VERBS.into_iter().filter_map(|verb| Some((verb, flag_of(self.command, verb, flag)?)));
            let verbs: Vec<_> = verbs.collect();
            if verbs.is_empty() {
                return Err(self.unknown(at, flag, &VERBS));
            }
            for (verb, arg) in verbs {
                settings.add(self.setting(verb, arg, value)?);
            }
        }
        Ok(())
    }

    fn setting(&self, verb: &str, arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Setting, ConfigError> {
        let flag = arg.get_long().unwrap_or_default();
        let at = value.span().start;
        let repeats = matches!(arg.get_action(), ArgAction::Append);
        let value = match (value.get_ref(), takes(arg)) {
            (DeValue::Boolean(false), Takes::Nothing | Takes::ValueOrNothing) => SettingValue::Off,
            (DeValue::Boolean(true), Takes::Nothing | Takes::ValueOrNothing) => SettingValue::On,
            (_, Takes::Nothing) => return Err(self.error(at, format!("{flag} is true or false"))),
            (DeValue::Array(values), _) if repeats => {
                let texts = values.iter().map(|value| self.text_of(flag, value));
                SettingValue::Values(texts.collect::<Result<_, _>>()?)
            }
            (DeValue::Array(_), _) => return Err(self.error(at, format!("{flag} has one value, not a list"))),
            _ => SettingValue::Values(vec![self.text_of(flag, value)?]),
        };
        Ok(Setting {
            verb: verb.to_owned(),
            flag: flag.to_owned(),
            value,
            origin: Origin::File(self.path.to_owned(), self.place(at).0),
            is_secret: arg.is_hide_env_values_set(),
        })
    }

    /// The value as it is typed on a command line.
    fn text_of(&self, flag: &str, value: &Spanned<DeValue<'_>>) -> Result<String, ConfigError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            other => {
                let message = format!("{flag} can't be a {}: write the value in quotes", other.type_str());
                Err(self.error(value.span().start, message))
            }
        }
    }

    fn unknown(&self, at: usize, flag: &str, verbs: &[&str]) -> ConfigError {
        let known = |verb: &&str| self.command.find_subcommand(verb);
        let flags = verbs.iter().filter_map(known).flat_map(Command::get_arguments).filter_map(Arg::get_long);
        let nearest = flags
            .filter(|known| !NO_SETTINGS.contains(known))
            .map(|known| (strsim::jaro_winkler(known, flag), known))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let advice = match (nearest, verbs) {
            (Some((likeness, known)), _) if likeness > 0.8 => format!("did you mean {known}?"),
            (_, [verb]) => format!("classroom {verb} --help lists the flags"),
            _ => "the keys are the long names of flags, without --".to_owned(),
        };
        let place = match verbs {
            [verb] => format!("classroom {verb} has no flag --{flag}"),
            _ => format!("no verb has a flag --{flag}"),
        };
        self.error(at, format!("{place}: {advice}"))
    }

    fn error(&self, at: usize, message: impl Into<String>) -> ConfigError {
        let (line, column) = self.place(at);
        ConfigError { path: self.path.to_owned(), line, column, message: message.into() }
    }

    /// The line and the column of a byte, from 1.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use super::*;
    use crate::cli::{Cli, Command, ShownSettings, Sink, parse_with};

    fn settings(files: &[&str], variables: &[(&str, &str)]) -> Result<Settings, String> {
        let files: Vec<_> = files.iter().map(|text| (PathBuf::from("/etc/a.toml"), (*text).to_owned())).collect();
        let variables: Vec<_> = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Settings::new(&crate::cli::typed_command(), &files, &variables).map_err(|error| error.to_string())
    }

    fn parsed(line: &str, settings: Settings) -> Result<Cli, String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let shown = ShownSettings { settings, ..ShownSettings::default() };
        parse_with(words, shown).map_err(|error| error.to_string())
    }

    fn watch(line: &str, files: &[&str], variables: &[(&str, &str)]) -> crate::cli::Watch {
        match parsed(line, settings(files, variables).unwrap()).unwrap().command {
            Command::Watch(watch) => watch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_that_over_the_files() {
        let files = ["user = \"of-user\"\n[watch]\nsink = 'null'\n", "room = 1\nuser = 'of-system'\nquiet = true\n"];
        let watched = |line: &str, variables: &[(&str, &str)]| {
            let watch = watch(line, &files, variables);
            (watch.member.room.to_string(), watch.member.user.to_string(), watch.sink == Sink::Null)
        };
        let all = |room: &str, user: &str| (room.to_owned(), user.to_owned(), true);
        assert_eq!(watched("classroom watch", &[]), all("1", "of-user"));
        let variable = [("CLASSROOM_USER", "of-variable"), ("CLASSROOM_NO_SUCH_FLAG", "1"), ("HOME", "/")];
        assert_eq!(watched("classroom watch", &variable), all("1", "of-variable"));
        assert_eq!(watched("classroom watch --user typed --room 2", &variable), all("2", "typed"));
        let cli = parsed("classroom watch", settings(&files, &[]).unwrap()).unwrap();
        assert_eq!(cli.verbosity, crate::report::Verbosity::Quiet);
    }

    #[test]
    fn switches_lists_and_flags_without_a_value_are_set() {
        let file = "[teach]\nroom = 'a'\nno-audio = true\nend-class = true\ncode = true\nfile = ['a.mp4', 'b.mp4']\n";
        let off = settings(&["[teach]\nend-class = false\ncode = false", file], &[]).unwrap();
        let Command::Teach(teach) = parsed("classroom teach", off).unwrap().command else { panic!() };
        assert_eq!((teach.end_class, teach.room_access.code.is_some()), (false, false), "the user's file turns it off");
        let on = settings(&[file], &[("CLASSROOM_LOOP", "yes"), ("CLASSROOM_END_CLASS", "0")]).unwrap();
        let Command::Teach(teach) = parsed("classroom teach", on).unwrap().command else { panic!() };
        assert_eq!((teach.end_class, teach.room_access.code.is_some()), (false, true));
        assert!(format!("{teach:?}").contains("b.mp4"), "{teach:?}");
    }

    #[test]
    fn a_typed_flag_wins_over_a_setting_that_contradicts_it() {
        let file = settings(&["[teach]\nroom = 'a'\nserver = 'ws://h'\ntls = true\n"], &[]).unwrap();
        assert!(parsed("classroom teach --listen 127.0.0.1:1", file.clone()).is_ok());
        assert!(parsed("classroom teach --tls-cert a --tls-key b --listen 127.0.0.1:1", file).is_ok());
    }

    #[test]
    fn errors_of_a_file_name_its_line_and_what_helps() {
        for (text, wanted) in [
            ("a = ", "/etc/a.toml:1:5: "),
            ("\n[teach]\n  bitrat = 1", "/etc/a.toml:3:3: classroom teach has no flag --bitrat: did you mean bitrate?"),
            ("qqq = 1", "/etc/a.toml:1:1: no verb has a flag --qqq: the keys are the long names"),
            ("[token]\nroom = 1", "/etc/a.toml:1:2: there is no table [token]: the tables are demo, teach"),
            ("[teach]\nno-audio = 'yes'", "/etc/a.toml:2:12: no-audio is true or false"),
            ("[teach]\nroom = ['a', 'b']", "/etc/a.toml:2:8: room has one value, not a list"),
            ("[teach]\nroom = {}", "/etc/a.toml:2:8: room can't be a table: write the value in quotes"),
            ("config = 'b.toml'", "no verb has a flag --config"),
        ] {
            let error = settings(&[text], &[]).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let bad = settings(&["[watch]\nroom = 1\nuser = 1\nlatency = 'x'"], &[]).unwrap();
        let error = parsed("classroom watch", bad).unwrap_err();
        assert!(error.contains("'x' for '--latency"), "{error}");
        assert!(error.ends_with("--latency is set by /etc/a.toml, line 4\n"), "{error}");
    }

    #[test]
    fn other_verbs_have_no_settings() {
        let file = settings(&["json = true\nroom = 'a'"], &[]).unwrap();
        let cli = parsed("classroom devices", file).unwrap();
        assert_eq!((cli.command, cli.output), (Command::Devices, crate::report::Output::Human));
    }
}
