//! A lecture over simulated networks: per second 50 audio packets and 30 video frames of three packets each.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// The delay of a packet in milliseconds; `None` if it is lost.
type Network = fn(Track, u16) -> Option<u64>;

struct Lecture {
    playout: JitterBuffer,
    /// The played events, each with its time in milliseconds.
    log: Vec<(u64, Track, PlayoutEvent)>,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn packet(track: Track, sequence: u16, timestamp: u32, marker: bool, key: bool) -> Vec<u8> {
    let mut bytes = vec![0x80, if marker { 0xe0 } else { 0x60 }];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend((track as u32).to_be_bytes());
    bytes.push(if key { 0x65 } else { 0x41 });
    bytes
}

/// The send time and the bytes of a packet.
fn sent(track: Track, sequence: u16, keys: &[u16]) -> (u64, Vec<u8>) {
    if track == Track::Audio {
        return (u64::from(sequence) * 20, packet(track, sequence, u32::from(sequence) * 960, true, false));
    }
    let picture = sequence / 3;
    let key = sequence.is_multiple_of(3) && keys.contains(&picture);
    (u64::from(picture) * 1000 / 30, packet(track, sequence, u32::from(picture) * 3000, sequence % 3 == 2, key))
}

impl Lecture {
    fn new(latency: Latency) -> Self {
        let tracks = [(Track::Audio, Codec::Opus), (Track::Screen, Codec::H264)];
        Self { playout: JitterBuffer::new(tracks, latency, false), log: Vec::new() }
    }

    /// Plays the first `length` milliseconds of a lecture; `keys` are the indices of the key frames.
    fn play(&mut self, length: u64, keys: &[u16], network: Network) {
        let mut arrivals = Vec::new();
        for (track, count) in [(Track::Audio, length / 20), (Track::Screen, length * 3 * 30 / 1000)] {
            for sequence in 0..count as u16 {
                let (at, bytes) = sent(track, sequence, keys);
                arrivals.extend(network(track, sequence).map(|takes| (at + takes, track, bytes)));
            }
        }
        arrivals.sort_by_key(|(at, ..)| *at);
        let mut arrivals = arrivals.into_iter().peekable();
        for now in 0..length + 2000 {
            let Self { playout, log } = self;
            while let Some((_, track, bytes)) = arrivals.next_if(|(at, ..)| *at <= now) {
                playout.take(track, &bytes, ms(now), |track, played| log.push((now, track, played)));
            }
            if playout.wakes().is_some_and(|wakes| wakes <= ms(now)) {
                playout.pass(ms(now), |track, played| log.push((now, track, played)));
                assert!(playout.wakes().is_none_or(|wakes| wakes > ms(now)), "it would spin");
            }
        }
    }

    /// The time, sequence number and playout time of each played packet.
    fn packets(&self, of: Track) -> Vec<(u64, u16, u64)> {
        let packet = |(now, track, played): &(u64, Track, PlayoutEvent)| match played {
            PlayoutEvent::Packet { bytes, due, .. } if *track == of => {
                Some((*now, u16::from_be_bytes([bytes[2], bytes[3]]), due.as_millis() as u64))
            }
            _ => None,
        };
        self.log.iter().filter_map(packet).collect()
    }

    fn holes(&self) -> Vec<(u64, u64, u64)> {
        let hole = |(now, _, played): &(u64, Track, PlayoutEvent)| match played {
            PlayoutEvent::Concealment { due, lasts } => Some((*now, due.as_millis() as u64, lasts.as_millis() as u64)),
            _ => None,
        };
        self.log.iter().filter_map(hole).collect()
    }

