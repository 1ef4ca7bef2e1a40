use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use super::*;

/// The time of these tests.
const NOW: u64 = 1_700_000_000;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The private key of RFC 8032, section 7.1, test 1.
const ED25519_SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5,
    0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

/// Its public key, in base64.
const ED25519_PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn id<T: std::str::FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn file(guests: bool) -> KeyFile {
    let text = json!({
        "keys": [
            {"id": "school", "alg": "HS256", "secret": SECRET},
            {"id": "exam", "alg": "EdDSA", "publicKey": ED25519_PUBLIC},
        ],
        "guests": guests,
        "revoked": ["lost"],
    });
    KeyFile::parse(&text.to_string()).unwrap()
}

fn school() -> SigningKey {
    SigningKey::from_file(&file(false), Some(&id("school"))).unwrap()
}

fn exam() -> SigningKey {
    let new = NewKey::new(id("exam"), Algorithm::EdDsa, &ED25519_SEED);
    SigningKey::from_pem(id("exam"), new.private_pem().unwrap()).unwrap()
}

fn grant(role: Role) -> Grant {
    Grant {
        room: id("10013"),
        user: id("1001"),
        nickname: Some("Li Lei".into()),
        role,
        from: at(NOW),
        until: at(NOW + 7_200),
        id: "first".into(),
    }
}

/// A token with any header and claims, signed with the secret of `school`.
fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())))
}

fn claims() -> Value {
    json!({"iss": "school", "sub": "1001", "exp": NOW + 60, "video": {"room": "10013", "roomJoin": true}})
}

/// The claims with one changed, or removed with `null`.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match (name.split_once('.'), value) {
        (None, Value::Null) => _ = claims.as_object_mut().unwrap().remove(name),
        (None, value) => claims[name] = value,
        (Some((outer, inner)), Value::Null) => _ = claims[outer].as_object_mut().unwrap().remove(inner),
        (Some((outer, inner)), value) => claims[outer][inner] = value,
    }
    claims
}

#[derive(Clone, Copy)]
struct Client {
    publishes: bool,
    ip: &'static str,
}

const STUDENT: Client = Client { publishes: false, ip: "10.0.0.7" };
const TEACHER: Client = Client { publishes: true, ip: "10.0.0.8" };
const HERE: Client = Client { publishes: true, ip: "127.0.0.1" };

fn check(access: &Access, credentials: &Credentials, client: Client) -> Result<Authorization, Denied> {
    let (room, user, nickname) = (id("10013"), id("7"), Nickname::from("me"));
    let claim = Claim { room: &room, user: &user, nickname: &nickname, publishes: client.publishes };
    access.check(at(NOW), credentials, &claim, ClientAddress::of(client.ip.parse::<IpAddr>().unwrap()))
}

fn nothing() -> Credentials {
    Credentials::default()
}

fn key(key: &str) -> Credentials {
    Credentials { key: Some(key.into()), ..Credentials::default() }
}

fn token(token: impl Into<String>) -> Credentials {
    Credentials { token: Some(token.into()), ..Credentials::default() }
}

fn access(teaching_key: Option<&str>, keys: Option<KeyFile>) -> Access {
    let teaching_key = teaching_key.map(id);
    Access::new(AccessConfig { teaching_key, keys, trusts_loopback: true, turn_secret: None })
}

/// The refusal of a token: its sentence.
fn refusal(text: &str) -> String {
    let denied = check(&access(None, Some(file(true))), &token(text), STUDENT).expect_err(text);
    assert_eq!((denied.code, denied.guessed), (ErrorCode::BadToken, false), "{}", denied.message);
    denied.message
}

