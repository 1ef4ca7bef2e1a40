//! A client's trust in a server that the user names, or that DNS-SD finds.
//!
//! Anybody in the network can announce a room by DNS-SD. A client trusts the first server that it finds for a room, and
//! afterwards only the same one; `--fingerprint` or `--ca` replaces that.

use crate::cli::ServerTrust;
use crate::exit::Failure;
use crate::id::RoomId;
use crate::report::Reporter;
use crate::signal::{Found, ServerUrl};
use crate::tls::{Identity, KnownServers, Trust};

/// The flags of a client, and the servers that it knows.
#[derive(Debug, Clone)]
pub(super) struct ClientTrust {
    typed: ServerTrust,
    roots: Trust,
    known: KnownServers,
}

impl ClientTrust {
    /// Reads the file of `--ca`.
    pub(super) fn new(typed: &ServerTrust) -> Result<Self, Failure> {
        let roots = Trust::roots(typed.ca.as_deref()).map_err(Failure::usage)?;
        Ok(Self { typed: typed.clone(), roots, known: KnownServers::of_this_user() })
    }

    /// The trust in the server of `--server`.
    pub(super) fn of_named(&self, server: &ServerUrl) -> Trust {
        if let Some(fingerprint) = self.typed.fingerprint {
            return Trust::pinned(fingerprint);
        }
        match self.known.get(&server.authority()) {
            Some(Identity::Certificate(fingerprint)) => self.roots.clone().or(Some(fingerprint)),
            Some(Identity::Name(_)) | None => self.roots.clone(),
        }
    }

    /// The identity that the server of this room must have.
    pub(super) fn expected(&self, room: &RoomId) -> Option<Identity> {
        let typed = self.typed.fingerprint.map(Identity::Certificate);
        typed.or_else(|| self.known.get(&room_key(room)))
    }

    /// The trust in a server that DNS-SD has found, or the reason to refuse it.
    pub(super) fn of_found(&self, found: &Found) -> Result<Trust, String> {
        match self.expected(&found.room) {
            Some(expected) if found.identity.as_ref() != Some(&expected) => return Err(refusal(found, &expected)),
            _ => {}
        }
        Ok(match found.identity {
            Some(Identity::Certificate(fingerprint)) if self.typed.ca.is_none() => Trust::pinned(fingerprint),
            _ => self.roots.clone(),
        })
    }

    /// Remembers a named server that this client has joined.
    pub(super) fn joined_named(&self, server: &ServerUrl, room: &RoomId) {
        let Some(fingerprint) = self.typed.fingerprint else { return };
        let identity = Identity::Certificate(fingerprint);
        // Both are best effort; without the file the user types the flag again.
        _ = self.known.remember(&server.authority(), &identity);
        if self.known.get(&room_key(room)).is_some() {
            _ = self.known.remember(&room_key(room), &identity);
        }
    }

    /// Remembers a server that DNS-SD has found and that this client has joined.
    pub(super) fn joined_found(&self, found: &Found, reporter: &Reporter) {
        let Some(identity) = &found.identity else { return };
        let key = room_key(&found.room);
        if self.known.get(&key).as_ref() == Some(identity) {
            reporter.detail(format!("the server has the identity {identity}, as before"));
            return;
        }
        match self.known.remember(&key, identity) {
            Ok(()) => reporter.notice(format!(
                "the server has the identity {identity}; from now on only this one is trusted for room {}",
                found.room
            )),
            Err(error) => reporter.notice(format!(
                "the server has the identity {identity}, which can't be kept for the next time: {error}"
            )),
        }
    }
}

fn room_key(room: &RoomId) -> String {
    format!("room:{room}")
}

fn refusal(found: &Found, expected: &Identity) -> String {
    let Found { room, url, identity, .. } = found;
    let next = "if the teacher has another computer now, compare with the fingerprint on the teacher's screen, and add";
    match identity {
        Some(Identity::Certificate(new)) => format!(
            "{url} announces room {room} with the identity {new}, but its server had {expected}; {next} \
             --fingerprint {new} once"
        ),
        Some(Identity::Name(name)) => format!(
            "{url} announces room {room} with the identity {name}, but its server had {expected}; if your school uses \
             {name}, add --server {url}"
        ),
        None => format!(
            "{url} announces room {room} without TLS, but its server had the identity {expected}; ask the teacher to \
             start with --tls, or add --server {url}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "sha256:000102030405060708090a0b0c0d0e0f";
    const NEW: &str = "sha256:ffffffffffffffffffffffffffffffff";

    fn found(identity: Option<&str>) -> Found {
        Found {
            room: "10013".parse().unwrap(),
            url: ServerUrl::new("192.168.1.5", 18_080).with_tls(identity.is_some()),
            nickname: "Ms Li".into(),
            identity: identity.map(|identity| identity.parse().unwrap()),
        }
    }

    fn with(typed: ServerTrust, dir: &std::path::Path) -> ClientTrust {
        let known = KnownServers::at(dir.join("known-servers"));
        ClientTrust { typed, roots: Trust::roots(None).unwrap(), known }
    }

    #[test]
    fn the_first_server_of_a_room_is_trusted_and_then_only_that_one() {
        let dir = tempfile::tempdir().unwrap();
        let client = with(ServerTrust::default(), dir.path());
        let quiet = Reporter::new(crate::report::Output::Human, crate::report::Verbosity::Quiet, None);
        assert_eq!(client.expected(&found(None).room), None);
        assert!(client.of_found(&found(Some(OLD))).is_ok());
        client.joined_found(&found(Some(OLD)), &quiet);
        assert!(client.of_found(&found(Some(OLD))).is_ok());

        let changed = client.of_found(&found(Some(NEW))).unwrap_err();
        assert!(changed.contains(OLD) && changed.contains(&format!("--fingerprint {NEW}")), "{changed}");
        let plain = client.of_found(&found(None)).unwrap_err();
        assert!(plain.contains("without TLS") && plain.contains("--tls"), "{plain}");
        let named = client.of_found(&found(Some("school.example"))).unwrap_err();
        assert!(named.contains("school.example"), "{named}");
    }

    #[test]
    fn a_typed_fingerprint_replaces_a_known_one() {
        let dir = tempfile::tempdir().unwrap();
        let quiet = Reporter::new(crate::report::Output::Human, crate::report::Verbosity::Quiet, None);
        with(ServerTrust::default(), dir.path()).joined_found(&found(Some(OLD)), &quiet);
        let typed = with(ServerTrust { ca: None, fingerprint: NEW.parse().ok() }, dir.path());
        assert!(typed.of_found(&found(Some(NEW))).is_ok() && typed.of_found(&found(Some(OLD))).is_err());
        typed.joined_named(&found(Some(NEW)).url, &found(None).room);
        let later = with(ServerTrust::default(), dir.path());
        assert!(later.of_found(&found(Some(NEW))).is_ok() && later.of_found(&found(Some(OLD))).is_err());
    }
}
