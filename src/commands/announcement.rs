//! The announcement of a lecture in the LAN, which follows the identity of the server.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::or_never;
use crate::signal::{Announced, DiscoveryError, announce};
use crate::tls::{Identity, ServerTls};

/// The interval between two checks for a flood of records.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An announcement, withdrawn when stopped or dropped.
#[derive(Debug)]
pub(super) struct LiveAnnouncement {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl LiveAnnouncement {
    /// Announces a server by DNS-SD; with TLS, with its identity, also after `--tls-cert` has changed.
    pub(super) fn start(mut announced: Announced, tls: Option<&ServerTls>) -> Result<Self, DiscoveryError> {
        let mut identities = tls.map(ServerTls::identities);
        announced.identity = identities.as_mut().map(|identities| identities.borrow_and_update().clone());
        let mut announcement = announce(&announced)?;
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = &mut stopped => break,
                    _ = looks.tick() => {
                        // The old announcement is withdrawn, with what the library has kept. Without a new one the
                        // next look tries again.
                        if announcement.is_flooded().await && let Ok(again) = announce(&announced) {
                            announcement = again;
                        }
                    }
                    identity = or_never(identities.as_mut().map(next)) => {
                        announced.identity = Some(identity);
                        // Without its thread the announcement is gone, and so is the reason to update it.
                        if announcement.update(&announced).is_err() {
                            break;
                        }
                    }
                }
            }
            announcement.stop().await;
        });
        Ok(Self { stop, task })
    }

    /// Withdraws the announcement; waits half a second at the most.
    pub(super) async fn stop(self) {
        // The task may have ended by itself.
        _ = self.stop.send(());
        _ = self.task.await;
    }
}

/// The next identity, or nothing once the server has ended.
async fn next(identities: &mut watch::Receiver<Identity>) -> Identity {
    match identities.changed().await {
        Ok(()) => identities.borrow_and_update().clone(),
        Err(_) => std::future::pending().await,
    }
}