#[test]
fn without_a_teaching_key_only_this_computer_teaches() {
    let open = access(None, None);
    assert!(open.teaches_only_here());
    let denied = check(&open, &nothing(), TEACHER).unwrap_err();
    assert_eq!((denied.code, denied.guessed), (ErrorCode::TeachingKeyRequired, false));
    assert!(denied.message.contains("--teach-key"), "{denied}");
    let here = check(&open, &nothing(), HERE).unwrap();
    assert_eq!((here.rights, here.owner), (Rights { publishes: true, moderates: true }, Some(Identity::Loopback)));
    let student = check(&open, &nothing(), Client { publishes: false, ..HERE }).unwrap();
    assert_eq!((student.rights.moderates, student.owner), (false, None), "a student here is a student");
    let proxied = Access::new(AccessConfig::default());
    assert_eq!(check(&proxied, &nothing(), HERE).unwrap_err().code, ErrorCode::TeachingKeyRequired);
    for (policy, who) in [(&open, "only its own computer may"), (&proxied, "nobody behind its proxy may")] {
        let denied = check(policy, &nothing(), TEACHER).unwrap_err().message;
        assert!(denied.contains(&format!("no teaching key, so {who} teach")), "{denied}");
        let address = ClientAddress::of("10.0.0.8".parse::<IpAddr>().unwrap());
        let denied = policy.may_create(&nothing(), address).unwrap_err().message;
        assert!(denied.contains(&format!("no teaching key, so {who} create rooms")), "{denied}");
    }
    let tokens = access(None, Some(file(true)));
    let denied = tokens.may_create(&nothing(), ClientAddress::of("127.0.0.1".parse::<IpAddr>().unwrap())).unwrap_err();
    assert!(denied.message.contains("nobody may create rooms"), "also at the server itself: {denied}");
    let elsewhere = check(&open, &key("the key of another server"), HERE);
    assert!(elsewhere.is_ok(), "a key in the environment does not lock a teacher out");
}

#[test]
fn the_teaching_key_is_needed_to_teach_and_not_to_watch() {
    let closed = access(Some("correct-horse"), None);
    assert!(!closed.teaches_only_here());
    for client in [TEACHER, HERE] {
        assert_eq!(check(&closed, &nothing(), client).unwrap_err().code, ErrorCode::TeachingKeyRequired);
        let wrong = check(&closed, &key("correct-horsf"), client).unwrap_err();
        assert_eq!((wrong.code, wrong.guessed), (ErrorCode::TeachingKeyRequired, true));
        let teacher = check(&closed, &key("correct-horse"), client).unwrap();
        assert_eq!(teacher.rights, Rights { publishes: true, moderates: true });
        assert_eq!((teacher.owner, teacher.reserved), (Some(Identity::TeachingKey), false));
        assert_eq!((teacher.user.as_str(), teacher.nickname.as_str()), ("7", "me"));
    }
    let student = check(&closed, &nothing(), STUDENT).unwrap();
    assert_eq!((student.rights, student.owner, student.expires), (Rights::default(), None, None));
    let long = access(Some("correct-horse-battery-staple"), None);
    assert!(!check(&long, &key("correct-horse-battery"), TEACHER).unwrap_err().guessed, "nobody guesses a long key");
}

#[test]
fn a_token_gives_its_holder_a_user_id_a_name_and_rights() {
    let server = access(Some("correct-horse"), Some(file(false)));
    for signer in [school(), exam()] {
        for (role, publishes, moderates) in
            [(Role::Student, false, false), (Role::Teacher, true, true), (Role::Assistant, false, true)]
        {
            let text = signer.sign(&grant(role)).unwrap();
            let authorization = check(&server, &token(&text), STUDENT).unwrap();
            assert_eq!(authorization.rights, Rights { publishes, moderates }, "{role:?}");
            assert_eq!((authorization.user.as_str(), authorization.nickname.as_str()), ("1001", "Li Lei"));
            assert_eq!((authorization.reserved, authorization.expires), (true, Some(at(NOW + 7_200))));
            let Some(Identity::Token { subject, .. }) = authorization.owner else { panic!("{authorization:?}") };
            assert_eq!(subject.as_str(), "1001");
            let teaches = check(&server, &token(&text), TEACHER);
            assert_eq!(teaches.is_ok(), publishes, "{role:?}");
            if let Err(denied) = teaches {
                assert_eq!(denied.code, ErrorCode::TeachingKeyRequired);
                assert!(denied.message.contains("role teacher"), "{denied}");
            }
        }
    }
    let both =
        Credentials { key: Some("correct-horse".into()), ..token(school().sign(&grant(Role::Student)).unwrap()) };
    let teacher = check(&server, &both, TEACHER).unwrap();
    assert!(teacher.rights.publishes && teacher.user.as_str() == "1001", "the key adds rights to a token");
}

