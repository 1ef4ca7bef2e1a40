//! One client's WebSocket: reads under limits, writes what waits, and ends with the reason said.

use std::sync::Arc;
use std::time::{Duration, Instant};

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

use super::outbox::{Item, Outgoing};
use super::server::{Limits, Shared};
use crate::protocol::{self, ClientMessage, ErrorCode, JoinError, JoinRequest, ServerMessage};
use crate::room::ConnId;
use crate::token_bucket::TokenBucket;

/// How long a client has to read the last words and to close its side.
const FAREWELL: Duration = Duration::from_secs(1);

/// Messages written before the socket is flushed: a burst costs few system calls, and none waits for long.
const MESSAGES_PER_FLUSH: usize = 64;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a conversation ended.
enum End {
    /// The socket failed, or the peer closed it without a goodbye, or fell silent.
    Lost,
    /// The peer closed the WebSocket in the normal way.
    Goodbye,
    /// The peer broke a rule of the wire.
    Violation(ErrorCode, String),
    /// The room or the server closes the connection; all is said but the close frame.
    Closed(Option<ErrorCode>),
}

/// Serves a connection to its end. The client's share of our memory: these buffers, one message, its outbox.
pub(super) async fn run(shared: Arc<Shared>, io: Upgraded, join: Result<JoinRequest, JoinError>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(protocol::MAX_MESSAGE_BYTES))
        .max_frame_size(Some(protocol::MAX_MESSAGE_BYTES));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(config)).await;
    let request = match join {
        Ok(request) => request,
        Err(error) => return farewell(socket, Some((ErrorCode::BadRequest, error.to_string()))).await,
    };
    let (rate, burst) = if request.publishes {
        (protocol::PUBLISHER_RATE, protocol::PUBLISHER_BURST)
    } else {
        (protocol::STUDENT_RATE, protocol::STUDENT_BURST)
    };
    let (conn, mut outgoing) = shared.join(request);
    let (mut sink, mut stream) = socket.split();
    // Both at once: a client that writes much and one that is told much may be the same.
    let end = tokio::select! {
        end = write(&mut sink, &mut outgoing, &shared.limits) => end,
        end = read(&mut stream, &shared, conn, rate, TokenBucket::new(rate, burst)) => end,
    };
    if matches!(end, End::Goodbye) {
        shared.message(conn, ClientMessage::Leave { over: false });
    }
    // Before anything that takes time: the place is held from now, and nothing more is queued.
    shared.lost(conn);
    drop(outgoing);
    let Ok(socket) = sink.reunite(stream) else { return };
    match end {
        End::Lost => {}
        End::Goodbye => farewell(socket, None).await,
        End::Violation(code, message) => farewell(socket, Some((code, message))).await,
        End::Closed(code) => close(socket, code).await,
    }
}

async fn read(
    stream: &mut SplitStream<Socket>,
    shared: &Shared,
    conn: ConnId,
    rate: u32,
    mut bucket: TokenBucket,
) -> End {
    loop {
        let message = match timeout(shared.limits.silence_timeout, stream.next()).await {
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
                Ok(message) => shared.message(conn, message),
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

async fn write(sink: &mut SplitSink<Socket, Message>, outgoing: &mut Outgoing, limits: &Limits) -> End {
    let overflow = outgoing.overflow();
    tokio::select! {
        end = write_all(sink, outgoing, limits) => end,
        () = overflow.wait() => {
            let message = "messages were not read in time, reconnect and read faster";
            End::Violation(ErrorCode::SlowConsumer, message.into())
        }
    }
}

async fn write_all(sink: &mut SplitSink<Socket, Message>, outgoing: &mut Outgoing, limits: &Limits) -> End {
    let mut ping = tokio::time::interval(limits.ping_interval);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate, and who just came is known to be alive.
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
                    // Half of a split socket keeps a message of its own until flushed.
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
    }
}

/// Says the last error, if there is one, and closes.
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

/// Closes the WebSocket and then the socket, in a way that lets the last message arrive: while bytes are unread, closing
/// resets the connection, and the peer may lose what it has not read yet (RFC 9112, section 9.6).
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
        // Fails with `ConnectionClosed` where the peer closed first, after the answer to that is written.
        _ = socket.close(Some(frame)).await;
        let io = socket.get_mut();
        io.shutdown().await?;
        let mut rest = [0; 4_096];
        while io.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whether it failed or took too long, the socket is dropped now.
    _ = timeout(FAREWELL, goodbye).await;
}
