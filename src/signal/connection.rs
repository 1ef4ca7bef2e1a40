//! One client's WebSocket: reads within limits, writes the outbox, and states the reason when it closes.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::core::{Caller, Core, ServerLimits};
use super::outbox::{Item, Outgoing};
use crate::protocol::{self, ClientMessage, Credentials, ErrorCode, JoinError, JoinRequest, ServerMessage};
use crate::room::ConnId;
use crate::token_bucket::TokenBucket;

/// How long a client has to read the last message and to close its side.
const FAREWELL: Duration = Duration::from_secs(1);

/// Messages written before the socket is flushed: a burst costs few system calls, and no message waits long.
const MESSAGES_PER_FLUSH: usize = 64;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a connection ended.
enum End {
    /// The socket failed, the peer closed it without a goodbye, or the peer fell silent.
    Lost,
    /// The peer closed the WebSocket normally.
    Goodbye,
    /// The peer broke a rule of the protocol.
    Violation(ErrorCode, String),
    /// The room or the server closes the connection; only the close frame is left to send.
    Closed(Option<ErrorCode>),
}

/// Serves a connection to its end. A client takes these buffers, one message and its outbox of our memory.
pub(super) async fn run(core: Arc<Core>, io: Upgraded, join: Result<JoinRequest, JoinError>, caller: Caller) {
    let begin = SystemTime::now();
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(protocol::MAX_MESSAGE_BYTES))
        .max_frame_size(Some(protocol::MAX_MESSAGE_BYTES));
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(config)).await;
    let request = match join {
        Ok(request) => request,
        Err(error) => return farewell(socket, Some((ErrorCode::BadRequest, error.to_string()))).await,
    };
    let (rate, burst) = if request.publishes {
        (protocol::PUBLISHER_RATE, protocol::PUBLISHER_BURST)
    } else {
        (protocol::STUDENT_RATE, protocol::STUDENT_BURST)
    };
    let credentials = if request.auth { auth(&mut socket).await } else { Ok(Credentials::default()) };
    let credentials = match credentials {
        Ok(credentials) => credentials,
        Err(Some(message)) => return farewell(socket, Some((ErrorCode::MalformedMessage, message))).await,
        Err(None) => return,
    };
    let traced = core.tracer.is_on().then(|| (request.room.clone(), request.user.clone()));
    let (conn, mut outgoing) = core.join(request, credentials, caller);
    if let Some((room, user)) = traced {
        core.tracer.joined(begin, (&room, &user), !core.has(conn));
    }
    let (mut sink, mut stream) = socket.split();
    // Read and write at the same time, because the same client may send much and receive much.
    let end = tokio::select! {
        end = write(&mut sink, &mut outgoing, &core.limits) => end,
        end = read(&mut stream, &core, conn, rate, TokenBucket::new(rate, burst)) => end,
    };
    if matches!(end, End::Goodbye) {
        core.message(conn, ClientMessage::Leave { over: false });
    }
    // Before anything slow: from now on the user id is reserved and nothing more is queued.
    core.lost(conn);
    drop(outgoing);
    let Ok(socket) = sink.reunite(stream) else { return };
    match end {
        End::Lost => {}
        End::Goodbye => farewell(socket, None).await,
        End::Violation(code, message) => farewell(socket, Some((code, message))).await,
        End::Closed(code) => close(socket, code).await,
    }
}

/// Receives the credentials. An error without a sentence means that the connection is lost.
async fn auth(socket: &mut Socket) -> Result<Credentials, Option<String>> {
    let first = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                first => return first,
            }
        }
    };
    match timeout(protocol::AUTH_WITHIN, first).await {
        Ok(Some(Ok(Message::Text(text)))) => Credentials::parse(&text).map_err(Some),
        Ok(Some(Ok(Message::Binary(_)))) => Err(Some("malformed message, auth comes first".into())),
        Ok(_) => Err(None),
        Err(_) => Err(Some(format!("no auth message within {} s", protocol::AUTH_WITHIN.as_secs()))),
    }
}

