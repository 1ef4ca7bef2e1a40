//! The page's files: compiled in, stripped of comments, compressed once, and named by their content, so that a browser
//! may cache them for ever.
//!
//! rust-embed and tower-http would replace the list of files and the choice of gzip, some 40 lines, but neither strips
//! comments nor puts all files under one hash, and tower-http would compress them again for each student.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::asset_files::{CONFERENCE_FILES, FILES, HTML, JAVASCRIPT, PART_FILES, TEACHER_FILES};

/// Stands in an HTML file for the folder of these files.
const FOLDER: &str = "{{assets}}";

/// Stands in an HTML file without scripts for the head up to the title.
const HEAD: (&str, &str) = ("{{head}}", include_str!("page/head.html"));

/// Stands in the service worker for the list of these files.
const LIST: &str = "{{files}}";

/// The page: the list of rooms at `/`, a room at `/room/{id}`.
pub(super) static PAGE: LazyLock<File> = LazyLock::new(|| File::html(include_str!("page/index.html")));

/// The service worker, which caches the page and all files for students of this build.
static WORKER: LazyLock<File> = LazyLock::new(|| {
    let folder = format!("/assets/{}", ASSETS.hash);
    let files: Vec<_> = FILES.iter().map(|(name, ..)| format!("\"{folder}/{name}\"")).collect();
    let text = stripped(include_str!("page/worker.js")).replace(FOLDER, &folder);
    File::new(JAVASCRIPT, text.replace(LIST, &format!("[{}]", files.join(", "))))
});

/// The page of a 404.
pub(super) static NOT_FOUND: LazyLock<File> = LazyLock::new(|| File::html(include_str!("page/not_found.html")));

static ASSETS: LazyLock<Assets> = LazyLock::new(Assets::new);

struct Assets {
    /// One hash for all files, so that a module imports the others of its own build.
    hash: String,
    files: Vec<(&'static str, File)>,
}

impl Assets {
    fn new() -> Self {
        let mut hasher = DefaultHasher::new();
        let all = || [FILES, PART_FILES, TEACHER_FILES, CONFERENCE_FILES].into_iter().flatten();
        all().for_each(|file| file.hash(&mut hasher));
        // No line of SVG and HTML looks like a comment.
        let files = all().map(|(name, kind, text)| (*name, File::new(kind, stripped(text)))).collect();
        Self { hash: format!("{:016x}", hasher.finish()), files }
    }
}

/// A file, ready to be sent.
pub(super) struct File {
    content_type: &'static str,
    plain: Bytes,
    gzip: Bytes,
}

impl File {
    fn new(content_type: &'static str, text: impl Into<Bytes>) -> Self {
        let plain: Bytes = text.into();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory can't fail. If it did, the file would be sent uncompressed.
        let gzip = encoder.write_all(&plain).and_then(|()| encoder.finish()).unwrap_or_default().into();
        Self { content_type, plain, gzip }
    }

    pub(super) fn html(text: &str) -> Self {
        let text = text.replace(HEAD.0, HEAD.1);
        Self::new(HTML, text.replace(FOLDER, &format!("/assets/{}", ASSETS.hash)))
    }

