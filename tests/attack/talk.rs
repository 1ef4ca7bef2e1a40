//! Floods over the data channel: chat and hands of made-up students.

use std::time::{Duration, Instant};

use super::insider::Insider;
use super::{Pace, Tally, Target, attackers, network};
use classroom::protocol::channel::PublisherMessage;

/// The actions of the made-up students.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Write as fast as a student may.
    Chat,
    /// Raise their hands.
    Hands,
}

/// Made-up students that connect and then make noise for this long.
pub async fn crowd(target: &Target, students: usize, noise: Noise, lasts: Duration) -> Tally {
    attackers(target, students, Pace::at_once(), move |target, n| async move {
        let mut tally = Tally::default();
        let mut insider = match Insider::join(&target, network(n % 2), &format!("noise-{n}")).await {
            Ok(insider) => insider,
            Err(refusal) => {
                tally.count(refusal);
                return Ok(tally);
            }
        };
        tally.count("connected");
        let (end, mut turns) = (Instant::now() + lasts, tokio::time::interval(Duration::from_millis(100)));
        for word in 0.. {
            turns.tick().await;
            if Instant::now() >= end {
                break;
            }
            let text = match noise {
                Noise::Chat => format!("{{\"type\":\"msg\",\"text\":\"noise {n} {word}\"}}"),
                Noise::Hands => "{\"type\":\"hand\",\"raised\":true}".to_owned(),
            };
            tally.count(if insider.viewer.say(&text).await { "said" } else { "not sent" });
            while let Ok(message) = insider.heard.try_recv() {
                if let PublisherMessage::Error { code, .. } = message {
                    tally.count(code);
                }
            }
        }
        insider.leave().await;
        Ok(tally)
    })
    .await
}
