//! The secrets of a server: read from files, and read again when the file of `--auth` changes.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::blocking;
use crate::access::{Access, AccessConfig, KeyFile, TeachingKey, TurnSecret};
use crate::cli::{AccessPolicy, TeachingKeySource};
use crate::exit::Failure;
use crate::id::KeyId;
use crate::report::Reporter;

/// How often to look at the file of `--auth`. A change is read when the file has not changed for this long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest file of secrets, in bytes: thousands of keys.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The bits of a file's mode by which other users read or write it.
const OTHERS: u32 = 0o006;

/// The access policy of a running server. Dropping ends the reading of its key file.
pub(super) struct ServerAccess {
    policy: Arc<Access>,
    reload: Option<JoinHandle<()>>,
}

impl ServerAccess {
    /// Reads the secrets that the flags name. `trusts_loopback`: see [`AccessConfig`].
    /// `own_turn` is the secret for the TURN server of this process, if the flags have none.
    pub(super) fn start(
        flags: &AccessPolicy,
        trusts_loopback: bool,
        own_turn: Option<TurnSecret>,
        reporter: &Reporter,
    ) -> Result<Self, Failure> {
        let teaching_key = teaching_key(flags.teaching_key.as_ref(), reporter)?;
        let watched = flags.auth.as_ref().map(|path| WatchedKeys::open(path, reporter)).transpose()?;
        let (keys, watch) = watched.unzip();
        let turn_secret = flags.turn_secret.clone().or(own_turn);
        let policy = Arc::new(Access::new(AccessConfig { teaching_key, keys, trusts_loopback, turn_secret }));
        let reload = watch.map(|watch| tokio::spawn(reload(watch, policy.clone(), reporter.clone())));
        Ok(Self { policy, reload })
    }

    /// The policy, whose keys change with the file.
    pub(super) fn policy(&self) -> Arc<Access> {
        self.policy.clone()
    }
}

impl Drop for ServerAccess {
    fn drop(&mut self) {
        if let Some(task) = &self.reload {
            task.abort();
        }
    }
}

/// The teaching key of the flags.
pub(super) fn teaching_key(
    source: Option<&TeachingKeySource>,
    reporter: &Reporter,
) -> Result<Option<TeachingKey>, Failure> {
    match source {
        None => Ok(None),
        Some(TeachingKeySource::Given(key)) => Ok(Some(key.clone())),
        Some(TeachingKeySource::File(path)) => {
            let text = read_secrets(path, "--teach-key-file", reporter)?;
            let key = text.lines().next().unwrap_or_default().trim().parse();
            let refused = |error| Failure::usage(anyhow::anyhow!("can't use the key in {}: {error}", path.display()));
            key.map(Some).map_err(refused)
        }
    }
}

/// Reads the key file of a flag.
pub(super) fn key_file(path: &Path, reporter: &Reporter) -> Result<KeyFile, Failure> {
    let text = read_secrets(path, "--auth", reporter)?;
    KeyFile::parse(&text).map_err(|error| Failure::usage(anyhow::anyhow!("can't use {}: {error}", path.display())))
}

/// Reads a file of secrets. Warns if other users of this computer can read it.
pub(super) fn read_secrets(path: &Path, flag: &str, reporter: &Reporter) -> Result<String, Failure> {
    let (text, metadata) = read(path).map_err(|cause| {
        Failure::usage(anyhow::anyhow!("can't read {} of {flag}: {cause}; choose another file", path.display()))
    })?;
    if metadata.is_file() && metadata.mode() & OTHERS != 0 {
        let name = path.display();
        reporter
            .warn(format!("every user of this computer has access to the secrets in {name}: run chmod o-rw {name}"));
    }
    Ok(text)
}

fn read(path: &Path) -> io::Result<(String, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut text = String::new();
    let length = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)? as u64;
    if length > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"));
    }
    Ok((text, metadata))
}

/// The metadata that changes with a file; `None` without a file.
type Stamp = Option<(i64, i64, i64, i64, u64, u64)>;

fn stamp(path: &Path) -> Stamp {
    // By path, because editors replace the file.
    let file = std::fs::metadata(path).ok()?;
    Some((file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec(), file.size(), file.ino()))
}

/// A key file that may change.
struct WatchedKeys {
    path: PathBuf,
    /// The stamp of the content that was read.
    read: Stamp,
    /// The stamp at the last look.
    seen: Stamp,
}

impl WatchedKeys {
    fn open(path: &Path, reporter: &Reporter) -> Result<(KeyFile, Self), Failure> {
        // Before reading, so that a change in between is noticed.
        let read = stamp(path);
        Ok((key_file(path, reporter)?, Self { path: path.to_owned(), read, seen: read }))
    }

