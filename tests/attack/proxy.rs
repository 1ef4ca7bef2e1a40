//! A proxy between a client and the server that keeps the first line of each request.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Tally;

/// The parameters of a URL that would be secrets.
const SECRETS: [&str; 4] = ["session=", "code=", "token=", "key="];

/// A running proxy. Dropping ends it.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of this server.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server, Arc::clone(&kept)));
            }
        });
        Ok(Self { address, lines, task })
    }

    /// Notes each request whose URL contains a secret.
    pub fn expect_no_secrets(&self, tally: &mut Tally) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        tally.expect(!lines.is_empty(), || "the proxy saw no request".into());
        for line in lines.iter() {
            tally.count("request");
            for secret in SECRETS.into_iter().filter(|name| line.contains(name)) {
                tally.broken.push(format!("the URL of a request contains {secret}"));
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: TcpStream, server: SocketAddr, lines: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let mut head = [0; 8_192];
    let length = client.read(&mut head).await?;
    let line = String::from_utf8_lossy(&head[..length]).lines().next().unwrap_or_default().to_owned();
    lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    server.write_all(&head[..length]).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
