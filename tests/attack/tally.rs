//! The results of an attack: answers by their status or code, bytes, and broken promises.

use std::collections::BTreeMap;
use std::fmt;

use tokio::task::JoinSet;

use super::member::Refusal;

/// The results of an attack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often each answer came: an HTTP status, an error code, or what happened to the socket.
    pub answers: BTreeMap<String, u64>,
    /// Bytes that the attacker has sent, where sending is the attack.
    pub sent_bytes: u64,
    /// The promises that this attack broke, each as a sentence.
    pub broken: Vec<String>,
}

impl Tally {
    /// The results of an attacker that was refused.
    pub fn refused(refusal: Refusal) -> Self {
        let mut tally = Self::default();
        tally.count(refusal);
        tally
    }

    /// Counts an answer.
    pub fn count(&mut self, answer: impl fmt::Display) {
        self.count_many(answer, 1);
    }

    /// Counts the same answer many times.
    pub fn count_many(&mut self, answer: impl fmt::Display, times: u64) {
        if times > 0 {
            *self.answers.entry(answer.to_string()).or_default() += times;
        }
    }

    /// How often this answer came.
    pub fn of(&self, answer: &str) -> u64 {
        self.answers.get(answer).copied().unwrap_or_default()
    }

    /// Notes a broken promise unless the condition holds.
    pub fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(otherwise());
        }
    }

    /// Adds the results of another attacker.
    pub fn add(&mut self, other: Tally) {
        for (answer, times) in other.answers {
            *self.answers.entry(answer).or_default() += times;
        }
        self.sent_bytes += other.sent_bytes;
        self.broken.extend(other.broken);
    }

    /// Adds the results of all attackers that still run.
    pub async fn join(&mut self, mut attackers: JoinSet<Tally>) {
        while let Some(ended) = attackers.join_next().await {
            match ended {
                Ok(tally) => self.add(tally),
                Err(error) => self.broken.push(format!("an attacker panicked: {error}")),
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: Vec<String> = self.answers.iter().map(|(answer, times)| format!("{answer} x{times}")).collect();
        f.pad(&answers.join(", "))
    }
}
