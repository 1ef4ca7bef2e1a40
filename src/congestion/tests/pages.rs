//! Pages of text, whose first frames are far larger than the queue that audio tolerates.

use super::link::Link;
use super::scenarios::stays_full;
use super::setup::Setup;

/// The key frame of a page of small text.
const PAGE: u64 = 240_000;

#[test]
fn the_key_frame_of_a_page_does_not_delay_audio() {
    for (megabits, round_trip) in [(4, 20), (6, 20), (12, 60), (30, 20)] {
        for seed in 0..2 {
            let link = Link::of(megabits * 1_000_000).queue(1_000).round_trip(round_trip);
            let outcome = stays_full(&Setup::over(link).with_pages(PAGE).seed(seed));
            // The first page comes after 7 s. The start of video has measured the path.
            let longest = outcome.queue(5.0, 60.0);
            assert!(longest <= 60, "{megabits} Mbit/s: {longest} ms");
        }
    }
}
