//! Requests by raw HTTP, and the Python programs that speak WHEP and WHIP.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Classroom, DEADLINE};

pub const SDP: (&str, &str) = ("Content-Type", "application/sdp");
pub const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: HashMap<String, String>,
    pub body: String,
}

impl Answer {
    /// A header, empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The stable code of a refusal.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"));
        assert!(body["message"].as_str().is_some_and(|message| message.len() > 10), "{self:?}");
        assert_eq!(self.header("access-control-allow-origin"), "", "{self:?}");
        body["code"].as_str().unwrap().to_owned()
    }

    /// Checks that this is a refusal with this status and code.
    #[track_caller]
    pub fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        let temporary = status == 503 || code == "nobodyTeaches";
        assert_eq!(!self.header("retry-after").is_empty(), temporary, "{self:?}");
    }
}

/// A request with a body.
pub fn ask(class: &Classroom, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let length = body.len().to_string();
    let headers = [headers, &[("Content-Length", &length)]].concat();
    ask_raw(class, method, path, &headers, body)
}

/// A request with these headers only.
pub fn ask_raw(class: &Classroom, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let host = class.url().replace("ws://", "");
    let mut stream = TcpStream::connect(&host).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
    let mut headers = HashMap::<String, String>::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let values = headers.entry(name.to_lowercase()).or_default();
        *values = if values.is_empty() { value.to_owned() } else { format!("{values}, {value}") };
    }
    Answer { status, headers, body: body.to_owned() }
}

/// The Python interpreter of the WHEP player and the WHIP publisher, if `bin/setup --test` installed it.
pub fn python(test: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/whep-player/bin/python");
    if python.exists() {
        return Some(python);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing: run bin/setup --test", python.display());
    println!("skipped {test}: {} is missing, bin/setup --test makes it", python.display());
    None
}
