//! The table of the video bench, for people.

use super::findings::{Findings, Group};
use super::ingested::IngestFound;

impl Findings {
    /// The table, in Markdown: a column for students with a good network and one for students with a bad network.
    pub(super) fn table(&self) -> String {
        let groups: Vec<(&str, Option<Group>)> = [("good network", false), ("bad network", true)]
            .into_iter()
            .filter_map(|(name, bad)| Some((name, Some(self.group(bad)?))))
            .collect();
        let mut rows = group_rows(&self.title, &groups, self.has_event);
        let mut whole = |name: String, value: String| {
            rows.push((name, std::iter::once(value).chain(groups.iter().skip(1).map(|_| String::new())).collect()));
        };
        whole("teacher sends".into(), format!("{:.0} kbit/s", self.uplink_kbps));
        for encoder in &self.encoders {
            let name = format!("CPU of {} ({} across)", encoder.name, encoder.width);
            whole(name, format!("{:.1} % of a core", encoder.cpu_percent));
        }
        whole("seed".into(), self.seed.to_string());
        markdown(&rows)
    }
}

/// The rows about students, with a column for each group; the first row is the header.
fn group_rows(title: &str, groups: &[(&str, Option<Group>)], has_event: bool) -> Vec<(String, Vec<String>)> {
    let build = if cfg!(debug_assertions) { ", NOT OPTIMIZED: build with --release" } else { "" };
    let mut rows =
        vec![(format!("{title}{build}"), groups.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>())];
    let mut row = |name: &str, value: &dyn Fn(&Group) -> String| {
        rows.push((
            name.to_owned(),
            groups.iter().map(|(_, group)| group.as_ref().map_or_else(|| "-".to_owned(), value)).collect(),
        ));
    };
    row("students", &|group| group.students.to_string());
    row("pictures decoded", &|group| measured(group.decoded_percent, 2, "%"));
    row("decoded pictures with an unreadable code", &|group| group.unreadable.to_string());
    row("time in freezes", &|group| format!("{:.2} %", group.freeze_percent));
    row("longest freeze", &|group| format!("{} ms", group.longest_freeze_ms));
    if has_event {
        row("whole again after the fault", &|group| ms(group.recover_ms));
    }
    row("seconds of full, low and no picture", &|group| {
        let [full, low, none] = group.tier_seconds;
        format!("{full:.1}, {low:.1}, {none:.1}")
    });
    let two = |p50, p95| format!("{}, {}", measured(p50, 0, "ms"), measured(p95, 0, "ms"));
    row("capture to decoded, p50 and p95", &|group| two(group.glass_p50_ms, group.glass_p95_ms));
    row("capture to shown in time, p50 and p95", &|group| two(group.shown_p50_ms, group.shown_p95_ms));
    row("packets of sound lost", &|group| group.audio_lost.to_string());
    row("packets of sound concealed", &|group| group.audio_concealed.to_string());
    row("packets requested again, key frames requested", &|group| format!("{}, {}", group.nacks, group.plis));
    row("packets that the network lost, and its queue dropped", &|group| {
        format!("{}, {}", group.path_lost, group.path_dropped)
    });
    rows
}

/// The table of an emulated publisher, in Markdown: a column for each of its lines.
pub(super) fn of_lines(title: &str, lines: &[(String, Findings)]) -> String {
    let groups: Vec<(&str, Option<Group>)> = lines.iter().map(|(name, found)| (&**name, found.group(false))).collect();
    let has_event = lines.iter().any(|(_, found)| found.has_event);
    let mut rows = group_rows(title, &groups, has_event);
    let mut row = |name: &str, value: &dyn Fn(&Findings) -> String| {
        rows.push((name.to_owned(), lines.iter().map(|(_, found)| value(found)).collect()));
    };
    let ingest = |found: &Findings, value: &dyn Fn(&IngestFound) -> String| {
        found.ingest.as_ref().map_or_else(|| "-".to_owned(), value)
    };
    row("the publisher's line: lost, dropped by its queue", &|found| {
        ingest(found, &|ingest| format!("{}, {}", ingest.line_lost, ingest.line_dropped))
    });
    row("missing packets of the publisher: recovered, given up", &|found| {
        ingest(found, &|ingest| format!("{}, {}", ingest.recovered, ingest.given_up))
    });
    row("key frames requested of the publisher", &|found| {
        ingest(found, &|ingest| ingest.key_frame_requests.to_string())
    });
    row("the publisher sends", &|found| {
        ingest(found, &|ingest| format!("{:.0} kbit/s", ingest.bytes as f64 * 8.0 / 1000.0 / found.seconds))
    });
    row("CPU of ingest, without students", &|found| {
        ingest(found, &|ingest| measured(ingest.cpu_us_per_packet, 1, "us a packet"))
    });
    row("the SFU sends", &|found| format!("{:.0} kbit/s", found.uplink_kbps));
    row("CPU of the SFU", &|found| format!("{:.1} % of a core", found.sfu_cpu_percent));
    row("seed", &|found| found.seed.to_string());
    markdown(&rows)
}

/// A number with `digits` digits after the point; a dash for NaN.
fn measured(number: f64, digits: usize, unit: &str) -> String {
    if number.is_nan() { "-".to_owned() } else { format!("{number:.digits$} {unit}") }
}

fn ms(time: Option<u64>) -> String {
    time.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"))
}

/// A table of rows, each with a name and values; the first row is the header.
fn markdown(rows: &[(String, Vec<String>)]) -> String {
    let width = |column: usize| {
        let cells =
            rows.iter().filter_map(|(name, values)| if column == 0 { Some(name) } else { values.get(column - 1) });
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let columns = rows.first().map_or(0, |(_, values)| values.len());
    let widths: Vec<usize> = (0..=columns).map(width).collect();
    let mut lines = Vec::with_capacity(rows.len() + 1);
    for (name, values) in rows {
        let cells = std::iter::once(name).chain(values).zip(&widths);
        lines.push(cells.map(|(cell, width)| format!("| {cell:<width$} ")).collect::<String>() + "|");
    }
    let rule = widths.iter().map(|width| format!("| {:-<width$} ", "")).collect::<String>() + "|";
    lines.insert(1.min(lines.len()), rule);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::findings;

    #[test]
    fn each_group_of_students_has_a_column() {
        let table = findings().table();
        let widths: Vec<usize> = table.lines().map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
        let row = |name: &str| -> Vec<String> {
            let line = table.lines().find(|line| line.contains(name)).unwrap();
            line.split('|').skip(2).map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
        };
        assert_eq!(row("pictures decoded "), ["100.00 %", "50.00 %"]);
        assert_eq!(row("whole again"), ["0 ms", "700 ms"]);
        assert_eq!(row("capture to shown"), ["-, -"; 2]);
        let mut good = findings();
        good.students.remove(0);
        good.has_event = false;
        let table = good.table();
        assert!(!table.contains("bad network") && !table.contains("whole again"), "{table}");
    }
}
