//! The rows of the table: which class is attacked, how, and for how long.

use crate::support::Process;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;

use crate::attack::forger::Forgery;
use crate::attack::udp::{self, Flood};
use crate::attack::{Tally, Target, admission, media, publishing, signalling, talk, web};
use crate::class::{self, Class, Host, SAMPLE, Setup, Use};
use crate::judge::{NEWCOMER_WITHIN, Sight, Stage, Verdict};
use crate::race;
use crate::support::Pace;

/// How long the class is observed after the attack, for what comes late.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// How much longer than planned an attack may take before the bench gives up.
const OVERTIME: Duration = Duration::from_secs(60);

/// One attack.
#[derive(Clone, Copy)]
pub struct Row {
    /// The name on the command line.
    pub name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// An attack on a class with healthy students.
    Beside(Beside),
    /// An attack without healthy students, on processes of its own.
    Alone(fn(&Runtime) -> Tally),
}

/// An attack that runs, as a future.
type Attack = Pin<Box<dyn Future<Output = Tally> + Send>>;

/// Checks the remaining promises, and notes broken ones in the tally.
type Check = fn(&mut Class, &Runtime, &mut Tally);

#[derive(Clone, Copy)]
struct Beside {
    setup: Setup,
    lasts: Duration,
    attack: fn(Scene) -> Attack,
    /// Runs while the attack does, after the newcomer.
    during: Check,
    /// Runs after the attack.
    after: Check,
}

/// The knowledge of an attacker.
pub struct Scene {
    target: Target,
    /// The media addresses of the healthy students.
    victims: Vec<SocketAddrV4>,
    lasts: Duration,
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn nothing(_: &mut Class, _: &Runtime, _: &mut Tally) {}

/// An attack of this length on a teacher with the server inside.
fn beside(name: &'static str, lasts: u64, attack: fn(Scene) -> Attack) -> Row {
    let (setup, lasts) = (Setup::default(), seconds(lasts));
    Row { name, kind: Kind::Beside(Beside { setup, lasts, attack, during: nothing, after: nothing }) }
}

impl Row {
    fn with(mut self, change: impl FnOnce(&mut Beside)) -> Self {
        if let Kind::Beside(beside) = &mut self.kind {
            change(beside);
        }
        self
    }

    fn in_class(self, setup: Setup) -> Self {
        self.with(|beside| beside.setup = setup)
    }

    fn during(self, check: Check) -> Self {
        self.with(|beside| beside.during = check)
    }

    fn after(self, check: Check) -> Self {
        self.with(|beside| beside.after = check)
    }

