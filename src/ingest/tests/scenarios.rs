use super::publisher::{low, payload_type};
use super::*;

const LOSSY: LineSettings = LineSettings { loss: 0.05, delay: 25, jitter: 8 };

fn h264(encoding: Encoding) -> Encoding {
    Encoding { codec: Codec::H264, ..encoding }
}

/// The number of frames that a sender has captured in time.
fn captured(scenario: &mut Scenario, encoding: Encoding) -> usize {
    let settings = scenario.publisher.sender(encoding).settings;
    let late = settings.delay + scenario.up.settings.delay + scenario.up.settings.jitter;
    ((scenario.ms - late) / settings.interval) as usize + 1
}

#[test]
fn five_percent_of_loss_and_reordering_cost_no_frame() {
    for codec in [Codec::Vp8, Codec::H264] {
        let mut scenario = Scenario::new(usual(codec), LOSSY);
        let screen = Encoding { codec, ..SCREEN };
        scenario.run(20_000);
        let (count, skipped) = scenario.decodable(screen);
        assert_eq!(skipped, 0);
        // If the first packet of all comes too late, nobody knows of it, and the publisher is asked for a key frame.
        assert!(count + 10 >= captured(&mut scenario, screen), "{count} frames");
        let mut delays: Vec<u64> = scenario.arrived(screen).into_iter().map(|(_, delay)| delay).collect();
        delays.sort_unstable();
        let (median, p95) = (delays[delays.len() / 2], delays[delays.len() * 95 / 100]);
        assert!(median <= 100 && p95 <= 200, "delays of {median} ms, {p95} ms");
        let stats = scenario.ingest.stats();
        let video = &stats.encodings[1];
        assert!((250..400).contains(&video.lost) && video.recovered + 10 > video.lost, "{video:?}");
        assert!(video.given_up <= 2, "{video:?}");
        assert_eq!((video.frames, video.wrong_payload_type), (count as u64, 0));
        let round_trip = stats.round_trip.unwrap().as_millis();
        assert!((50..90).contains(&round_trip), "{round_trip} ms");
        assert!(scenario.heard.plis.len() <= 1);
        // Browsers do not retransmit audio: lost packets stay lost, and later ones go on soon.
        let (count, skipped) = scenario.decodable(AUDIO);
        assert!((20..90).contains(&skipped) && count > 900, "{count} packets, {skipped} lost");
        assert!(scenario.arrived(AUDIO).iter().all(|(_, delay)| *delay <= 70));
        assert!(stats.unknown_ssrc == 0 && stats.malformed == 0);
        assert!(scenario.heard.longest <= 1_250, "{} bytes of RTCP", scenario.heard.longest);
    }
}

/// Five percent of loss each way and 50 ms: every tenth lost packet is lost again, or its NACK is.
#[test]
fn a_frame_rarely_waits_for_a_third_round_trip() {
    let line = LineSettings { loss: 0.05, delay: 25, jitter: 0 };
    // A freeze (W3C): 150 ms more than usual between two frames.
    let freeze = |two: &[u64]| two[1] - two[0] > 183;
    let freezes = (1..=3).map(|seed| {
        let mut scenario = Scenario::new(usual(Codec::Vp8), line);
        (scenario.up, scenario.down) = (Line::new(line, seed), Line::new(line, seed + 100));
        scenario.run(60_000);
        let screen = scenario.frames.iter().filter(|(_, frame)| frame.encoding() == SCREEN);
        let times: Vec<u64> = screen.map(|(ms, _)| *ms).collect();
        assert!(times.windows(2).all(|two| two[1] - two[0] < 300) && times.len() > 1_700);
        times.windows(2).filter(|two| freeze(two)).count()
    });
    let freezes: usize = freezes.sum();
    assert!(freezes <= 16, "{freezes} freezes in three minutes");
}

#[test]
fn after_a_long_outage_video_goes_on_with_a_key_frame() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings::GOOD);
    scenario.run(3_000);
    scenario.up.dead_until = 4_500;
    scenario.run(3_000);
    let (count, skipped) = scenario.decodable(SCREEN);
    assert!(count > 120 && (40..60).contains(&skipped), "{count} frames, {skipped} skipped");
    assert_eq!(scenario.heard.plis.len(), 1);
    let first = scenario.frames.iter().find(|(ms, frame)| *ms > 4_500 && frame.encoding() == SCREEN).unwrap();
    assert!(first.1.key && first.0 < 4_600, "at {} ms", first.0);
}

