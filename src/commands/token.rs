//! `classroom token`: signs tokens, and makes keys to sign them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::access::{key_file, read_secrets};
use crate::access::{self, Algorithm, Grant, KeyFile, SigningKey};
use crate::cli::{NewKey, NewKeyKind, SignToken, Signer, Token};
use crate::exit::Failure;
use crate::report::Reporter;

/// The life of a token begins this long before it is made, because clocks differ.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// A token for scripts.
#[derive(Serialize)]
struct SignedToken<'a> {
    token: &'a str,
    /// Unix time in seconds, as in the token.
    exp: u64,
    /// The id of the token, by which a key file revokes it.
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
}

/// Signs a token or makes a key. Prints a token, and nothing else, on stdout.
pub(super) fn run(token: Token, reporter: &Reporter) -> Result<(), Failure> {
    match token {
        Token::Sign(token) => sign(token, reporter),
        Token::NewKey(new) => make_key(&new, reporter),
    }
}

fn sign(token: SignToken, reporter: &Reporter) -> Result<(), Failure> {
    let signer = match &token.signer {
        Signer::KeyFile { path, key } => SigningKey::from_file(&key_file(path, reporter)?, key.as_ref())
            .map_err(|error| Failure::usage(anyhow::anyhow!("{error} ({})", path.display())))?,
        Signer::PrivateKey { path, key } => {
            let pem = read_secrets(path, "--private-key", reporter)?;
            SigningKey::from_pem(key.clone(), &pem)
                .map_err(|error| Failure::usage(anyhow::anyhow!("can't use {}: {error}", path.display())))?
        }
    };
    let now = SystemTime::now();
    let until = now + token.ttl;
    let grant = Grant {
        room: token.room,
        user: token.user,
        nickname: token.nickname,
        role: token.role,
        from: now - CLOCK_SKEW,
        until,
        id: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>()),
    };
    let text = signer.sign(&grant).map_err(Failure::internal)?;
    let link = token.link.map(|base| format!("{base}/room/{}#token={text}", grant.room));
    if reporter.is_json() {
        let exp = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        reporter.result_object(&SignedToken { token: &text, exp, jti: &grant.id, link: link.as_deref() });
    } else {
        reporter.result(link.as_deref().unwrap_or(&text));
    }
    Ok(())
}

fn make_key(new: &NewKey, reporter: &Reporter) -> Result<(), Failure> {
    let algorithm = match &new.kind {
        NewKeyKind::Secret => Algorithm::Hs256,
        NewKeyKind::KeyPair { .. } => Algorithm::EdDsa,
    };
    let key = access::NewKey::new(new.id.clone(), algorithm, &rand::random());
    let auth = new.auth.display();
    let before = match new.auth.exists() {
        true => Some(read_secrets(&new.auth, "--auth", reporter)?),
        false => None,
    };
    let text = KeyFile::text_with(before.as_deref(), &key)
        .map_err(|error| Failure::usage(anyhow::anyhow!("can't add a key to {auth}: {error}")))?;
    if let (NewKeyKind::KeyPair { private_key }, Some(pem)) = (&new.kind, key.private_pem()) {
        write_new(private_key, pem).map_err(|cause| cannot_write(private_key, &cause))?;
        reporter.notice(format!("wrote the private key to {}: keep it where tokens are made", private_key.display()));
    }
    replace(&new.auth, &text).map_err(|cause| cannot_write(&new.auth, &cause))?;
    let who = match algorithm {
        Algorithm::Hs256 => "whoever reads this file can make tokens",
        Algorithm::EdDsa => "only the private key can make tokens",
    };
    reporter.notice(format!("added the key {} ({}) to {auth}: {who}", new.id, algorithm.as_str()));
    Ok(())
}

fn cannot_write(path: &Path, cause: &io::Error) -> Failure {
    Failure::usage(anyhow::anyhow!("can't write {}: {cause}; choose another file", path.display()))
}

/// Writes a file that only its owner can read. It must not exist: a private key can't be made again.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Writes a file in one step, because a server may read it at any time. The owner and the mode stay as they are; a new
/// file is for its owner only.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let Ok(before) = fs::metadata(path) else { return write_new(path, text) };
    let target = fs::canonicalize(path)?;
    let folder = target.parent().ok_or(io::ErrorKind::NotADirectory)?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    let file: &File = temporary.as_file();
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
        chown(temporary.path(), Some(before.uid()), Some(before.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(before.mode() & 0o7777))?;
    file.sync_all()?;
    temporary.persist(&target).map_err(|error| error.error)?;
    Ok(())
}