    fn wanted_keys(&self) -> Vec<u64> {
        self.log.iter().filter(|(.., played)| *played == PlayoutEvent::KeyFrameNeeded).map(|(now, ..)| *now).collect()
    }
}

#[test]
fn packets_in_order_are_played_at_once_with_their_times() {
    let mut lecture = Lecture::new(Latency::AUTO);
    lecture.play(10_000, &[0], |_, _| Some(5));
    let sound = lecture.packets(Track::Audio);
    assert_eq!(sound.len(), 500);
    assert!(sound.iter().all(|(now, n, due)| *now == u64::from(*n) * 20 + 5 && *due == *now), "{sound:?}");
    let screen = lecture.packets(Track::Screen);
    assert_eq!(screen.len(), 900);
    assert!(
        screen
            .iter()
            .all(|(now, n, due)| now.abs_diff(u64::from(*n / 3) * 1000 / 30 + 5) == 0 && now.abs_diff(*due) <= 1),
        "{screen:?}"
    );
    assert_eq!(lecture.playout.delay(), MIN_DELAY);
    assert_eq!(lecture.playout.losses(Track::Screen), LossStats::default());
}

#[test]
fn missing_audio_is_concealed_at_its_playout_time() {
    let mut lecture = Lecture::new(Latency::Fixed(ms(60)));
    lecture.play(2_000, &[0], |_, n| (n % 10 != 7).then_some(5));
    let holes = lecture.holes();
    assert_eq!(holes.len(), 10);
    assert_eq!((holes[0], holes[1]), ((7 * 20 + 65, 7 * 20 + 5, 20), (17 * 20 + 65, 17 * 20 + 5, 20)));
    let losses = lecture.playout.losses(Track::Audio);
    assert_eq!((losses.lost, losses.concealed), (10, ms(200)));
    // Packets and concealment follow each other without gaps.
    let mut line: Vec<u64> = lecture.packets(Track::Audio).iter().map(|(_, _, due)| *due).collect();
    line.extend(holes.iter().map(|(_, due, _)| *due));
    line.sort_unstable();
    assert!(line.windows(2).all(|pair| pair[1] - pair[0] == 20), "{line:?}");
}

#[test]
fn missing_audio_with_a_copy_in_the_next_packet_is_not_concealed() {
    for (lost, copies, restored, concealed) in [(1, true, 1, 0), (3, true, 1, 40), (1, false, 0, 20)] {
        let mut playout = JitterBuffer::new([(Track::Audio, Codec::Opus)], Latency::Fixed(ms(60)), false);
        for n in (0..20u16).filter(|n| !(5..5 + lost).contains(n)) {
            let mut bytes = packet(Track::Audio, n, u32::from(n) * 960, true, false);
            // Wideband SILK, mono, with voice activity and a copy of the previous packet.
            bytes.truncate(12);
            bytes.extend([9 << 3, if copies { 0xc0 } else { 0x80 }]);
            playout.take(Track::Audio, &bytes, ms(u64::from(n) * 20), |_, _| {});
            playout.pass(ms(u64::from(n) * 20 + 1), |_, _| {});
        }
        let losses = playout.losses(Track::Audio);
        assert_eq!((losses.lost, losses.restored, losses.concealed), (lost.into(), restored, ms(concealed)));
    }
}

#[test]
fn audio_that_arrives_before_its_playout_time_is_played() {
    let mut lecture = Lecture::new(Latency::Fixed(ms(60)));
    lecture.play(2_000, &[0], |_, n| {
        Some(if n == 30 {
            50
        } else if n == 60 {
            120
        } else {
            5
        })
    });
    let sound = lecture.packets(Track::Audio);
    assert!(sound.windows(2).all(|pair| pair[0].1 < pair[1].1));
    assert_eq!((sound.len(), lecture.holes().len()), (99, 1));
    let losses = lecture.playout.losses(Track::Audio);
    assert_eq!((losses.lost, losses.late), (1, 1));
}

#[test]
fn missing_video_is_awaited_and_the_delay_grows_to_cover_it() {
    let mut lecture = Lecture::new(Latency::AUTO);
    // One packet in twenty needs a retransmission of 90 ms; one in twelve hundred needs three of them.
    lecture.play(20_000, &[0], |track, n| {
        Some(match n {
            n if track == Track::Audio || n % 20 != 9 => 5,
            n if n % 1200 == 9 => 275,
            _ => 95,
        })
    });
    let screen = lecture.packets(Track::Screen);
    assert_eq!(screen.len(), 1800);
    assert!(screen.iter().map(|(_, n, _)| *n).eq(0..1800));
    assert_eq!(lecture.playout.losses(Track::Screen), LossStats::default());
    assert_eq!(lecture.wanted_keys().len(), 2, "the long ones are about as long as a key frame takes");
    let late = screen[900..].iter().filter(|(now, _, due)| now - due > lecture.playout.delay().as_millis() as u64);
    assert!(late.count() < 45, "95 % come in time");
    assert!((90..=150).contains(&lecture.playout.delay().as_millis()), "{:?}", lecture.playout.delay());
}

#[test]
fn a_gap_without_retransmission_ends_with_a_key_frame() {
    let mut lecture = Lecture::new(Latency::AUTO);
    // Frame 30 lacks its middle packet; the requested key frame arrives later.
    lecture.play(4_000, &[0, 40], |_, n| (n != 91).then_some(5));
    assert_eq!(lecture.wanted_keys(), [1000 + 5 + 250]);
    let screen = lecture.packets(Track::Screen);
    assert_eq!(screen.iter().position(|(_, n, _)| *n == 90).map(|at| screen[at + 1].1), Some(120), "the key frame");
    let back = screen.iter().find(|(_, n, _)| *n == 120).unwrap();
    assert_eq!(back.0, 40 * 1000 / 30 + 5, "at once");
    assert_eq!(lecture.playout.losses(Track::Screen).lost, 1);

    let mut lecture = Lecture::new(Latency::AUTO);
    lecture.play(4_000, &[0], |_, n| (n != 91).then_some(5));
    let screen = lecture.packets(Track::Screen);
    assert_eq!(screen.iter().find(|(_, n, _)| *n == 92).map(|(now, ..)| *now), Some(1000 + 5 + 600), "given up");
    let after_loss = lecture.log.iter().filter(|(_, track, played)| {
        *track == Track::Screen && matches!(played, PlayoutEvent::Packet { after_loss: true, .. })
    });
    assert_eq!(after_loss.count(), 2, "the start, and what is behind the gap");
}

#[test]
fn a_stall_of_a_second_does_not_raise_the_delay() {
    let mut lecture = Lecture::new(Latency::AUTO);
    // Packets sent from 5.0 to 6.0 s arrive at 6.0 s.
    lecture.play(10_000, &[0], |track, n| {
        let at = sent(track, n, &[]).0;
        Some(if (5000..6000).contains(&at) { 6005 - at } else { 5 })
    });
    for track in [Track::Audio, Track::Screen] {
        let packets = lecture.packets(track);
        assert!(
            packets.iter().all(|(now, n, due)| {
                let at = sent(track, *n, &[]).0;
                due.abs_diff(at + 5) <= 1 && *now == if (5000..6000).contains(&at) { 6005 } else { at + 5 }
            }),
            "{packets:?}"
        );
    }
    assert!(lecture.playout.delay() <= ms(40), "{:?}", lecture.playout.delay());
}

#[test]
fn audio_resumes_on_time_after_an_outage() {
    let mut lecture = Lecture::new(Latency::AUTO);
    lecture.play(6_000, &[0, 130], |track, n| {
        let at = sent(track, n, &[]).0;
        (!(2000..4000).contains(&at)).then_some(5)
    });
    let sound = lecture.packets(Track::Audio);
    assert_eq!(sound.len(), 200);
    assert!(sound[100].0 <= 4005 + 60, "the first after it is there when it is due: {:?}", sound[100]);
    assert!(lecture.holes().len() <= 15, "what nobody hears is not concealed: {:?}", lecture.holes());
    assert_eq!(lecture.playout.losses(Track::Audio).lost, 100);
    // A key frame 330 ms after the outage.
    let screen = lecture.packets(Track::Screen);
    let back = screen.iter().find(|(now, ..)| *now > 4000).unwrap();
    assert_eq!((back.0, back.1), (130 * 1000 / 30 + 5, 390));
}

fn report(track: Track, captured_ms: u64, timestamp: u32) -> Vec<u8> {
    let mut bytes = vec![0x80, 200, 0, 6];
    bytes.extend((track as u32).to_be_bytes());
    bytes.extend((1_000_000 + (captured_ms / 1000) as u32).to_be_bytes());
    bytes.extend(((((captured_ms % 1000) << 32) / 1000) as u32).to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend([0; 8]);
    bytes
}

#[test]
fn audio_waits_for_video_with_a_longer_delay() {
    let mut lecture = Lecture::new(Latency::AUTO);
    for n in 0..300u16 {
        let now = u64::from(n) * 20;
        let Lecture { playout, log } = &mut lecture;
        let play = |track, played| log.push((now, track, played));
        // A video frame captured now arrives 90 ms later; the timestamps of both tracks start at arbitrary values.
        playout.take(Track::Audio, &packet(Track::Audio, n, 7000 + u32::from(n) * 960, true, false), ms(now), play);
        let play = |track, played| log.push((now, track, played));
        let picture = packet(Track::Screen, n, u32::from(n) * 1800, true, false);
        playout.take(Track::Screen, &picture, ms(now + 90), play);
        if n == 10 {
            playout.report(Track::Audio, &report(Track::Audio, now, 7000 + 10 * 960));
            playout.report(Track::Screen, &report(Track::Screen, now, 10 * 1800));
            playout.report(Track::Screen, &report(Track::Audio, 0, 0));
        }
    }
    let dues = |track| lecture.packets(track).iter().map(|(_, _, due)| *due).collect::<Vec<_>>();
    let (sound, screen) = (dues(Track::Audio), dues(Track::Screen));
    assert_eq!((sound[5], screen[5]), (100, 190), "before anything is known");
    assert!(
        sound.iter().zip(&screen).skip(20).all(|(sound, screen)| sound.abs_diff(*screen) <= 1),
        "{sound:?} {screen:?}"
    );
    assert_eq!(screen[299], 299 * 20 + 90);
}

#[test]
fn a_new_ssrc_is_played_by_the_same_jitter_buffer() {
    let mut lecture = Lecture::new(Latency::AUTO);
    lecture.play(1_000, &[0], |_, _| Some(5));
    let Lecture { playout, log } = &mut lecture;
    log.clear();
    let mut other = packet(Track::Screen, 60_000, 0xffff_0000, true, true);
    other[11] = 99;
    playout.take(Track::Screen, &other, ms(5000), |track, played| log.push((5000, track, played)));
    assert_eq!(log.len(), 1);
    assert!(matches!(&log[0].2, PlayoutEvent::Packet { due, after_loss: true, .. } if *due == ms(5000)), "{log:?}");
}

#[test]
fn no_packets_panic_or_exceed_the_bounds() {
    for seed in 1..20u64 {
        let mut lecture = Lecture::new(Latency::AUTO);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut random = |below: u64| rng.random_range(0..below);
        let (mut now, mut played) = (0, 0);
        for n in 0..3000u64 {
            now += random(40);
            let track = Track::ALL[random(3) as usize];
            let mut bytes =
                packet(track, (n + random(30)) as u16, (n * 900 + random(5000)) as u32, random(2) == 0, random(9) == 0);
            if random(20) == 0 {
                let at = random(13) as usize;
                bytes[at] = random(256) as u8;
            }
            bytes.truncate(14 - random(14) as usize);
            lecture.playout.take(track, &bytes, ms(now), |_, _| played += 1);
            lecture.playout.report(track, &bytes);
            lecture.playout.report(track, &report(track, random(1 << 40), random(1 << 32) as u32));
            lecture.playout.pass(ms(now), |_, _| played += 1);
            assert!(
                lecture.playout.wakes().is_none_or(|wakes| wakes > ms(now)),
                "seed {seed}, packet {n}: it would spin"
            );
        }
        assert!(played < 20_000, "seed {seed}: {played}");
        assert!((MIN_DELAY..=MAX_DELAY).contains(&lecture.playout.delay()));
    }
}