    /// Runs the attack.
    pub fn run(&self, runtime: &Runtime) -> Verdict {
        match self.kind {
            Kind::Alone(attack) => Verdict { tally: attack(runtime), ..Verdict::default() },
            Kind::Beside(beside) => beside.run(runtime),
        }
    }
}

/// A server apart from the teacher, at which strangers may not teach.
const APART: Setup = Setup { host: Host::Serve(&[]), teach: &[], watch: &[], code: "" };

/// A server that carries the media of a browser, with the largest stage.
const HOSTED: Setup = Setup { host: Host::Media(&["--stage", "4"]), teach: &[], watch: &[], code: "" };

/// A room with a join code.
const WITH_CODE: Setup =
    Setup { host: Host::Teach, teach: &["--code=472913"], watch: &["--code", "472913"], code: "472913" };

/// A server with a certificate of its own; the healthy students use plain HTTP, which loopback may.
const WITH_TLS: Setup = Setup { host: Host::Teach, teach: &["--tls"], watch: &[], code: "" };

/// The rows of a class whose media `teach` sends: those of the measured table first, then those that held and must go
/// on holding, then the others.
pub fn all() -> Vec<Row> {
    vec![
        beside("calm", 8, |_| Box::pin(async { Tally::default() })),
        beside("offers", 12, |at| Box::pin(async move { media::whep_offers(&at.target, 2_000, 170).await })),
        beside("offers-few", 12, |at| Box::pin(async move { media::whep_offers(&at.target, 500, 45).await })),
        beside("re-offers", 10, |at| Box::pin(async move { media::re_offers(&at.target, 150, at.lasts).await })),
        beside("candidates", 15, |at| Box::pin(async move { media::candidates(&at.target, 50, 100, at.lasts).await })),
        beside("checks", 10, |at| {
            Box::pin(async move { media::authentic_checks(&at.target, flood(50_000, &at)).await })
        }),
        beside("forged", 10, |at| {
            let flood = flood(1_000, &at);
            Box::pin(async move { media::forged_checks(&at.target, at.victims, flood).await })
        }),
        beside("lists", 10, |at| {
            Box::pin(async move { signalling::user_lists(&at.target, 300, 16, true, at.lasts).await })
        }),
        beside("lists-deaf", 10, |at| {
            Box::pin(async move { signalling::user_lists(&at.target, 100, 40, false, at.lasts).await })
        }),
        beside("places", 15, |at| Box::pin(async move { signalling::places(&at.target, 1, 4_200, at.lasts).await })),
        beside("idle", 20, |at| {
            Box::pin(async move { signalling::idle_connections(&at.target, 2, 5_000, at.lasts).await })
        }),
        beside("ghosts", 12, |at| Box::pin(async move { signalling::ghosts(&at.target, 20, at.lasts).await }))
            .in_class(Setup { teach: &["--max-students", "10"], ..Setup::default() }),
        beside("rooms", 10, |at| Box::pin(async move { signalling::rooms(&at.target, 5_000, 500).await }))
            .in_class(APART)
            .after(an_honest_room_is_created),
        beside("foreign", 5, |at| Box::pin(async move { web::foreign_pages(&at.target).await })),
        beside("too-fast", 6, |at| Box::pin(async move { media::too_fast_offers(&at.target, 200).await }))
            .after(the_teacher_is_not_flooded_with_warnings),
        beside("chat", 12, |at| {
            Box::pin(async move { talk::crowd(&at.target, 20, talk::Noise::Chat, at.lasts).await })
        })
        .during(an_honest_word_is_heard),
        beside("hands", 15, |at| {
            Box::pin(async move { talk::crowd(&at.target, 210, talk::Noise::Hands, at.lasts).await })
        })
        .during(an_honest_hand_reaches_the_teacher),
        Row { name: "start-race", kind: Kind::Alone(race::strangers_at_the_start) },
        Row { name: "secret-in-url", kind: Kind::Alone(race::secrets_in_urls) },
        Row { name: "dns-sd", kind: Kind::Alone(race::forged_announcements) },
        Row { name: "orphan", kind: Kind::Alone(race::a_room_whose_teacher_crashed) },
        // What held.
        beside("junk", 8, |at| Box::pin(async move { media::junk(&at.target, flood(100_000, &at)).await })),
        beside("slow-loris", 8, |at| Box::pin(slow(at, web::Slow::Writes, 1_000))),
        beside("malformed", 8, |at| Box::pin(async move { signalling::malformed(&at.target, 200).await })),
        beside("school", 10, |at| Box::pin(async move { media::school(&at.target, 500).await })),
        beside("churn", 12, |at| Box::pin(async move { media::churn(&at.target, 20, at.lasts).await })),
        // Further ones.
        beside("half-dtls", 12, |at| Box::pin(async move { media::half_dtls(&at.target, 300, 20, at.lasts).await })),
        beside("sctp-streams", 10, |at| Box::pin(forged(at, Forgery::Streams))),
        beside("sctp-fragments", 10, |at| Box::pin(forged(at, Forgery::Fragments))),
        beside("sctp-resets", 10, |at| Box::pin(forged(at, Forgery::Resets))),
        beside("half-tls", 10, |at| Box::pin(async move { web::half_handshakes(&at.target, 3_000, 400).await }))
            .in_class(WITH_TLS),
        beside("tls-flood", 10, |at| Box::pin(async move { web::costly_handshakes(&at.target, 2_000, 250).await }))
            .in_class(WITH_TLS),
        beside("deaf-readers", 10, |at| Box::pin(slow(at, web::Slow::Reads, 500))),
        beside("pipelining", 10, |at| Box::pin(slow(at, web::Slow::Pipelines, 50))),
        beside("headers", 10, |at| Box::pin(slow(at, web::Slow::Headers, 200))),
        beside("silent", 8, |at| Box::pin(slow(at, web::Slow::Silent, 1_000))),
        beside("sessions", 8, |at| Box::pin(async move { web::session_guesses(&at.target, 3_000, 400).await })),
        beside("requests", 6, |at| Box::pin(async move { web::malformed_requests(&at.target).await })),
        beside("codes", 10, |at| Box::pin(async move { admission::wrong_codes(&at.target, 2_000, 250).await }))
            .in_class(WITH_CODE),
        beside("silent-auth", 10, |at| Box::pin(async move { admission::silent(&at.target, 2_000).await })),
        beside("publishers", 8, |at| Box::pin(async move { signalling::publishers(&at.target, at.lasts).await })),
    ]
}

/// The rows of a room whose media the server carries, with a stage.
pub fn hosted() -> Vec<Row> {
    let rows = vec![
        beside("hosted-calm", 8, |_| Box::pin(async { Tally::default() })),
        beside("hosted-offers", 12, |at| Box::pin(async move { media::whep_offers(&at.target, 2_000, 170).await })),
        beside("hosted-checks", 10, |at| {
            Box::pin(async move { media::authentic_checks(&at.target, flood(50_000, &at)).await })
        }),
        beside("hosted-junk", 8, |at| Box::pin(async move { media::junk(&at.target, flood(100_000, &at)).await })),
        beside("hosted-churn", 12, |at| Box::pin(async move { media::churn(&at.target, 20, at.lasts).await })),
        beside("hosted-sctp", 10, |at| Box::pin(forged(at, Forgery::Fragments))),
        beside("speakers-flood", 12, |at| Box::pin(speakers(at, Pace::Flood))),
        beside("speakers-jump", 12, |at| Box::pin(speakers(at, Pace::Jumps))),
        beside("speakers-types", 12, |at| Box::pin(speakers(at, Pace::WrongTypes))),
        beside("speakers-no-keys", 12, |at| Box::pin(speakers(at, Pace::NoKeyFrames))),
        beside("rooms-flood", 12, |at| Box::pin(publishers(at, Pace::Flood))),
        beside("rooms-jump", 12, |at| Box::pin(publishers(at, Pace::Jumps))),
        beside("rooms-types", 12, |at| Box::pin(publishers(at, Pace::WrongTypes))),
        beside("rooms-no-keys", 12, |at| Box::pin(publishers(at, Pace::NoKeyFrames))),
        beside("rooms-full", 25, |at| {
            Box::pin(async move { publishing::full_rooms(&at.target, 15, 4, at.lasts).await })
        }),
        beside("rooms-offers", 10, |at| {
            Box::pin(async move { publishing::publish_offers(&at.target, 15, at.lasts).await })
        }),
        beside("stage-uninvited", 10, |at| {
            Box::pin(async move { publishing::uninvited(&at.target, 100, at.lasts).await })
        }),
        beside("stage-forged", 10, |at| {
            Box::pin(async move { publishing::forged_sources(&at.target, 50, at.lasts).await })
        }),
    ];
    rows.into_iter().map(|row| row.in_class(HOSTED)).collect()
}

/// As many hostile students as the stage takes beside the honest one.
async fn speakers(at: Scene, pace: Pace) -> Tally {
    publishing::speakers(&at.target, 3, pace, at.lasts).await
}

/// Hostile publishers, each in a room of its own.
async fn publishers(at: Scene, pace: Pace) -> Tally {
    publishing::publishers(&at.target, 4, pace, at.lasts).await
}

fn flood(per_second: u32, at: &Scene) -> Flood {
    Flood { per_second, lasts: at.lasts }
}

/// Ten students that forge SCTP packets, join again when they are disconnected, and do so for about ten seconds.
async fn forged(at: Scene, forgery: Forgery) -> Tally {
    media::sctp(&at.target, 10, forgery, 10).await
}

async fn slow(at: Scene, slow: web::Slow, count: usize) -> Tally {
    web::slow_connections(&at.target, slow, count, at.lasts).await
}

impl Beside {
    fn run(self, runtime: &Runtime) -> Verdict {
        let mut class = Class::start(self.setup);
        let marks: Vec<usize> = class.students.iter().map(Process::mark).collect();
        let (begun, base) = (Instant::now(), class.used());
        let watched = Watched::start(&mut class, base);
        let victims = class.students.iter().flat_map(|student| udp::sockets_of(student.pid())).collect();
        let scene = Scene { target: class.target.clone(), victims, lasts: self.lasts };
        let mut attack = runtime.spawn((self.attack)(scene));
        std::thread::sleep(self.lasts * 2 / 5);
        let joined = Instant::now();
        let newcomer = class.watch("1999", &[]);
        let waited = class::first_frame(&newcomer, joined, NEWCOMER_WITHIN);
        let mut checks = Tally::default();
        (self.during)(&mut class, runtime, &mut checks);
        let planned = begun + self.lasts + OVERTIME;
        let ended = runtime.block_on(async { tokio::time::timeout_at(planned.into(), &mut attack).await });
        let mut tally = match ended {
            Ok(Ok(tally)) => tally,
            Ok(Err(error)) => panic!("the attacker panicked: {error}"),
            Err(_) => {
                attack.abort();
                let mut tally = Tally::default();
                tally.broken.push("the attack did not end: the class answers too slowly".into());
                tally
            }
        };
        std::thread::sleep((begun + self.lasts).saturating_duration_since(Instant::now()) + AFTERWARDS);
        (self.after)(&mut class, runtime, &mut checks);
        tally.add(checks);
        for (student, mark) in class.students.iter_mut().zip(&marks) {
            let is_stats = |event: &serde_json::Value| event["event"] == "stats";
            let lives = !student.ends_within(Duration::ZERO) && student.events()[*mark..].iter().any(is_stats);
            tally.expect(lives, || "a healthy student is gone".into());
        }
        for process in class.programs() {
            tally.expect(!process.ends_within(Duration::ZERO), || "the teacher or the server is gone".into());
        }
        let (observed, used) = (begun.elapsed(), class.used());
        let sights = class.students.iter().zip(&marks).map(|(student, mark)| Sight::of(&student.events(), *mark));
        let stages = class.students.iter().zip(&marks).map(|(student, mark)| Stage::of(&student.events(), *mark));
        let stage = class.speaker.is_some().then(|| stages.reduce(Stage::worst)).flatten();
        let bystander = &class.target.bystander;
        Verdict {
            sight: sights.reduce(Sight::worst),
            stage,
            observed,
            growth_mb: watched.growth_mb(),
            newcomer: Some(waited),
            third: (bystander.packets(), bystander.bytes()),
            cpu_percent: (used.cpu - base.cpu) / observed.as_secs_f64() * 100.0,
            tally,
        }
    }
}

/// A thread that reads how much memory a class has.
struct Watched {
    most_kb: Arc<AtomicU64>,
    base: Use,
    ends: Arc<AtomicBool>,
}

impl Watched {
    fn start(class: &mut Class, base: Use) -> Self {
        let (most_kb, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let pids: Vec<u32> = class.programs().map(|program| program.pid()).collect();
        let (most, end) = (Arc::clone(&most_kb), Arc::clone(&ends));
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                most.fetch_max(pids.iter().map(|pid| class::used(*pid).memory_kb).sum(), Ordering::Relaxed);
                std::thread::sleep(SAMPLE);
            }
        });
        Self { most_kb, base, ends }
    }

    fn growth_mb(&self) -> f64 {
        self.ends.store(true, Ordering::Relaxed);
        self.most_kb.load(Ordering::Relaxed).saturating_sub(self.base.memory_kb) as f64 / 1000.0
    }
}

