//! The summary of a lecture: an object for scripts, a table for people.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::format::{
    bytes, clock, counted, cut, one_decimal, one_decimal_or_null, rfc3339, rfc3339_or_null, time, two_decimals_or_null,
};
use crate::id::{UserId, named};

/// The maximum number of students in the table, so that it fits a screen.
const MAX_ROWS: usize = 20;

/// The maximum width of a name in the table. Longer names are cut.
const NAME_COLUMNS: usize = 28;

/// The summary of a lecture.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Seconds since students could watch.
    #[serde(serialize_with = "one_decimal")]
    pub duration_s: f64,
    /// The most students that received the lecture at the same time.
    pub most_at_once: usize,
    /// Bytes of media sent to all students, without UDP and IP headers.
    pub bytes: u64,
    /// Students that are not in `students`, because the list was full.
    pub unlisted: u64,
    /// The file of `--attendance`, if it was written.
    pub attendance: Option<String>,
    /// The students, in the order in which they joined.
    pub students: Vec<StudentRow>,
    /// The students of `--roster` who did not come.
    pub missing: Vec<MissingStudent>,
}

/// A student of the roster who has not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingStudent {
    /// The user id; empty if the roster has none.
    pub user: String,
    /// The name; empty if the roster has none.
    pub nickname: String,
}

impl fmt::Display for MissingStudent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.nickname.as_str(), self.user.as_str()) {
            ("", user) => f.write_str(user),
            (nickname, "") => f.write_str(nickname),
            (nickname, user) => write!(f, "{nickname} ({user})"),
        }
    }
}

/// Names those who are missing in a sentence, as many as fit a few lines.
pub fn missing_sentence(missing: &[MissingStudent]) -> String {
    const MOST_NAMES: usize = 30;
    let names: Vec<String> = missing.iter().take(MOST_NAMES).map(ToString::to_string).collect();
    match missing.len() {
        0 => "nobody of the roster is missing".to_owned(),
        count if count > MOST_NAMES => {
            format!("{count} are missing: {} and {} more", names.join(", "), count - MOST_NAMES)
        }
        1 => format!("missing: {}", names.join(", ")),
        count => format!("{count} are missing: {}", names.join(", ")),
    }
}

/// The way in which a student left the lecture. Of several ones, the last in this list counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HowLeft {
    /// The student was there at the end of the lecture.
    Stayed,
    /// The connection was lost, and did not return.
    Lost,
    /// The student said goodbye.
    Left,
    /// The server gave the place or the user id to somebody else.
    Removed,
    /// A teacher put the student out.
    Kicked,
    /// A teacher banned the student.
    Banned,
}

impl HowLeft {
    /// The word for files and scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stayed => "stayed",
            Self::Lost => "lost",
            Self::Left => "left",
            Self::Removed => "removed",
            Self::Kicked => "kicked",
            Self::Banned => "banned",
        }
    }
}

/// The statistics of one student of a lecture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudentRow {
    /// The student's user id.
    pub user: UserId,
    /// The student's nickname; may be empty.
    pub nickname: String,
    /// The student's program, if known: `browser`, `watch`, `whep`.
    pub client: Option<&'static str>,
    /// When the student first joined.
    #[serde(serialize_with = "rfc3339")]
    pub first_joined: Timestamp,
    /// When the student last left; `None` while it is in class.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub last_left: Option<Timestamp>,
    /// The way in which the student left; `None` while the student is in class.
    pub how_left: Option<HowLeft>,
    /// Seconds with a media connection.
    #[serde(serialize_with = "one_decimal")]
    pub watched_s: f64,
    /// How often the student joined.
    pub times_joined: u32,
    /// The share of sent packets that the student reported lost, in percent, before retransmission.
    #[serde(serialize_with = "two_decimals_or_null")]
    pub loss_percent: Option<f64>,
    /// The share of the watched time with the low tier of the main video, in percent.
    #[serde(serialize_with = "one_decimal_or_null")]
    pub low_percent: Option<f64>,
    /// The share of the watched time in which the main video was withheld, in percent.
    #[serde(serialize_with = "one_decimal_or_null")]
    pub no_picture_percent: Option<f64>,
    /// Bytes of media sent to the student.
    pub bytes: u64,
    /// The longest time without media after the student first had some, in seconds.
    #[serde(serialize_with = "one_decimal")]
    pub longest_absence_s: f64,
    /// How often the student raised a hand.
    pub hands: u32,
    /// Chat messages of the student.
    pub chats: u32,
    /// Seconds on the stage.
    #[serde(serialize_with = "one_decimal")]
    pub stage_s: f64,
    /// Seconds in which pictures were decoded, as the student reports; `None` without a report.
    #[serde(serialize_with = "one_decimal_or_null")]
    pub seen_s: Option<f64>,
    /// Seconds in which the tab with the page was hidden, as the student reports; `None` without a report.
    #[serde(serialize_with = "one_decimal_or_null")]
    pub away_s: Option<f64>,
    /// How often the picture stood still, as the student reports; `None` without a report.
    pub freezes: Option<u32>,
}

