//! A student's place in the room: its server is waited for, and looked for anew when it is gone.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use crate::cli::Watch;
use crate::commands::signal_failure;
use crate::exit::Failure;
use crate::protocol::{ClientMessage, DEFAULT_PORT};
use crate::report::Reporter;
use crate::signal::{self, Backoff, Client, ClientConfig, Goodbye, ServerUrl, SessionToken, SignalError, SignalEvent};

/// The longest pause between two attempts: with the time of an attempt, a server is found within three seconds however
/// long it was waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long the LAN is asked for a server, before this computer is looked at again.
const DISCOVER_FOR: Duration = Duration::from_millis(2500);

/// The way to the server, and what comes from there.
pub(super) struct Signalling<'a> {
    seeker: Seeker<'a>,
    place: Place<'a>,
    /// Whether the server hears us now.
    is_here: bool,
}

enum Place<'a> {
    Sought(Pin<Box<dyn Future<Output = Result<Taken, Failure>> + 'a>>),
    Taken(Taken),
}

/// A place in the room.
struct Taken {
    server: ServerUrl,
    client: Client,
    signals: mpsc::Receiver<SignalEvent>,
}

impl<'a> Signalling<'a> {
    /// Begins to look for the server, which `--timeout` limits.
    pub(super) fn start(watch: &'a Watch, begun: Instant, reporter: &'a Reporter) -> Self {
        let token = match &watch.server {
            Some(server) => SessionToken::acquire(server, &watch.room, &watch.user),
            None => SessionToken::acquire_anywhere(&watch.room, &watch.user),
        };
        let seeker = Seeker { watch, reporter, token: Rc::new(token), epoch: rand::random() };
        let limit = watch.timeout.map(|timeout| (begun + timeout, timeout));
        let place = Place::Sought(Box::pin(seeker.clone().first(limit)));
        Self { seeker, place, is_here: false }
    }

    /// What happens next: the first event is [`SignalEvent::Joined`]. Can be dropped and called again at any time.
    ///
    /// # Errors
    /// When no server was there in time, or the server refuses.
    pub(super) async fn next(&mut self) -> Result<SignalEvent, Failure> {
        loop {
            let taken = match &mut self.place {
                Place::Taken(taken) => taken,
                Place::Sought(seeking) => {
                    let taken = seeking.await?;
                    self.place = Place::Taken(taken);
                    continue;
                }
            };
            // The client says why before it ends.
            let Some(event) = taken.signals.recv().await else { return std::future::pending().await };
            match &event {
                SignalEvent::Joined { .. } => self.is_here = true,
                SignalEvent::Lost { .. } => {
                    self.is_here = false;
                    // A client comes back by itself to a server that was named. One that was found may be elsewhere
                    // now.
                    if self.seeker.watch.server.is_none() {
                        let before = taken.server.clone();
                        self.place = Place::Sought(Box::pin(self.seeker.clone().again(before)));
                    }
                }
                SignalEvent::Message(_) | SignalEvent::Ended(_) => {}
            }
            return match event {
                SignalEvent::Ended(error) => Err(signal_failure(error)),
                event => Ok(event),
            };
        }
    }

    /// The server that the last [`SignalEvent::Joined`] was of; none while it is looked for.
    pub(super) fn server(&self) -> Option<&ServerUrl> {
        match &self.place {
            Place::Taken(taken) => Some(&taken.server),
            Place::Sought(_) => None,
        }
    }

    /// Says something to the server; gives false when it is not there to hear it. Nothing is kept for later: once the
    /// line works again, a kept message would be about connections that are gone.
    pub(super) fn send(&self, message: ClientMessage) -> bool {
        match &self.place {
            Place::Taken(taken) if self.is_here => taken.client.send(message).is_ok(),
            _ => false,
        }
    }

    /// Asks whether the server is still there.
    pub(super) fn probe(&self) {
        if let Place::Taken(taken) = &self.place {
            taken.client.probe();
        }
    }

    /// Leaves politely.
    pub(super) async fn leave(self) {
        if let Place::Taken(taken) = self.place {
            taken.client.leave(Goodbye::Leave).await;
        }
    }
}

/// Looks for a server until it has a place there.
#[derive(Clone)]
struct Seeker<'a> {
    watch: &'a Watch,
    reporter: &'a Reporter,
    token: Rc<SessionToken>,
    epoch: u32,
}

/// Why there is no place yet.
enum Miss {
    /// To be tried again.
    NotYet(String),
    /// For good.
    Final(SignalError),
}

