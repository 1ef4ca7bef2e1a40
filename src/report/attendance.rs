//! The attendance list as CSV (RFC 4180), for a spreadsheet.
//!
//! The file begins with a byte order mark, because without one Excel reads UTF-8 as the local code page and garbles
//! Chinese names. Times have the offset of this computer's time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::summary::{HowLeft, StudentRow};

/// The names of the columns, in order.
const COLUMNS: [&str; 16] = [
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
];

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The content of the file, in the time zone of this computer.
pub fn csv(rows: &[StudentRow]) -> Vec<u8> {
    in_zone(rows, &TimeZone::system())
}

fn in_zone(rows: &[StudentRow], zone: &TimeZone) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(BYTE_ORDER_MARK.to_owned());
    let records = std::iter::once(COLUMNS.map(str::to_owned)).chain(rows.iter().map(|row| record(row, zone)));
    for record in records {
        // Writing into memory does not fail, and all records have the same length.
        let written = writer.write_record(&record);
        debug_assert!(written.is_ok(), "{written:?}");
    }
    writer.into_inner().unwrap_or_default()
}

fn record(row: &StudentRow, zone: &TimeZone) -> [String; 16] {
    let percent = |value: Option<f64>| value.map(|value| format!("{value:.2}")).unwrap_or_default();
    let time = |at: Timestamp| at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    [
        no_formula(row.user.as_str()),
        no_formula(&row.nickname),
        time(row.first_joined),
        row.last_left.map(time).unwrap_or_default(),
        format!("{:.1}", row.watched_s / 60.0),
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
        format!("{:.1}", row.stage_s / 60.0),
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
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        String::from_utf8(in_zone(rows, &zone)).unwrap()
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
             7,kicked,1.5"
        );
        assert_eq!(lines[2], "1001,Anna,2026-03-02T16:00:00+08:00,,43.1,2,,12.34,0.00,126,812.3,,1,7,,1.5");
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
    fn an_empty_list_has_the_header() {
        assert_eq!(text(&[]).lines().count(), 1);
    }
}
