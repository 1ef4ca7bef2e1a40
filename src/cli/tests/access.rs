use super::*;
use crate::access::{Algorithm, Role};

/// Parses a line in which one argument may contain spaces or be empty.
fn error_of(arguments: &[&str]) -> String {
    let error = parse(std::iter::once("classroom").chain(arguments.iter().copied())).expect_err("an error");
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

fn serve(flags: &str) -> Serve {
    match parse_line(&format!("serve {flags}")).unwrap().command {
        Command::Serve(serve) => serve,
        other => panic!("{other:?}"),
    }
}

fn token(flags: &str) -> Token {
    match parse_line(&format!("token {flags}")).unwrap().command {
        Command::Token(token) => token,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_takes_a_teaching_key_and_a_file_of_keys() {
    assert_eq!(serve("").access, AccessPolicy::default());
    let access = serve("--teach-key correct-horse --auth keys.json").access;
    assert_eq!(access.teaching_key, Some(TeachingKeySource::Given("correct-horse".parse().unwrap())));
    assert_eq!(access.auth, Some("keys.json".into()));
    let access = teach("--teach-key correct-horse --teach-key-file key --auth keys.json").access;
    assert_eq!(access.teaching_key, Some(TeachingKeySource::File("key".into())), "a file is not seen by other users");
    assert_eq!(teach("--server ws://a --teach-key correct-horse").access.auth, None);
    assert!(parse(["classroom", "serve", "--teach-key", ""]).is_ok(), "an empty variable means no key");
}

#[test]
fn a_lecture_may_have_a_join_code_and_a_lobby() {
    let room_access = |flags: &str| teach(flags).room_access;
    assert_eq!(room_access(""), RoomAccess { code: None, lobby: false });
    assert_eq!(room_access("--code --lobby"), RoomAccess { code: Some(CodeChoice::Digits), lobby: true });
    assert_eq!(room_access("--code=words").code, Some(CodeChoice::Words));
    assert_eq!(room_access("--code=Blue-Fox").code, Some(CodeChoice::Own("blue-fox".parse().unwrap())));
    assert!(refusal("teach --room 1 --code=abc").contains("4 to 32 letters"));
    assert_eq!(watch("--code 472913").member.code, Some("472 913".parse().unwrap()));
    assert!(refusal("watch --room 1 --user 2 --code a/b").contains("--code"));
}

#[test]
fn a_link_brings_its_token_and_its_code() {
    let link = "http://a:5/room/10013?token=x.y.z#code=blue%20fox";
    let linked = watch(&format!("--server {link}"));
    assert_eq!(linked.member.server, Some(ServerUrl::new("a", 5)));
    assert_eq!((linked.member.token, linked.member.code), (Some("x.y.z".into()), Some("blue-fox".parse().unwrap())));
    assert_eq!(watch(&format!("--server {link} --code 123456")).member.code, Some("123456".parse().unwrap()));
    assert_eq!(watch("--token a.b.c").member.token, Some("a.b.c".into()));
    assert_eq!(teach(&format!("--server {link}")).token, Some("x.y.z".into()));
    assert_eq!(watch("").member.token, None);
}

#[test]
fn a_server_may_relay_by_itself() {
    let own = |flags: &str| serve(flags).own_turn.map(|address| address.to_string());
    assert_eq!((own("--turn"), own("")), (Some("0.0.0.0:3478".into()), None));
    assert_eq!(own("--listen 192.0.2.7:18080 --turn=443"), Some("192.0.2.7:443".into()));
    assert_eq!(own("--turn [::1]:5 --turn turn:me:pass@other"), Some("[::1]:5".into()));
}

#[test]
fn turn_servers_may_share_a_secret_with_the_server() {
    let shared = serve("--turn turn:own --turn turn:me:pass@other --turn-secret north-south-east-west");
    assert_eq!(shared.access.turn_secret, Some("north-south-east-west".parse().unwrap()));
    assert_eq!(shared.turn[0].login, TurnLogin::PerStudent);
    assert_eq!(shared.turn[1].login, TurnLogin::Password { user: "me".into(), password: "pass".into() });
}

#[test]
fn a_token_is_signed_by_a_file_of_keys_or_by_a_private_key() {
    let Token::Sign(plain) = token("--room 10013 --user 1001 --auth keys.json") else { panic!() };
    assert_eq!((plain.role, plain.ttl, plain.link), (Role::Student, Duration::from_secs(7_200), None));
    assert_eq!(plain.signer, Signer::KeyFile { path: "keys.json".into(), key: None });
    let line = "--room 1 --user 2 --role teacher --ttl 8h --nickname Li --private-key exam.pem --key exam \
                --link https://school.example:18080/";
    let Token::Sign(full) = token(line) else { panic!() };
    assert_eq!((full.role, full.nickname.unwrap().as_str()), (Role::Teacher, "Li"));
    assert_eq!(full.signer, Signer::PrivateKey { path: "exam.pem".into(), key: "exam".parse().unwrap() });
    assert_eq!(full.link.as_deref(), Some("https://school.example:18080"));
}

#[test]
fn a_new_key_is_a_secret_or_a_key_pair() {
    let new = |kind| Token::NewKey(NewKey { id: "school".parse().unwrap(), auth: "keys.json".into(), kind });
    assert_eq!(token("--new-key school --auth keys.json"), new(NewKeyKind::Secret));
    let pair = NewKeyKind::KeyPair { private_key: "p.pem".into() };
    assert_eq!(token("--new-key school --auth keys.json --alg eddsa --private-key p.pem"), new(pair));
    assert_eq!([Algorithm::Hs256, Algorithm::EdDsa].map(Algorithm::as_str), ["HS256", "EdDSA"]);
}

#[test]
fn access_flags_without_effect_are_refused() {
    for (line, sentence) in [
        ("teach --room 1 --server ws://a --auth f", "--auth is for the built-in server"),
        ("teach --room 1 --token a.b.c", "--token is for another server, but there is none"),
        ("serve --turn --no-media", "--no-media carries no media, but --turn without a URL"),
        ("serve --turn --turn=443", "--turn without a URL starts the TURN server in this program"),
        ("teach --room 1 --turn --server ws://a", "--turn is for the built-in server"),
        ("serve --turn-secret north-south-east-west", "--turn-secret needs a TURN server"),
        ("serve --turn turn:a", "--turn turn:a:3478 has no user name and password"),
        ("token --room 1 --user 2", "a token needs a key: add --auth FILE"),
        ("token --room 1 --user 2 --auth f --private-key p --key k", "--auth and --private-key can't be used together"),
        ("token --room 1 --user 2 --private-key p", "--private-key needs the id"),
        ("token --new-key k", "--new-key needs the file"),
        ("token --new-key k --auth f --alg EdDSA", "a key of EdDSA has a private part"),
        ("token --new-key k --auth f --private-key p", "a key of HS256 has no private part"),
        ("token --new-key k --auth f --room 1", "the argument '--new-key <ID>' cannot be used with '--room <ID>'"),
        ("token --auth f", "the following required arguments were not provided"),
        ("token --room 1 --user 2 --auth f --alg EdDSA", "--alg is for a new key"),
        ("token --room 1 --user 2 --auth f --role boss", "invalid value 'boss' for '--role <ROLE>': is not a role"),
        ("token --room 1 --user 2 --auth f --link a", "invalid value 'a' for '--link <URL>': is not the address"),
    ] {
        assert!(refusal(line).starts_with(&format!("error: {sentence}")), "{line}: {}", refusal(line));
    }
}

#[test]
fn a_secret_is_never_in_an_error_or_in_debug() {
    for arguments in [
        ["serve", "--teach-key", "hunter2"].as_slice(),
        &["serve", "--teach-key", "hunter2 hunter2"],
        &["serve", "--turn", "turn:a", "--turn-secret", "hunter2"],
    ] {
        let error = error_of(arguments);
        assert!(!error.contains("hunter2") && error.contains(arguments[arguments.len() - 2]), "{error}");
    }
    for line in [
        "serve --turn turn:a --turn-secret hunter2-hunter2-hunter2 --teach-key hunter2-hunter2",
        "watch --room 1 --user 2 --token hunter2 --code hunter2",
        "teach --room 1 --server ws://a?token=hunter2 --teach-key hunter2-hunter2 --code=hunter2",
    ] {
        let shown = format!("{:?}", parse_line(line).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
