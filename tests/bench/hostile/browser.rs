//! A teacher as a browser is one: it sends its media to the server, and invites students to the stage.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use classroom::id::UserId;
use classroom::protocol::ServerMessage;
use classroom::protocol::channel::{Moderation, StudentMessage};
use tokio::sync::{mpsc, oneshot};

use crate::attack::publishing::FIRST_SPEAKER;
use crate::support::{Desk, Publisher, Site};

/// A thread with the connections of a teacher. Unlike the attackers, it runs at the priority of the class.
pub struct Browser {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Browser {
    /// Starts to teach. Returns when the media is connected.
    pub fn start(site: Site) -> Self {
        let ((end, ended), (connected, when_connected)) = (oneshot::channel(), sync_channel(1));
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(teach(site, &connected, ended));
        };
        let thread = Some(std::thread::spawn(run));
        when_connected.recv().expect("a teacher's connection");
        Self { end: Some(end), thread }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.end.take());
        // An error means that the thread panicked, so it has ended.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn teach(site: Site, connected: &SyncSender<()>, mut ended: oneshot::Receiver<()>) {
    let mut desk = Desk::join(site, 1).await;
    let publisher = Publisher::connect(&mut desk).await;
    let _ = connected.send(());
    let (invitations, mut to_invite) = mpsc::unbounded_channel();
    let listens = tokio::spawn(desk.listen(move |message| {
        if let ServerMessage::Join { users } = message {
            for user in users.into_iter().map(|user| user.user_id).filter(is_invited) {
                let _ = invitations.send(user);
            }
        }
    }));
    loop {
        tokio::select! {
            Some(user_id) = to_invite.recv() => {
                publisher.say(&StudentMessage::Moderate(Moderation::Stage { user_id })).await;
            }
            _ = &mut ended => break,
        }
    }
    listens.abort();
    publisher.close().await;
}

/// The teacher knows no better than to invite everybody whose id is large enough.
fn is_invited(user: &UserId) -> bool {
    user.as_str().parse::<u32>().is_ok_and(|number| number >= FIRST_SPEAKER)
}