    /// Looks at the file, and reads it if it has changed since it was read, and not since the last look: a file that is
    /// being written is not complete.
    fn look(&mut self) -> Option<Result<KeyFile, String>> {
        let seen = stamp(&self.path);
        let is_settled = std::mem::replace(&mut self.seen, seen) == seen;
        if !is_settled || seen == self.read {
            return None;
        }
        self.read = seen;
        let text = read(&self.path).map_err(|cause| cause.to_string());
        Some(text.and_then(|(text, _)| KeyFile::parse(&text).map_err(|error| error.to_string())))
    }
}

/// Gives the policy the keys of a file whenever it changes.
async fn reload(mut watched: WatchedKeys, policy: Arc<Access>, reporter: Reporter) {
    let name = watched.path.display().to_string();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Ok((looked, found)) = blocking(move || {
            let found = watched.look();
            (watched, found)
        })
        .await
        else {
            return;
        };
        watched = looked;
        match found {
            None => {}
            Some(Ok(keys)) => {
                let ids: Vec<&str> = keys.ids().map(KeyId::as_str).collect();
                reporter.notice(format!("read {name} again: tokens of {} are valid", ids.join(", ")));
                policy.set_keys(keys);
            }
            Some(Err(error)) => reporter.warn(format!("can't use {name}: {error}; the keys from before stay valid")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::access::{Algorithm, NewKey};
    use crate::report::{Output, Verbosity};

    fn text(ids: &[&str]) -> String {
        ids.iter()
            .fold(None, |text: Option<String>, id| {
                let key = NewKey::new(id.parse().unwrap(), Algorithm::Hs256, &[7; 32]);
                Some(KeyFile::text_with(text.as_deref(), &key).unwrap())
            })
            .unwrap()
    }

    fn quiet() -> Reporter {
        Reporter::new(Output::Human, Verbosity::Quiet, None)
    }

    fn ids(keys: &KeyFile) -> Vec<&str> {
        keys.ids().map(KeyId::as_str).collect()
    }

    #[test]
    fn a_changed_key_file_is_read_once_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, text(&["a"])).unwrap();
        let (keys, mut watched) = WatchedKeys::open(&path, &quiet()).unwrap();
        assert_eq!(ids(&keys), ["a"]);
        assert!(watched.look().is_none() && watched.look().is_none(), "nothing has changed");
        fs::write(&path, &text(&["a", "b"])[..40]).unwrap();
        assert!(watched.look().is_none(), "it is being written");
        fs::write(&path, text(&["a", "b"])).unwrap();
        assert!(watched.look().is_none());
        assert_eq!(ids(&watched.look().unwrap().unwrap()), ["a", "b"]);
        assert!(watched.look().is_none(), "once");
        // An editor writes another file and renames it.
        fs::write(folder.path().join("new"), text(&["c"])).unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(watched.look().is_none());
        assert_eq!(ids(&watched.look().unwrap().unwrap()), ["c"]);
        fs::remove_file(&path).unwrap();
        assert!(watched.look().is_none());
        assert!(watched.look().unwrap().unwrap_err().contains("No such file"));
        assert!(watched.look().is_none(), "the warning comes once");
        fs::write(&path, "{}").unwrap();
        assert!(watched.look().is_none());
        assert!(watched.look().unwrap().unwrap_err().contains("missing field `keys`"));
        fs::write(&path, text(&["d"])).unwrap();
        assert!(watched.look().is_none());
        assert_eq!(ids(&watched.look().unwrap().unwrap()), ["d"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_server_gets_the_new_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, text(&["a"])).unwrap();
        let flags = AccessPolicy { auth: Some(path.clone()), ..AccessPolicy::default() };
        let server = ServerAccess::start(&flags, true, None, &quiet()).unwrap();
        let policy = server.policy();
        assert!(!policy.teaches_only_here());
        assert_eq!(policy.key_ids(), ["a".parse().unwrap()]);
        fs::write(&path, text(&["b"])).unwrap();
        for _ in 0..100 {
            tokio::time::sleep(LOOK_EVERY).await;
            if policy.key_ids() == ["b".parse().unwrap()] {
                return;
            }
        }
        panic!("the server has {:?}", policy.key_ids());
    }

    #[test]
    fn a_teaching_key_may_be_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let read = |content: &str| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            teaching_key(Some(&TeachingKeySource::File(path.clone())), &quiet())
        };
        let key = read("correct-horse\n").unwrap().unwrap();
        assert!(key.matches("correct-horse"));
        let error = read("short\n").unwrap_err().to_string();
        assert!(error.contains("5 characters") && error.contains("key") && !error.contains("short"), "{error}");
        assert!(read("").is_err() && read(&"x".repeat(2 << 20)).is_err());
        let missing = TeachingKeySource::File(folder.path().join("nowhere"));
        let error = teaching_key(Some(&missing), &quiet()).unwrap_err().to_string();
        assert!(error.contains("nowhere") && error.contains("--teach-key-file"), "{error}");
        assert!(teaching_key(None, &quiet()).unwrap().is_none());
    }
}
