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