impl Seeker<'_> {
    /// Looks for the first time, until a limit, and says what it waits for.
    async fn first(self, limit: Option<(Instant, Duration)>) -> Result<Taken, Failure> {
        self.reporter.status("looking for the server");
        let why = RefCell::new(String::from("none was found yet"));
        let said = Cell::new(false);
        let seeking = self.seek(None, |miss| {
            if !said.replace(true) {
                self.reporter.notice(format!("waiting for a server: {miss}; {}", self.advice()));
            }
            *why.borrow_mut() = miss;
        });
        let Some((deadline, timeout)) = limit else { return seeking.await };
        timeout_at(deadline, seeking).await.unwrap_or_else(|_| {
            Err(Failure::unreachable(anyhow::anyhow!(
                "no server within {} s (--timeout): {}; {}",
                timeout.as_secs_f32(),
                why.borrow(),
                self.advice()
            )))
        })
    }

    /// Looks again, for ever: first where the server was.
    async fn again(self, before: ServerUrl) -> Result<Taken, Failure> {
        self.seek(Some(before), |_| {}).await
    }

    async fn seek(&self, before: Option<ServerUrl>, missed: impl Fn(String)) -> Result<Taken, Failure> {
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        loop {
            let begun = Instant::now();
            match self.attempt(before.as_ref()).await {
                Ok(taken) => return Ok(taken),
                Err(Miss::Final(error)) => return Err(signal_failure(error)),
                Err(Miss::NotYet(cause)) => missed(cause),
            }
            sleep(backoff.after(begun)).await;
        }
    }

    /// Looks everywhere once.
    async fn attempt(&self, before: Option<&ServerUrl>) -> Result<Taken, Miss> {
        if let Some(named) = &self.watch.server {
            return self.join(named.clone()).await.map_err(|error| match error {
                SignalError::Unreachable { server, cause } => {
                    Miss::NotYet(format!("{server} does not answer ({cause})"))
                }
                error => Miss::of(error),
            });
        }
        let here = ServerUrl::new("127.0.0.1", DEFAULT_PORT);
        // Whoever runs a server on this very computer means that one.
        for server in before.filter(|before| **before != here).into_iter().chain([&here]) {
            match self.join(server.clone()).await {
                Ok(taken) => return Ok(taken),
                Err(SignalError::Unreachable { .. } | SignalError::NotAServer { .. }) => {}
                Err(error) => return Err(Miss::of(error)),
            }
        }
        let room = &self.watch.room;
        let none_here = format!("none answers on this computer (port {DEFAULT_PORT})");
        match signal::discover(Some(room), DISCOVER_FOR).await {
            Ok(found) => match found.into_iter().next() {
                Some(found) => {
                    self.reporter.detail(format!("found {} by DNS-SD", found.url));
                    self.join(found.url).await.map_err(|error| match error {
                        // It announced the room a moment ago.
                        SignalError::Unreachable { server, cause } | SignalError::NotAServer { server, cause } => {
                            Miss::NotYet(format!("{server}, found by DNS-SD, does not answer ({cause})"))
                        }
                        error => Miss::of(error),
                    })
                }
                None => Err(Miss::NotYet(format!("{none_here}, and none announces room {room} on the LAN (DNS-SD)"))),
            },
            Err(error) => Err(Miss::NotYet(format!("{none_here}, and the LAN can't be asked ({error})"))),
        }
    }

    async fn join(&self, server: ServerUrl) -> Result<Taken, SignalError> {
        let (client, signals) = Client::connect(ClientConfig {
            server: server.clone(),
            room: self.watch.room.clone(),
            room_name: None,
            user: self.watch.user.clone(),
            nickname: self.watch.nickname.clone(),
            publishes: false,
            session: self.token.session().clone(),
            epoch: self.epoch,
            // One attempt: the pauses are ours.
            initial_deadline: Duration::ZERO,
        })
        .await?;
        Ok(Taken { server, client, signals })
    }

    /// What a person can do about it.
    fn advice(&self) -> &'static str {
        match self.watch.server {
            Some(_) => "--server or $CLASSROOM_SERVER names this server",
            None => "name one with --server or $CLASSROOM_SERVER",
        }
    }
}

impl Miss {
    fn of(error: SignalError) -> Self {
        match error {
            SignalError::Refused { code, message } if !code.is_final() => Self::NotYet(message),
            SignalError::Unreachable { cause, .. } => Self::NotYet(cause),
            error => Self::Final(error),
        }
    }
}
