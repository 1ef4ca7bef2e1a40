//! The map in `src/lib.rs` is the rule: a folder names only what stands below it, and no files import each other in a
//! circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Libraries that only these folders may name.
const OWNERS: [(&[&str], &[&str]); 10] = [
    (&["media"], &["gstreamer", "gstreamer_app", "gstreamer_video", "gst", "ashpd"]),
    (
        &["sfu", "viewer", "publisher", "pair", "peer_connection", "sdp", "srtp", "dtls", "turn", "bench"],
        &["webrtc", "rtc", "quinn_udp"],
    ),
    (&["signal", "janus", "livekit"], &["tokio_tungstenite"]),
    (&["signal"], &["mdns_sd"]),
    (&["report"], &["indicatif"]),
    (&["store"], &["redis"]),
    (&["srtp", "access", "tls", "bench", "peer_connection"], &["ring"]),
    (&["access"], &["jsonwebtoken"]),
    (&["tls", "access"], &["rustls"]),
    (&["tls"], &["tokio_rustls", "rustls_native_certs", "rcgen", "x509_parser"]),
];

/// Rules, packets and the wire: pure, each call is told the time.
const CORE: [&str; 9] = ["id", "protocol", "access", "room", "rtp", "rtcp", "congestion", "ingest", "token_bucket"];

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

/// The map in `src/lib.rs`: lines from the top to the bottom, each with the folders that stand on it.
fn map() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let (_, after) = text.split_once("//! # Map\n").expect("lib.rs has a map");
    let (_, block) = after.split_once("//! ```text\n").expect("the map is a block of text");
    let (block, _) = block.split_once("//! ```\n").unwrap();
    // Folders stand to the left of the bar, what they are for to the right.
    let folders = |line: &str| {
        let (left, _) = line.trim_start_matches("//!").split_once('|').expect("a line of the map has a bar");
        left.split_whitespace().filter(|word| !word.contains('/')).map(ToOwned::to_owned).collect()
    };
    block.lines().map(folders).collect()
}

#[test]
fn a_folder_names_only_what_stands_below_it_on_the_map() {
    let map = map();
    let line = |folder: &str| map.iter().position(|line| line.iter().any(|known| known == folder));
    let sources = sources();
    for source in sources.iter().filter(|source| source.folder != "lib") {
        let path = source.path.display();
        let own = line(&source.folder).unwrap_or_else(|| panic!("{path}: {} is not on the map", source.folder));
        for name in named(&source.code).iter().filter(|name| **name != source.folder && **name != "run") {
            let other = line(name).unwrap_or_else(|| panic!("{path}: {name} is not on the map"));
            assert!(other > own, "{path}: {} names {name}, which does not stand below it", source.folder);
        }
    }
    for folder in map.iter().flatten() {
        assert!(sources.iter().any(|source| source.folder == *folder), "{folder} is on the map and not in src/");
        assert_eq!(map.iter().flatten().filter(|other| *other == folder).count(), 1, "{folder} stands there once");
    }
}

#[test]
fn only_the_verb_bench_names_what_measures_the_product() {
    for source in sources().iter().filter(|source| source.folder != "bench" && named(&source.code).contains("bench")) {
        assert!(source.path.ends_with("commands/bench.rs"), "{} names bench", source.path.display());
    }
}

/// The module of a file: `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`.
fn module(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let below = path.strip_prefix(root).unwrap().with_extension("");
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.join("::").trim_end_matches("::mod").to_owned()
}

/// The modules that a module imports, of those that there are. A module and the one around it belong together, so
/// neither counts as an import of the other.
fn imports(own: &str, code: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, start) in code.match_indices("super::").chain(code.match_indices("crate::")) {
        if code[..at].ends_with("super::") {
            continue;
        }
        let (mut base, mut rest) = match start {
            "crate::" => (Vec::new(), &code[at + start.len()..]),
            _ => (own.split("::").collect::<Vec<_>>(), &code[at..]),
        };
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        let group: Vec<&str> = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((group, _)) => group.split(',').map(str::trim).collect(),
            None => vec![rest],
        };
        for path in group {
            let mut name = base.clone();
            for part in path.split("::") {
                let part: &str = part.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                name.push(part);
                let name = name.join("::");
                let is_around = |outer: &str, inner: &str| format!("{inner}::").starts_with(&format!("{outer}::"));
                if modules.contains(&name) && !is_around(&name, own) && !is_around(own, &name) {
                    found.insert(name);
                }
            }
        }
    }
    found
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let modules: BTreeSet<String> = sources.iter().map(|source| module(&source.path)).collect();
    let mut left: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &sources {
        let own = module(&source.path);
        left.insert(own.clone(), imports(&own, &source.code, &modules));
    }
    // What imports nothing that is left is in no circle.
    loop {
        let free: Vec<String> = left.iter().filter(|(_, names)| names.is_empty()).map(|(own, _)| own.clone()).collect();
        if free.is_empty() {
            break;
        }
        for own in &free {
            left.remove(own);
        }
        left.values_mut().for_each(|names| names.retain(|name| !free.contains(name)));
    }
    assert!(left.is_empty(), "these import each other, or what is in a circle: {left:#?}");
}