#[test]
fn without_guests_everybody_needs_a_token_or_the_key() {
    let server = access(Some("correct-horse"), Some(file(false)));
    assert_eq!(check(&server, &nothing(), STUDENT).unwrap_err().code, ErrorCode::TokenRequired);
    assert_eq!(check(&server, &nothing(), HERE).unwrap_err().code, ErrorCode::TokenRequired);
    assert!(check(&server, &key("correct-horse"), TEACHER).is_ok());
    let with_guests = access(None, Some(file(true)));
    assert!(check(&with_guests, &nothing(), STUDENT).is_ok());
    assert_eq!(check(&with_guests, &nothing(), HERE).unwrap_err().code, ErrorCode::TeachingKeyRequired);
    let without_keys = check(&access(None, None), &token("a.b.c"), STUDENT).unwrap_err();
    assert_eq!(without_keys.code, ErrorCode::BadToken);
    assert!(without_keys.message.contains("--auth"), "{without_keys}");
}

#[test]
fn a_token_of_livekit_is_accepted() {
    // LiveKit's servers name the key by `iss` and have no `kid`.
    let text = signed(&json!({"alg": "HS256"}), &with("video.canPublish", json!(true)));
    let authorization = check(&access(None, Some(file(false))), &token(text), TEACHER).unwrap();
    assert_eq!(authorization.rights, Rights { publishes: true, moderates: false });
    assert_eq!(authorization.nickname.as_str(), "me", "without a name in the token, the client's own name stays");
    let issued = school().sign(&grant(Role::Student)).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(issued.split('.').nth(1).unwrap()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    let expected = json!({
        "iss": "school", "sub": "1001", "name": "Li Lei", "jti": "first", "nbf": NOW, "exp": NOW + 7_200,
        "video": {
            "room": "10013", "roomJoin": true, "canPublish": false, "canSubscribe": true, "canPublishData": true,
            "roomAdmin": false,
        },
    });
    assert_eq!(payload, expected);
}

#[test]
fn the_example_of_rfc_7515_has_a_valid_signature() {
    // Appendix A.1: HS256. The claims are no grant of ours, so the refusal is about them, not about the signature.
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = hmac::Key::new(hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(secret).unwrap());
    let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6\
                   Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())), signature);
    assert!(refusal(&format!("{message}.{signature}")).contains("the key joe, which this server does not know"));
    // RFC 8032, section 7.1, test 1: the public key of a private key.
    let new = NewKey::new(id("exam"), Algorithm::EdDsa, &ED25519_SEED);
    let text = KeyFile::text_with(None, &new).unwrap();
    assert!(text.contains(ED25519_PUBLIC) && !text.contains("PRIVATE"), "{text}");
}

