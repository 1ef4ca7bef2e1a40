mod access;
mod lecture;
mod whip_out;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory;

use super::*;
use crate::http::Site;
use crate::media::{Content, FileList, Size, Tiers};
use crate::room::Meetings;
use crate::rtp::{Codec, Latency};
use crate::signal::ServerUrl;
use crate::tls::CertificateSource;

fn parse_line(line: &str) -> Result<Cli, clap::Error> {
    parse(std::iter::once("classroom").chain(line.split_whitespace()))
}

fn teach(flags: &str) -> Teach {
    match parse_line(&format!("teach --room 10013 {flags}")).unwrap().command {
        Command::Teach(teach) => *teach,
        other => panic!("{other:?}"),
    }
}

fn watch(flags: &str) -> Watch {
    match parse_line(&format!("watch --room 10013 --user 1001 {flags}")).unwrap().command {
        Command::Watch(watch) => watch,
        other => panic!("{other:?}"),
    }
}

/// The first line of the error for an invalid command line, which must be a usage error.
fn refusal(line: &str) -> String {
    let error = parse_line(line).expect_err(line);
    assert_eq!(error.exit_code(), 2, "{line}");
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// The lines of a text that are wider than a terminal of `columns`.
fn long_lines(text: &str, columns: usize) -> Vec<&str> {
    text.lines().filter(|line| line.chars().count() > columns).collect()
}

#[test]
fn clap_accepts_the_definition_of_the_flags() {
    TypedCli::command().debug_assert();
}

#[test]
fn a_teacher_needs_only_a_room() {
    let plain = teach("");
    assert_eq!((plain.room.as_str(), plain.user.as_str(), plain.nickname.as_str()), ("10013", "9999", "9999"));
    assert_eq!(plain.signalling, Signalling::Embedded { listen: "0.0.0.0:18080".parse().unwrap(), tls: None });
    assert_eq!((plain.sources, plain.audio, plain.udp_port), (Sources::Auto, true, 18080));
    let tiers = Tiers::Both(None);
    assert_eq!(plain.video, Video { codec: None, size: None, fps: 30, bitrate: None, tiers, content: None });
    assert_eq!((plain.max_students, plain.length), (None, None));
    assert_eq!(plain.stage, StageOptions { most: 2, sink: StageSink::Auto });
    let stage = teach("--stage 0 --stage-sink audio").stage;
    assert_eq!(stage, StageOptions { most: 0, sink: StageSink::Audio });
    assert!(plain.qr && !teach("--no-qr").qr);
    assert!(!plain.end_class && teach("--end-class").end_class);
    assert_eq!((plain.room_name, teach("--name Algebra").room_name), (None, "Algebra".parse().ok()));
}

#[test]
fn the_media_port_defaults_to_the_port_of_the_built_in_server() {
    assert_eq!(teach("--listen 127.0.0.1:18090").udp_port, 18090);
    assert_eq!(teach("--listen 127.0.0.1:0").udp_port, 0);
    assert_eq!(teach("--listen 127.0.0.1:18090 --udp-port 5").udp_port, 5);
    let remote = teach("--server ws://a:1");
    assert_eq!((remote.signalling, remote.udp_port), (Signalling::Remote(ServerUrl::new("a", 1)), 18080));
    assert!(remote.udp_port_may_change && !teach("").udp_port_may_change);
    assert!(!teach("--server ws://a:1 --udp-port 18080").udp_port_may_change);
}

#[test]
fn sources_are_chosen_by_flags() {
    let sources = |flags: &str| teach(flags).sources;
    let chosen =
        |main: Option<MainSource>, camera: Option<Device>, mic: Option<Device>| Sources::Chosen { main, camera, mic };
    let video2 = Some(Device::Named("/dev/video2".into()));
    let screen = Some(MainSource::Screen(Device::Default));
    assert_eq!(sources("--screen --camera=/dev/video2"), chosen(screen, video2, None));
    assert_eq!(sources("--mic"), chosen(None, None, Some(Device::Default)));
    assert_eq!(sources("--test --no-audio"), chosen(Some(MainSource::Test), None, None));
    assert!(!teach("--test --no-audio").audio);
    let file = Some(MainSource::Files(FileList::looped("a.mp4")));
    assert_eq!(sources("--file a.mp4 --loop --camera"), chosen(file, Some(Device::Default), None));
    let paths = vec!["b.png".into(), "a.mp4".into()];
    let list = FileList { paths, repeat: false, still: Some(Duration::from_secs(5)) };
    let list = chosen(Some(MainSource::Files(list)), None, None);
    assert_eq!(sources("--file b.png --still 5s --file a.mp4"), list);
    assert_eq!(teach("--pipeline a.gst").sources, Sources::Pipeline("a.gst".into()));
    assert_eq!(teach("--whip-in").sources, Sources::Whip);
    assert_eq!(teach("--whip-in --server ws://a").sources, Sources::Whip, "the encoder sends to this computer");
}

#[test]
fn flags_set_encoding_and_limits() {
    let video = teach("--test --codec vp8 --size 640x360 --fps 15 --bitrate 1.5M").video;
    assert_eq!((video.codec, video.fps, video.bitrate.map(Bitrate::kbps)), (Some(Codec::Vp8), 15, Some(1500)));
    let native = teach("--screen --size native --content film").video;
    assert_eq!((native.size, native.content), (Some(Size::NATIVE), Some(Content::Film)));
    assert_eq!(video.size, Some(Size { width: 640, height: 360 }));
    assert_eq!(teach("--tiers full,low=300k").video.tiers, Tiers::Both(Some(300_000)));
    let limits = teach("--max-students 30 --for 1m30s --advertise 1.2.3.4 --stun stun:s:1");
    assert_eq!((limits.max_students, limits.length), (NonZeroUsize::new(30), Some(Duration::from_secs(90))));
    assert_eq!((limits.advertise.len(), limits.stun[0].url()), (1, "stun:s:1".into()));
}

#[test]
fn a_student_needs_a_room_and_a_user_id() {
    let plain = watch("");
    assert_eq!((plain.member.user.as_str(), plain.member.nickname.as_str()), ("1001", "1001"));
    assert_eq!((plain.sink, plain.latency), (Sink::Auto { fullscreen: false }, Latency::AUTO));
    assert_eq!((plain.member.timeout, plain.retry, plain.length), (None, None, None));
    assert!(refusal("watch --room 10013").contains("required"));
}

#[test]
fn a_student_may_have_expectations_and_limits() {
    let watch = watch("--sink null --expect fps>=25 --expect lost==0 --timeout 5s --retry 1m --latency 200");
    let expected: Vec<String> = watch.expect.iter().map(ToString::to_string).collect();
    assert_eq!((watch.sink, expected), (Sink::Null, vec!["fps>=25".to_owned(), "lost==0".to_owned()]));
    assert_eq!((watch.member.timeout, watch.retry), (Some(Duration::from_secs(5)), Some(Duration::from_secs(60))));
    assert_eq!(watch.latency, Latency::Fixed(Duration::from_millis(200)));
}

#[test]
fn a_jitter_buffer_adapts_within_bounds_or_is_fixed() {
    let range =
        |least, most| Latency::Adaptive { least: Duration::from_millis(least), most: Duration::from_millis(most) };
    for (typed, latency) in [
        ("auto", Latency::AUTO),
        ("20..500", Latency::AUTO),
        ("40..200", range(40, 200)),
        ("40ms..0.2s", range(40, 200)),
        ("0", Latency::Fixed(Duration::ZERO)),
        ("20ms", Latency::Fixed(Duration::from_millis(20))),
    ] {
        assert_eq!(watch(&format!("--latency {typed}")).latency, latency, "{typed}");
    }
}

#[test]
fn a_sink_is_a_window_or_a_file() {
    assert_eq!(watch("--sink window --fullscreen").sink, Sink::Window { fullscreen: true });
    assert_eq!(watch("--sink a.mkv").sink, Sink::File(PathBuf::from("a.mkv")));
}

fn password(user: &str, password: &str) -> TurnLogin {
    TurnLogin::Password { user: user.into(), password: password.into() }
}

#[test]
fn turn_credentials_come_from_the_url_or_from_flags() {
    let turn = |flags: &str| watch(flags).member.turn.into_iter().map(|t| (t.url(), t.login)).collect::<Vec<_>>();
    let url = || "turn:t:3478?transport=udp".to_owned();
    assert_eq!(turn("--turn turn:me:secret@t"), [(url(), password("me", "secret"))]);
    assert_eq!(turn("--turn turn:t --turn-user me --turn-pass secret"), [(url(), password("me", "secret"))]);
}

#[test]
fn teach_and_serve_take_stun_and_turn_servers_for_students() {
    let told = teach("--test --stun a --turn turn:me:secret@t");
    assert_eq!((told.stun[0].url(), &told.turn[0].login), ("stun:a:3478".into(), &password("me", "secret")));
    let line = "serve --stun a --turn turn:t --turn-user me --turn-pass secret";
    let Command::Serve(serve) = parse_line(line).unwrap().command else { panic!() };
    assert_eq!((serve.stun.len(), &serve.turn[0].login), (1, &password("me", "secret")));
}

#[test]
fn a_demo_needs_no_flags() {
    let expected = |tiers: Tiers| {
        let sink = Sink::Auto { fullscreen: false };
        Command::Demo(Demo { lecture: DemoLecture::BuiltIn, tiers, sink, length: None })
    };
    assert_eq!(parse_line("demo").unwrap().command, expected(Tiers::Both(None)));
    assert_eq!(parse_line("demo --tiers full").unwrap().command, expected(Tiers::Full));
}

#[test]
fn output_flags_may_come_before_or_after_the_verb() {
    for line in ["--json -v devices", "devices --json --verbose"] {
        let cli = parse_line(line).unwrap();
        assert_eq!((cli.output, cli.verbosity), (Output::Json, Verbosity::Verbose), "{line}");
    }
    assert_eq!(parse_line("devices -v -q").unwrap().verbosity, Verbosity::Quiet);
    let (tls, site, access) = (None, Site::default(), AccessPolicy::default());
    let listen = "127.0.0.1:1".parse().unwrap();
    let one = NonZeroUsize::MIN;
    let max_rooms = NonZeroUsize::new(16).unwrap();
    let (max_students, stage, workers, advertise) = (None, 2, one, vec![]);
    let ice_tcp = IceTcp::Auto;
    let media = Some(ServeMedia { udp_port: 1, max_rooms, max_students, stage, workers, advertise, ice_tcp });
    let meetings = Meetings::Teachers;
    let serve = Serve {
        listen,
        tls,
        stun: vec![],
        turn: vec![],
        own_turn: None,
        site,
        access,
        meetings,
        media,
        cluster: None,
        via: Engines::default(),
        otlp: None,
        print_mediamtx: false,
    };
    assert_eq!(parse_line("serve --listen 127.0.0.1:1").unwrap().command, Command::Serve(serve));
    let rooms = Rooms { server: Some(ServerUrl::new("a", 18080)), trust: ServerTrust::default() };
    assert_eq!(parse_line("rooms --server ws://a").unwrap().command, Command::Rooms(rooms));
}

#[test]
fn contradictory_flags_are_refused_with_the_next_step() {
    let two_sources = |one, other| format!("{one} and {other} can't be used together: remove one");
    let no_effect = |flag| format!("{flag} has no effect on --pipeline, which has its own encoders: remove {flag}");
    for (line, sentence) in [
        ("teach --room 1 --file a --screen", two_sources("--file", "--screen")),
        ("teach --room 1 --file a --test", two_sources("--file", "--test")),
        ("teach --room 1 --test --screen=:1", two_sources("--test", "--screen")),
        ("teach --room 1 --pipeline a --camera", two_sources("--pipeline", "--camera")),
        ("teach --room 1 --pipeline a --mic", two_sources("--pipeline", "--mic")),
        ("teach --room 1 --whip-in --screen", two_sources("--whip-in", "--screen")),
        ("teach --room 1 --whip-in --pipeline a", two_sources("--whip-in", "--pipeline")),
        ("teach --room 1 --pipeline a --fps 30", no_effect("--fps")),
        ("teach --room 1 --pipeline a --no-audio", no_effect("--no-audio")),
        ("teach --room 1 --pipeline a --tiers full", no_effect("--tiers")),
    ] {
        assert!(refusal(line).starts_with(&format!("error: {sentence}")), "{line}: {}", refusal(line));
    }
    for (line, sentence) in [
        ("teach --room 1 --server ws://a --listen :1", "--server uses another server, but --listen runs one here"),
        ("teach --room 1 --bitrate 1M --tiers full,low=2M", "the low tier needs a lower bit rate than the full tier"),
        ("demo --tiers full,low=3M", "the low tier needs a lower bit rate than the full tier"),
        ("teach --room 1 --whip-in --no-audio", "--no-audio has no effect on --whip-in, which gets encoded pictures"),
        ("teach --room 1 --whip-in --bitrate 1M", "--bitrate has no effect on --whip-in"),
        ("teach --room 1 --loop", "--loop repeats files, but there is no file: add --file PATH"),
        ("teach --room 1 --test --still 5s", "--still needs a picture file: add --file PATH"),
        ("demo --loop", "--loop repeats files, but there is no file: add --file PATH"),
        ("teach --room 1 --mic --no-audio", "--mic turns sound on, but --no-audio turns it off"),
        ("watch --room 1 --user 2 --sink null --fullscreen", "--fullscreen needs a window, but --sink is null"),
        ("teach --room 1 --turn turn:a:b@t --server ws://a", "--turn is for the built-in server, but --server uses"),
        ("bench --codec vp8", "--codec only works with a bad network or --glass: add --glass"),
        ("bench --seed 1", "--seed only works with a bad network or --glass"),
        ("bench --glass --bad 1", "--bad needs a bad network"),
        ("bench --ingest --bad 1", "--bad is about students"),
        ("bench --loss 5% --bad 2", "--bad 2 is more than --students 1"),
        ("bench --loss 5% --queue 1s", "--queue needs a limited bit rate: add --rate"),
        ("bench --loss 5% --size 320x180", "--size 320x180 is too small for the code"),
        ("serve --no-media --stage 1", "--no-media carries no media, but --stage is about media"),
        ("serve --no-media --max-media-rooms 3", "--no-media carries no media, but --max-media-rooms is about media"),
        ("serve --no-media --udp-port 3", "--no-media carries no media, but --udp-port is about media"),
        ("serve --turn-pass secret", "--turn-pass needs a TURN server: add --turn"),
        ("watch --room 1 --user 2 --turn-user me", "--turn-user needs a TURN server: add --turn"),
        ("watch --room 1 --user 2 --turn turn:t --turn-user me", "--turn turn:t:3478 has no user name and password"),
    ] {
        assert!(refusal(line).starts_with(&format!("error: {sentence}")), "{line}: {}", refusal(line));
    }
}

#[test]
fn invalid_values_are_refused_with_the_flag_and_an_example() {
    for (line, flag, example) in [
        ("teach --room a/b", "--room", "only letters, digits"),
        ("teach --room 1 --name \u{202e}", "--name", "1 to 80 characters"),
        ("teach --room 1 --bitrate fast", "--bitrate", "2500k"),
        ("teach --room 1 --size 1280", "--size", "1280x720"),
        ("teach --room 1 --content slides", "--content", "text or film"),
        ("teach --room 1 --fps 0", "--fps", "1..=120"),
        ("teach --room 1 --codec h265", "--codec", "h264 or vp8"),
        ("teach --room 1 --tiers high", "--tiers", "full,low"),
        ("demo --tiers low=fast", "--tiers", "2500k"),
        ("teach --room 1 --for 10", "--for", "no unit"),
        ("teach --room 1 --max-students 0", "--max-students", "0"),
        ("teach --room 1 --listen nowhere", "--listen", "0.0.0.0:18080"),
        ("teach --room 1 --udp-port 70000", "--udp-port", "65535"),
        ("watch --room 1 --user 2 --server rtsp://a", "--server", "wss://HOST:PORT"),
        ("teach --room 1 --stun stuns:a", "--stun", "stun:HOST:PORT"),
        ("watch --room 1 --user 2 --sink out.mp4", "--sink", ".mkv"),
        ("watch --room 1 --user 2 --expect fsp>=25", "--expect", "fps, kbps"),
        ("watch --room 1 --user 2 --turn t", "--turn", "turn:user:password@"),
        ("watch --room 1 --user 2 --latency 1h", "--latency", "5000"),
        ("watch --room 1 --user 2 --latency 200..40", "--latency", "the smaller number first"),
        ("watch --room 1 --user 2 --latency 40..900", "--latency", "500"),
        ("watch --room 1 --user 2 --latency ..", "--latency", "40..200"),
        ("bench --loss 5", "--loss", "for example 5%"),
        ("bench --burst 20%", "--burst", "20%@5s+2s"),
        ("bench --rate 5", "--rate", "10k to 1000M"),
        ("serve --stage 5", "--stage", "to 4"),
        ("teach --room 1 --stage many", "--stage", "to 4"),
        ("teach --room 1 --stage-sink null", "--stage-sink", "give window, audio or none"),
        ("teach --room 1 --workers 0", "--workers", "from 1 to 64"),
        ("teach --room 1 --workers 65", "--workers", "from 1 to 64"),
    ] {
        let refusal = refusal(line);
        assert!(refusal.contains(flag) && refusal.contains(example), "{line}: {refusal}");
    }
}

#[test]
fn a_typing_error_is_answered_with_a_suggestion() {
    let whole = |line: &str| parse_line(line).unwrap_err().to_string();
    assert!(whole("wacth --room 1").contains("'watch'"));
    assert!(whole("teach --roon 1").contains("'--room'"));
}

#[test]
fn help_and_version_exit_with_0_and_mistakes_with_2() {
    for line in ["--help", "-V", "teach --help", "help watch"] {
        assert_eq!(parse_line(line).unwrap_err().exit_code(), 0, "{line}");
    }
    for line in ["", "teach --frobnicate", "dance"] {
        assert_eq!(parse_line(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn a_bench_has_a_hundred_students_by_default() {
    let bench = |flags: &str| match parse_line(&format!("bench {flags}")).unwrap().command {
        Command::Bench(Bench::FanOut(bench)) => bench,
        other => panic!("{other:?}"),
    };
    let plain = bench("");
    assert_eq!((plain.students.get(), plain.bitrate.kbps(), plain.fps), (100, 2500, 30));
    assert_eq!(plain.length, Duration::from_secs(10));
    let typed = bench("--students 500 --bitrate 800k --fps 15 --for 1m");
    assert_eq!((typed.students.get(), typed.bitrate.kbps(), typed.fps), (500, 800, 15));
    assert_eq!(typed.length, Duration::from_secs(60));
    assert!(bench("--published").published && !plain.published);
    assert!(refusal("bench --published --loss 5%").contains("--loss"));
    for (flags, why) in [("--students 10001", "1 to 10000"), ("--for 500ms", "too short"), ("--fps 0", "1..=120")] {
        let line = format!("bench {flags}");
        assert!(refusal(&line).contains(why), "{}", refusal(&line));
    }
    let help = parse_line("--help").unwrap_err().to_string();
    assert!(help.contains("bench ") && !help.contains("bench-students"), "{help}");
}

#[test]
fn a_bench_with_a_bad_network_encodes_pictures() {
    let bench = |flags: &str| match parse_line(&format!("bench {flags}")).unwrap().command {
        Command::Bench(Bench::Video(bench)) => bench,
        other => panic!("{other:?}"),
    };
    let glass = bench("--glass --latency 20");
    assert_eq!((glass.students, glass.bad, glass.length), (1, 0, Duration::from_secs(20)));
    assert_eq!((glass.latency, &glass.network), (Latency::Fixed(Duration::from_millis(20)), &Network::default()));
    let lossy = bench("--loss 5% --rtt 50ms --students 30 --bad 5 --for 60s --codec vp8 --size 640x360 --seed 7");
    assert_eq!((lossy.students, lossy.bad, lossy.seed), (30, 5, Some(7)));
    assert_eq!((lossy.network.loss, lossy.network.rtt), (0.05, Duration::from_millis(50)));
    assert_eq!((lossy.video.codec, lossy.video.size), (Some(Codec::Vp8), "640x360".parse().ok()));
    let slow = bench("--rate 600k --rate-until 20s --burst 20%@5s+2s --burst 100%@9s+500ms");
    let line = Line { rate: 600_000, queue: None, from: None, until: Some(Duration::from_secs(20)) };
    assert_eq!((slow.bad, slow.network.line, slow.network.bursts.len()), (1, Some(line), 2));
    let later = bench("--rate 600k --rate-from 5s --rate-until 20s");
    assert_eq!(later.network.line, Some(Line { from: Some(Duration::from_secs(5)), ..line }));
    assert_eq!((slow.ingest, glass.ingest), (None, None));
    let ingest = bench("--ingest --students 3");
    assert_eq!((ingest.ingest, ingest.bad, &ingest.network), (Some(IngestOffer::Simulcast), 0, &Network::default()));
    let ingest = bench("--ingest=single --loss 5%");
    assert_eq!((ingest.ingest, ingest.bad, ingest.network.loss), (Some(IngestOffer::Single), 0, 0.05));
}

#[test]
fn every_verb_has_help_that_names_its_flags() {
    let mut command = TypedCli::command();
    command.build();
    for verb in command.get_subcommands() {
        assert!(verb.get_about().is_some(), "{}", verb.get_name());
    }
    let help = parse_line("teach --help").unwrap_err().to_string();
    for word in ["Lecture:", "Sources:", "Encoding:", "Network:", "Examples:", "--screen[=<DISPLAY>]"] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
}

#[test]
fn the_help_has_all_exit_codes() {
    let help = parse_line("--help").unwrap_err().to_string();
    let help: Vec<&str> = help.split_whitespace().collect();
    let help = help.join(" ");
    for exit in crate::exit::Exit::ALL {
        let words = format!("{} {}", exit.code(), exit.meaning().replace(", or", " or"));
        assert!(help.contains(&words), "{words:?} is missing in:\n{help}");
    }
}

#[test]
fn the_short_help_fits_20_lines_and_the_long_help_has_every_flag() {
    let mut command = TypedCli::command();
    command.build();
    for verb in command.get_subcommands_mut().filter(|verb| !verb.is_hide_set()) {
        let name = verb.get_name().to_owned();
        let short = verb.render_help().to_string();
        let lines = short.lines().filter(|line| !line.is_empty()).count();
        assert!(lines <= 20, "{name} -h has {lines} lines:\n{short}");
        assert!(long_lines(&short, 100).is_empty(), "{name} -h wraps: {:?}", long_lines(&short, 100));
        let long = verb.render_long_help().to_string();
        for flag in verb.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(long.contains(&format!("--{flag}")), "{name} --help lacks --{flag}");
        }
    }
}

#[test]
fn a_typed_listen_address_overrules_the_server_of_the_environment() {
    // All tests share the environment of their process, so this sets the parsed value instead.
    let typed = |flags: &str| {
        let line = format!("classroom teach --room 1 {flags}");
        let matches = TypedCli::command().try_get_matches_from(line.split_whitespace()).unwrap();
        let TypedVerb::Teach(mut typed) = TypedCli::from_arg_matches(&matches).unwrap().verb else {
            panic!("no teach")
        };
        typed.server = Some("ws://school:1".parse().unwrap());
        typed.convert(server_source(&matches))
    };
    assert_eq!(typed("").unwrap().signalling, Signalling::Remote(ServerUrl::new("school", 1)));
    let listen = "127.0.0.1:5".parse().unwrap();
    assert_eq!(typed("--listen 127.0.0.1:5").unwrap().signalling, Signalling::Embedded { listen, tls: None });
    assert_eq!(typed("--server ws://a --listen 127.0.0.1:5"), Err(Conflict::ServerAndListen));
}

#[test]
fn tls_flags_name_a_certificate_and_what_a_client_trusts() {
    let tls = |flags: &str| match teach(flags).signalling {
        Signalling::Embedded { tls, .. } => tls,
        Signalling::Remote(url) => panic!("{url}"),
    };
    let files = CertificateSource::Files { certificate: "c.pem".into(), key: "k.pem".into() };
    assert_eq!(tls("--tls"), Some(CertificateSource::OwnCa));
    assert_eq!(tls("--tls-cert c.pem --tls-key k.pem"), Some(files));
    let fingerprint = "sha256:000102030405060708090A0B0C0D0E0F";
    let trust = teach(&format!("--server wss://a --fingerprint {fingerprint}")).trust;
    assert_eq!(trust, ServerTrust { ca: None, fingerprint: fingerprint.parse().ok() });
    let Command::Watch(watch) = parse_line("watch --room 1 --user 2 --ca ca.pem").unwrap().command else { panic!() };
    assert_eq!(watch.member.trust.ca, Some("ca.pem".into()), "also for a server that DNS-SD finds");
    for (line, advice) in [
        ("teach --room 1 --server wss://a --tls", "start that server with it"),
        ("teach --room 1 --ca ca.pem", "add --server wss://HOST:PORT"),
        ("teach --room 1 --tls --tls-cert a --tls-key b", "cannot be used with"),
        ("serve --tls-cert a", "--tls-key"),
        ("watch --room 1 --user 2 --server ws://a --ca ca.pem", "write --server wss://a:18080"),
        ("rooms --server a --fingerprint 000102030405060708090a0b0c0d0e0f", "write --server wss://a:18080"),
        ("rooms --server wss://a --fingerprint 0001", "at least 32 hexadecimal digits"),
        ("watch --room 1 --user 2 --ca a --fingerprint 000102030405060708090a0b0c0d0e0f", "cannot be used with"),
    ] {
        let error = parse_line(line).unwrap_err().to_string().replace("\n", " ");
        assert!(error.contains(advice), "{line}: {error}");
    }
}

#[test]
fn every_shell_completes_every_verb() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
        let script = completions(shell);
        for word in ["teach", "watch", "max-students", "expect"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        for hidden in ["bench-students", "draw-slides", "inspect-files"] {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
    }
}

#[test]
fn every_verb_has_a_page_with_all_of_its_flags() {
    let pages = man_pages();
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["classroom.1", "classroom-teach.1", "classroom-watch.1", "classroom-completions.1"] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    assert!(!names.contains(&"classroom-bench-students.1"));
    let (_, teach) = pages.iter().find(|(name, _)| name == "classroom-teach.1").unwrap();
    let teach = String::from_utf8_lossy(teach);
    assert!(teach.contains("turn\\-pass") && teach.contains(".TH classroom-teach 1"), "{teach}");
}

#[test]
fn flags_about_speaking_need_consent_and_something_to_speak_with() {
    assert_eq!(watch("").speaking, None);
    let asks = |flags: &str| watch(flags).speaking.unwrap().asks;
    assert!(asks("--may-speak") && !asks("--may-speak=yes"));
    let sources = |flags: &str| watch(&format!("--may-speak {flags}")).speaking.unwrap().sources;
    assert_eq!(sources("--camera=none").camera, crate::media::Wanted::No);
    assert_eq!(sources("--speak-test").microphone, crate::media::Wanted::Yes(Some("test".into())));
    let refused = |flags: &str| refusal(&format!("watch --room 10013 --user 1001 {flags}"));
    assert!(refused("--speak-test").contains("add --may-speak"));
    assert!(refused("--may-speak --camera=none --mic=none").contains("needs a camera or a microphone"));
    assert!(refused("--may-speak --speak-test --camera=x").contains("--speak-test and --camera"));
}