#[test]
fn a_library_belongs_to_its_folders() {
    for source in sources() {
        for (owners, libraries) in OWNERS.iter().filter(|(owners, _)| !owners.contains(&&*source.folder)) {
            for library in *libraries {
                assert!(!names(&source.code, library), "{}: only {owners:?} name {library}", source.path.display());
            }
        }
    }
}

fn of_publisher(place: &str, publishers: &[&str]) -> bool {
    publishers.iter().any(|publisher| place.ends_with(publisher))
}

/// The invariant of `src/srtp/seal.rs`.
#[test]
fn one_place_lets_the_library_seal_rtp() {
    let calls = |source: &&Source| source.code.contains(".write_rtp(");
    let places: Vec<String> =
        sources().iter().filter(calls).map(|source| format!("{}", source.path.display())).collect();
    // Publishers have no sealer of their own: the library seals all that they send.
    let publishers = ["src/bench/publisher/connection.rs", "src/publisher/sending.rs"];
    let allowed = |place: &String| place.ends_with("src/sfu/transport.rs") || of_publisher(place, &publishers);
    assert!(places.len() == 3 && places.iter().all(allowed), "{places:?}");
    let seals = sources().iter().any(|source| source.folder == "publisher" && source.code.contains("Sealer"));
    assert!(!seals, "a publisher seals too");
}

#[test]
fn the_core_knows_no_socket_no_runtime_and_no_clock() {
    for source in sources().iter().filter(|source| CORE.contains(&&*source.folder)) {
        for word in NOT_IN_CORE {
            assert!(!source.code.contains(word), "{}: {word} in the core", source.path.display());
        }
    }
}

/// Whether code defines a function: `function`, or `Type::function` with an `impl Type`.
fn defines(code: &str, function: &str) -> bool {
    let (of_type, name) = function.rsplit_once("::").unwrap_or(("", function));
    let has_type = of_type.is_empty() || code.contains(&format!("impl {of_type} {{"));
    let is_name = |ends: &str| ends.starts_with('(') || ends.starts_with('<');
    has_type && code.match_indices(&format!("fn {name}")).any(|(at, found)| is_name(&code[at + found.len()..]))
}

/// The text in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_way_of_a_packet_names_files_and_functions_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let guide = read("docs/packet.md");
    let (hops, prose): (Vec<&str>, Vec<&str>) = guide.lines().partition(|line| line.starts_with('|'));
    assert!(prose.iter().all(|line| !line.contains('`')), "names stand in the tables, beside their file");
    let hops: Vec<&str> = hops.into_iter().filter(|row| row.contains('`')).collect();
    assert!(hops.len() > 30, "{} hops", hops.len());
    for hop in hops {
        let cells: Vec<&str> = hop.trim_matches('|').split('|').collect();
        let [_, file, function, what] = cells[..] else { panic!("not a hop: {hop}") };
        let (file, function) = (quoted(file).next().expect("a file"), quoted(function).next().expect("a function"));
        let source = read(file);
        for name in std::iter::once(function).chain(quoted(what)) {
            if name.ends_with(".rs") {
                read(name);
            } else {
                assert!(defines(without_tests(&source), name), "{file} has no {name}");
            }
        }
    }
    assert!(defines("impl A {\n    fn b<T>() {}", "A::b") && !defines("impl A {\n    fn bc() {}", "A::b"));
    assert!(!defines("impl C {\n    fn b() {}", "A::b") && defines("fn b() {}", "b"));
}

#[test]
fn the_table_of_what_breaks_in_a_meeting_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/meetings.md")).unwrap();
    let table = guide.lines().skip_while(|line| !line.starts_with("Each of these has a test")).skip(1);
    let cells: Vec<&str> = table.take_while(|line| !line.starts_with('T')).flat_map(quoted).collect();
    assert!(cells.len() >= 24, "{} cells", cells.len());
    let folders = ["src/room/tests", "tests/it", "tests/browser"].map(|folder| std::fs::read_dir(root.join(folder)));
    let files = folders.into_iter().flat_map(|folder| folder.unwrap()).map(|entry| entry.unwrap().path());
    let is_test = |path: &PathBuf| path.is_file() && !path.ends_with("package-lock.json");
    let tests: String = files.filter(is_test).map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for name in cells {
        let is_there = tests.contains(&format!("fn {name}(")) || tests.contains(&format!("test('{name}'"));
        assert!(is_there, "no test {name:?}");
    }
}

#[test]
fn the_check_itself_sees_what_is_named() {
    let code = "use crate::{id::RoomId, room::{Rooms, mail}, rtp};\nfn f() -> crate::exit::Exit {}";
    assert_eq!(named(code).into_iter().collect::<Vec<_>>(), ["exit", "id", "room", "rtp"]);
    assert!(names("use gst::prelude::*;", "gst") && !names("a::gst::b", "gst") && !names("my_gst::b", "gst"));
}