#[test]
fn half_a_second_of_nothing_is_retransmitted() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings { delay: 20, ..LineSettings::GOOD });
    scenario.run(3_000);
    scenario.up.dead_until = 3_500;
    scenario.run(3_000);
    assert_eq!(scenario.decodable(SCREEN).1, 0);
    assert!(scenario.heard.plis.is_empty() && scenario.ingest.stats().encodings[1].recovered > 100);
}

#[test]
fn a_loss_that_is_not_retransmitted_costs_a_key_frame() {
    let mut senders = usual(Codec::H264);
    senders[1].rtx = None;
    let screen = h264(SCREEN);
    let mut scenario = Scenario::new(senders, LineSettings { delay: 20, ..LineSettings::GOOD });
    scenario.run(2_000);
    scenario.up.settings.loss = 1.0;
    scenario.run(40);
    scenario.up.settings.loss = 0.0;
    scenario.run(2_000);
    let (_, skipped) = scenario.decodable(screen);
    assert!((10..20).contains(&skipped), "{skipped}");
    assert_eq!(scenario.heard.plis.len(), 1, "{:?}", scenario.heard.plis);
    let given_up = scenario.heard.plis[0].0;
    assert!((2_450..2_600).contains(&given_up), "at {given_up} ms");
    let stats = scenario.ingest.stats();
    assert!(stats.encodings[1].given_up > 0 && stats.encodings[1].dropped_frames > 5);
    assert_eq!(stats.encodings[1].awaits_key_frame, None);
}

#[test]
fn a_publisher_without_key_frames_gets_two_plis_a_second_and_the_statistics_say_so() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings::GOOD);
    scenario.publisher.sender(SCREEN).next_is_key = false;
    for _ in 0..5_000 {
        scenario.run(1);
        scenario.publisher.sender(SCREEN).next_is_key = false;
    }
    assert!((9..=11).contains(&scenario.heard.plis.len()), "{:?}", scenario.heard.plis);
    let stats = scenario.ingest.stats();
    let waits = stats.encodings[1].awaits_key_frame.map(|since| scenario.now() - since);
    assert!(waits.is_some_and(|waits| waits > Duration::from_secs(4)), "{waits:?}");
    assert_eq!(stats.encodings[1].frames, 0);
}

#[test]
fn key_frame_requests_of_students_are_joined_and_answered_once() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings::GOOD);
    scenario.run(1_000);
    for _ in 0..10 {
        scenario.ingest.request_key_frame(scenario.now(), SCREEN);
        scenario.ingest.request_key_frame(scenario.now(), low(SCREEN));
        scenario.run(1);
    }
    assert_eq!(scenario.heard.plis.len(), 1);
    scenario.run(2_000);
    assert_eq!(scenario.heard.plis.len(), 1, "the key frame has come");
    let keys = scenario.frames.iter().filter(|(_, frame)| frame.encoding() == SCREEN && frame.key).count();
    assert_eq!(keys, 2);
}

