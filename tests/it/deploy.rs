//! The examples of docs/deploy: what they start is what this program understands, and their files are where they say.

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy")
}

/// The files below a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A text as Compose and Kubernetes write it into a container: `${NAME:-default}`, `${NAME:?why}` and `$(NAME)`.
fn filled_in(text: &str) -> String {
    let Some((before, rest)) = text.split_once('$') else { return text.to_owned() };
    let end = if rest.starts_with('{') { '}' } else { ')' };
    let (variable, after) = rest[1..].split_once(end).unwrap_or_else(|| panic!("no end of a variable in {text}"));
    let value = variable.split_once(":-").map_or("10.0.0.7", |(_, default)| default);
    format!("{before}{value}{}", filled_in(after))
}

/// The words of `[a, b, "c, d"]`.
fn words(list: &str) -> Vec<String> {
    let inside = list.trim().strip_prefix('[').and_then(|list| list.strip_suffix(']'));
    let mut rest = inside.unwrap_or_else(|| panic!("{list} is no list on one line"));
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or_else(|| panic!("no end of a quote in {list}")),
            None => rest.split_at(rest.find(", ").unwrap_or(rest.len())),
        };
        words.push(filled_in(word));
        rest = after.strip_prefix(", ").unwrap_or(after);
    }
    words
}

/// The arguments that a file gives to containers of our image.
fn commands(yaml: &str) -> Vec<Vec<String>> {
    let (mut is_ours, mut found) = (false, Vec::new());
    for line in yaml.lines().map(str::trim) {
        let Some((key, value)) = line.split_once(": ") else { continue };
        match key {
            "build" => is_ours = value.contains("dockerfile: docs/deploy/Dockerfile"),
            "image" => is_ours = value == "classroom",
            "command" | "args" if is_ours => found.push(words(value)),
            _ => {}
        }
    }
    found
}

#[test]
fn what_the_examples_start_is_valid() {
    let docker = std::fs::read_to_string(folder().join("Dockerfile")).unwrap();
    let start = docker.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).expect("an entry point");
    let start = words(start);
    let mut all = vec![("Dockerfile".to_owned(), start.clone())];
    for path in files(&folder(), ".yaml") {
        let commands = commands(&std::fs::read_to_string(&path).unwrap());
        assert!(!commands.is_empty(), "{} starts no server", path.display());
        all.extend(commands.into_iter().map(|more| (path.display().to_string(), [&start[..], &more].concat())));
    }
    for (path, mut command) in all {
        // The files set $CLASSROOM_REDIS, which a parser without environment gets as a flag.
        if command.iter().any(|word| word == "--edge") {
            command.extend(["--redis".into(), "redis://10.0.0.5".into()]);
        }
        if let Err(error) = classroom::cli::parse(command.clone()) {
            panic!("{path}: {}: {error}", command.join(" "));
        }
    }
}

#[test]
fn the_examples_name_files_that_exist() {
    for path in files(&folder(), "compose.yaml") {
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("build: { context: ")) {
            let (context, rest) = line.split_once(',').unwrap();
            let docker = rest.trim().trim_start_matches("dockerfile: ").trim_end_matches(" }");
            let file = path.parent().unwrap().join(context).join(docker);
            assert!(file.is_file(), "{}: {}", path.display(), file.display());
        }
    }
    for path in files(&folder(), "Dockerfile") {
        let text = std::fs::read_to_string(&path).unwrap();
        // The first one is built from the root of the repository.
        let context =
            if path.parent() == Some(&folder()) { folder().join("../..") } else { path.parent().unwrap().into() };
        for line in text.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.contains("--from")) {
            let source = line.split(' ').find(|word| !word.starts_with("--")).unwrap();
            assert!(context.join(source).exists(), "{}: {source}", path.display());
        }
    }
}