    /// The response, compressed if the client accepts gzip.
    pub(super) fn respond(&self, request: &HeaderMap) -> Response {
        let mut response = if takes_gzip(request) && !self.gzip.is_empty() {
            ([(header::CONTENT_ENCODING, "gzip")], self.gzip.clone()).into_response()
        } else {
            self.plain.clone().into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// The file `name` of the build with this `hash`; 404 for another build.
pub(super) fn asset(hash: &str, name: &str, request: &HeaderMap) -> Response {
    let file = ASSETS.files.iter().find(|(known, _)| *known == name).filter(|_| hash == ASSETS.hash);
    let Some((_, file)) = file else {
        return (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, "no-store")]).into_response();
    };
    let mut response = file.respond(request);
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, forever);
    response
}

/// A script or a style sheet without its comment lines, which are a fifth of it, and without indentation. Empty lines
/// replace comments, so that line numbers in a browser's errors match the source.
fn stripped(text: &str) -> String {
    let mut is_inside = false;
    let kept = text.lines().map(|line| {
        let trimmed = line.trim();
        let is_block = is_inside || trimmed.starts_with("/*");
        is_inside = is_block && !trimmed.ends_with("*/");
        if is_block || trimmed.starts_with("//") { "" } else { line.trim_start() }
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// The service worker. A browser requests it at each visit and compares the content to see whether the page has
/// changed.
pub(super) fn worker(request: &HeaderMap) -> Response {
    let mut response = WORKER.respond(request);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let policy = HeaderValue::from_static("default-src 'none'; connect-src 'self'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Compresses everything now, and not while the first student waits.
pub(super) fn prepare() {
    LazyLock::force(&PAGE);
    LazyLock::force(&NOT_FOUND);
    LazyLock::force(&WORKER);
}

/// Whether the client accepts `gzip` or `*` with a weight above 0 (RFC 9110, 12.5.3).
fn takes_gzip(request: &HeaderMap) -> bool {
    let accepted = request.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let mut codings = accepted.flat_map(|value| value.split(',')).map(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        (name, weight > 0.0_f32)
    });
    codings.any(|(name, wanted)| wanted && matches!(name.as_str(), "gzip" | "*"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::asset_files::{Named, SVG};

    const INDEX: &str = include_str!("page/index.html");

    /// All texts between `start` and the next `end`.
    fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
        text.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect()
    }

    fn all_files() -> impl Iterator<Item = &'static Named> {
        [FILES, PART_FILES, TEACHER_FILES, CONFERENCE_FILES].into_iter().flatten()
    }

    fn file(name: &str) -> &'static str {
        all_files().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("{name} is not served")).2
    }

    fn modules_of(files: &'static [Named]) -> impl Iterator<Item = (&'static str, &'static str)> {
        files.iter().filter(|(name, ..)| name.ends_with(".js")).map(|(name, _, text)| (*name, *text))
    }

    fn modules() -> impl Iterator<Item = (&'static str, &'static str)> {
        [FILES, PART_FILES, TEACHER_FILES, CONFERENCE_FILES].into_iter().flat_map(modules_of)
    }

    #[test]
    fn the_page_weighs_less_than_60_kilobytes() {
        let for_students = ASSETS.files.iter().filter(|(name, _)| FILES.iter().any(|(known, ..)| known == name));
        let bytes = PAGE.gzip.len() + for_students.map(|(_, file)| file.gzip.len()).sum::<usize>();
        assert!(bytes < 60_000, "{bytes} bytes");
    }

    /// Few files lead to the others: `teach.js` for those who teach, `device.js` for a document camera, `order.js` for
    /// those who moderate, `student_stage.js` where somebody speaks, `conference_room.js` for meetings and calls,
    /// `lecture_breakouts.js` for breakout rooms, `viewing.js` for the attendance list, `engine.js` for media from an
    /// engine, `path.js` for the way of media in the statistics, and `new_room.js` for the list of rooms.
    #[test]
    fn a_visit_loads_no_file_of_a_part_that_is_not_needed() {
        let visit: Vec<_> = modules_of(FILES).chain([("index.html", INDEX)]).collect();
        let students = ["order.js", "student_stage.js", "conference_room.js", "lecture_breakouts.js", "viewing.js"];
        let students = students.map(|part| (part, "room.js"));
        let others = [
            ("teach.js", "main.js"),
            ("device.js", "main.js"),
            ("new_room.js", "rooms.js"),
            ("path.js", "stats.js"),
            ("engine.js", "media.js"),
        ];
        let doors = [&students[..], &others].concat();
        for (name, ..) in PART_FILES.iter().chain(TEACHER_FILES).chain(CONFERENCE_FILES) {
            let loaded_by = visit.iter().filter(|(_, text)| text.contains(&format!("/{name}'")));
            let loaded_by: Vec<&str> = loaded_by.map(|(by, _)| *by).collect();
            let door = doors.iter().filter(|(door, _)| door == name).map(|(_, by)| *by);
            assert_eq!(loaded_by, door.collect::<Vec<_>>(), "{name}");
            assert!(!INDEX.contains(&format!("/{name}\"")), "{name}");
            let is_loaded = modules().any(|(by, text)| by != *name && text.contains(&format!("'./{name}'")));
            assert!(is_loaded, "nothing loads {name}");
        }
        for (door, by) in doors {
            assert!(file(by).contains(&format!("import('./{door}')")), "{door}");
        }
        for (name, text) in modules_of(PART_FILES).chain(modules_of(CONFERENCE_FILES)) {
            assert!(!between(text, "'./", "'").contains(&"teach.js"), "{name}");
        }
    }

    #[test]
    fn comments_are_stripped_and_code_is_kept() {
        let text = "// Why.\n\n/** What. */\nconst a = 'b // c';\n  /*\n   * More.\n   */\n  call(a); // here\n";
        let sent = stripped(text);
        assert_eq!(sent, "\n\n\nconst a = 'b // c';\n\n\n\ncall(a); // here\n", "lines keep their numbers");
        for (name, text) in modules() {
            assert!(!stripped(text).contains("/**"), "{name}");
            // Indentation inside of a template literal would be text.
            let is_open = |line: &&str| line.matches('`').count() % 2 == 1 && !line.trim().starts_with('*');
            assert!(text.lines().filter(is_open).count() < 2, "{name} has a template literal of several lines");
        }
    }

    #[test]
    fn every_file_of_the_page_is_served_and_every_module_is_preloaded_or_loaded_on_demand() {
        let on_demand = [("english.js", "i18n.js"), ("chinese.js", "i18n.js"), ("rooms.js", "main.js")];
        for (name, by) in on_demand {
            assert!(file(by).contains(&format!("'./{name}'")), "{by} does not load {name}");
        }
        for (name, text) in modules() {
            for imported in between(text, "from './", "'") {
                assert!(file(imported).contains("export "), "{name} imports {imported}");
            }
        }
        for (name, _) in modules_of(FILES).filter(|(name, _)| on_demand.iter().all(|(known, _)| known != name)) {
            let preload = format!("rel=\"modulepreload\" href=\"{FOLDER}/{name}\"");
            assert!(INDEX.contains(&preload), "{name} is not preloaded");
        }
        for name in between(INDEX, "{{assets}}/", "\"") {
            file(name);
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_served = name == "worker.js" || all_files().any(|(known, ..)| *known == name);
            assert!(name.ends_with(".html") || is_served, "{name} is not served");
        }
    }

    #[test]
    fn stripping_comments_keeps_line_numbers() {
        let text = "/** One. */\nconst a = 1; // kept\n  /*\n   * two\n   */\n  // three\nconst b = '//';\n";
        assert_eq!(stripped(text), "\nconst a = 1; // kept\n\n\n\n\nconst b = '//';\n");
        for (name, kind, text) in all_files().filter(|(_, kind, _)| *kind != SVG) {
            // Nothing follows a comment on its last line.
            let ends = |line: &str| line.find("*/").is_none_or(|at| line.trim_end().len() == at + 2);
            assert!(text.lines().filter(|line| line.trim().starts_with("/*")).all(ends), "{name}, {kind}");
            assert_eq!(stripped(text).lines().count(), text.lines().count(), "{name}");
        }
    }

    #[test]
    fn the_service_worker_caches_every_file_for_students_of_this_build() {
        let worker = worker(&HeaderMap::new());
        assert_eq!(worker.headers()[header::CACHE_CONTROL], "no-cache");
        let text = std::str::from_utf8(&WORKER.plain).unwrap();
        for (name, ..) in FILES {
            assert!(text.contains(&format!("\"/assets/{}/{name}\"", ASSETS.hash)), "{name}");
        }
        let others = PART_FILES.iter().chain(TEACHER_FILES).chain(CONFERENCE_FILES);
        assert!(others.map(|(name, ..)| name).all(|name| !text.contains(&format!("/{name}\""))), "{text}");
        assert!(!text.contains("{{"), "{text}");
    }

    /// The page speaks to students, who have no command line.
    #[test]
    fn no_sentence_names_a_flag() {
        for line in file("english.js").lines().chain(file("chinese.js").lines()) {
            assert!(!line.contains("--"), "{line}");
        }
    }

    /// The keys of one language: `  key: '...`, one a line.
    fn keys_of(name: &str) -> Vec<&'static str> {
        let block = between(file(name), " = {\n", "\n};");
        block[0].lines().filter_map(|line| line.trim().split_once(": ")).map(|(key, _)| key).collect()
    }

    #[test]
    fn every_sentence_exists_in_both_languages() {
        // The words of each visit, and those that a part of the page adds.
        let parts = [
            "",
            "device_",
            "devices_",
            "orders_",
            "stage_",
            "teach_",
            "conference_",
            "new_room_",
            "breakouts_",
            "files_",
        ];
        let [english, device, devices, orders, stage, teach, conference, new_room, breakouts, files] =
            parts.map(|part| {
                let [english, chinese] = ["english.js", "chinese.js"].map(|name| keys_of(&format!("{part}{name}")));
                assert_eq!(english, chinese, "{part}");
                english
            });
        assert!(english.len() > 100 && teach.len() > 50 && devices.len() > 50 && stage.len() > 20);
        let rooms = [conference.as_slice(), &new_room, &breakouts, &files].concat();
        let mut all = [english.as_slice(), &device, &devices, &orders, &stage, &teach, &rooms].concat();
        all.sort_unstable();
        let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?} have two sentences");
        let used_by = |html, files| {
            let in_html = ["data-i18n=\"", "data-label=\"", "data-placeholder=\""];
            let mut used: Vec<&str> = in_html.iter().flat_map(|start| between(html, start, "\"")).collect();
            used.extend(modules_of(files).flat_map(|(_, text)| between(text, "say('", "'")));
            used
        };
        for key in used_by(INDEX, FILES) {
            // The list of rooms has nothing to say before the form is there.
            let is_of_list = new_room.contains(&key) && file("rooms.js").contains(&format!("say('{key}'"));
            assert!(english.contains(&key) || is_of_list, "{key} is not in english.js");
        }
        let parts = ["devices.html", "speaker.html", "device.html", "new_room.html"].map(file).concat();
        let of_rooms = ["conference.html", "breakouts.html", "lecture_breakouts.html"].map(file).concat();
        let here = used_by(&of_rooms, CONFERENCE_FILES);
        for key in used_by(&parts, PART_FILES).into_iter().chain(here) {
            assert!(all.contains(&key) && !teach.contains(&key), "{key} is in none of the words of a student's page");
        }
        for key in used_by(file("teach.html"), TEACHER_FILES) {
            assert!(all.contains(&key), "{key} is not in teach_english.js");
        }
    }

    #[test]
    fn other_peoples_text_is_never_html_and_no_other_host_is_contacted() {
        for (name, text) in modules() {
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
                assert!(!text.contains(word), "{word} in {name}");
            }
        }
        for (name, _, text) in all_files().chain([&("index.html", "", INDEX)]) {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("https://") && !text.contains("http://"), "{name} names another host");
        }
        assert_eq!(INDEX.matches("<script").count(), 1);
        assert!(!INDEX.contains(" style=") && !INDEX.contains(" onclick"), "the policy refuses it");
    }

    #[test]
    fn gzip_is_sent_to_clients_that_accept_it() {
        let takes =
            |value: &str| takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())]));
        assert!(takes("gzip, deflate, br") && takes("br;q=1.0, GZIP;q=0.5") && takes("*"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("") && !takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_file_is_cached_for_ever_under_the_hash_of_all_files() {
        let found = asset(&ASSETS.hash, "main.js", &HeaderMap::new());
        assert_eq!(found.status(), StatusCode::OK);
        assert!(found.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        for (hash, name) in [("0", "main.js"), (ASSETS.hash.as_str(), "index.html"), (ASSETS.hash.as_str(), "../id.rs")]
        {
            let missing = asset(hash, name, &HeaderMap::new());
            assert_eq!(missing.status(), StatusCode::NOT_FOUND);
            assert_eq!(missing.headers()[header::CACHE_CONTROL], "no-store");
        }
    }

    #[test]
    fn the_page_gives_up_after_the_same_errors_as_our_client() {
        use crate::protocol::ErrorCode;

        let block = between(file("signalling.js"), "const FINAL = new Set([", "]")[0];
        let in_page = between(block, "'", "'");
        let in_page: Vec<ErrorCode> =
            in_page.iter().step_by(2).map(|code| ErrorCode::from((*code).to_owned())).collect();
        assert!(in_page.iter().all(|code| code.is_final()), "{in_page:?}");
        let closing = ErrorCode::ALL.iter().filter(|code| code.is_final() && code.closes());
        for code in closing {
            assert!(in_page.contains(code), "{code}");
        }
    }
}
