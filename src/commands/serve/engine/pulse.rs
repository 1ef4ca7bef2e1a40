//! Notices that a node of an engine is gone, sooner than its media would tell: a process that is killed refuses
//! connections at once.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// The interval of checks.
const EVERY: Duration = Duration::from_secs(1);

/// The time limit of a check. A node that is busy gets a second one.
const WITHIN: Duration = Duration::from_millis(1_500);

/// Checks a node again and again, until it is gone.
pub(super) struct Pulse(oneshot::Receiver<String>);

impl Pulse {
    /// Begins to check the node at this host and port.
    pub(super) fn of(host: &str, port: u16) -> Self {
        let (stopped, pulse) = oneshot::channel();
        let host = host.to_owned();
        tokio::spawn(async move {
            let mut stopped = stopped;
            let why = tokio::select! {
                why = watch(&host, port) => why,
                () = stopped.closed() => return,
            };
            // The lecture may have ended at the same time.
            let _ = stopped.send(why);
        });
        Self(pulse)
    }

    /// Waits until the node is gone; returns the reason. Cancel-safe.
    pub(super) async fn stopped(&mut self) -> String {
        (&mut self.0).await.unwrap_or_else(|_| "it is not checked any more".to_owned())
    }
}

async fn watch(host: &str, port: u16) -> String {
    let mut was_slow = false;
    loop {
        sleep(EVERY).await;
        match timeout(WITHIN, exchange(host, port)).await {
            Ok(Ok(())) => was_slow = false,
            Ok(Err(error)) => return format!("can't be reached: {error}"),
            Err(_) if was_slow => return "does not answer any more".to_owned(),
            Err(_) => was_slow = true,
        }
    }
}

/// Checks a node once.
///
/// # Errors
/// A sentence, if the node does not answer.
pub(super) async fn check(host: &str, port: u16) -> Result<(), String> {
    match timeout(2 * WITHIN, exchange(host, port)).await {
        Ok(answered) => answered.map_err(|error| format!("it can't be reached: {error}")),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// Connects, and waits for the first byte of any answer: with TLS the answer is an alert.
async fn exchange(host: &str, port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.write_all(b"HEAD / HTTP/1.0\r\n\r\n").await?;
    // A close without an answer is an answer too: somebody is there.
    stream.read(&mut [0]).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_node_that_is_killed_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serves = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"H").await;
        });
        check("127.0.0.1", port).await.unwrap();
        serves.await.unwrap();
        // The listener is gone.
        let why = Pulse::of("127.0.0.1", port).stopped().await;
        assert!(why.contains("can't be reached"), "{why}");
        assert!(check("127.0.0.1", port).await.is_err());
    }
}
