//! What is left after a lecture: an object for scripts, a table of bounded height for people.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::event::{one_decimal, one_decimal_or_null};
use super::status::{clock, counted};
use crate::id::{UserId, named};

/// Students in the table that people read; what is more would push the rest off the screen.
const MOST_ROWS: usize = 20;

/// Columns of a student's name in the table; longer ones are cut.
const NAME_COLUMNS: usize = 28;

/// A lecture that is over.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Seconds from the first moment that students could watch.
    #[serde(serialize_with = "one_decimal")]
    pub duration_s: f64,
    /// The most students that received it at the same time.
    pub most_at_once: usize,
    /// Bytes of media that all students were sent, without UDP and IP headers.
    pub bytes: u64,
    /// Students that are not in the list, because it was full.
    pub unlisted: u64,
    /// The file of `--attendance`; none where there is none.
    pub attendance: Option<String>,
    /// Every student, in the order in which they came.
    pub students: Vec<StudentRow>,
}

/// What a student had of a lecture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudentRow {
    /// Who.
    pub user: UserId,
    /// As shown to people, possibly empty.
    pub nickname: String,
    /// What it watched with, where that is known: `browser`, `watch`, `whep`.
    pub client: Option<&'static str>,
    /// When it first came into class.
    #[serde(serialize_with = "rfc3339")]
    pub first_joined: Timestamp,
    /// When it last left; none while it is in class.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub last_left: Option<Timestamp>,
    /// Seconds with a connection that carries media.
    #[serde(serialize_with = "one_decimal")]
    pub watched_s: f64,
    /// Times that it came into class.
    pub times_joined: u32,
    /// Packets that it reported lost, of those that were sent to it, in percent, before any was sent again.
    #[serde(serialize_with = "two_decimals_or_null")]
    pub loss_percent: Option<f64>,
    /// The share of the time with the low tier of the main picture, in percent.
    #[serde(serialize_with = "one_decimal_or_null")]
    pub low_percent: Option<f64>,
    /// The share of the time without the main picture, because its path did not carry it, in percent.
    #[serde(serialize_with = "one_decimal_or_null")]
    pub no_picture_percent: Option<f64>,
    /// Bytes of media that it was sent.
    pub bytes: u64,
    /// The longest time without media after the first, in seconds.
    #[serde(serialize_with = "one_decimal")]
    pub longest_absence_s: f64,
    /// Times that it raised a hand.
    pub hands: u32,
    /// Chat messages that it wrote.
    pub chats: u32,
}

impl Summary {
    /// For people: a line about the lecture, and a table of its students.
    pub fn text(&self) -> String {
        let mut text = format!(
            "the lecture took {}: {}, at most {} at the same time, {} sent",
            clock(std::time::Duration::from_secs_f64(self.duration_s.max(0.0))),
            counted(self.students.len() as u64 + self.unlisted, "student"),
            self.most_at_once,
            bytes(self.bytes),
        );
        if self.students.is_empty() {
            return text;
        }
        let header = ["student", "minutes", "joined", "lost", "low", "no picture", "sent", "longest absence"];
        let mut lines: Vec<[String; 8]> = vec![header.map(str::to_owned)];
        lines.extend(self.students.iter().take(MOST_ROWS).map(StudentRow::cells));
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
        let more = self.students.len().saturating_sub(MOST_ROWS) as u64 + self.unlisted;
        match (more, &self.attendance) {
            (0, None) => {}
            (0, Some(file)) => text.push_str(&format!("\n{file} has the whole list")),
            (more, Some(file)) => text.push_str(&format!("\n... and {more} more, {file} lists all")),
            (more, None) => text.push_str(&format!("\n... and {more} more, --attendance FILE.csv lists all")),
        }
        text
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

/// `2.4 GB`, as file managers count.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// `40 s`, `3:05`, `1:03:05`
fn time(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A text that fits so many columns.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns - 1;
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&super::rfc3339(*at))
}

fn rfc3339_or_null<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}

fn two_decimals_or_null<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_f64((value * 100.0).round() / 100.0),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A student with numbers in all columns.
    pub(in crate::report) fn anna() -> StudentRow {
        StudentRow {
            user: "1001".parse().unwrap(),
            nickname: "Anna".into(),
            client: Some("browser"),
            first_joined: "2026-03-02T08:00:00.25Z".parse().unwrap(),
            last_left: Some("2026-03-02T08:45:10Z".parse().unwrap()),
            watched_s: 2584.0,
            times_joined: 2,
            loss_percent: Some(0.1234),
            low_percent: Some(12.34),
            no_picture_percent: Some(0.0),
            bytes: 812_345_678,
            longest_absence_s: 126.0,
            hands: 1,
            chats: 7,
        }
    }

    fn lecture(students: Vec<StudentRow>) -> Summary {
        Summary { duration_s: 2710.0, most_at_once: 2, bytes: 1_612_345_678, students, ..Summary::default() }
    }

    #[test]
    fn people_read_a_table() {
        let li = StudentRow {
            user: "1002".parse().unwrap(),
            nickname: "李雷".into(),
            last_left: None,
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
    fn a_table_is_no_longer_than_a_screen() {
        let class: Vec<StudentRow> = (0..32)
            .map(|number| StudentRow { user: format!("{number}").parse().unwrap(), nickname: String::new(), ..anna() })
            .collect();
        let mut summary = lecture(class);
        assert_eq!(summary.text().lines().count(), 1 + 1 + MOST_ROWS + 1);
        assert!(summary.text().ends_with("\n... and 12 more, --attendance FILE.csv lists all"));
        summary.attendance = Some("monday.csv".into());
        assert!(summary.text().ends_with("\n... and 12 more, monday.csv lists all"));
        summary.students.truncate(3);
        assert!(summary.text().ends_with("\nmonday.csv has the whole list"));
        let nobody = lecture(Vec::new()).text();
        assert_eq!(nobody.lines().count(), 1, "{nobody}");
    }

    #[test]
    fn a_long_name_moves_no_column() {
        let long = StudentRow { nickname: "学生".repeat(20), ..anna() };
        let text = lecture(vec![anna(), long]).text();
        let widths: Vec<usize> = text.lines().skip(1).map(UnicodeWidthStr::width).collect();
        assert!(widths.iter().all(|width| *width == widths[0] && *width <= 100), "{text}");
    }

    #[test]
    fn scripts_read_every_student() {
        let object = serde_json::to_value(lecture(vec![anna()])).unwrap();
        assert_eq!(
            object,
            serde_json::json!({"duration_s": 2710.0, "most_at_once": 2, "bytes": 1_612_345_678, "unlisted": 0,
                "attendance": null, "students": [{
                    "user": "1001", "nickname": "Anna", "client": "browser",
                    "first_joined": "2026-03-02T08:00:00.250Z", "last_left": "2026-03-02T08:45:10.000Z",
                    "watched_s": 2584.0, "times_joined": 2, "loss_percent": 0.12, "low_percent": 12.3,
                    "no_picture_percent": 0.0, "bytes": 812_345_678, "longest_absence_s": 126.0, "hands": 1,
                    "chats": 7}]})
        );
    }

    #[test]
    fn sizes_and_times_are_short() {
        let sizes = [0, 940, 9_949, 812_345_678, 999_600_000, 2_400_000_000_000_000].map(bytes);
        assert_eq!(sizes, ["0.0 kB", "0.9 kB", "9.9 kB", "812 MB", "1.0 GB", "2400 TB"]);
        assert_eq!([40.4, 185.0, 3785.0].map(time), ["40 s", "3:05", "1:03:05"]);
    }
}
