//! A Janus of a test: the VideoRoom plugin and the WebSocket on a free port, with a configuration of its own.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::wait::{DEADLINE, poll};
use super::{free_port, has_tools};

/// Where Debian's package has the plugins and transports.
const MODULES: [&str; 2] = ["/usr/lib/x86_64-linux-gnu/janus", "/usr/lib/aarch64-linux-gnu/janus"];

/// A running Janus. Dropping kills it.
pub struct JanusServer {
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl JanusServer {
    /// Starts a Janus with the rooms of a `janus.plugin.videoroom.jcfg`; none if the machine has none, which fails
    /// where `$CI` is set.
    pub fn start(test: &str, folder: &Path, rooms: &str) -> Option<Self> {
        if !has_tools(test, &["janus"]) {
            return None;
        }
        let (port, folder) = (free_port(), folder.join("janus"));
        let modules = MODULES.iter().find(|folder| Path::new(folder).exists()).expect("janus has plugins");
        for (kind, module) in [("plugins", "libjanus_videoroom.so"), ("transports", "libjanus_websockets.so")] {
            std::fs::create_dir_all(folder.join(kind)).unwrap();
            symlink(Path::new(modules).join(kind).join(module), folder.join(kind).join(module)).unwrap();
        }
        for kind in ["events", "loggers"] {
            std::fs::create_dir_all(folder.join(kind)).unwrap();
        }
        let write = |name: &str, text: String| {
            std::fs::File::create(folder.join(name)).unwrap().write_all(text.as_bytes()).unwrap();
        };
        let at = |name: &str| format!("{name}_folder = \"{}\";", folder.join(name).display());
        let folders = [at("plugins"), at("transports"), at("events"), at("loggers")].concat();
        write(
            "janus.jcfg",
            format!("general: {{ {folders} debug_level = 4; }}\nnat: {{ ice_enforce_list = \"127.0.0.1\"; }}\n"),
        );
        let socket = format!("ws = true; ws_port = {port}; ws_ip = \"127.0.0.1\"; json = \"compact\";");
        write("janus.transport.websockets.jcfg", format!("general: {{ {socket} }}\n"));
        write("janus.plugin.videoroom.jcfg", rooms.to_owned());
        let child = spawn(&folder, port);
        Some(Self { port, folder, child })
    }

    /// The URL for `--janus`.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// The id of the process.
    #[allow(dead_code, reason = "a bench measures it")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills Janus, which forgets the rooms that were created.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts Janus again on the same port.
    pub fn restart(&mut self) {
        self.child = spawn(&self.folder, self.port);
    }

    /// `listparticipants` of a room, by a client that is not ours.
    pub fn participants(&self, room: u64) -> Vec<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reply =
            runtime.block_on(async { tokio::time::timeout(DEADLINE, self.list(room)).await }).expect("Janus answers");
        reply["plugindata"]["data"]["participants"].as_array().cloned().unwrap_or_default()
    }

    async fn list(&self, room: u64) -> Value {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut request = self.url().into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "janus-protocol".parse().unwrap());
        let (mut socket, _) = client_async(request, stream).await.unwrap();
        let mut ask = async |request: Value| {
            socket.send(Message::text(request.to_string())).await.unwrap();
            loop {
                let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("Janus closes") };
                let reply: Value = serde_json::from_str(&text).unwrap();
                if reply["janus"] == "success" {
                    return reply;
                }
            }
        };
        let session = ask(json!({"janus": "create", "transaction": "1"})).await["data"]["id"].clone();
        let attach = json!({
            "janus": "attach", "plugin": "janus.plugin.videoroom", "session_id": session, "transaction": "2",
        });
        let handle = ask(attach).await["data"]["id"].clone();
        let body = json!({"request": "listparticipants", "room": room});
        let list = json!({
            "janus": "message", "session_id": session, "handle_id": handle, "transaction": "3", "body": body,
        });
        ask(list).await
    }
}

impl Drop for JanusServer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Starts Janus and waits until it listens.
fn spawn(folder: &Path, port: u16) -> Child {
    let log = std::fs::File::create(folder.join("janus.log")).unwrap();
    let mut command = Command::new("janus");
    command.arg("-F").arg(folder).arg("-C").arg(folder.join("janus.jcfg"));
    let child = command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn().unwrap();
    let listens = || TcpStream::connect(("127.0.0.1", port)).ok();
    assert!(poll(Duration::from_secs(30), listens).is_some(), "Janus does not listen: see {}", folder.display());
    child
}
