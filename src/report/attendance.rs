//! The attendance list as CSV (RFC 4180), for a spreadsheet, or as JSON, for programs.
//!
//! The CSV file begins with a byte order mark, because without one Excel reads UTF-8 as the local code page and garbles
//! Chinese names. Times have the offset of this computer's time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::summary::{HowLeft, MissingStudent, StudentRow, Summary};

/// The names of the columns, in order.
const COLUMNS: [&str; 19] = [
    "user_id",
    "nickname",
    "first_joined",
    "last_left",
    "minutes_watched",
    "times_joined",
    "loss_percent",
    "low_percent",
    "no_picture_percent",
    "longest_absence_seconds",
    "megabytes_sent",
    "client",
    "hands_raised",
    "chat_messages",
    "how_left",
    "minutes_on_stage",
    "minutes_seen",
    "minutes_away",
    "freezes",
];

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The word for a student of the roster who did not come, in the column `how_left`.
const MISSING: &str = "missing";

/// The list as CSV, in the time zone of this computer.
pub fn csv(summary: &Summary) -> Vec<u8> {
    in_zone(summary, &TimeZone::system())
}

/// The list as one JSON object, which has the fields of the event `summary`.
pub fn json(summary: &Summary) -> Vec<u8> {
    // Text, numbers and lists can be written.
    let mut text = serde_json::to_vec_pretty(summary).unwrap_or_default();
    text.push(b'\n');
    text
}

fn in_zone(summary: &Summary, zone: &TimeZone) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(BYTE_ORDER_MARK.to_owned());
    let rows = summary.students.iter().map(|row| record(row, zone));
    let records = std::iter::once(COLUMNS.map(str::to_owned)).chain(rows);
    for record in records.chain(summary.missing.iter().map(missing)) {
        // Writing into memory does not fail, and all records have the same length.
        let written = writer.write_record(&record);
        debug_assert!(written.is_ok(), "{written:?}");
    }
    writer.into_inner().unwrap_or_default()
}

fn missing(student: &MissingStudent) -> [String; COLUMNS.len()] {
    let mut record = [const { String::new() }; COLUMNS.len()];
    record[0] = no_formula(&student.user);
    record[1] = no_formula(&student.nickname);
    record[4] = "0.0".to_owned();
    record[14] = MISSING.to_owned();
    record
}

fn record(row: &StudentRow, zone: &TimeZone) -> [String; COLUMNS.len()] {
    let minutes = |seconds: f64| format!("{:.1}", seconds / 60.0);
    let percent = |value: Option<f64>| value.map(|value| format!("{value:.2}")).unwrap_or_default();
    let time = |at: Timestamp| at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    [
        no_formula(row.user.as_str()),
        no_formula(&row.nickname),
        time(row.first_joined),
        row.last_left.map(time).unwrap_or_default(),
        minutes(row.watched_s),
        row.times_joined.to_string(),
        percent(row.loss_percent),
        percent(row.low_percent),
        percent(row.no_picture_percent),
        format!("{:.0}", row.longest_absence_s),
        format!("{:.1}", row.bytes as f64 / 1e6),
        row.client.unwrap_or_default().to_owned(),
        row.hands.to_string(),
        row.chats.to_string(),
        row.how_left.map(HowLeft::as_str).unwrap_or_default().to_owned(),
        minutes(row.stage_s),
        row.seen_s.map(minutes).unwrap_or_default(),
        row.away_s.map(minutes).unwrap_or_default(),
        row.freezes.map(|count| count.to_string()).unwrap_or_default(),
    ]
}

/// Puts an apostrophe before a text that a spreadsheet would take for a formula (OWASP, "CSV Injection").
fn no_formula(text: &str) -> String {
    let begins = |c: char| matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠');
    if text.starts_with(begins) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::summary::tests::anna;

    fn text(rows: &[StudentRow]) -> String {
        of(&Summary { students: rows.to_vec(), ..Summary::default() })
    }

    fn of(summary: &Summary) -> String {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        String::from_utf8(in_zone(summary, &zone)).unwrap()
    }

    fn read(text: &str) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn each_student_is_a_row() {
        let there = StudentRow { last_left: None, how_left: None, loss_percent: None, client: None, ..anna() };
        let text = text(&[anna(), there]);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], format!("\u{feff}{}", COLUMNS.join(",")));
        assert_eq!(
            lines[1],
            "1001,Anna,2026-03-02T16:00:00+08:00,2026-03-02T16:45:10+08:00,43.1,2,0.12,12.34,0.00,126,812.3,browser,1,\
             7,kicked,1.5,42.0,0.5,3"
        );
        assert_eq!(lines[2], "1001,Anna,2026-03-02T16:00:00+08:00,,43.1,2,,12.34,0.00,126,812.3,,1,7,,1.5,42.0,0.5,3");
        assert_eq!(lines[3..], [""]);
    }

    #[test]
    fn a_name_is_neither_a_formula_nor_breaks_a_row() {
        for (nickname, cell) in [
            ("=HYPERLINK(\"http://x\",\"click\")", "'=HYPERLINK(\"http://x\",\"click\")"),
            ("+1", "'+1"),
            ("-2+3", "'-2+3"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1+1", "'＝1+1"),
            ("\t=1", "'\t=1"),
            ("Ann, \"the\"\nfirst", "Ann, \"the\"\nfirst"),
            ("a=b", "a=b"),
            ("张三", "张三"),
            ("", ""),
        ] {
            let rows = read(&text(&[StudentRow { nickname: nickname.into(), ..anna() }, anna()]));
            assert_eq!((rows.len(), rows[0][1].as_str(), rows[0].len()), (2, cell, COLUMNS.len()), "{nickname}");
        }
        let minus = StudentRow { user: "-1+1".parse().unwrap_or_else(|_| "-1".parse().unwrap()), ..anna() };
        assert_eq!(read(&text(&[minus]))[0][0], "'-1", "an id may begin with a minus");
    }

    #[test]
    fn those_of_the_roster_who_did_not_come_are_rows_at_the_end() {
        let missing = vec![MissingStudent { user: "1003".into(), nickname: "=Cem".into() }];
        let summary = Summary { students: vec![anna()], missing, ..Summary::default() };
        let rows = read(&of(&summary));
        assert_eq!(
            (rows.len(), &rows[1][..5], rows[1][14].as_str()),
            (2, &["1003", "'=Cem", "", "", "0.0"].map(str::to_owned)[..], "missing",)
        );
        let written: serde_json::Value = serde_json::from_slice(&json(&summary)).unwrap();
        assert_eq!(written["missing"][0]["nickname"], "=Cem", "JSON has no formulas");
        assert_eq!(written["students"][0]["freezes"], 3);
    }

    #[test]
    fn an_empty_list_has_the_header() {
        assert_eq!(text(&[]).lines().count(), 1);
    }
}
