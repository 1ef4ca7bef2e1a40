//! The configuration files of this computer and of its user, and the variables of the environment.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::settings::MAX_BYTES;

/// The file in each folder.
const NAME: &str = "classroom/classroom.toml";

/// The variable with the path of a file that replaces all others. Without a value no file is read.
const VARIABLE: &str = "CLASSROOM_CONFIG";

/// The configuration files of this computer.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The files with their contents, the most important one first.
    pub(super) files: Vec<(PathBuf, String)>,
    /// The paths at which this user has no file.
    pub(super) absent: Vec<PathBuf>,
}

/// Reads the file that was `asked` for, or else the files of the XDG Base Directory Specification.
///
/// # Errors
/// The path and the cause, if a file can't be read, or if the file that was asked for is absent.
pub(super) fn find(asked: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Result<Found, String> {
    let asked = asked.map(Path::as_os_str).map(OsString::from).or_else(|| variable(VARIABLE));
    let mut found = Found::default();
    match asked {
        Some(path) if path.is_empty() => {}
        Some(path) => {
            let path = PathBuf::from(path);
            let text = read(&path).map_err(|error| match error.kind() {
                ErrorKind::NotFound => {
                    format!("there is no configuration file {}: write one, or leave out --config", path.display())
                }
                _ => refusal(&path, &error),
            })?;
            found.files.push((path, text));
        }
        None => {
            for path in standard_paths(variable) {
                match read(&path) {
                    Ok(text) => found.files.push((path, text)),
                    // Another user's home directory may be private.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                        found.absent.push(path);
                    }
                    Err(error) => return Err(refusal(&path, &error)),
                }
            }
        }
    }
    Ok(found)
}

/// The user's file, and then those of the system.
fn standard_paths(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let folder = |name: &str| variable(name).map(PathBuf::from).and_then(absolute);
    let own = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    let system = variable("XDG_CONFIG_DIRS").filter(|folders| !folders.is_empty());
    let system = system.unwrap_or_else(|| "/etc/xdg".into());
    own.into_iter().chain(std::env::split_paths(&system).filter_map(absolute)).map(|path| path.join(NAME)).collect()
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64;
    if read > MAX_BYTES { Err(io::Error::other("it has more than 1 MB")) } else { Ok(text) }
}

fn refusal(path: &Path, error: &io::Error) -> String {
    format!("can't read the configuration file {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_file_comes_before_those_of_the_system() {
        let variables = |name: &str| match name {
            "HOME" => Some("/home/ada".into()),
            "XDG_CONFIG_DIRS" => Some("/etc/lab:relative:/etc/xdg".into()),
            _ => None,
        };
        let paths = ["/home/ada/.config", "/etc/lab", "/etc/xdg"].map(|folder| Path::new(folder).join(NAME));
        assert_eq!(standard_paths(variables), paths);
        let of_xdg = |name: &str| (name == "XDG_CONFIG_HOME").then(|| "/c".into());
        assert_eq!(standard_paths(of_xdg), ["/c", "/etc/xdg"].map(|folder| Path::new(folder).join(NAME)));
    }

    #[test]
    fn a_file_that_was_asked_for_replaces_all_others_and_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "room = 1").unwrap();
        let found = find(Some(&file), |_| None).unwrap();
        assert_eq!((found.files, found.absent), (vec![(file.clone(), "room = 1".to_owned())], vec![]));
        let by_variable = |name: &str| (name == VARIABLE).then(|| file.clone().into_os_string());
        assert_eq!(find(None, by_variable).unwrap().files.len(), 1);
        assert!(find(None, |name| (name == VARIABLE).then(OsString::new)).unwrap().files.is_empty());
        let refused = find(Some(&folder.path().join("b.toml")), |_| None).unwrap_err();
        assert!(refused.contains("b.toml: write one"), "{refused}");
        let too_long = find(Some(Path::new("/dev/zero")), |_| None).unwrap_err();
        assert!(too_long.contains("more than 1 MB"), "{too_long}");
    }
}
