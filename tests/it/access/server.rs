//! A server with keys: who gets in, with which code the others are refused, and the file of keys that changes.

use std::time::UNIX_EPOCH;

use classroom::access::turn_credentials;
use classroom::id::UserId;
use classroom::protocol::{ErrorCode, IceServer};
use classroom::signal::{Client, ClientConfig, Goodbye, ServerUrl, SessionToken, SignalError, SignalEvent};
use classroom::tls::Trust;

use super::*;
use crate::support::{Classroom, DEADLINE};

/// Starts `serve` with flags, in a folder.
fn serve(class: &Classroom, folder: &Path, flags: &[&str]) -> Process {
    let listen = format!("127.0.0.1:{}", class.port());
    let mut command = class.command(&[&["serve", "--listen", &listen], flags].concat());
    command.current_dir(folder);
    let server = Process::start("server", command);
    server.wait_for("listening", |event| event["event"] == "listening");
    server
}

/// Joins room 10013 as user 7, and leaves at once: the ids of the members and the ICE servers, or the refusal.
async fn join(
    class: &Classroom,
    publishes: bool,
    secrets: Credentials,
) -> Result<(Vec<UserId>, Vec<IceServer>), ErrorCode> {
    let config = ClientConfig {
        kind: None,
        client: None,
        server: class.url().parse::<ServerUrl>().unwrap(),
        trust: Trust::default(),
        room: "10013".parse().unwrap(),
        room_name: None,
        user: "7".parse().unwrap(),
        nickname: "me".into(),
        publishes,
        credentials: Credentials { session: Some(SessionToken::fresh().session().clone()), ..secrets },
        epoch: 7,
        initial_deadline: DEADLINE,
    };
    match Client::connect(config).await {
        Ok((client, mut events)) => {
            let Some(SignalEvent::Joined { users, ice_servers, .. }) = events.recv().await else {
                panic!("not joined")
            };
            client.leave(Goodbye::Leave).await;
            Ok((users.into_iter().map(|user| user.user_id).collect(), ice_servers))
        }
        Err(SignalError::Refused { code, .. }) => Err(code),
        Err(error) => panic!("{error}"),
    }
}

fn with_token(token: &str) -> Credentials {
    Credentials { token: Some(token.trim().into()), ..Credentials::default() }
}

fn with_key(key: &str) -> Credentials {
    Credentials { key: Some(key.into()), ..Credentials::default() }
}

#[tokio::test]
async fn a_server_admits_tokens_and_reads_their_keys_again() {
    let (class, folder) = (Classroom::new(), tempfile::tempdir().unwrap());
    let (here, keys) = (folder.path(), folder.path().join("keys.json"));
    stdout(here, "token --new-key first --auth keys.json");
    let server = serve(&class, here, &["--auth", "keys.json"]);
    assert_eq!(join(&class, false, Credentials::default()).await.unwrap_err(), ErrorCode::TokenRequired);
    assert_eq!(join(&class, true, Credentials::default()).await.unwrap_err(), ErrorCode::TokenRequired);
    let student = stdout(here, "token --room 10013 --user 1001 --auth keys.json");
    let (users, _) = join(&class, false, with_token(&student)).await.unwrap();
    assert_eq!(users, ["1001".parse().unwrap()], "the user id is that of the token");
    assert_eq!(join(&class, true, with_token(&student)).await.unwrap_err(), ErrorCode::TeachingKeyRequired);
    let teacher = stdout(here, "token --room 10013 --user 9999 --role teacher --auth keys.json");
    assert!(join(&class, true, with_token(&teacher)).await.is_ok());

    stdout(here, "token --new-key second --auth keys.json");
    server.wait_for("the new key", |event| event.to_string().contains("tokens of first, second are valid"));
    let second = stdout(here, "token --room 10013 --user 1002 --auth keys.json --key second");
    assert!(join(&class, false, with_token(&second)).await.is_ok());

    fs::write(&keys, "{").unwrap();
    server.wait_for("a warning", |event| event["event"] == "warning" && event.to_string().contains("keys.json"));
    assert!(join(&class, false, with_token(&second)).await.is_ok(), "the keys from before stay valid");
}

