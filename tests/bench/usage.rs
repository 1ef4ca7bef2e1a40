//! What processes, their threads and the whole machine have used, by /proc.

use std::collections::BTreeMap;
use std::fs::{read_dir, read_to_string};

/// The clock of `/proc/PID/stat`: USER_HZ is 100 on every Linux that Rust has.
const TICKS_PER_SECOND: f64 = 100.0;

/// The resources that a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Use {
    /// Resident memory in kB.
    pub memory_kb: u64,
    /// CPU time in seconds.
    pub cpu: f64,
}

/// The threads of one name.
#[derive(Debug, Clone, Copy, Default)]
pub struct Threads {
    pub count: usize,
    /// CPU time of all of them in seconds.
    pub cpu: f64,
    /// How often they gave up the CPU because they had nothing to do.
    pub waits: u64,
}

/// The resources that a process has used; nothing once it has ended.
pub fn used(pid: u32) -> Use {
    let read = |file: &str| read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let memory_kb = field(&read("status"), "VmRSS:").unwrap_or_default();
    // The name of the program may contain spaces, so the fields are counted from its end.
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    Use { memory_kb, cpu: (ticks(11) + ticks(12)) / TICKS_PER_SECOND }
}

/// The threads of a process by name; numbers at the end of a name do not count.
pub fn threads(pid: u32) -> BTreeMap<String, Threads> {
    let mut all = BTreeMap::<String, Threads>::new();
    for thread in read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let read = |file: &str| read_to_string(thread.path().join(file)).unwrap_or_default();
        let name = read("comm").trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
        // The time on the CPU in nanoseconds: that of `stat` counts ticks.
        let nanoseconds = read("schedstat").split(' ').next().and_then(|field| field.parse::<f64>().ok());
        let of_name = all.entry(name).or_default();
        of_name.count += 1;
        of_name.cpu += nanoseconds.unwrap_or_default() / 1e9;
        of_name.waits += field(&read("status"), "voluntary_ctxt_switches:").unwrap_or_default();
    }
    all
}

/// The CPU time in seconds that all cores have spent on anything so far.
pub fn busy() -> f64 {
    let stat = read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // Neither idle nor iowait, and not the time of guests, which is in that of users.
    let idle = ticks.iter().skip(3).take(2).sum::<f64>();
    (ticks.iter().take(8).sum::<f64>() - idle) / TICKS_PER_SECOND
}

/// The number behind this word at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