#[test]
fn simulcast_layers_become_tiers_on_one_timeline() {
    let senders =
        vec![audio(), video(Track::Screen, Tier::Full, Codec::Vp8), video(Track::Screen, Tier::Low, Codec::Vp8)];
    let mut scenario = Scenario::new(senders, LineSettings { loss: 0.02, delay: 20, jitter: 3 });
    assert_eq!(scenario.ingest.encodings(), [AUDIO, SCREEN, low(SCREEN)]);
    scenario.run(10_000);
    for encoding in [SCREEN, low(SCREEN)] {
        let (count, skipped) = scenario.decodable(encoding);
        assert!(skipped == 0 && count > 140, "{encoding}: {count} frames, {skipped} skipped");
    }
    let scenario = &scenario;
    let timestamps = |encoding: Encoding| {
        let frames = scenario.frames.iter().filter(move |(_, frame)| frame.encoding() == encoding);
        let numbers = frames.map(move |(_, frame)| (scenario.publisher.check(encoding, frame).0, frame.timestamp));
        numbers.map(move |(number, timestamp)| (scenario.publisher.captured(encoding, number), timestamp))
    };
    let full: std::collections::HashMap<u64, u32> = timestamps(SCREEN).collect();
    let mut compared = 0;
    for (captured, timestamp) in timestamps(low(SCREEN)).filter(|(captured, _)| *captured > 500) {
        if let Some(full) = full.get(&captured) {
            let difference = timestamp.wrapping_sub(*full).cast_signed();
            assert!(difference.abs() <= 2, "{captured} ms: {difference} ticks");
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn audio_and_video_have_capture_times_of_one_clock() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings { loss: 0.01, delay: 20, jitter: 10 });
    scenario.run(20_000);
    let mut range = (i64::MAX, i64::MIN);
    for (_, frame) in &scenario.frames {
        let encoding = frame.encoding();
        let (number, _) = scenario.publisher.check(encoding, frame);
        let captured = scenario.publisher.captured(encoding, number);
        let error = (frame.captured - scenario.begin).as_micros() as i64 - captured as i64 * 1_000;
        // The first sender reports come after 300 ms, and some of them are lost.
        if captured > 3_500 {
            range = (range.0.min(error), range.1.max(error));
        }
    }
    // Audio takes 5 ms from capture to sending, and the line at least 20 ms.
    assert!(range.0 >= 24_000 && range.1 <= 28_000, "{range:?} us");
}

#[test]
fn timestamps_that_jump_and_another_ssrc_do_not_show() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings { delay: 20, ..LineSettings::GOOD });
    scenario.run(3_000);
    scenario.publisher.sender(SCREEN).jump = 0x7654_3210;
    scenario.run(3_000);
    let screen = scenario.publisher.sender(SCREEN);
    (screen.is_active, screen.settings.ssrc, screen.settings.rtx) = (false, 777, Some(778));
    scenario.run(400);
    let screen = scenario.publisher.sender(SCREEN);
    (screen.is_active, screen.next_is_key, screen.jump) = (true, true, 0x1000_0000);
    scenario.run(3_000);
    assert_eq!(scenario.decodable(SCREEN).1, 0);
    let frames: Vec<&Frame> =
        scenario.frames.iter().map(|(_, frame)| frame).filter(|frame| frame.encoding() == SCREEN).collect();
    assert!(frames.len() > 260, "{}", frames.len());
    for pair in frames.windows(2) {
        let ticks = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        let passed = pair[1].captured - pair[0].captured;
        let expected = passed.as_millis() as u32 * 90;
        assert!(ticks.abs_diff(expected) <= 100 * 90 && ticks < 90_000, "{ticks} ticks in {passed:?}");
    }
    assert_eq!(scenario.ingest.stats().unknown_ssrc, 0);
}

#[test]
fn another_codec_in_the_middle_starts_with_a_key_frame() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings { loss: 0.02, delay: 20, jitter: 3 });
    scenario.run(3_000);
    // The publisher does not care that decoders need a key frame.
    scenario.publisher.sender(SCREEN).settings.encoding.codec = Codec::H264;
    scenario.run(3_000);
    let (vp8, _) = scenario.decodable(SCREEN);
    let (count, _) = scenario.decodable(h264(SCREEN));
    assert!(vp8 > 80 && count > 70, "{vp8} and {count} frames");
    assert_eq!(scenario.ingest.encodings(), [AUDIO, h264(SCREEN)]);
    assert!((1..=2).contains(&scenario.heard.plis.len()), "{:?}", scenario.heard.plis);
}

#[test]
fn too_much_video_is_dropped_and_audio_goes_on() {
    let mut senders = usual(Codec::Vp8);
    senders[1].packets = 400;
    let limit = IngestLimit { bits_per_second: 20_000_000 };
    let mut scenario = Scenario::with(senders, LineSettings::GOOD, IDS, limit);
    scenario.run(4_000);
    let stats = scenario.ingest.stats();
    assert!(stats.bits_per_second > 40_000_000 && stats.over_limit > 10_000, "{stats:?}");
    assert_eq!(stats.over_limit, stats.encodings[1].over_limit);
    let bytes: usize = scenario.frames.iter().map(|(_, frame)| frame.bytes()).sum();
    assert!(bytes * 8 <= 20_000_000 * 9 / 2, "{bytes} bytes in 4.5 s of the limit");
    assert_eq!((scenario.decodable(AUDIO).0, scenario.decodable(AUDIO).1), (captured(&mut scenario, AUDIO), 0));
    scenario.decodable(SCREEN);
    let (received, lost) = scenario.heard.statuses;
    assert!(lost * 2 > received, "{received} received, {lost} lost: the publisher is told");
    assert_eq!(scenario.heard.nacks, 0, "what is too much is not asked for again");
}