#[test]
fn every_refusal_of_a_token_names_its_cause() {
    let header = json!({"alg": "HS256", "kid": "school"});
    for (claims, cause) in [
        (with("exp", json!(NOW - 3_600)), "expired 60 min ago"),
        (with("exp", json!(NOW - 10)), "expired 10 s ago"),
        (with("exp", Value::Null), "exp"),
        (with("exp", json!("soon")), "exp"),
        (with("exp", json!(-1)), "exp"),
        (with("exp", json!(u64::MAX)), "exp is no time"),
        (with("nbf", json!(NOW + 86_400)), "valid in 24 h only"),
        (with("nbf", json!(u64::MAX)), "nbf is no time"),
        (with("aud", json!("another")), "for another service"),
        (with("jti", json!("lost")), "was revoked"),
        (with("sub", Value::Null), "sub"),
        (with("sub", json!("a b")), "user id contains ' '"),
        (with("sub", json!("")), "user id is empty"),
        (with("video", Value::Null), "video"),
        (with("video.room", json!("10014")), "for room 10014, not for room 10013"),
        (with("video.room", Value::Null), "room"),
        (with("video.roomJoin", json!(false)), "roomJoin"),
        (with("video.roomJoin", json!("yes")), "roomJoin"),
        (with("video.canPublish", json!(1)), "invalid type: integer"),
    ] {
        let sentence = refusal(&signed(&header, &claims));
        assert!(sentence.contains(cause) || cause == "roomJoin" && sentence.contains("boolean"), "{cause}: {sentence}");
    }
    let valid = |header: Value| signed(&header, &claims());
    for (text, cause) in [
        (valid(json!({"alg": "HS512", "kid": "school"})), "signed with HS512, but the key school is for HS256"),
        (valid(json!({"alg": "HS256", "kid": "exam"})), "signed with HS256, but the key exam is for EdDSA"),
        (valid(json!({"alg": "EdDSA", "kid": "school"})), "signed with EdDSA, but the key school is for HS256"),
        (valid(json!({"alg": "none", "kid": "school"})), "not a JWT"),
        (valid(json!({"kid": "school"})), "not a JWT"),
        (valid(json!({"alg": "HS256", "kid": "another"})), "the key another, which this server does not know"),
        (valid(json!({"alg": "HS256", "kid": "../etc"})), "an id that no key can have"),
        (valid(json!({"alg": "HS256", "kid": "school", "crit": ["b64"], "b64": false})), "crit"),
        (signed(&json!({"alg": "HS256"}), &with("iss", Value::Null)), "names no key"),
        (String::new(), "not a JWT"),
        ("a.b".into(), "not a JWT"),
        ("..".into(), "not a JWT"),
        (format!("{}.x", school().sign(&grant(Role::Student)).unwrap()), "not a JWT"),
        ("x".repeat(4_097), "4097 bytes"),
    ] {
        let sentence = refusal(&text);
        assert!(sentence.contains(cause), "{cause}: {sentence}");
    }
    let genuine = school().sign(&grant(Role::Student)).unwrap();
    let (message, _) = genuine.rsplit_once('.').unwrap();
    assert!(refusal(&format!("{message}.")).contains("signature"));
}

#[test]
fn clocks_may_differ_by_some_seconds() {
    let header = json!({"alg": "HS256", "kid": "school"});
    let server = access(None, Some(file(false)));
    for claims in [with("exp", json!(NOW - 9)), with("nbf", json!(NOW + 10))] {
        assert!(check(&server, &token(signed(&header, &claims)), STUDENT).is_ok(), "{claims}");
    }
}

#[test]
fn every_mutation_of_a_token_is_refused() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let server = access(None, Some(file(false)));
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for signer in [school(), exam()] {
        let genuine = signer.sign(&grant(Role::Student)).unwrap().into_bytes();
        let other = signer.sign(&grant(Role::Teacher)).unwrap().into_bytes();
        assert!(check(&server, &token(String::from_utf8(genuine.clone()).unwrap()), STUDENT).is_ok());
        let mut mutations: Vec<Vec<u8>> = Vec::new();
        for position in 0..genuine.len() {
            // Another character at each position, each position left out, and a prefix of each length.
            let mut changed = genuine.clone();
            while changed[position] == genuine[position] {
                changed[position] = ALPHABET[next(64)];
            }
            mutations.push(changed);
            let mut shorter = genuine.clone();
            shorter.remove(position);
            mutations.push(shorter);
            mutations.push(genuine[..position].to_vec());
        }
        for _ in 0..3_000 {
            let mut changed = genuine.clone();
            for _ in 0..=next(4) {
                let position = next(changed.len());
                match next(4) {
                    0 => changed[position] = next(128) as u8,
                    1 => changed.insert(position, ALPHABET[next(64)]),
                    2 => _ = changed.remove(position),
                    // The head of one token and the tail of another one.
                    _ => changed = [&changed[..position], &other[position.min(other.len())..]].concat(),
                }
                if changed.is_empty() {
                    break;
                }
            }
            mutations.push(changed);
        }
        for mutation in mutations.into_iter().filter(|mutation| *mutation != genuine && *mutation != other) {
            let text = String::from_utf8(mutation).unwrap();
            let denied = check(&server, &token(text.clone()), STUDENT).expect_err(&text);
            assert_eq!(denied.code, ErrorCode::BadToken, "{text}");
        }
    }
}

