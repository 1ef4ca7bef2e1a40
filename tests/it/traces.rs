//! Traces of joins, as a collector gets them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use serde_json::Value;

use crate::support::{Classroom, DEADLINE, is_picture};

/// Answers requests of OTLP/HTTP until the test ends, and passes on their bodies.
fn collector() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while reader.read_line(&mut head).unwrap() > 2 {
                if let Some(value) = head.to_ascii_lowercase().lines().last().unwrap().strip_prefix("content-length: ")
                {
                    length = value.trim().parse().unwrap();
                }
            }
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            if sender.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, bodies)
}

#[test]
fn a_collector_gets_the_steps_of_a_join() {
    let class = Classroom::new();
    let (url, bodies) = collector();
    let flags = ["--test", "--size", "320x180", "--fps", "10", "--otlp", &url];
    let _teacher = class.teacher(&flags);
    let student = class.student(1001, &[]);
    student.wait_for("picture", is_picture);
    let mut spans: Vec<Value> = Vec::new();
    let of_student = |spans: &[Value], name: &str| {
        let is_of = |span: &&Value| {
            span["name"] == name && span["attributes"][1]["value"]["stringValue"].as_str() == Some("1001")
        };
        spans.iter().find(is_of).cloned()
    };
    while of_student(&spans, "media join").is_none() {
        let body = bodies.recv_timeout(DEADLINE).expect("the collector gets the join");
        spans.extend(body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().iter().cloned());
    }
    let (joined, media) = (of_student(&spans, "websocket join").unwrap(), of_student(&spans, "media join").unwrap());
    assert_eq!((&media["parentSpanId"], &media["traceId"]), (&joined["spanId"], &joined["traceId"]));
    assert!(media["status"].is_null(), "{media}");
    let steps: Vec<&str> = spans
        .iter()
        .filter(|span| span["parentSpanId"] == media["spanId"])
        .map(|span| span["name"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["answer", "ice", "dtls", "first key frame"]);
}
