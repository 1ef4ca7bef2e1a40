//! The list of people of the page, whose module runs in Node.js.

use std::process::{Command, Stdio};

use crate::support::has_tools;

#[test]
fn the_list_of_people_counts_those_whom_the_server_does_not_name() {
    if !has_tools("the_list_of_people_counts_those_whom_the_server_does_not_name", &["node"]) {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/people.test.mjs");
    let output = Command::new("node").args(["--test", script]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