#[test]
fn a_mistake_in_a_key_file_is_named_with_its_line_or_key() {
    let entry = |fields: &str| format!("{{\n\"keys\": [\n{fields}\n]\n}}");
    for (text, sentence) in [
        (entry(r#"{"id": "a", "alg": "HS256", "secret": "short"}"#), "the secret of key a has 5 bytes"),
        (entry(r#"{"id": "a", "alg": "HS256"}"#), "key a with alg HS256 needs secret"),
        (entry(r#"{"id": "a", "alg": "EdDSA", "secret": "x"}"#), "key a with alg EdDSA needs publicKey"),
        (entry(r#"{"id": "a", "alg": "EdDSA", "publicKey": "AAAA"}"#), "publicKey of key a is not an Ed25519"),
        (entry(r#"{"id": "a/b", "alg": "HS256", "secret": "x"}"#), "line 3: key id contains '/'"),
        (entry(r#"{"id": "a", "alg": "RS256"}"#), "line 3: unknown variant `RS256`, expected `HS256` or `EdDSA`"),
        (entry(r#"{"id": "a", "algorithm": "HS256"}"#), "line 3: unknown field `algorithm`"),
        (entry(""), "there is no key"),
        ("{\n\"guests\": true\n}".into(), "line 3: missing field `keys`"),
        ("{\n\"keys\": [,]}".into(), "line 2: expected value"),
        (String::new(), "line 1: EOF"),
    ] {
        let error = KeyFile::parse(&text).expect_err(&text).to_string();
        assert!(error.starts_with(sentence), "{sentence}: {error}");
    }
    let twice = format!(r#"{{"id": "a", "alg": "HS256", "secret": "{SECRET}"}}"#);
    let error = KeyFile::parse(&entry(&format!("{twice},\n{twice}"))).unwrap_err();
    assert_eq!(error.to_string(), "two keys have the id a");
    assert!(!format!("{:?}", file(true)).contains(SECRET), "Debug hides secrets");
}

#[test]
fn a_public_key_may_be_pem() {
    // Made by `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                   -----END PRIVATE KEY-----\n";
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                  -----END PUBLIC KEY-----\n";
    let text = json!({"keys": [{"id": "exam", "alg": "EdDSA", "publicKey": public}]});
    let server = access(None, Some(KeyFile::parse(&text.to_string()).unwrap()));
    let signer = SigningKey::from_pem(id("exam"), private).unwrap();
    assert!(check(&server, &token(signer.sign(&grant(Role::Student)).unwrap()), STUDENT).is_ok());
    for pem in ["", "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v", public] {
        assert_eq!(SigningKey::from_pem(id("exam"), pem).unwrap_err(), TokenError::PrivateKey, "{pem}");
    }
}

#[test]
fn a_new_key_is_added_to_the_file_and_signs_at_once() {
    let first = KeyFile::text_with(None, &NewKey::new(id("a"), Algorithm::Hs256, &[7; 32])).unwrap();
    assert!(!KeyFile::parse(&first).unwrap().guests(), "a new file admits only tokens");
    let second = NewKey::new(id("b"), Algorithm::EdDsa, &[8; 32]);
    let both = KeyFile::text_with(Some(&first), &second).unwrap();
    let keys = KeyFile::parse(&both).unwrap();
    assert_eq!(keys.ids().map(KeyId::as_str).collect::<Vec<_>>(), ["a", "b"]);
    let twice = KeyFile::text_with(Some(&both), &second).unwrap_err();
    assert!(twice.to_string().contains("the id b already"), "{twice}");
    let choose = SigningKey::from_file(&keys, None).unwrap_err();
    assert_eq!(choose, TokenError::ChooseKey("a, b".into()));
    assert_eq!(SigningKey::from_file(&keys, Some(&id("b"))).unwrap_err(), TokenError::PublicOnly(id("b")));
    let signers = [
        SigningKey::from_file(&keys, Some(&id("a"))).unwrap(),
        SigningKey::from_pem(id("b"), second.private_pem().unwrap()).unwrap(),
    ];
    let server = access(None, Some(keys));
    for signer in signers {
        assert!(check(&server, &token(signer.sign(&grant(Role::Student)).unwrap()), STUDENT).is_ok(), "{signer:?}");
    }
}

#[test]
fn keys_are_replaced_while_the_server_runs() {
    let server = access(None, Some(file(false)));
    let old = school().sign(&grant(Role::Student)).unwrap();
    assert!(check(&server, &token(&old), STUDENT).is_ok());
    let new =
        KeyFile::parse(&KeyFile::text_with(None, &NewKey::new(id("school"), Algorithm::Hs256, &[9; 32])).unwrap());
    server.set_keys(new.unwrap());
    let denied = check(&server, &token(&old), STUDENT).unwrap_err();
    assert!(denied.message.contains("signature"), "{denied}");
}

#[test]
fn turn_credentials_are_those_of_coturn() {
    // printf '1700003600:10013/1001' | openssl dgst -binary -sha1 -hmac north-south-east-west | base64
    let secret: TurnSecret = id("north-south-east-west");
    let member: (&RoomId, &UserId) = (&id("10013"), &id("1001"));
    let made = turn_credentials(&secret, member, Duration::from_secs(3_600), at(NOW));
    assert_eq!(made.username, "1700003600:10013/1001");
    assert_eq!(made.credential, "66Ut+EAOQEEA78KO6MDD56Q9pJs=");
    assert!(!format!("{made:?}").contains(&made.credential), "Debug hides the password");
    let server = Access::new(AccessConfig { turn_secret: Some(secret), ..AccessConfig::default() });
    let made = server.turn_credentials(at(NOW), member).unwrap();
    assert_eq!(made.username, format!("{}:10013/1001", NOW + TURN_TTL.as_secs()));
    assert_eq!(access(None, None).turn_credentials(at(NOW), member), None);
}

#[test]
fn a_turn_server_of_ours_knows_the_credentials_until_they_expire() {
    let secret: TurnSecret = id("north-south-east-west");
    let member: (&RoomId, &UserId) = (&id("10013"), &id("1001"));
    let made = turn_credentials(&secret, member, Duration::from_secs(60), at(NOW));
    assert_eq!(turn_password(&secret, &made.username, at(NOW + 59)), Ok(("10013/1001", made.credential.clone())));
    assert_eq!(turn_password(&secret, &made.username, at(NOW + 60)), Err(TurnDenied::Expired));
    let other = turn_password(&TurnSecret::own([7; 32]), &made.username, at(NOW)).unwrap();
    assert_ne!(other.1, made.credential);
    for name in ["", "1001", "x:1001", "-1:1001", &format!("{}:{}", NOW + 60, "x".repeat(300))] {
        assert_eq!(turn_password(&secret, name, at(NOW)), Err(TurnDenied::Malformed), "{name}");
    }
}

#[test]
fn nodes_need_not_share_the_secret_of_their_own_turn_servers() {
    let with = |secret| Access::new(AccessConfig { turn_secret: secret, ..AccessConfig::default() }).digest();
    assert_eq!(with(Some(TurnSecret::own([7; 32]))), with(None));
    assert_ne!(with(Some(id("north-south-east-west"))), with(None));
}