#[test]
fn feedback_tells_of_every_packet_every_50_ms() {
    let mut senders = usual(Codec::Vp8);
    senders[1].packets = 30;
    let mut scenario = Scenario::new(senders, LOSSY);
    scenario.down.settings.loss = 0.0;
    scenario.run(10_000);
    let longest = scenario.heard.feedback.windows(2).skip(4).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest <= 70, "{longest} ms, of which 8 ms are jitter");
    let (received, _) = scenario.heard.statuses;
    let packets: u64 = scenario.ingest.stats().encodings.iter().map(|encoding| encoding.packets).sum();
    assert!(received as u64 + 60 >= packets, "{received} of {packets}");
    assert!((9..=11).contains(&scenario.heard.reports), "a report each second: {}", scenario.heard.reports);
}

#[test]
fn a_publisher_without_header_extensions_is_known_by_ssrc_or_payload_type() {
    for is_declared in [true, false] {
        let mut senders = usual(Codec::H264);
        senders.iter_mut().for_each(|sender| sender.is_declared = is_declared);
        let lossy = LineSettings { loss: 0.03, delay: 10, jitter: 2 };
        let mut scenario = Scenario::with(senders, lossy, ExtensionIds::default(), IngestLimit::default());
        scenario.run(5_000);
        let (count, skipped) = scenario.decodable(h264(SCREEN));
        assert!(count > 140 && skipped == 0, "{count} frames, {skipped} skipped");
        assert!(scenario.heard.feedback.is_empty() && scenario.heard.reports >= 4);
        assert!(scenario.decodable(AUDIO).0 > 220);
    }
}

#[test]
fn statistics_of_a_good_line() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings::GOOD);
    scenario.run(5_500);
    let stats = scenario.ingest.stats();
    let [audio, video] = &stats.encodings[..] else { panic!("{stats:?}") };
    assert_eq!((audio.fps, audio.audio_level, video.audio_level), (50, Some(30), None));
    assert!((29..=31).contains(&video.fps) && video.loss == 0.0 && video.lost == 0, "{video:?}");
    assert!((600_000..800_000).contains(&video.bits_per_second), "{}", video.bits_per_second);
    assert_eq!(stats.bits_per_second, audio.bits_per_second + video.bits_per_second);
    assert_eq!((video.key_frames, video.dropped_frames, video.awaits_key_frame), (1, 0, None));
    assert!(video.last_frame.is_some_and(|at| scenario.now() - at < Duration::from_millis(40)));
}

#[test]
fn padding_on_the_ssrc_of_the_media_is_no_gap() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings::GOOD);
    for _ in 0..50 {
        scenario.run(37);
        let ms = scenario.ms;
        for _ in 0..3 {
            let probe = scenario.publisher.sender(SCREEN).probe(ms);
            scenario.up.send(ms, probe);
        }
    }
    let (count, skipped) = scenario.decodable(SCREEN);
    assert!(count > 50 && skipped == 0 && scenario.heard.nacks == 0, "{count} frames, {skipped} skipped");
}

#[test]
fn wrong_payload_types_and_unknown_ssrcs_are_counted_and_dropped() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings::GOOD);
    scenario.run(1_000);
    let now = scenario.now();
    let mut wrong = scenario.publisher.sender(SCREEN).probe(0);
    wrong[0] = 0x80;
    wrong[1] = 99;
    scenario.ingest.on_rtp(now, wrong[..].into());
    for ssrc in 5_000..5_100u32 {
        let mut stranger = wrong.clone();
        stranger[8..12].copy_from_slice(&ssrc.to_be_bytes());
        stranger[1] = payload_type(Codec::Vp8);
        scenario.ingest.on_rtp(now, stranger[..].into());
        scenario.ingest.on_rtp(now, stranger[..8].into());
    }
    let stats = scenario.ingest.stats();
    assert_eq!((stats.encodings[1].wrong_payload_type, stats.unknown_ssrc, stats.malformed), (1, 100, 100));
    scenario.run(1_000);
    assert_eq!(scenario.heard.plis.len(), 1, "the packet might have been part of a frame");
    assert!(scenario.decodable(SCREEN).0 > 50);
}

#[test]
fn a_goodbye_frees_the_ssrc_at_once() {
    let mut scenario = Scenario::new(usual(Codec::Vp8), LineSettings::GOOD);
    scenario.run(1_000);
    let now = scenario.now();
    scenario.ingest.on_rtcp(now, &[0x81, 203, 0, 1, 0, 0, 0, 200]);
    let screen = scenario.publisher.sender(SCREEN);
    (screen.settings.ssrc, screen.next_is_key) = (777, true);
    scenario.run(1_000);
    let (count, skipped) = scenario.decodable(SCREEN);
    assert!(count > 50 && skipped <= 1, "{count} frames, {skipped} skipped");
}
