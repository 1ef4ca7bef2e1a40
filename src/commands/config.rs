//! `classroom config`: the settings of this computer, and where they come from.

use serde_json::json;

use crate::cli::{Setting, SettingValue, ShownSettings};
use crate::report::Reporter;

/// Stands for a secret.
const HIDDEN: &str = "(a secret)";

/// Prints the settings.
pub(super) fn run(shown: &ShownSettings, reporter: &Reporter) {
    let wanted = |setting: &&Setting| shown.verb.as_ref().is_none_or(|verb| setting.verb == *verb);
    let settings: Vec<&Setting> = shown.settings.iter().filter(wanted).collect();
    if reporter.is_json() {
        let objects = settings.iter().map(|setting| {
            json!({
                "verb": setting.verb,
                "flag": setting.flag,
                "value": value_of(setting),
                "from": setting.origin.to_string(),
            })
        });
        let objects: Vec<_> = objects.collect();
        reporter.result_object(&json!({ "files": shown.files, "absent": shown.absent, "settings": objects }));
        return;
    }
    for path in &shown.files {
        reporter.notice(format!("read {}", path.display()));
    }
    for path in &shown.absent {
        reporter.notice(format!("there is no {}", path.display()));
    }
    if settings.is_empty() {
        reporter.notice("no settings: each flag has the default value that --help shows");
    }
    reporter.finish();
    let lines = settings.iter().map(|setting| format!("{} {}  ({})", setting.verb, typed(setting), setting.origin));
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        reporter.result(&lines.join("\n"));
    }
}

/// The value as a script reads it: `true`, `false`, or a list of texts.
fn value_of(setting: &Setting) -> serde_json::Value {
    match &setting.value {
        SettingValue::Off => json!(false),
        SettingValue::On => json!(true),
        SettingValue::Values(_) if setting.is_secret => json!([HIDDEN]),
        SettingValue::Values(values) => json!(values),
    }
}

/// The flag as a person types it.
fn typed(setting: &Setting) -> String {
    let flag = &setting.flag;
    match &setting.value {
        SettingValue::Off => format!("without --{flag}"),
        SettingValue::On => format!("--{flag}"),
        SettingValue::Values(_) if setting.is_secret => format!("--{flag} {HIDDEN}"),
        SettingValue::Values(values) => {
            let flags = values.iter().map(|value| match value.contains(char::is_whitespace) || value.is_empty() {
                true => format!("--{flag} '{value}'"),
                false => format!("--{flag} {value}"),
            });
            flags.collect::<Vec<_>>().join(" ")
        }
    }
}
