use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::*;

fn ids() -> (RoomId, UserId) {
    ("10013".parse().unwrap(), "1001".parse().unwrap())
}

fn taken(spans: &mut Spans) -> Vec<Value> {
    let body = export_request(&spans.take(100).unwrap(), "here");
    let request: Value = serde_json::from_str(&body).unwrap();
    let resource = &request["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["key"], "service.name");
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "classroom");
    resource["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

#[test]
fn a_join_is_one_trace_in_the_encoding_of_otlp() {
    let (tracer, mut spans) = Tracer::new();
    let (room, user) = ids();
    let begin = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
    tracer.joined(begin, (&room, &user), false);
    let mut join = tracer.in_room(&room).offered(SystemTime::now(), &user).unwrap();
    ["answer", "ice", "dtls"].into_iter().for_each(|step| join.step(step));
    join.done("first key frame");
    let all = taken(&mut spans);
    let names: Vec<&str> = all.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["websocket join", "answer", "ice", "dtls", "first key frame", "media join"]);
    let (first, media) = (&all[0], &all[5]);
    assert_eq!(first["startTimeUnixNano"], "1700000000123456789");
    assert_eq!((first["kind"].as_u64(), all[1]["kind"].as_u64()), (Some(2), Some(1)));
    assert!(first["parentSpanId"].is_null() && first["status"].is_null());
    assert_eq!(media["parentSpanId"], first["spanId"]);
    for span in &all {
        let digits = |key: &str| span[key].as_str().unwrap().bytes().all(|byte| b"0123456789abcdef".contains(&byte));
        assert!(digits("traceId") && digits("spanId") && span["traceId"] == first["traceId"], "{span}");
        assert_eq!((span["traceId"].as_str().unwrap().len(), span["spanId"].as_str().unwrap().len()), (32, 16));
        assert!(span["endTimeUnixNano"].as_str().unwrap() >= span["startTimeUnixNano"].as_str().unwrap());
    }
    assert!(all[1..5].iter().all(|span| span["parentSpanId"] == media["spanId"]));
    assert_eq!(media["attributes"][1]["key"], "classroom.user");
    assert_eq!(media["attributes"][1]["value"]["stringValue"], "1001");
}

#[test]
fn who_is_gone_too_early_is_an_error_and_a_second_offer_another_trace() {
    let (tracer, mut spans) = Tracer::new();
    let (room, user) = ids();
    tracer.joined(SystemTime::now(), (&room, &user), false);
    let in_room = tracer.in_room(&room);
    drop(in_room.offered(SystemTime::now(), &user));
    drop(in_room.offered(SystemTime::now(), &user));
    let all = taken(&mut spans);
    assert_eq!((all[1]["status"]["code"].as_u64(), all.len()), (Some(2), 3));
    assert_eq!(all[1]["traceId"], all[0]["traceId"]);
    assert!(all[2]["traceId"] != all[0]["traceId"] && all[2]["parentSpanId"].is_null());
}

#[test]
fn without_an_exporter_nothing_grows() {
    let (tracer, mut spans) = Tracer::new();
    let (room, _) = ids();
    for n in 0..3 * MAX_JOINED {
        tracer.joined(SystemTime::now(), (&room, &format!("user{n}").parse().unwrap()), false);
    }
    assert_eq!(spans.take_dropped(), (3 * MAX_JOINED - MAX_WAITING) as u64);
    assert_eq!(tracer.shared.as_ref().unwrap().joined.lock().unwrap().len(), MAX_JOINED);
    assert_eq!(spans.take(10).unwrap().len(), 10);
    assert_eq!(spans.take(10_000).unwrap().len(), MAX_WAITING - 10);
    assert!(spans.take(1).is_none());
    assert!(Tracer::default().offered(SystemTime::now(), &ids().1).is_none());
}
