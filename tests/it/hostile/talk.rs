//! Floods over the data channel.

use std::time::Duration;

use serde_json::Value;

use super::Besieged;
use crate::attack::talk::{self, Noise};

/// Needs: fair shares of the room's chat.
#[test]
fn a_flood_of_made_up_students_leaves_room_for_an_honest_word() {
    let mut besieged = Besieged::teach(&[]);
    let target = besieged.target.clone();
    let noise =
        besieged.runtime.spawn(async move { talk::crowd(&target, 12, Noise::Chat, Duration::from_secs(8)).await });
    // The flood has used up what a room may say at once.
    let is_noise = |event: &Value| event["event"] == "chat" && event["text"].to_string().contains("noise");
    besieged.students[1].wait_for("noise", is_noise);
    let heard = || besieged.students[1].events().iter().filter(|event| is_noise(event)).count();
    crate::support::poll(crate::support::DEADLINE, || (heard() > 120).then_some(())).expect("a flood");
    besieged.students[0].types("an honest question");
    besieged.students[1].wait_for("the question", |event| event["text"] == "an honest question");
    let tally = besieged.runtime.block_on(noise).unwrap();
    assert!(tally.of("connected") > 10, "{tally}");
}