async fn read(stream: &mut SplitStream<Socket>, core: &Core, conn: ConnId, rate: u32, mut bucket: TokenBucket) -> End {
    let mut lists = Lists::default();
    loop {
        let received = tokio::select! {
            received = timeout(core.limits.silence_timeout, stream.next()) => received,
            () = lists.due() => {
                lists.sent();
                core.message(conn, ClientMessage::RoomUserList);
                continue;
            }
        };
        let message = match received {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(Error::Capacity(CapacityError::MessageTooLong { size, max_size })))) => {
                let message = format!("a message of {size} bytes, at most {max_size} are allowed");
                return End::Violation(ErrorCode::MessageTooLarge, message);
            }
            Ok(Some(Err(Error::Utf8(_)))) => {
                return End::Violation(ErrorCode::MalformedMessage, "malformed message: not UTF-8".into());
            }
            Ok(Some(Err(_)) | None) | Err(_) => return End::Lost,
        };
        if bucket.take(Instant::now()).is_err() {
            let message = format!("more than {rate} messages per second");
            return End::Violation(ErrorCode::FloodedMessages, message);
        }
        match message {
            Message::Text(text) => match ClientMessage::parse(&text) {
                Ok(ClientMessage::RoomUserList) => lists.wanted(),
                Ok(message) => core.message(conn, message),
                Err(message) => return End::Violation(ErrorCode::MalformedMessage, message),
            },
            Message::Binary(_) => {
                return End::Violation(ErrorCode::BinaryFrame, "binary frame, only text frames are accepted".into());
            }
            Message::Close(Some(frame)) if frame.code == CloseCode::Normal => return End::Goodbye,
            Message::Close(_) => return End::Lost,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Answers [`ClientMessage::RoomUserList`] once per [`protocol::USER_LIST_INTERVAL`]: a client that asks more often
/// gets one answer at the end of the interval.
#[derive(Default)]
struct Lists {
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Lists {
    fn wanted(&mut self) {
        let now = Instant::now();
        let earliest = self.last.map_or(now, |last| last + protocol::USER_LIST_INTERVAL);
        // A client that goes on asking does not postpone its list.
        self.due.get_or_insert(earliest.max(now));
    }

    fn sent(&mut self) {
        (self.last, self.due) = (Some(Instant::now()), None);
    }

    /// Waits until a list is due.
    async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    }
}

async fn write(sink: &mut SplitSink<Socket, Message>, outgoing: &mut Outgoing, limits: &ServerLimits) -> End {
    let overflow = outgoing.overflow();
    tokio::select! {
        end = write_all(sink, outgoing, limits) => end,
        () = overflow.wait() => {
            let message = "messages were not read in time, reconnect and read faster";
            End::Violation(ErrorCode::SlowConsumer, message.into())
        }
    }
}

async fn write_all(sink: &mut SplitSink<Socket, Message>, outgoing: &mut Outgoing, limits: &ServerLimits) -> End {
    let mut ping = tokio::time::interval(limits.ping_interval);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate, and a client that just joined is alive.
    ping.tick().await;
    loop {
        let mut item = tokio::select! {
            item = outgoing.next() => item,
            _ = ping.tick() => {
                if sink.send(Message::Ping(bytes::Bytes::new())).await.is_err() {
                    return End::Lost;
                }
                continue;
            }
        };
        let mut fed = 0;
        loop {
            match item {
                Some(Item::Text(text)) => {
                    if sink.feed(Message::Text(text)).await.is_err() {
                        return End::Lost;
                    }
                }
                Some(Item::Close(code)) => {
                    // Half of a split socket buffers one message until it is flushed.
                    return if sink.flush().await.is_ok() { End::Closed(code) } else { End::Lost };
                }
                None => return End::Lost,
            }
            fed += 1;
            if fed == MESSAGES_PER_FLUSH {
                break;
            }
            let Some(next) = outgoing.try_next() else { break };
            item = Some(next);
        }
        if sink.flush().await.is_err() {
            return End::Lost;
        }
        outgoing.written();
    }
}

/// Sends the last error, if there is one, and closes.
async fn farewell(mut socket: Socket, error: Option<(ErrorCode, String)>) {
    let code = error.as_ref().map(|(code, _)| *code);
    if let Some((code, message)) = error {
        let text = ServerMessage::error(code, message).to_json();
        if !matches!(timeout(FAREWELL, socket.feed(Message::text(text))).await, Ok(Ok(()))) {
            return;
        }
    }
    close(socket, code).await;
}

/// Closes the WebSocket and then the socket so that the last message arrives: closing a socket with unread bytes resets
/// the connection, and the peer may lose data that it has not read yet (RFC 9112, section 9.6).
async fn close(mut socket: Socket, code: Option<ErrorCode>) {
    let frame = CloseFrame {
        code: match code {
            None => CloseCode::Normal,
            Some(ErrorCode::ServerShutdown) => CloseCode::Away,
            Some(ErrorCode::BinaryFrame) => CloseCode::Unsupported,
            Some(ErrorCode::MessageTooLarge) => CloseCode::Size,
            Some(_) => CloseCode::Policy,
        },
        reason: code.map_or("", ErrorCode::as_str).into(),
    };
    let goodbye = async {
        // If the peer closed first, this answers its close frame and then fails with `ConnectionClosed`.
        _ = socket.close(Some(frame)).await;
        let io = socket.get_mut();
        io.shutdown().await?;
        let mut rest = [0; 4_096];
        while io.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // The socket is dropped now, whether this succeeded or not.
    _ = timeout(FAREWELL, goodbye).await;
}
