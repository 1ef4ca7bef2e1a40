//! The secret by which a restarted client gets its user id back.
//!
//! A small file per server, room and user keeps it, locked while the process lives: a client that was killed and
//! started again finds the secret, while a second process with the same user id on the same machine does not and is a
//! stranger.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::distr::{Alphanumeric, SampleString};

use super::ServerUrl;
use crate::id::{RoomId, UserId};
use crate::protocol::SessionSecret;
use crate::state_dir::state_dir;

/// 32 letters and digits are 190 bits.
const SECRET_CHARS: usize = 32;

/// A session's secret, and the lock on its file.
///
/// Dropping a token removes the file: a process that ends normally has left the room. A killed process leaves the file.
#[derive(Debug)]
pub struct SessionToken {
    session: SessionSecret,
    kept: Option<(PathBuf, File)>,
}

impl SessionToken {
    /// The secret of this user in this room on this server. It is new if no secret is kept, if another process uses the
    /// kept one, or if no file can be written.
    pub fn acquire(server: &ServerUrl, room: &RoomId, user: &UserId) -> Self {
        Self::of(&server.authority(), room, user)
    }

    /// The same for a server that discovery finds: all addresses of one machine lead to the same member of the room.
    pub fn acquire_anywhere(room: &RoomId, user: &UserId) -> Self {
        // No server has this authority.
        Self::of("", room, user)
    }

    fn of(authority: &str, room: &RoomId, user: &UserId) -> Self {
        let kept = state_dir().and_then(|dir| keep(&dir, authority, room, user));
        match kept {
            Ok((session, path, file)) => Self { session, kept: Some((path, file)) },
            Err(_) => Self { session: random_session(), kept: None },
        }
    }

    /// A new secret without a file.
    pub fn fresh() -> Self {
        Self { session: random_session(), kept: None }
    }

    /// The secret.
    pub fn session(&self) -> &SessionSecret {
        &self.session
    }

    /// Whether the secret survives a kill of this process.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }
}

impl Drop for SessionToken {
    fn drop(&mut self) {
        if let Some((path, _locked)) = &self.kept {
            // A file that stays does no harm.
            _ = fs::remove_file(path);
        }
    }
}

/// A secret that nobody can guess.
pub(super) fn random_session() -> SessionSecret {
    loop {
        // The first draw is always valid; the loop replaces an unwrap.
        if let Ok(session) = Alphanumeric.sample_string(&mut rand::rng(), SECRET_CHARS).parse() {
            return session;
        }
    }
}

fn keep(dir: &Path, authority: &str, room: &RoomId, user: &UserId) -> io::Result<(SessionSecret, PathBuf, File)> {
    // No id contains `+`, so no two pairs of room and user share a name. A host may be too long for a file name, so its
    // hash is used; std's hashes may change between versions.
    let path = dir.join(format!("session+{room}+{user}+{:016x}", fnv1a(authority.as_bytes())));
    let mut options = OpenOptions::new();
    // A symbolic link that somebody else made is not followed.
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(&path)?;
    file.try_lock()?;
    let mut text = String::new();
    (&file).take(1_024).read_to_string(&mut text)?;
    let session = match text.trim().parse() {
        Ok(session) => session,
        Err(_) => {
            let session = random_session();
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(session.as_str().as_bytes())?;
            session
        }
    };
    Ok((session, path, file))
}

/// The 64-bit FNV-1a hash, which is the same in every version of this program.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::state_dir::private_dir;

    #[test]
    fn a_restarted_process_finds_the_secret_and_a_second_one_does_not() {
        let dir = std::env::temp_dir().join(format!("classroom-test-{}", random_session().as_str()));
        let dir = private_dir(dir).unwrap();
        let (authority, room) = ("host:1", "10013".parse().unwrap());
        let user: UserId = "1001".parse().unwrap();
        let keep = |user: &UserId| keep(&dir, authority, &room, user);

        let (first, path, file) = keep(&user).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(keep(&user).is_err(), "the lock is held, also against ourselves");
        assert_ne!(keep(&"1002".parse().unwrap()).unwrap().0, first);
        drop(file);
        let (again, _, file) = keep(&user).unwrap();
        assert_eq!(again, first);

        drop(SessionToken { session: again, kept: Some((path, file)) });
        assert_ne!(keep(&user).unwrap().0, first, "an end that is no kill frees the secret");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_without_a_valid_secret_is_rewritten() {
        let dir = std::env::temp_dir().join(format!("classroom-test-{}", random_session().as_str()));
        let dir = private_dir(dir).unwrap();
        let (authority, room, user) = ("host:1", "1".parse().unwrap(), "2".parse().unwrap());
        let (_, path, file) = keep(&dir, authority, &room, &user).unwrap();
        drop(file);
        fs::write(&path, "not a secret, and longer than one would be: ------------------").unwrap();
        let (session, _, file) = keep(&dir, authority, &room, &user).unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), session.as_str());
        fs::remove_dir_all(dir).unwrap();
    }
}
