//! Shell completions and manual pages, made from the flags.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::TypedCli;

/// The script that completes verbs and flags of `classroom` in a shell. clap_complete would complete hidden verbs, too.
pub fn completions(shell: Shell) -> String {
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

/// None where the page can't be written, which writing into memory never is.
fn page(command: clap::Command) -> Option<(String, Vec<u8>)> {
    let page = Man::new(command);
    let mut roff = Vec::new();
    page.render(&mut roff).ok()?;
    Some((page.get_filename(), roff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_every_verb() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let script = completions(shell);
            for word in ["teach", "watch", "max-students", "expect"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
            for hidden in ["bench-students", "inspect-files"] {
                assert!(!script.contains(hidden), "{shell}: {hidden}");
            }
        }
    }

    #[test]
    fn every_verb_has_a_page_with_all_of_its_flags() {
        let pages = man_pages();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["classroom.1", "classroom-teach.1", "classroom-watch.1", "classroom-completions.1"] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        assert!(!names.contains(&"classroom-bench-students.1"));
        let (_, teach) = pages.iter().find(|(name, _)| name == "classroom-teach.1").unwrap();
        let teach = String::from_utf8_lossy(teach);
        assert!(teach.contains("turn\\-pass") && teach.contains(".TH classroom-teach 1"), "{teach}");
    }
}
