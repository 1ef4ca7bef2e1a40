//! Attacks on who gets in.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use super::Besieged;
use crate::attack::insider::Insider;
use crate::attack::member::{Member, Refusal};
use crate::attack::{ATTACKER, Tally, Target, admission, network};
use crate::support::{Classroom, Process};

/// The code of a refusal.
fn code<T>(joined: Result<T, Refusal>) -> String {
    joined.map_or_else(|refusal| refusal.to_string(), |_| "in".to_owned())
}

/// Needs: `--code`.
#[test]
fn guesses_of_the_code_are_slowed_down_and_keep_nobody_out() {
    let mut besieged = Besieged::teach_and_watch(&["--code=472913"], &["--code", "472913"]);
    besieged.target.code = "472913".to_owned();
    let tally = besieged.suffer(admission::wrong_codes(&besieged.target, 60, 100));
    besieged.holds(&tally);
    let without = besieged.runtime.block_on(Member::join(&besieged.target, network(7), "without"));
    assert_eq!(code(without), "codeRequired");
}

#[test]
fn a_client_that_never_authenticates_is_closed() {
    let besieged = Besieged::teach(&[]);
    let tally = besieged.suffer(admission::silent(&besieged.target, 20));
    besieged.holds(&tally);
}

/// Needs: `--auth` and `classroom token`. Without a file of keys no token is valid, but a room without a code is open to
/// everybody; so this server wants a token from each student.
#[test]
fn forged_tokens_open_nothing() {
    let class = Classroom::undisturbed();
    let keys = class.directory().join("keys.json");
    let keys = keys.to_str().unwrap();
    Process::start("key", class.command(&["token", "--new-key", "school", "--auth", keys])).ends_with(0);
    let text = std::fs::read_to_string(keys).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    file["guests"] = json!(false);
    std::fs::write(keys, file.to_string()).unwrap();
    let _teacher = class.teacher(&["--test", "--size", "320x180", "--auth", keys]);
    let address = class.url().replace("ws://", "").parse().unwrap();
    let target = Target::new(address, address).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tally = runtime.block_on(admission::forged_tokens(&target, 6));
    assert!(tally.broken.is_empty(), "{:?}", tally.broken);
    assert_eq!(tally.of("badToken") + tally.of("tooManyAttempts"), 6, "{tally}");
    assert_eq!(code(runtime.block_on(Member::join(&target, network(7), "without"))), "tokenRequired");
}

/// Needs: `--lobby` and `/admit`.
#[test]
fn a_crowd_in_the_lobby_gets_nothing_and_hides_nobody() {
    let besieged = Besieged::teach(&[]);
    let mut teacher = besieged.teacher;
    teacher.types("/lobby on");
    let besieged = Besieged { teacher, ..besieged };
    let lasts = Duration::from_secs(2);
    let tally = besieged.suffer(async {
        let mut tally = Tally::default();
        // The order has arrived once a newcomer waits.
        while admission::join_with(&besieged.target, network(1), "early", json!({})).await.is_ok() {}
        tally.add(admission::lobby(&besieged.target, 20, lasts).await);
        tally
    });
    assert!(tally.of("waited") > 0, "{tally}");
    besieged.holds(&tally);
}

/// Types an order and waits until the teacher has reported it.
#[track_caller]
fn order(teacher: &mut Process, line: &str, user: &str) {
    let mark = teacher.mark();
    teacher.types(line);
    teacher.wait_since(mark, crate::support::DEADLINE, line, |event| event.to_string().contains(user));
}

/// Needs: `/kick` and `/ban`.
#[test]
fn a_student_who_is_out_stays_out() {
    let mut besieged = Besieged::teach(&[]);
    let join =
        |from: Ipv4Addr, user: &str| code(besieged.runtime.block_on(Insider::join(&besieged.target, from, user)));
    assert_eq!(join(ATTACKER, "rude"), "in");
    order(&mut besieged.teacher, "/ban rude", "rude");
    let join =
        |from: Ipv4Addr, user: &str| code(besieged.runtime.block_on(Insider::join(&besieged.target, from, user)));
    assert_eq!(join(ATTACKER, "rude"), "removed");
    assert_eq!(join(ATTACKER, "another-name"), "removed", "from the same address");
    besieged.holds(&Tally::default());
}