/// A teacher who creates a room after the attack gets it, and the list shows few rooms of the attacker.
fn an_honest_room_is_created(class: &mut Class, runtime: &Runtime, tally: &mut Tally) {
    let json = "content-type: application/json\r\n";
    let ask = |path: &str, headers: &str, body: &str| {
        runtime.block_on(web::ask(&class.target, Ipv4Addr::LOCALHOST, path, headers, body))
    };
    let created = web::outcome(&ask("POST /api/rooms", json, "{\"name\":\"honest\"}"));
    tally.expect(created == "201", || format!("an honest teacher who creates a room got {created}"));
    let rooms = ask("GET /api/rooms", "", "").map(|answer| answer.body).unwrap_or_default();
    let rooms: Vec<serde_json::Value> = serde_json::from_str(&rooms).unwrap_or_default();
    let of_attacker = rooms.iter().filter(|room| room.to_string().contains("attack")).count();
    tally.expect(of_attacker <= 64, || format!("{of_attacker} rooms of the attacker are in the list"));
    tally.expect(rooms.iter().any(|room| room["roomId"] == "10013"), || "the class is not in the list".into());
}

/// One student may cause a few warnings, not one per message.
fn the_teacher_is_not_flooded_with_warnings(class: &mut Class, _: &Runtime, tally: &mut Tally) {
    let warnings = class.events_of_teacher().iter().filter(|event| event["event"] == "warning").count();
    tally.expect(warnings <= 10, || format!("the teacher got {warnings} warnings for one student"));
}

/// A word of a healthy student is heard by another one.
fn an_honest_word_is_heard(class: &mut Class, _: &Runtime, tally: &mut Tally) {
    let (first, second) = class.students.split_at_mut(1);
    let begun = Instant::now();
    first[0].types("an honest question");
    let is_it = |event: &serde_json::Value| event["event"] == "chat" && event["text"] == "an honest question";
    while begun.elapsed() < seconds(3) {
        if second[0].events().iter().any(is_it) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    tally.broken.push("an honest question is not heard within 3 s".into());
}

/// The teacher sees the hand of a healthy student.
fn an_honest_hand_reaches_the_teacher(class: &mut Class, _: &Runtime, tally: &mut Tally) {
    let begun = Instant::now();
    class.students[0].types("/hand");
    let is_it = |event: &serde_json::Value| {
        event["event"] == "hand" && event["hands"].as_array().is_some_and(|hands| hands.contains(&json!("1001")))
    };
    while begun.elapsed() < seconds(3) {
        if class.events_of_teacher().iter().any(is_it) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    tally.broken.push("the teacher does not hear of the hand of an honest student within 3 s".into());
}
