//! A VideoRoom of a Janus server, as the flags describe it.

use super::access::read_secrets;
use super::trust::ClientTrust;
use crate::cli::{JanusAccess, SecretSource, ServerTrust};
use crate::exit::{Exit, Failure};
use crate::id::{Nickname, RoomId};
use crate::janus::{JanusError, JanusRoom, JanusServer};
use crate::report::Reporter;

/// The room of `--room` at the Janus of `--janus`. Reads the files of the flags.
///
/// # Errors
/// If a file can't be read.
pub(super) fn janus_room(
    (access, room): (&JanusAccess, &RoomId),
    display: &Nickname,
    trust: &ServerTrust,
    reporter: &Reporter,
) -> Result<JanusRoom, Failure> {
    let secret = |source: &Option<SecretSource>, flag: &'static str| match source {
        None => Ok(None),
        Some(SecretSource::Given(secret)) => Ok(Some(secret.as_str().to_owned())),
        Some(SecretSource::File(path)) => {
            let text = read_secrets(path, flag, reporter)?;
            Ok::<_, Failure>(Some(text.lines().next().unwrap_or_default().trim().to_owned()))
        }
    };
    let pin = secret(&access.pin, "--janus-pin-file")?;
    let token = secret(&access.token, "--janus-token-file")?;
    let trust = ClientTrust::new(trust)?.of_named(access.url.server());
    let server = JanusServer { url: access.url.clone(), trust, token };
    Ok(JanusRoom { server, id: room.into(), pin, secret: None, display: display.as_str().to_owned(), creates: false })
}

/// The exit code of an error.
pub(super) fn janus_failure(error: JanusError) -> Failure {
    let exit = if error.is_refusal() { Exit::Refused } else { Exit::ServerUnreachable };
    Failure::new(exit, error)
}
