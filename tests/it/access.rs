//! `classroom token`: keys and tokens as a school makes them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use classroom::access::{Access, AccessConfig, Claim, KeyFile, Rights};
use classroom::id::Nickname;
use classroom::network::ClientAddress;
use classroom::protocol::Credentials;

use crate::support::Process;

// A server with keys.
mod server;

/// Runs the program in a folder: exit code, stdout, stderr.
fn run(folder: &Path, line: &str) -> (i32, String, String) {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let output = Process::command(&arguments).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Runs the program, which must succeed; its stdout.
fn stdout(folder: &Path, line: &str) -> String {
    let (code, stdout, stderr) = run(folder, line);
    assert_eq!(code, 0, "classroom {line}: {stderr}");
    stdout
}

/// The user id and the rights of a token's holder in room 10013, on a server with this key file.
fn admitted(keys: &Path, token: &str) -> Result<(String, Rights), String> {
    let keys = KeyFile::parse(&fs::read_to_string(keys).unwrap()).unwrap();
    let access = Access::new(AccessConfig { keys: Some(keys), ..AccessConfig::default() });
    let (room, user, nickname) = ("10013".parse().unwrap(), "7".parse().unwrap(), Nickname::from("me"));
    let claim = Claim { room: &room, user: &user, nickname: &nickname, publishes: false };
    let credentials = Credentials { token: Some(token.into()), ..Credentials::default() };
    let address = ClientAddress::of("10.0.0.7".parse().unwrap());
    let authorization = access.check(SystemTime::now(), &credentials, &claim, address);
    authorization.map(|client| (client.user.to_string(), client.rights)).map_err(|denied| denied.message)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_school_makes_a_key_and_tokens_in_three_commands() {
    let folder = tempfile::tempdir().unwrap();
    let (here, keys) = (folder.path(), folder.path().join("keys.json"));
    assert_eq!(stdout(here, "token --new-key school --auth keys.json"), "");
    assert_eq!(mode(&keys), 0o600);
    let student = stdout(here, "token --room 10013 --user 1001 --auth keys.json");
    assert_eq!(student.lines().count(), 1, "only the token is on stdout: {student}");
    let (user, rights) = admitted(&keys, student.trim()).unwrap();
    assert_eq!((user.as_str(), rights), ("1001", Rights::default()));
    let teacher = stdout(here, "token --room 10013 --user 9999 --role teacher --ttl 8h --auth keys.json");
    let (_, rights) = admitted(&keys, teacher.trim()).unwrap();
    assert_eq!(rights, Rights { publishes: true, moderates: true });
    let other = stdout(here, "token --room 10014 --user 1001 --auth keys.json");
    assert!(admitted(&keys, other.trim()).unwrap_err().contains("room 10014"));
    let expired = stdout(here, "token --room 10013 --user 1001 --ttl 0s --auth keys.json");
    assert!(admitted(&keys, expired.trim()).is_ok(), "clocks may differ by ten seconds");
    let again = stdout(here, "token --room 10013 --user 1001 --auth keys.json");
    assert_ne!(student, again, "each token has an id of its own");
}

#[test]
fn the_private_key_of_eddsa_stays_with_the_school() {
    let folder = tempfile::tempdir().unwrap();
    let (here, keys) = (folder.path(), folder.path().join("keys.json"));
    stdout(here, "token --new-key exam --alg EdDSA --private-key exam.pem --auth keys.json");
    let (public, private) = (fs::read_to_string(&keys).unwrap(), fs::read_to_string(here.join("exam.pem")).unwrap());
    assert!(private.starts_with("-----BEGIN PRIVATE KEY-----") && !public.contains("secret"), "{public}");
    assert_eq!(mode(&here.join("exam.pem")), 0o600);
    let token = stdout(here, "token --room 10013 --user 1001 --private-key exam.pem --key exam");
    assert!(admitted(&keys, token.trim()).is_ok());
    let (code, out, error) = run(here, "token --room 10013 --user 1001 --auth keys.json");
    assert_eq!((code, out.as_str()), (2, ""), "{error}");
    assert!(error.contains("only the public key of exam") && error.contains("--private-key"), "{error}");
    let (code, _, error) = run(here, "token --new-key exam2 --alg EdDSA --private-key exam.pem --auth keys.json");
    assert!(code == 2 && error.contains("exam.pem"), "a private key is never overwritten: {error}");
    assert_eq!(fs::read_to_string(&keys).unwrap(), public);
}

#[test]
fn a_second_key_is_added_and_the_file_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let (here, keys) = (folder.path(), folder.path().join("keys.json"));
    stdout(here, "token --new-key a --auth keys.json");
    let token = stdout(here, "token --room 10013 --user 1001 --auth keys.json");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o640)).unwrap();
    stdout(here, "token --new-key b --auth keys.json");
    assert_eq!(mode(&keys), 0o640);
    assert!(admitted(&keys, token.trim()).is_ok(), "tokens of the first key stay valid");
    let before = fs::read_to_string(&keys).unwrap();
    let (code, _, error) = run(here, "token --new-key b --auth keys.json");
    assert!(code == 2 && error.contains("the id b already"), "{error}");
    assert_eq!(fs::read_to_string(&keys).unwrap(), before);
    let (code, _, error) = run(here, "token --room 1 --user 2 --auth keys.json");
    assert!(code == 2 && error.contains("--key: a, b"), "{error}");
    assert_eq!(stdout(here, "token --room 1 --user 2 --auth keys.json --key b").lines().count(), 1);
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, error) = run(here, "token --room 1 --user 2 --auth keys.json --key b");
    assert!(code == 0 && error.contains("chmod o-rw keys.json"), "{error}");
}

