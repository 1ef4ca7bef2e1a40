//! CPU and memory of the participants and of the server, and what arrives, by the number of participants.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::emulated::{Arrived, Emulated};
use crate::meeting::{Meeting, Participant, SMALL};
use crate::usage::{Threads, Use, busy, threads, used};

/// How long connections, estimates and jitter buffers take to settle.
const SETTLES: Duration = Duration::from_secs(8);

/// How long the emulated participants may take until each has the picture of everybody else.
const ARRIVES_WITHIN: Duration = Duration::from_secs(120);

/// The participants that are processes, at most.
#[derive(Debug, Clone, Copy)]
pub struct Real {
    pub all: usize,
    /// Those that decode what they get. The others record it.
    pub looking: usize,
}

/// Measures a meeting for each of these numbers of participants.
pub fn print(media: &str, numbers: &[usize], real: Real, length: Duration) {
    println!(
        "{media}: {}x{} at {} pictures a second, {} s; CPU in percent of a core",
        SMALL.size.0,
        SMALL.size.1,
        SMALL.fps,
        length.as_secs()
    );
    println!(
        "{:>6} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7}",
        "of",
        "real",
        "all seen",
        "CPU each",
        "MB each",
        "server",
        "MB",
        "emulated",
        "pictures",
        "lost",
        "frozen",
        "others"
    );
    for &of in numbers {
        measure(of, Real { all: real.all.min(of), ..real }, length);
    }
}

fn measure(of: usize, Real { all: real, looking }: Real, length: Duration) {
    let mut meeting = Meeting::new(SMALL, None);
    let begun = Instant::now();
    for n in 0..real {
        let file = meeting.folder().join(format!("{n}.mkv"));
        let sink = if n < looking { "null" } else { file.to_str().unwrap() };
        meeting.enter(sink, None);
    }
    let emulated = (of > real).then(|| Emulated::enter(&meeting, of - real));
    meeting.see_all(looking);
    if let Some(emulated) = &emulated {
        emulated.all_see_all(ARRIVES_WITHIN);
    }
    let all_seen = begun.elapsed();
    std::thread::sleep(SETTLES);
    let before = Look::take(&meeting, emulated.as_ref());
    std::thread::sleep(length);
    let after = Look::take(&meeting, emulated.as_ref());
    let row = Row::between(&meeting, &before, &after);
    println!(
        "{of:>6} {real:>6} {:>7.1} s {:>8.1}% {:>9.1} {:>8.1}% {:>9.1} {:>8.1}% {:>9.2} {:>8} {:>8} {:>6.0}%",
        all_seen.as_secs_f64(),
        row.cpu_each,
        row.memory_each_mb,
        row.cpu_server,
        row.memory_server_mb,
        row.cpu_emulated,
        row.pictures,
        row.lost,
        row.frozen,
        row.others,
    );
    for (name, threads) in row.threads {
        let Threads { count, cpu, waits } = threads;
        println!("{count:>14} threads {name:<16} {cpu:>5.1}% {waits:>7} waits a second");
    }
    if let Some(arrived) = row.at_emulated {
        let Arrived { frames, missing, blocks_of_audio } = arrived;
        println!("{frames:>14} pictures and {blocks_of_audio} blocks of audio at the emulated, {missing} missing");
    }
    meeting.end();
}

/// What was used up to a moment.
struct Look {
    at: Instant,
    participants: Vec<Use>,
    server: Use,
    threads: BTreeMap<String, Threads>,
    emulated: Option<Arrived>,
    own: Use,
    busy: f64,
    /// The events of each participant so far.
    events: Vec<usize>,
}

impl Look {
    fn take(meeting: &Meeting, emulated: Option<&Emulated>) -> Self {
        let server = meeting.server.pid();
        Self {
            at: Instant::now(),
            participants: meeting.participants.iter().map(|one| used(one.process.pid())).collect(),
            server: used(server),
            threads: threads(server),
            emulated: emulated.map(Emulated::arrived),
            own: used(std::process::id()),
            busy: busy(),
            events: meeting.participants.iter().map(|one| one.process.mark()).collect(),
        }
    }
}

/// The figures of a meeting.
struct Row {
    cpu_each: f64,
    memory_each_mb: f64,
    cpu_server: f64,
    memory_server_mb: f64,
    cpu_emulated: f64,
    /// Pictures a second of one participant at another one, on average.
    pictures: f64,
    /// Packets that did not come, or came too late, at all participants together.
    lost: u64,
    frozen: u64,
    /// The CPU that other processes of this machine took.
    others: f64,
    threads: Vec<(String, Threads)>,
    at_emulated: Option<Arrived>,
}

