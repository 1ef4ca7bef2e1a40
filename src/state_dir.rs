//! The folder in which this user's processes keep what must survive them: session secrets, the local CA, known servers.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// `$XDG_STATE_HOME/classroom`, else `~/.local/state/classroom`, else this user's own directory below the temporary
/// directory. Only this user can write to it.
///
/// # Errors
/// If none of these directories can be made, or if other users can write to the last one.
pub(crate) fn state_dir() -> io::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let homes = [absolute("XDG_STATE_HOME"), absolute("HOME").map(|home| home.join(".local/state"))];
    for home in homes.into_iter().flatten() {
        if let Ok(dir) = private_dir(home.join("classroom")) {
            return Ok(dir);
        }
    }
    let me = fs::metadata("/proc/self")?.uid();
    private_dir(std::env::temp_dir().join(format!("classroom-{me}")))
}

/// Makes a directory that only this user can write to, or returns an existing one.
pub(crate) fn private_dir(dir: PathBuf) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let found = fs::symlink_metadata(&dir)?;
    let me = fs::metadata("/proc/self")?.uid();
    if found.is_dir() && found.uid() == me && found.mode() & 0o022 == 0 {
        Ok(dir)
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "other users can write to the directory"))
    }
}

/// Replaces a file as a whole; only this user can read it (mode 0600).
pub(crate) fn replace(path: &Path, content: &str) -> io::Result<()> {
    temporary(path, content)?.persist(path)?;
    Ok(())
}

/// Like [`replace`], but fails if the file exists: of two processes that create it, one gets
/// [`io::ErrorKind::AlreadyExists`].
pub(crate) fn create(path: &Path, content: &str) -> io::Result<()> {
    temporary(path, content)?.persist_noclobber(path)?;
    Ok(())
}

/// A file of mode 0600 in the directory of `path`.
fn temporary(path: &Path, content: &str) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_private_and_created_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create(&path, "first").unwrap();
        assert_eq!(create(&path, "second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        replace(&path, "third").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        DirBuilder::new().mode(0o777).create(&open).unwrap();
        fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(private_dir(open).is_err());
        assert!(private_dir(dir.path().join("own")).is_ok());
    }
}
