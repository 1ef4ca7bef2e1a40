//! Memory, files, sockets and threads of the processes, as CSV, as a plot, and compared.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Instant;

use crate::class::used;
use crate::plot::{Line, plot};
use crate::students::Counts;

/// Kernel resources of a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resources {
    /// Resident memory in MB.
    pub memory_mb: f64,
    /// Open files, sockets included.
    pub files: f64,
    /// Open sockets.
    pub sockets: f64,
    /// Threads.
    pub threads: f64,
}

impl Resources {
    fn of(pid: u32) -> Self {
        let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let (mut files, mut sockets) = (0.0, 0.0);
        for link in links.filter_map(|link| std::fs::read_link(link.path()).ok()) {
            files += 1.0;
            sockets += f64::from(u8::from(link.to_string_lossy().starts_with("socket:")));
        }
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count) as f64;
        Self { memory_mb: used(pid).memory_kb as f64 / 1000.0, files, sockets, threads }
    }
}

/// A look at both processes.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    seconds: f64,
    counts: Counts,
    teacher: Resources,
    server: Resources,
}

impl Sample {
    /// The head of the printed table.
    pub const HEADER: &str =
        "      time    joins  failed  teacher: memory  files  sockets  threads  server: memory  files  sockets threads";

    /// Looks at both processes.
    pub fn take(begun: Instant, counts: Counts, teacher: u32, server: u32) -> Self {
        let (teacher, server) = (Resources::of(teacher), Resources::of(server));
        Self { seconds: begun.elapsed().as_secs_f64(), counts, teacher, server }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, counts, teacher: t, server: s } = self;
        write!(
            f,
            "{seconds:>8.0} s {:>8} {:>7}  {:>12.1} MB {:>6} {:>8} {:>8}  {:>11.1} MB {:>6} {:>8} {:>8}",
            counts.joined,
            counts.failed,
            t.memory_mb,
            t.files,
            t.sockets,
            t.threads,
            s.memory_mb,
            s.files,
            s.sockets,
            s.threads
        )
    }
}

/// A figure of a sample, and what it may grow by: a part of itself, and a number.
struct Figure {
    name: &'static str,
    of: fn(&Sample) -> f64,
    growth: (f64, f64),
}

/// The figures that must be flat. Memory may grow a little, as the allocator keeps what it once had; sockets of
/// students differ with the moment.
const FIGURES: [Figure; 8] = [
    Figure { name: "teacher_memory_mb", of: |s| s.teacher.memory_mb, growth: (0.05, 8.0) },
    Figure { name: "teacher_files", of: |s| s.teacher.files, growth: (0.05, 3.0) },
    Figure { name: "teacher_sockets", of: |s| s.teacher.sockets, growth: (0.05, 3.0) },
    Figure { name: "teacher_threads", of: |s| s.teacher.threads, growth: (0.05, 2.0) },
    Figure { name: "server_memory_mb", of: |s| s.server.memory_mb, growth: (0.05, 8.0) },
    Figure { name: "server_files", of: |s| s.server.files, growth: (0.05, 5.0) },
    Figure { name: "server_sockets", of: |s| s.server.sockets, growth: (0.05, 5.0) },
    Figure { name: "server_threads", of: |s| s.server.threads, growth: (0.05, 2.0) },
];

/// All samples of a run.
#[derive(Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// The growth from the second to the last quarter, each kind as a sentence.
    pub fn growth(&self) -> Vec<String> {
        let quarter = self.0.len() / 4;
        if quarter == 0 {
            return vec!["the run is too short to compare quarters".to_owned()];
        }
        let mean =
            |samples: &[Sample], of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / samples.len() as f64;
        let (second, last) = (&self.0[quarter..2 * quarter], &self.0[self.0.len() - quarter..]);
        let compare = |figure: &Figure| {
            let (before, after) = (mean(second, figure.of), mean(last, figure.of));
            let allowed = before * (1.0 + figure.growth.0) + figure.growth.1;
            (after > allowed).then(|| format!("{} grew from {before:.1} to {after:.1}", figure.name))
        };
        FIGURES.iter().filter_map(compare).collect()
    }

    /// Writes `soak.csv` and `soak.svg` into a folder.
    ///
    /// # Errors
    /// If the files can't be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let names: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
        let mut text = format!("seconds,joined,failed,{}\n", names.join(","));
        for sample in &self.0 {
            let values: Vec<String> = FIGURES.iter().map(|figure| format!("{:.1}", (figure.of)(sample))).collect();
            let Counts { joined, failed } = sample.counts;
            text += &format!("{:.1},{joined},{failed},{}\n", sample.seconds, values.join(","));
        }
        std::fs::write(folder.join("soak.csv"), text)?;
        let lines: Vec<Line> = FIGURES
            .iter()
            .map(|figure| Line {
                name: figure.name,
                points: self.0.iter().map(|sample| (sample.seconds, (figure.of)(sample))).collect(),
            })
            .collect();
        std::fs::write(folder.join("soak.svg"), plot(&lines))
    }
}
