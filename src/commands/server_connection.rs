//! A member's connection to the signalling server: waits for a server, and searches again when it is lost.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use crate::cli::Member;
use crate::commands::signal_failure;
use crate::commands::trust::ClientTrust;
use crate::exit::Failure;
use crate::http::client::Address;
use crate::protocol::{ClientKind, ClientMessage, Credentials, DEFAULT_PORT, RoomKind, SessionSecret};
use crate::report::Reporter;
use crate::signal::{
    self, Backoff, Client, ClientConfig, Found, Goodbye, ServerUrl, SessionToken, SignalError, SignalEvent,
};
use crate::tls::Trust;

/// The maximum delay between two attempts. Including the attempt itself, a server is found within three seconds after
/// it starts.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// How long to search the LAN before trying this computer again.
const DISCOVER_FOR: Duration = Duration::from_millis(2500);

/// Who joins, in which part.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    pub(super) member: Member,
    /// The kind of the room, if it does not exist yet.
    pub(super) kind: Option<RoomKind>,
    pub(super) client: ClientKind,
}

/// The connection to the server, or the search for it.
pub(super) struct ServerConnection<'a> {
    search: ServerSearch<'a>,
    state: State<'a>,
    /// Whether messages reach the server now.
    is_connected: bool,
}

enum State<'a> {
    Searching(Pin<Box<dyn Future<Output = Result<JoinedServer, Failure>> + 'a>>),
    Joined(JoinedServer),
}

/// A server at which this member is in the room.
struct JoinedServer {
    server: ServerUrl,
    trust: Trust,
    client: Client,
    signals: mpsc::Receiver<SignalEvent>,
}

impl<'a> ServerConnection<'a> {
    /// Starts to search for the server. `--timeout` limits the search.
    ///
    /// # Errors
    /// If the file of `--ca` can't be used.
    pub(super) fn start(joining: Joining, begun: Instant, reporter: &'a Reporter) -> Result<Self, Failure> {
        let member = &joining.member;
        let token = match &member.server {
            Some(server) => SessionToken::acquire(server, &member.room, &member.user),
            None => SessionToken::acquire_anywhere(&member.room, &member.user),
        };
        let trust = Rc::new(ClientTrust::new(&member.trust)?);
        let limit = member.timeout.map(|timeout| (begun + timeout, timeout));
        let joining = Rc::new(joining);
        let search = ServerSearch { joining, reporter, token: Rc::new(token), trust, epoch: rand::random() };
        let state = State::Searching(Box::pin(search.clone().first(limit)));
        Ok(Self { search, state, is_connected: false })
    }

