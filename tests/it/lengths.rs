//! Lines fit on a screen, and a file is one subject that reads on its own.

use std::path::{Path, PathBuf};

/// The most columns of a line. CJK characters count as two, as a terminal shows them.
const MAX_COLUMNS: usize = 120;

/// The most lines of a file of code.
const MAX_LINES: usize = 500;

/// Where the sources are.
const FOLDERS: [&str; 7] = ["src", "tests", "bin", "fuzz", "pipelines", "docs", ".ci"];

/// Files that are not written by hand, or not here.
const GENERATED: [&str; 5] = ["node_modules", "package-lock.json", "Cargo.lock", "grafana.json", "seeds"];

/// Files with longer lines or with more lines, each with the reason.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// Every text file in [`FOLDERS`], with its path in the repository.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut left: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    let mut sources = Vec::new();
    while let Some(path) = left.pop() {
        let name = path.file_name().unwrap().to_string_lossy();
        // `fuzz/target` and `fuzz/corpus` are output of the fuzzer.
        if GENERATED.contains(&&*name) || ["target", "corpus", "artifacts", "coverage"].contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        // Pictures are no text.
        if let Ok(text) = std::fs::read_to_string(&path) {
            sources.push((path.strip_prefix(root).unwrap().display().to_string(), text));
        }
    }
    sources.sort();
    sources
}

/// Whether a file is code, which has a limit of lines; the others are prose, data and markup.
fn is_code(path: &str) -> bool {
    let kind = Path::new(path).extension().map(|kind| kind.to_string_lossy().into_owned());
    matches!(kind.as_deref(), None | Some("rs" | "js" | "mjs" | "py" | "css" | "gst"))
}

#[test]
fn no_line_is_longer_than_120_columns() {
    // Prose in Markdown is not limited, as tables and links cannot be broken.
    let sources = sources().into_iter().filter(|(path, _)| !path.ends_with(".md"));
    let mut long = Vec::new();
    for (path, text) in sources.filter(|(path, _)| EXCEPTIONS.iter().all(|(name, _)| name != path)) {
        for (number, line) in text.lines().enumerate() {
            let columns = unicode_width::UnicodeWidthStr::width(line);
            if columns > MAX_COLUMNS {
                long.push(format!("{path}:{}: {columns} columns", number + 1));
            }
        }
    }
    assert!(long.is_empty(), "{} lines are longer than {MAX_COLUMNS} columns:\n{}", long.len(), long.join("\n"));
}

#[test]
fn no_file_of_code_is_longer_than_500_lines() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|(path, _)| is_code(path) && EXCEPTIONS.iter().all(|(name, _)| name != path))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "files of more than {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn the_check_itself_sees_sources_of_every_folder() {
    let sources = sources();
    for folder in FOLDERS {
        assert!(sources.iter().any(|(path, _)| path.starts_with(folder)), "nothing in {folder}");
    }
    assert!(EXCEPTIONS.iter().all(|(name, why)| !why.is_empty() && sources.iter().any(|(path, _)| path == name)));
}