impl Summary {
    /// For people: a line about the lecture and a table of the students.
    pub fn text(&self) -> String {
        let mut text = format!(
            "the lecture took {}: {}, at most {} at the same time, {} sent",
            clock(std::time::Duration::from_secs_f64(self.duration_s.max(0.0))),
            counted(self.students.len() as u64 + self.unlisted, "student"),
            self.most_at_once,
            bytes(self.bytes),
        );
        if !self.students.is_empty() {
            self.write_table(&mut text);
        }
        if !self.missing.is_empty() {
            text.push('\n');
            text.push_str(&missing_sentence(&self.missing));
        }
        text
    }

    fn write_table(&self, text: &mut String) {
        let header = ["student", "minutes", "joined", "lost", "low", "no picture", "sent", "longest absence"];
        let mut lines: Vec<[String; 8]> = vec![header.map(str::to_owned)];
        lines.extend(self.students.iter().take(MAX_ROWS).map(StudentRow::cells));
        let widths: [usize; 8] =
            std::array::from_fn(|column| lines.iter().map(|cells| cells[column].width()).max().unwrap_or(0));
        for cells in &lines {
            let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
                let space = " ".repeat(width - cell.width());
                if column == 0 { format!("{cell}{space}") } else { format!("{space}{cell}") }
            });
            text.push('\n');
            text.push_str(&padded.collect::<Vec<_>>().join("  "));
        }
        let more = self.students.len().saturating_sub(MAX_ROWS) as u64 + self.unlisted;
        match (more, &self.attendance) {
            (0, None) => {}
            (0, Some(file)) => text.push_str(&format!("\n{file} has the whole list")),
            (more, Some(file)) => text.push_str(&format!("\n... and {more} more; {file} lists all students")),
            (more, None) => {
                text.push_str(&format!("\n... and {more} more; use --attendance FILE.csv to list all students"));
            }
        }
    }
}

