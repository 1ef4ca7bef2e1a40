//! A lecture over edges, as real programs: the teacher sends it once to each server, whoever watches there.

use serde_json::Value as Event;

use crate::cluster::{Node, curl, is_first_frame, says, until};
use crate::support::{Classroom, DEADLINE, Process, RedisServer, is_picture};

fn has_sound(event: &Event) -> bool {
    event["track"] == "audio" && event["kbps"].as_f64().is_some_and(|kbps| kbps > 0.0)
}

#[track_caller]
fn watches(student: &Process, mark: usize) {
    student.wait_since(mark, DEADLINE, "picture", is_picture);
    student.wait_since(mark, DEADLINE, "sound", has_sound);
}

#[test]
fn a_lecture_reaches_each_edge_once_and_survives_the_death_of_one() {
    let Some(redis) = RedisServer::start("a_lecture_reaches_each_edge_once_and_survives_the_death_of_one") else {
        return;
    };
    let class = Classroom::new();
    let a = Node::start_with(&class, &redis, "a", &[]);
    let [b, mut c] = ["b", "c"].map(|name| Node::start_with(&class, &redis, name, &["--edge"]));
    let teacher = a.teacher_with(&class, &[]);
    let mut one = b.student(&class, "1001");
    let two = b.student(&class, "1002");
    let three = c.student(&class, "1003");
    for student in [&one, &two, &three] {
        student.wait_for("first frame", is_first_frame);
    }
    // The server of this one is no edge: it gets the edge with the fewest students.
    let far = a.student(&class, "1004");
    for student in [&one, &two, &three, &far] {
        watches(student, 0);
    }
    for edge in [&b, &c] {
        until("two students", || edge.metric("classroom_edge_students") == Some(2.0));
        assert_eq!(edge.metric("classroom_edge_pulls_total"), Some(1.0));
    }
    let mark = teacher.mark();
    let is_two = |event: &Event| event["event"] == "stats" && event["students"] == 2;
    teacher.wait_since(mark, DEADLINE, "the edges alone", is_two);

    // Words and hands pass both ways.
    one.types("hello from b");
    for student in [&three, &far, &teacher] {
        student.wait_for("chat", says("1001", "hello from b"));
    }
    one.types("/hand");
    teacher.wait_for("a hand", |event| event["event"] == "hand" && event["hands"][0] == "1001");

    // An edge dies. The student that is connected to another server gets the lecture from the other edge.
    c.process.kill();
    until("three students", || b.metric("classroom_edge_students") == Some(3.0));
    watches(&far, far.mark());

    // The last edge ends in good order, and the teacher serves.
    assert_eq!(curl(&b.address, "/readyz").as_deref(), Some("ok\n"));
    let mut b = b;
    b.process.terminate();
    b.process.ends_with(0);
    let mark = teacher.mark();
    teacher.wait_since(mark, DEADLINE, "the student itself", |event| event["students"] == 1);
    watches(&far, far.mark());
}

#[test]
fn an_edge_without_redis_gets_the_lecture_of_its_origin_and_its_students_talk_there() {
    let class = Classroom::new();
    let secret = class.directory().join("secret");
    std::fs::write(&secret, "0123456789abcdef\n").unwrap();
    let secret = ["--edge-secret-file", secret.to_str().unwrap()];
    let origin = Node::serve(&class, "origin", &secret);
    let edge = Node::serve(&class, "edge", &[&["--edge", "--origin", &origin.url()], &secret[..]].concat());
    let teacher = origin.teacher_with(&class, &["--no-audio"]);
    let [mut one, two] = ["1001", "1002"].map(|user| edge.student(&class, user));
    for student in [&one, &two] {
        student.wait_for("first frame", is_first_frame);
    }
    until("two students", || edge.metric("classroom_edge_students") == Some(2.0));
    assert_eq!(edge.metric("classroom_edge_pulls_total"), Some(1.0));
    one.types("hello from the edge");
    for member in [&two, &teacher] {
        member.wait_for("chat", says("1001", "hello from the edge"));
    }
}

/// With one edge at the teacher, the other one gets the lecture from this one. A student of the latter speaks.
#[test]
fn an_edge_gets_the_lecture_from_another_one_and_its_students_are_heard_and_seen() {
    let name = "an_edge_gets_the_lecture_from_another_one_and_its_students_are_heard_and_seen";
    let Some(redis) = RedisServer::start(name) else { return };
    let class = Classroom::new();
    let one_direct = ["--direct-edges", "1"];
    let a = Node::start_with(&class, &redis, "a", &one_direct);
    let edge = [&one_direct[..], &["--edge"]].concat();
    let [mut b, c] = ["b", "c"].map(|name| Node::start_with(&class, &redis, name, &edge));
    let mut teacher = a.teacher_with(&class, &[]);
    let two = b.student(&class, "1002");
    two.wait_for("first frame", is_first_frame);
    let mut one = c.student_with(&class, "1001", &["--may-speak=yes", "--speak-test"]);
    one.wait_for("first frame", is_first_frame);
    for (student, edge) in [(&two, &b), (&one, &c)] {
        watches(student, 0);
        until("a student", || edge.metric("classroom_edge_students") == Some(1.0));
    }
    let mark = teacher.mark();
    teacher.wait_since(mark, DEADLINE, "one edge alone", |event| event["event"] == "stats" && event["students"] == 1);

    one.types("hello from below");
    for other in [&two, &teacher] {
        other.wait_for("chat", says("1001", "hello from below"));
    }
    teacher.types("hello from above");
    one.wait_for("chat", says("9999", "hello from above"));

    // The stage is not sent over edges, but its rules are.
    one.types("/hand");
    teacher.wait_for("a hand", |event| event["event"] == "hand" && event["hands"][0] == "1001");
    teacher.types("/stage");
    let is_seen = |event: &Event| {
        let is_video = event["event"] == "speaker-stats" && event["user"] == "1001" && event["track"] == "camera";
        is_video && event["frames"].as_u64().is_some_and(|frames| frames > 5)
    };
    two.wait_for("the speaker", is_seen);

    // The edge above dies: the one below gets the lecture from the teacher, and the speaker stays.
    b.process.kill();
    until("another connection", || c.metric("classroom_edge_pulls_total") == Some(2.0));
    watches(&one, one.mark());
    let mark = teacher.mark();
    one.types("still here");
    teacher.wait_since(mark, DEADLINE, "chat", says("1001", "still here"));
    let is_on_stage = |event: &Event| event["event"] == "stats" && event["stage"] == serde_json::json!(["1001"]);
    teacher.wait_since(mark, DEADLINE, "the speaker", is_on_stage);
}
