//! The arrows of the design point down: `bin -> cli, run -> commands -> adapters -> core -> id`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders (or files) of `src/`, and which others each may name. Adapters never name one another.
const ARROWS: [(&str, &[&str]); 13] = [
    ("id", &[]),
    ("exit", &["expect"]),
    ("expect", &[]),
    ("protocol", &["id"]),
    ("room", &["id", "protocol"]),
    ("rtp", &["id"]),
    ("peer", &["id", "protocol", "room", "rtp"]),
    ("media", &["id", "protocol", "room", "rtp"]),
    ("signal", &["id", "protocol", "room", "rtp"]),
    ("http", &["id", "protocol", "room", "rtp"]),
    ("report", &["id", "rtp"]),
    ("cli", &["exit", "expect", "id", "media", "protocol", "report", "rtp", "signal"]),
    (
        "commands",
        &["cli", "exit", "expect", "http", "id", "media", "peer", "protocol", "report", "room", "rtp", "signal"],
    ),
];

/// Libraries that only one folder may name.
const OWNERS: [(&str, &[&str]); 4] = [
    ("media", &["gstreamer", "gstreamer_app", "gstreamer_video", "gst", "ashpd"]),
    ("peer", &["webrtc", "rtc", "quinn_udp"]),
    ("signal", &["tokio_tungstenite", "mdns_sd"]),
    ("report", &["indicatif"]),
];

/// What the core knows nothing of: sockets, threads of the runtime, files, clocks.
const NOT_IN_CORE: [&str; 8] =
    ["tokio", "std::net::Tcp", "std::net::Udp", "std::fs", "std::thread", "Instant::now", "SystemTime::now", "rand::"];

struct Source {
    path: PathBuf,
    folder: String,
    code: String,
}

/// All of `src/` without comments and without its unit tests.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut left = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".rs") || name == "tests.rs" || path.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        let below = path.strip_prefix(&root).unwrap();
        let folder = below.components().next().unwrap().as_os_str().to_string_lossy();
        let folder = folder.trim_end_matches(".rs").to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = without_tests(&text);
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        sources.push(Source { path, folder, code: code.join("\n") });
    }
    sources
}

/// Unit tests stand at the end of a file.
fn without_tests(text: &str) -> &str {
    let is_module = |rest: &str| rest.lines().next().is_some_and(|line| line.ends_with("mod tests {"));
    let ends = text.match_indices("\n#[cfg(test)]\n").find(|(at, start)| is_module(&text[at + start.len()..]));
    ends.map_or(text, |(at, _)| &text[..at])
}

/// The folders that are named as `crate::folder`, also in `crate::{one, other}`.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut folders = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            folders.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut first = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => first = true,
                c if first && !c.is_whitespace() => {
                    folders.insert(word(&group[at..]));
                    first = false;
                }
                _ => {}
            }
        }
    }
    folders
}

/// Whether a library is named as a path: `tokio::`, not `my_tokio::` and not a word in a text.
fn names(code: &str, library: &str) -> bool {
    let path = format!("{library}::");
    let whole = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    code.match_indices(&path).any(|(at, _)| whole(at))
}

#[test]
fn arrows_point_down() {
    for source in sources().iter().filter(|source| source.folder != "lib") {
        let Some((_, allowed)) = ARROWS.iter().find(|(folder, _)| *folder == source.folder) else {
            panic!("{}: a folder that the design doesn't know: add its arrows here", source.path.display());
        };
        for name in named(&source.code).iter().filter(|name| **name != source.folder) {
            assert!(
                allowed.contains(&name.as_str()),
                "{}: {} may not name crate::{name}",
                source.path.display(),
                source.folder
            );
        }
    }
}

#[test]
fn a_library_belongs_to_one_folder() {
    for source in sources() {
        for (owner, libraries) in OWNERS.iter().filter(|(owner, _)| *owner != source.folder) {
            for library in *libraries {
                assert!(!names(&source.code, library), "{}: only {owner}/ names {library}", source.path.display());
            }
        }
    }
}

#[test]
fn the_core_knows_no_socket_no_runtime_and_no_clock() {
    for source in sources().iter().filter(|source| ["id", "protocol", "room", "rtp"].contains(&&*source.folder)) {
        for word in NOT_IN_CORE {
            assert!(!source.code.contains(word), "{}: {word} in the core", source.path.display());
        }
    }
}

#[test]
fn the_check_itself_sees_what_is_named() {
    let code = "use crate::{id::RoomId, room::{Rooms, mail}, rtp};\nfn f() -> crate::exit::Exit {}";
    assert_eq!(named(code).into_iter().collect::<Vec<_>>(), ["exit", "id", "room", "rtp"]);
    assert!(names("use gst::prelude::*;", "gst") && !names("a::gst::b", "gst") && !names("my_gst::b", "gst"));
}
