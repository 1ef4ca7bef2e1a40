//! Attacks on who gets in: wrong codes, silence in place of the first message, and a crowd in the lobby.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::timeout;

use super::member::{Member, Refusal};
use super::{ATTACKER, Pace, Tally, Target, attackers, network};

/// How long a server may keep a connection that does not authenticate: 5 s, and a margin for a busy machine.
const SILENCE_ENDS: Duration = Duration::from_secs(8);

/// Joins with a first message that has these fields.
///
/// # Errors
/// If the server does not let the student in.
pub async fn join_with(
    target: &Target,
    from: std::net::Ipv4Addr,
    user: &str,
    mut auth: serde_json::Value,
) -> Result<Member, Refusal> {
    auth["type"] = json!("auth");
    let query = format!("{}&auth=1", target.query(user));
    let mut member = Member::open(target, from, &query, &[], true).await?;
    member.say_text(auth.to_string()).await;
    member.is_in().await?;
    Ok(member)
}

/// Guesses of the join code from a few networks. None may get in, and most must be refused without a look at the code.
pub async fn wrong_codes(target: &Target, count: usize, per_second: u32) -> Tally {
    let mut tally = attackers(target, count, Pace::new(per_second), move |target, n| async move {
        let mut tally = Tally::default();
        let code = format!("{:06}", rand::random_range(0..1_000_000));
        let is_wrong = code != target.code;
        match join_with(&target, network(n % 3), &format!("guess-{n}"), json!({ "code": code })).await {
            Ok(_) if is_wrong => tally.broken.push(format!("the wrong code {code} let a stranger in")),
            Ok(_) => tally.count("guessed"),
            Err(refusal) => tally.count(refusal),
        }
        Ok(tally)
    })
    .await;
    let (looked_at, slowed) = (tally.of("wrongCode"), tally.of("tooManyAttempts"));
    tally.expect(slowed > looked_at, || format!("{looked_at} wrong codes were looked at, {slowed} slowed down"));
    tally
}

/// Connections that announce a first message and never send it.
pub async fn silent(target: &Target, count: usize) -> Tally {
    attackers(target, count, Pace::new(500), move |target, n| async move {
        let mut tally = Tally::default();
        let query = format!("{}&auth=1", target.query(&format!("silent-{n}")));
        let mut member = Member::open(&target, ATTACKER, &query, &[], true).await?;
        let begun = Instant::now();
        match timeout(SILENCE_ENDS, member.is_in()).await {
            Ok(Ok(())) => tally.broken.push("a silent stranger is in the room".into()),
            Ok(Err(refusal)) => tally.count(refusal),
            Err(_) => tally.broken.push(format!("a silent stranger waits for {:?}", begun.elapsed())),
        }
        Ok(tally)
    })
    .await
}

/// Tokens that nobody signed, and tokens with the algorithm `none`.
pub async fn forged_tokens(target: &Target, count: usize) -> Tally {
    let mut tally = Tally::default();
    // {"alg":"none","typ":"JWT"} and {"alg":"HS256","typ":"JWT"}
    let heads = ["eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"];
    // {"sub":"1","room":"10013","role":"teacher","exp":4102444800}
    let claims = "eyJzdWIiOiIxIiwicm9vbSI6IjEwMDEzIiwicm9sZSI6InRlYWNoZXIiLCJleHAiOjQxMDI0NDQ4MDB9";
    for n in 0..count {
        let signature = if n % 3 == 0 { String::new() } else { format!("{n:043}") };
        let token = format!("{}.{claims}.{signature}", heads[n % 2]);
        match join_with(target, network(n % 3), &format!("token-{n}"), json!({ "token": token })).await {
            Ok(_) => tally.broken.push(format!("the forged token {n} let a stranger in")),
            Err(refusal) => tally.count(refusal),
        }
    }
    tally
}

/// Strangers who wait in the lobby. The teacher admits none of them.
pub async fn lobby(target: &Target, count: usize, lasts: Duration) -> Tally {
    attackers(target, count, Pace::new(500), move |target, n| async move {
        let mut tally = Tally::default();
        let query = format!("{}&auth=1", target.query(&format!("waits-{n}")));
        let mut member = Member::open(&target, network(n % 2), &query, &[], true).await?;
        member.say_text(json!({ "type": "auth", "code": target.code }).to_string()).await;
        match timeout(lasts, member.is_in()).await {
            Ok(Ok(())) => tally.broken.push("a stranger passed the lobby".into()),
            Ok(Err(Refusal::Socket("closed"))) | Err(_) => tally.count("waited"),
            Ok(Err(refusal)) => tally.count(refusal),
        }
        Ok(tally)
    })
    .await
}
