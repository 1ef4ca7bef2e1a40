//! Lectures over the nodes of an engine, as real programs.

use crate::cluster::{Node, is_first_frame, says, until};
use crate::support::{Classroom, DEADLINE, JanusServer, is_picture, mediamtx};

#[test]
fn students_watch_and_talk_over_janus_and_go_elsewhere_when_a_node_dies() {
    let class = Classroom::new();
    let folders = ["a", "b"].map(|name| class.directory().join(name));
    let start = |at: usize| JanusServer::start("a lecture over Janus", &folders[at], "");
    let (Some(mut a), Some(mut b)) = (start(0), start(1)) else { return };
    let server = Node::serve(&class, "server", &["--via", &format!("janus={},{}", a.url(), b.url())]);
    let teacher = server.teacher_with(&class, &[]);
    let mut one = server.student(&class, "1001");
    one.wait_for("first frame", is_first_frame);
    let two = server.student(&class, "1002");
    two.wait_for("first frame", is_first_frame);
    until("both at Janus", || server.metric("classroom_edge_students") == Some(2.0));
    let mark = teacher.mark();
    let sends_to =
        |count: u64| move |event: &serde_json::Value| event["event"] == "stats" && event["students"] == count;
    teacher.wait_since(mark, DEADLINE, "each node once", sends_to(2));

    one.types("hello over Janus");
    for member in [&two, &teacher] {
        member.wait_for("chat", says("1001", "hello over Janus"));
    }
    one.types("/hand");
    teacher.wait_for("a hand", |event| event["event"] == "hand" && event["hands"][0] == "1001");

    // The node of one of them dies, and then the other one: the teacher serves both.
    a.kill();
    until("both at the other Janus", || server.metric("classroom_edge_lectures") == Some(1.0));
    until("both at the other Janus", || server.metric("classroom_edge_students") == Some(2.0));
    for student in [&one, &two] {
        student.wait_since(student.mark(), DEADLINE, "picture", is_picture);
    }
    b.kill();
    until("nobody at Janus", || server.metric("classroom_edge_lectures") == Some(0.0));
    for student in [&one, &two] {
        student.wait_since(student.mark(), DEADLINE, "picture", is_picture);
    }
    teacher.wait_since(teacher.mark(), DEADLINE, "both students", sends_to(2));
    one.types("hello without Janus");
    two.wait_for("chat", says("1001", "hello without Janus"));
}

#[test]
fn the_first_student_of_a_lecture_gets_it_from_mediamtx_and_talks() {
    let Some(program) = mediamtx::program("the_first_student_of_a_lecture_gets_it_from_mediamtx_and_talks") else {
        return;
    };
    let class = Classroom::new();
    let node = mediamtx::start(&program, class.directory(), "paths:\n  all_others:\n");
    let via = format!("mediamtx={}", node.url("").trim_end_matches('/'));
    let server = Node::serve(&class, "server", &["--via", &via]);
    let teacher = server.teacher_with(&class, &[]);
    let mut students = ["1001", "1002"].map(|user| {
        let student = server.student(&class, user);
        student.wait_for("first frame", is_first_frame);
        student
    });
    until("both at MediaMTX", || server.metric("classroom_edge_students") == Some(2.0));
    students[0].types("hello over MediaMTX");
    for member in [&students[1], &teacher] {
        member.wait_for("chat", says("1001", "hello over MediaMTX"));
    }
}

#[test]
fn the_built_in_server_of_teach_places_students_at_janus() {
    let class = Classroom::new();
    let Some(mut janus) = JanusServer::start("teach --via", class.directory(), "") else { return };
    let via = format!("janus={}", janus.url());
    let teacher = Node::teach(&class, &["--via", &via]);
    let mut student = teacher.student(&class, "1001");
    student.wait_for("first frame", is_first_frame);
    let at_janus = format!("classroom_engine_students{{node=\"{}\"}}", janus.url());
    until("the student is at Janus", || teacher.metric(&at_janus) == Some(1.0));
    student.types("hello over Janus");
    teacher.process.wait_for("chat", says("1001", "hello over Janus"));
    janus.kill();
    until("nobody is at Janus", || teacher.metric(&at_janus) == Some(0.0));
    student.wait_since(student.mark(), DEADLINE, "picture from the teacher", is_picture);
}