#[tokio::test]
async fn a_server_with_a_teaching_key_lets_only_its_holders_teach() {
    let (class, folder) = (Classroom::new(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("key"), "correct-horse\n").unwrap();
    let _server = serve(&class, folder.path(), &["--teach-key-file", "key"]);
    for secrets in [Credentials::default(), with_key("correct-horsf")] {
        assert_eq!(join(&class, true, secrets).await.unwrap_err(), ErrorCode::TeachingKeyRequired);
    }
    assert!(join(&class, true, with_key("correct-horse")).await.is_ok());
    assert!(join(&class, false, Credentials::default()).await.is_ok(), "a student needs no key");
    assert_eq!(join(&class, false, with_token("a.b.c")).await.unwrap_err(), ErrorCode::BadToken);
}

#[tokio::test]
async fn each_student_gets_turn_credentials_of_its_own() {
    let (class, folder) = (Classroom::new(), tempfile::tempdir().unwrap());
    let turn = ["--turn", "turn:relay.example", "--turn-secret", "north-south-east-west"];
    let _server = serve(&class, folder.path(), &turn);
    let (_, servers) = join(&class, false, Credentials::default()).await.unwrap();
    let [IceServer { username: Some(username), credential: Some(credential), .. }] = &servers[..] else {
        panic!("{servers:?}")
    };
    let (end, member) = username.split_once(':').unwrap();
    let (room, user) = member.split_once('/').unwrap();
    let end = UNIX_EPOCH + Duration::from_secs(end.parse().unwrap());
    assert!(end > SystemTime::now() + Duration::from_secs(3_600), "a lecture is not over so soon");
    let expected = turn_credentials(
        &"north-south-east-west".parse().unwrap(),
        (&room.parse().unwrap(), &user.parse().unwrap()),
        Duration::ZERO,
        end,
    );
    assert_eq!((user, credential), ("7", &expected.credential));
}

#[test]
fn a_server_says_who_may_teach() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = ["--public-url", "https://class.school.example"];
    let key = ["--teach-key", "correct-horse"];
    for (flags, sentence) in [
        (vec![], Some("only this computer may teach: start")),
        (proxy.to_vec(), Some("nobody may teach, as a proxy hides")),
        (key.to_vec(), None),
        ([proxy, key].concat(), None),
    ] {
        let class = Classroom::new();
        let server = serve(&class, folder.path(), &flags);
        let notices: Vec<String> = server
            .events()
            .iter()
            .filter(|event| event["event"] == "notice" && event["message"].to_string().contains("may teach"))
            .map(|event| event["message"].to_string())
            .collect();
        assert_eq!(notices.len(), usize::from(sentence.is_some()), "{flags:?}: {notices:?}");
        assert!(notices.iter().all(|notice| notice.contains(sentence.unwrap_or_default())), "{flags:?}: {notices:?}");
    }
}

#[test]
fn a_server_does_not_start_with_secrets_that_it_cannot_use() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keys.json"), "{\n\"keys\": [{\"id\": \"a\"}]\n}").unwrap();
    fs::write(folder.path().join("key"), "short").unwrap();
    for (flags, sentence) in [
        ("--auth keys.json", "keys.json: line 2: missing field `alg`"),
        ("--auth nowhere.json", "nowhere.json of --auth"),
        ("--teach-key-file key", "has 5 characters, give 8 to 200"),
        ("--teach-key-file nowhere", "nowhere of --teach-key-file"),
    ] {
        let (code, _, error) = run(folder.path(), &format!("serve --listen 127.0.0.1:0 {flags}"));
        assert!(code == 2 && error.contains(sentence), "{flags}: {code} {error}");
    }
}
