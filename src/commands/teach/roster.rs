//! The students who should come, from a CSV file. Pure but for reading the file.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use crate::exit::Failure;
use crate::report::MissingStudent;

/// The largest file and the most students: more than any school.
const MAX_BYTES: u64 = 4_000_000;
const MAX_STUDENTS: usize = 10_000;

/// The names of the columns in the first row. Without them the first column has ids, the second one names.
const ID_COLUMNS: [&str; 5] = ["user_id", "userid", "user", "id", "number"];
const NAME_COLUMNS: [&str; 4] = ["nickname", "name", "student", "full name"];

/// The students of a class. Empty without `--roster`.
#[derive(Debug, Default)]
pub(super) struct Roster(Vec<MissingStudent>);

impl Roster {
    /// Reads the file of `--roster`.
    ///
    /// # Errors
    /// [`Failure::usage`] with the cause and the line.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: String| {
            Failure::usage(anyhow::anyhow!(
                "can't read the roster {}: {why}; --roster needs a CSV file with a line for each student, such as \
                 1001,Anna",
                path.display()
            ))
        };
        let mut text = Vec::new();
        let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
        file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(|error| refuse(error.to_string()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(refuse(format!("it has more than {} MB", MAX_BYTES / 1_000_000)));
        }
        Self::parse(&text).map_err(refuse)
    }

    /// Parses a file. The error is the cause.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        let (mut columns, mut students) = ((Some(0), Some(1)), Vec::new());
        for (index, record) in reader.records().enumerate() {
            let record = record.map_err(|error| error.to_string())?;
            if index == 0
                && let Some(named) = columns_of(&record)
            {
                columns = named;
                continue;
            }
            let cell = |column: Option<usize>| {
                let cell = column.and_then(|column| record.get(column)).unwrap_or_default().trim();
                // The apostrophe is that of this program's own lists.
                cell.strip_prefix('\'').unwrap_or(cell).to_owned()
            };
            let student = MissingStudent { user: cell(columns.0), nickname: cell(columns.1) };
            if student.user.is_empty() && student.nickname.is_empty() {
                continue;
            }
            if students.len() == MAX_STUDENTS {
                return Err(format!("it has more than {MAX_STUDENTS} students"));
            }
            students.push(student);
        }
        if students.is_empty() { Err("it has no student".to_owned()) } else { Ok(Self(students)) }
    }

    /// Whether there is no roster.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those who are not among `present`, user ids with nicknames. In a browser students often have an id that the page
    /// chose, so the same name is enough.
    pub(super) fn missing<'a>(&self, present: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<MissingStudent> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let (ids, names): (HashSet<&str>, HashSet<String>) =
            present.map(|(user, nickname)| (user, folded(nickname))).unzip();
        let has_come = |student: &&MissingStudent| {
            let name = folded(&student.nickname);
            ids.contains(student.user.as_str()) || (!name.is_empty() && names.contains(&name))
        };
        self.0.iter().filter(|student| !has_come(student)).cloned().collect()
    }
}

/// The columns of ids and names, if this is a row of column names.
fn columns_of(record: &csv::StringRecord) -> Option<(Option<usize>, Option<usize>)> {
    let position = |names: &[&str]| record.iter().position(|cell| names.contains(&cell.trim().to_lowercase().as_str()));
    let columns = (position(&ID_COLUMNS), position(&NAME_COLUMNS));
    (columns != (None, None)).then_some(columns)
}

/// A name without the differences that people do not see.
fn folded(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(text: &str, present: &[(&str, &str)]) -> Vec<String> {
        let roster = Roster::parse(text.as_bytes()).unwrap();
        roster.missing(present.iter().copied()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_student_has_come_by_id_or_by_name() {
        let text = "1001,Anna\n1002,Ben\n1003,Cem Öz\n\n1004\n";
        assert_eq!(missing(text, &[]), ["Anna (1001)", "Ben (1002)", "Cem Öz (1003)", "1004"]);
        let present = [("1001", "somebody"), ("g-17", " cem  ÖZ "), ("1004", "")];
        assert_eq!(missing(text, &present), ["Ben (1002)"]);
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let text = "\u{feff}Name,Class,User_ID\r\nAnna,7b,1001\r\n\"Öz, Cem\",7b,\r\n";
        assert_eq!(missing(text, &[("1001", "")]), ["Öz, Cem"]);
        assert_eq!(missing("name\nAnna\n'=Ben\n", &[("9", "anna")]), ["=Ben"], "a list that this program wrote");
    }

    #[test]
    fn a_file_that_is_no_roster_is_refused() {
        let refused = |text: &[u8]| Roster::parse(text).unwrap_err();
        assert_eq!(refused(b""), "it has no student");
        assert_eq!(refused(b"user_id,nickname\n,\n"), "it has no student");
        assert!(refused(b"1001,\xff\n").contains("UTF-8"), "{}", refused(b"1001,\xff\n"));
        assert!(refused("1\n".repeat(MAX_STUDENTS + 1).as_bytes()).contains("more than 10000 students"));
        let failure = Roster::read(Path::new("/nowhere/class.csv")).unwrap_err().to_string();
        assert!(failure.contains("/nowhere/class.csv") && failure.contains("--roster"), "{failure}");
    }
}
