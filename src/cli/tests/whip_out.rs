//! The flags about WHIP servers.

use super::*;
use crate::http::whip_client::Bearer;

fn targets(flags: &str) -> Vec<(String, Option<WhipToken>)> {
    let targets = teach(flags).whip.targets;
    targets.into_iter().map(|target| (target.url.to_string(), target.token)).collect()
}

#[test]
fn each_server_has_a_token_of_its_own() {
    let given = |token: &str| Some(WhipToken::Given(Bearer::new(token).unwrap()));
    let (a, b) = ("https://a".to_owned(), "http://b:8889".to_owned());
    assert_eq!(targets(""), []);
    assert_eq!(targets("--whip https://a/x"), [(a.clone(), None)]);
    assert_eq!(targets("--whip https://a/x --whip-token t"), [(a.clone(), given("t"))]);
    let both = "--whip https://a/x --whip http://b:8889/y/whip";
    assert_eq!(targets(both), [(a.clone(), None), (b.clone(), None)]);
    let files = [(a, Some(WhipToken::File("f".into()))), (b, Some(WhipToken::File("g".into())))];
    assert_eq!(targets(&format!("{both} --whip-token-file f --whip-token-file g")), files);
    let first = parse(["classroom", "teach", "--room", "1", "--whip", "http://a", "--whip-token-file", ""]).unwrap();
    let Command::Teach(first) = first.command else { panic!() };
    assert_eq!(first.whip.targets[0].token, None);
    assert_eq!(teach("--whip http://a --whip-video both --whip-simulcast").whip.video, WhipVideo::Both);
    assert_eq!(teach("--whip https://a --ca ca.pem").trust.ca, Some("ca.pem".into()), "the CA of a WHIP server");
}

#[test]
fn what_makes_no_sense_is_refused_without_showing_a_secret() {
    for (line, sentence) in [
        ("--whip https://a --whip https://b --whip-token t", "there are 2 --whip and 1 tokens for them"),
        ("--whip-token-file f", "--whip-token-file is about a WHIP server: add --whip URL"),
        ("--whip-simulcast", "--whip-simulcast is about a WHIP server"),
        ("--whip-in --whip https://a", "--whip sends what this computer encodes, but --whip-in gets encoded media"),
        ("--whip ws://hush/hush", "--whip is not the URL of a WHIP endpoint"),
        ("--whip https://me:hush@a/whip", "--whip has a user name or a password"),
        ("--whip https://a --whip-token hu\u{e4}sh", "--whip-token is not a bearer token"),
        ("--whip https://a --whip-video all", "invalid value 'all' for '--whip-video <VIDEO>': is not a video"),
    ] {
        let refusal = refusal(&format!("teach --room 1 {line}"));
        assert!(refusal.starts_with(&format!("error: {sentence}")) && !refusal.contains("hush"), "{line}: {refusal}");
    }
}