impl StudentRow {
    fn cells(&self) -> [String; 8] {
        let percent = |value: Option<f64>| value.map_or("-".to_owned(), |percent| format!("{percent:.0} %"));
        [
            cut(&named(&self.user, &self.nickname).to_string(), NAME_COLUMNS),
            format!("{:.1}", self.watched_s / 60.0),
            self.times_joined.to_string(),
            self.loss_percent.map_or("-".to_owned(), |percent| format!("{percent:.1} %")),
            percent(self.low_percent),
            percent(self.no_picture_percent),
            bytes(self.bytes),
            if self.longest_absence_s < 1.0 { "-".to_owned() } else { time(self.longest_absence_s) },
        ]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A student with a value in every column.
    pub(in crate::report) fn anna() -> StudentRow {
        StudentRow {
            user: "1001".parse().unwrap(),
            nickname: "Anna".into(),
            client: Some("browser"),
            first_joined: "2026-03-02T08:00:00.25Z".parse().unwrap(),
            last_left: Some("2026-03-02T08:45:10Z".parse().unwrap()),
            how_left: Some(HowLeft::Kicked),
            watched_s: 2584.0,
            times_joined: 2,
            loss_percent: Some(0.1234),
            low_percent: Some(12.34),
            no_picture_percent: Some(0.0),
            bytes: 812_345_678,
            longest_absence_s: 126.0,
            hands: 1,
            chats: 7,
            stage_s: 90.0,
            seen_s: Some(2520.0),
            away_s: Some(30.0),
            freezes: Some(3),
        }
    }

    fn lecture(students: Vec<StudentRow>) -> Summary {
        Summary { duration_s: 2710.0, most_at_once: 2, bytes: 1_612_345_678, students, ..Summary::default() }
    }

    #[test]
    fn people_read_a_table_of_students() {
        let li = StudentRow {
            user: "1002".parse().unwrap(),
            nickname: "李雷".into(),
            last_left: None,
            how_left: None,
            watched_s: 0.0,
            times_joined: 1,
            loss_percent: None,
            low_percent: None,
            no_picture_percent: None,
            bytes: 0,
            longest_absence_s: 0.0,
            ..anna()
        };
        let text = lecture(vec![anna(), li]).text();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "the lecture took 00:45:10: 2 students, at most 2 at the same time, 1.6 GB sent",
                "student      minutes  joined   lost   low  no picture    sent  longest absence",
                "Anna (1001)     43.1       2  0.1 %  12 %         0 %  812 MB             2:06",
                "李雷 (1002)      0.0       1      -     -           -  0.0 kB                -",
            ]
        );
    }

    #[test]
    fn the_table_fits_a_screen() {
        let class: Vec<StudentRow> = (0..32)
            .map(|number| StudentRow { user: format!("{number}").parse().unwrap(), nickname: String::new(), ..anna() })
            .collect();
        let mut summary = lecture(class);
        assert_eq!(summary.text().lines().count(), 1 + 1 + MAX_ROWS + 1);
        assert!(summary.text().ends_with("\n... and 12 more; use --attendance FILE.csv to list all students"));
        summary.attendance = Some("monday.csv".into());
        assert!(summary.text().ends_with("\n... and 12 more; monday.csv lists all students"));
        summary.students.truncate(3);
        assert!(summary.text().ends_with("\nmonday.csv has the whole list"));
        let nobody = lecture(Vec::new()).text();
        assert_eq!(nobody.lines().count(), 1, "{nobody}");
    }

    #[test]
    fn a_long_name_does_not_break_the_columns() {
        let long = StudentRow { nickname: "学生".repeat(20), ..anna() };
        let text = lecture(vec![anna(), long]).text();
        let widths: Vec<usize> = text.lines().skip(1).map(UnicodeWidthStr::width).collect();
        assert!(widths.iter().all(|width| *width == widths[0] && *width <= 100), "{text}");
    }

    #[test]
    fn those_who_are_missing_are_named() {
        let student = |user: &str, nickname: &str| MissingStudent { user: user.into(), nickname: nickname.into() };
        let some = [student("1003", "Cem"), student("", "Dora"), student("1005", "")];
        assert_eq!(missing_sentence(&some), "3 are missing: Cem (1003), Dora, 1005");
        assert_eq!(missing_sentence(&some[1..2]), "missing: Dora");
        assert_eq!(missing_sentence(&[]), "nobody of the roster is missing");
        let many = vec![student("1", ""); 40];
        assert!(missing_sentence(&many).ends_with(", 1 and 10 more"));
        let summary = Summary { missing: some.to_vec(), ..lecture(Vec::new()) };
        assert!(summary.text().ends_with("\n3 are missing: Cem (1003), Dora, 1005"));
    }

    #[test]
    fn scripts_read_all_students() {
        let object = serde_json::to_value(lecture(vec![anna()])).unwrap();
        assert_eq!(
            object,
            serde_json::json!({"duration_s": 2710.0, "most_at_once": 2, "bytes": 1_612_345_678, "unlisted": 0,
                "attendance": null, "students": [{
                    "user": "1001", "nickname": "Anna", "client": "browser",
                    "first_joined": "2026-03-02T08:00:00.250Z", "last_left": "2026-03-02T08:45:10.000Z",
                    "how_left": "kicked", "watched_s": 2584.0, "times_joined": 2, "loss_percent": 0.12,
                    "low_percent": 12.3, "no_picture_percent": 0.0, "bytes": 812_345_678, "longest_absence_s": 126.0,
                    "hands": 1, "chats": 7, "stage_s": 90.0, "seen_s": 2520.0, "away_s": 30.0, "freezes": 3}],
                "missing": []})
        );
    }
}