    /// Waits for the next event. The first event is [`SignalEvent::Joined`] or [`SignalEvent::Waiting`]. Cancel-safe.
    ///
    /// # Errors
    /// If no server is found in time, or if the server refuses this member.
    pub(super) async fn next(&mut self) -> Result<SignalEvent, Failure> {
        loop {
            let joined = match &mut self.state {
                State::Joined(joined) => joined,
                State::Searching(searching) => {
                    let joined = searching.await?;
                    self.state = State::Joined(joined);
                    continue;
                }
            };
            // The client sends `Ended` with the reason before the channel closes.
            let Some(event) = joined.signals.recv().await else { return std::future::pending().await };
            match &event {
                SignalEvent::Joined { .. } => self.is_connected = true,
                // A member who is moved to the lobby can't send, either.
                SignalEvent::Waiting { .. } => self.is_connected = false,
                SignalEvent::Lost { .. } => {
                    self.is_connected = false;
                    // To a server of `--server` the client reconnects by itself. A server that was found may have
                    // moved to another address.
                    if self.search.joining.member.server.is_none() {
                        let before = (joined.server.clone(), joined.trust.clone());
                        self.state = State::Searching(Box::pin(self.search.clone().again(before)));
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

    /// The server that the last event came from; `None` during a search.
    pub(super) fn server(&self) -> Option<&ServerUrl> {
        match &self.state {
            State::Joined(joined) => Some(&joined.server),
            State::Searching(_) => None,
        }
    }

    /// Sends a message. Returns false if the server is not connected. Then the message is dropped, because by the time
    /// the server is back, it would be about connections that are gone.
    pub(super) fn send(&self, message: ClientMessage) -> bool {
        match &self.state {
            State::Joined(joined) if self.is_connected => joined.client.send(message).is_ok(),
            _ => false,
        }
    }

    /// Where this member makes its requests, and the secret that proves who asks; `None` during a search.
    pub(super) fn http(&self) -> Option<(Address, SessionSecret)> {
        let State::Joined(JoinedServer { server, trust, .. }) = &self.state else { return None };
        let trust = Some(trust.clone()).filter(|_| server.uses_tls());
        Some((Address::new(server.host(), server.port(), trust), self.search.token.session().clone()))
    }

    /// Checks whether the server still answers.
    pub(super) fn probe(&self) {
        if let State::Joined(joined) = &self.state {
            joined.client.probe();
        }
    }

    /// Leaves the room.
    pub(super) async fn leave(self) {
        if let State::Joined(joined) = self.state {
            joined.client.leave(Goodbye::Leave).await;
        }
    }
}

/// Searches for a server until it has joined the room.
#[derive(Clone)]
struct ServerSearch<'a> {
    joining: Rc<Joining>,
    reporter: &'a Reporter,
    token: Rc<SessionToken>,
    trust: Rc<ClientTrust>,
    epoch: u32,
}

/// Why a search has not succeeded.
enum SearchError {
    /// Worth another attempt.
    TryAgain(String),
    /// Final.
    Final(SignalError),
}

impl ServerSearch<'_> {
    /// The first search, up to `limit`. Tells the user once what it waits for.
    async fn first(self, limit: Option<(Instant, Duration)>) -> Result<JoinedServer, Failure> {
        self.reporter.status("searching for the server");
        let why = RefCell::new(String::from("none has been found yet"));
        let said = Cell::new(false);
        let searching = self.search(None, |cause| {
            if !said.replace(true) {
                self.reporter.notice(format!("waiting for a server: {cause}; {}", self.advice()));
            }
            *why.borrow_mut() = cause;
        });
        let Some((deadline, timeout)) = limit else { return searching.await };
        timeout_at(deadline, searching).await.unwrap_or_else(|_| {
            Err(Failure::unreachable(anyhow::anyhow!(
                "no server found within {} s (--timeout): {}; {}",
                timeout.as_secs_f32(),
                why.borrow(),
                self.advice()
            )))
        })
    }

    /// Searches again without a limit, first at the address of the lost server.
    async fn again(self, before: (ServerUrl, Trust)) -> Result<JoinedServer, Failure> {
        self.search(Some(before), |_| {}).await
    }

    async fn search(
        &self,
        before: Option<(ServerUrl, Trust)>,
        on_error: impl Fn(String),
    ) -> Result<JoinedServer, Failure> {
        let mut backoff = Backoff::up_to(MAX_DELAY);
        loop {
            let begun = Instant::now();
            match self.attempt(before.as_ref()).await {
                Ok(joined) => return Ok(joined),
                Err(SearchError::Final(error)) => return Err(signal_failure(error)),
                Err(SearchError::TryAgain(cause)) => on_error(cause),
            }
            sleep(backoff.after(begun)).await;
        }
    }

    /// Tries every possible server once.
    async fn attempt(&self, before: Option<&(ServerUrl, Trust)>) -> Result<JoinedServer, SearchError> {
        if let Some(named) = &self.joining.member.server {
            let joined = self.join(named.clone(), self.trust.of_named(named)).await.map_err(|error| match error {
                SignalError::Unreachable { server, cause } => {
                    SearchError::TryAgain(format!("{server} does not answer ({cause})"))
                }
                error => SearchError::of(error),
            });
            return joined.inspect(|_| self.trust.joined_named(named, &self.joining.member.room));
        }
        let here = ServerUrl::new("127.0.0.1", DEFAULT_PORT);
        let here = (here.clone(), self.trust.of_named(&here));
        // A server on this computer comes before servers on the LAN.
        for (server, trust) in before.filter(|before| before.0 != here.0).into_iter().chain([&here]) {
            match self.join(server.clone(), trust.clone()).await {
                Ok(joined) => return Ok(joined),
                Err(SignalError::Unreachable { .. } | SignalError::NotAServer { .. } | SignalError::Tls { .. }) => {}
                Err(error) => return Err(SearchError::of(error)),
            }
        }
        let room = &self.joining.member.room;
        let none_here = format!("no server on this computer (port {DEFAULT_PORT})");
        match signal::discover(Some(room), self.trust.expected(room).as_ref(), DISCOVER_FOR).await {
            Ok(found) => match found.into_iter().next() {
                Some(found) => self.join_found(&found).await,
                None => Err(SearchError::TryAgain(format!(
                    "{none_here}, and no server in the local network announces room {room} (DNS-SD)"
                ))),
            },
            Err(error) => Err(SearchError::TryAgain(format!(
                "{none_here}, and a search of the local network is not possible ({error})"
            ))),
        }
    }

    /// Joins a server that DNS-SD has found, if it is the one that is known for the room.
    async fn join_found(&self, found: &Found) -> Result<JoinedServer, SearchError> {
        let trust = self.trust.of_found(found).map_err(SearchError::TryAgain)?;
        self.reporter.detail(format!("found {} by DNS-SD", found.url));
        let joined = self.join(found.url.clone(), trust).await.map_err(|error| match error {
            // The server announced the room a moment ago, so it is worth another attempt.
            SignalError::Unreachable { server, cause } | SignalError::NotAServer { server, cause } => {
                SearchError::TryAgain(format!("{server}, found by DNS-SD, does not answer ({cause})"))
            }
            error @ SignalError::Tls { .. } => SearchError::TryAgain(error.to_string()),
            error => SearchError::of(error),
        })?;
        self.trust.joined_found(found, self.reporter);
        Ok(joined)
    }

    async fn join(&self, server: ServerUrl, trust: Trust) -> Result<JoinedServer, SignalError> {
        let Joining { member, kind, client } = &*self.joining;
        let (client, signals) = Client::connect(ClientConfig {
            kind: *kind,
            client: Some(*client),
            server: server.clone(),
            trust: trust.clone(),
            room: member.room.clone(),
            room_name: None,
            user: member.user.clone(),
            nickname: member.nickname.clone(),
            publishes: false,
            credentials: Credentials {
                session: Some(self.token.session().clone()),
                code: member.code.as_ref().map(|code| code.as_str().to_owned()),
                token: member.token.as_ref().map(|token| token.as_str().to_owned()),
                ..Credentials::default()
            },
            epoch: self.epoch,
            // A single attempt, because this search makes the delays.
            initial_deadline: Duration::ZERO,
        })
        .await?;
        Ok(JoinedServer { server, trust, client, signals })
    }

    /// The next step for the user.
    fn advice(&self) -> &'static str {
        match self.joining.member.server {
            Some(_) => "check --server or $CLASSROOM_SERVER, and that the server runs",
            None => "start a server, or name one with --server or $CLASSROOM_SERVER",
        }
    }
}

impl SearchError {
    fn of(error: SignalError) -> Self {
        match error {
            SignalError::Refused { code, message } if !code.is_final() => Self::TryAgain(message),
            SignalError::Unreachable { cause, .. } => Self::TryAgain(cause),
            error => Self::Final(error),
        }
    }
}
