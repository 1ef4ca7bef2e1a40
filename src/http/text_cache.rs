//! A text that is made for many requests: a flood of requests costs no more than the allowed rate of texts.

use std::time::Instant;

use bytes::Bytes;

use crate::token_bucket::TokenBucket;

/// The latest text.
#[derive(Debug)]
pub(super) struct TextCache {
    fresh: TokenBucket,
    text: Option<Bytes>,
}

impl TextCache {
    /// Makes at most this many texts per second, after a burst.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        Self { fresh: TokenBucket::new(per_second, burst), text: None }
    }

    /// A fresh text, or the latest one if too many were made just now.
    pub(super) fn get(&mut self, now: Instant, make: impl FnOnce() -> String) -> Bytes {
        let may_make = self.fresh.take(now).is_ok();
        match &self.text {
            Some(text) if !may_make => text.clone(),
            _ => self.text.insert(make().into()).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_makes_one_text_a_second() {
        let start = Instant::now();
        let mut cache = TextCache::new(1, 1);
        let mut made = 0;
        for request in 0..5_000u64 {
            // 5,000 requests in two and a half seconds.
            let text = cache.get(start + Duration::from_micros(500 * request), || {
                made += 1;
                format!("text {made}")
            });
            assert_eq!(text, format!("text {made}"));
        }
        assert_eq!(made, 3);
    }

    #[test]
    fn single_requests_get_a_fresh_text() {
        let (mut cache, mut now) = (TextCache::new(20, 40), Instant::now());
        for n in 0..100 {
            assert_eq!(cache.get(now, || n.to_string()), n.to_string());
            now += Duration::from_millis(100);
        }
    }
}