impl Row {
    fn between(meeting: &Meeting, before: &Look, after: &Look) -> Self {
        let seconds = (after.at - before.at).as_secs_f64();
        let percent = |cpu: f64| 100.0 * cpu / seconds;
        let count = after.participants.len().max(1) as f64;
        let cpu_of = |look: &Look| look.participants.iter().map(|one| one.cpu).sum::<f64>();
        let participants = cpu_of(after) - cpu_of(before);
        let server = after.server.cpu - before.server.cpu;
        let own = after.own.cpu - before.own.cpu;
        let all = meeting.participants.iter().zip(&before.events);
        let at_each: Vec<Received> = all.map(|(one, mark)| Received::since(one, *mark)).collect();
        let tracks = at_each.iter().map(|one| one.tracks).sum::<usize>().max(1) as f64;
        let missing = |after: Arrived| after.missing - before.emulated.unwrap_or_default().missing;
        Self {
            cpu_each: percent(participants) / count,
            memory_each_mb: after.participants.iter().map(|one| one.memory_kb as f64 / 1e3).sum::<f64>() / count,
            cpu_server: percent(server),
            memory_server_mb: after.server.memory_kb as f64 / 1e3,
            cpu_emulated: percent(own),
            pictures: at_each.iter().map(|one| one.pictures).sum::<f64>() / tracks,
            lost: at_each.iter().map(|one| one.lost).sum(),
            frozen: at_each.iter().map(|one| one.freezes).sum(),
            others: percent(after.busy - before.busy - participants - server - own),
            threads: busiest(before, after, seconds),
            at_emulated: after.emulated.map(|now| Arrived {
                frames: now.frames - before.emulated.unwrap_or_default().frames,
                missing: missing(now),
                blocks_of_audio: now.blocks_of_audio - before.emulated.unwrap_or_default().blocks_of_audio,
            }),
        }
    }
}

/// The threads of the server that took at least a hundredth of a core, the busiest first, per second.
fn busiest(before: &Look, after: &Look, seconds: f64) -> Vec<(String, Threads)> {
    let since = |(name, now): (&String, &Threads)| {
        let then = before.threads.get(name).copied().unwrap_or_default();
        let cpu = 100.0 * (now.cpu - then.cpu) / seconds;
        let waits = (now.waits.saturating_sub(then.waits) as f64 / seconds) as u64;
        (name.clone(), Threads { count: now.count, cpu, waits })
    };
    let mut all: Vec<(String, Threads)> = after.threads.iter().map(since).collect();
    all.retain(|(_, threads)| threads.cpu >= 1.0);
    all.sort_by(|(_, one), (_, other)| other.cpu.total_cmp(&one.cpu));
    all
}

/// What a participant has received of all others.
#[derive(Debug, Default, Clone, Copy)]
pub struct Received {
    /// Video tracks that arrived.
    pub tracks: usize,
    /// Pictures a second, of all video tracks together.
    pub pictures: f64,
    /// Packets that did not come, or came too late.
    pub lost: u64,
    pub freezes: u64,
}

impl Received {
    /// From this event of the participant on.
    pub fn since(one: &Participant, mark: usize) -> Self {
        Self::of_users(one, mark, |_| true)
    }

    /// The same, of some of the others.
    pub fn of_users(one: &Participant, mark: usize, is_one: impl Fn(&str) -> bool) -> Self {
        let mut tracks = BTreeMap::<(String, String), (Counts, Counts, u32)>::new();
        for event in one.process.events().into_iter().skip(mark) {
            if event["event"] != "participant-stats" || !event["user"].as_str().is_some_and(&is_one) {
                continue;
            }
            let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let counts = Counts::of(&event);
            let known = tracks.entry((word("user"), word("track"))).or_insert((counts, counts, 0));
            (known.1, known.2) = (counts, known.2 + 1);
        }
        let mut sum = Self::default();
        for ((_, track), (first, last, events)) in tracks {
            sum.lost += last.lost.saturating_sub(first.lost);
            sum.freezes += last.freezes.saturating_sub(first.freezes);
            // The pictures of emulated participants can't be decoded.
            if track != "audio" && last.frames > 0 {
                sum.tracks += 1;
                // There is one event a second.
                let seconds = f64::from(events.max(2) - 1);
                sum.pictures += last.frames.saturating_sub(first.frames) as f64 / seconds;
            }
        }
        sum
    }
}

/// The counters of an event `participant-stats`.
#[derive(Debug, Clone, Copy)]
struct Counts {
    frames: u64,
    lost: u64,
    freezes: u64,
}

impl Counts {
    fn of(event: &Value) -> Self {
        let number = |name: &str| event[name].as_u64().unwrap_or_default();
        Self { frames: number("frames"), lost: number("lost"), freezes: number("freezes") }
    }
}