#[test]
fn a_bad_key_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keys.json"), "{\n  \"keys\": [\n    {\"id\": \"a\" \"alg\"}\n  ]\n}").unwrap();
    for line in ["token --room 1 --user 2 --auth keys.json", "token --new-key b --auth keys.json"] {
        let (code, _, error) = run(folder.path(), line);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains("keys.json: line 3: expected"), "{error}");
    }
    let (code, _, error) = run(folder.path(), "token --room 1 --user 2 --auth nowhere.json");
    assert!(code == 2 && error.contains("nowhere.json of --auth"), "{error}");
}

#[test]
fn a_link_and_json_have_the_same_token() {
    let folder = tempfile::tempdir().unwrap();
    let (here, keys) = (folder.path(), folder.path().join("keys.json"));
    stdout(here, "token --new-key school --auth keys.json");
    let link = stdout(here, "token --room 10013 --user 1001 --auth keys.json --link https://school.example:18080");
    let (page, token) = link.trim().split_once("#token=").unwrap();
    assert_eq!(page, "https://school.example:18080/room/10013");
    assert!(admitted(&keys, token).is_ok());
    let json = stdout(here, "token --json --room 10013 --user 1001 --auth keys.json --link http://a");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let token = json["token"].as_str().unwrap();
    assert!(admitted(&keys, token).is_ok());
    assert_eq!(json["link"], format!("http://a/room/10013#token={token}"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let left = Duration::from_secs(json["exp"].as_u64().unwrap()).saturating_sub(now);
    assert!((7_100..=7_200).contains(&left.as_secs()), "{left:?}");
    // The id of the token takes it back.
    let mut file: serde_json::Value = serde_json::from_str(&fs::read_to_string(&keys).unwrap()).unwrap();
    file["revoked"] = serde_json::json!([json["jti"]]);
    fs::write(&keys, file.to_string()).unwrap();
    assert!(admitted(&keys, token).is_err(), "{file}");
    let program =
        classroom::cli::parse(["classroom", "watch", "--room", "10013", "--user", "1", "--server", "http://a?token=x"]);
    assert!(program.is_ok(), "watch takes the link");
}
