//! Students that are no processes: each has a WebSocket to its server and a connection for media (ICE, DTLS, SRTP),
//! whose packets are opened and counted. They do not come back when one of these is lost.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use classroom::bench::crowd::{Clock, Crowd, CrowdEvent, Tally};
use classroom::protocol::{ClientMessage, Credentials, ServerMessage};
use classroom::signal::{Client, ClientConfig, SignalEvent};
use classroom::tls::Trust;
use tokio::runtime::Runtime;

use crate::class::{Node, until};
use crate::support::{DEADLINE, ROOM};

/// The time for all of them to connect.
const JOIN_WITHIN: Duration = Duration::from_secs(180);

/// The pause before an offer that was refused for now is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// The number of the first one.
const FIRST: usize = 20_000;

/// The students of a class.
pub struct Students {
    crowd: Arc<Crowd>,
    clients: Arc<Vec<Client>>,
    connected: Arc<AtomicUsize>,
    gone: Arc<AtomicUsize>,
    runtime: Runtime,
}

impl Students {
    /// Lets this many enter from this address, in turn at these servers, and waits until all of them are connected.
    pub fn enter(count: usize, nodes: &[&Node], address: Ipv4Addr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (mut clients, mut heard) = (Vec::new(), Vec::new());
        for n in 0..count {
            let config = config(n, &nodes[n % nodes.len()].address);
            let (client, events) = runtime.block_on(Client::connect(config)).unwrap();
            clients.push(client);
            heard.push(events);
        }
        let clients = Arc::new(clients);
        let (crowd, events) = Crowd::start_at(address, count, 2, Clock { epoch: SystemTime::now() }).unwrap();
        let crowd = Arc::new(crowd);
        let offers = Arc::<Mutex<HashMap<usize, String>>>::default();
        for (n, mut events) in heard.into_iter().enumerate() {
            let (crowd, clients, offers) = (Arc::clone(&crowd), Arc::clone(&clients), Arc::clone(&offers));
            runtime.spawn(async move {
                while let Some(event) = events.recv().await {
                    match event {
                        SignalEvent::Message(ServerMessage::Answer { sdp, .. }) => crowd.answer(n, sdp),
                        SignalEvent::Message(ServerMessage::Error { .. }) => {
                            tokio::time::sleep(RETRY).await;
                            let again = offers.lock().unwrap().get(&n).cloned();
                            again.into_iter().for_each(|sdp| offer(&clients[n], sdp));
                        }
                        _ => {}
                    }
                }
            });
        }
        let (connected, gone) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counted, lost, known) = (Arc::clone(&connected), Arc::clone(&gone), Arc::clone(&clients));
        std::thread::spawn(move || {
            for event in events {
                match event {
                    CrowdEvent::Offer { student, sdp } => {
                        offers.lock().unwrap().insert(student, sdp.clone());
                        offer(&known[student], sdp);
                    }
                    CrowdEvent::Connected { .. } => _ = counted.fetch_add(1, Ordering::Relaxed),
                    CrowdEvent::Gone { .. } => _ = lost.fetch_add(1, Ordering::Relaxed),
                }
            }
        });
        let students = Self { crowd, clients, connected, gone, runtime };
        until("all students are connected", JOIN_WITHIN, || {
            students.connected.load(Ordering::Relaxed) + students.gone.load(Ordering::Relaxed) >= count
        });
        students
    }

    pub fn tally(&self) -> Tally {
        self.crowd.tally()
    }

    /// The students that have lost their connection for media, or never had one.
    pub fn gone(&self) -> usize {
        self.gone.load(Ordering::Relaxed)
    }

    /// Says goodbye.
    pub fn leave(self) {
        self.crowd.leave();
        drop(self.clients);
        self.runtime.shutdown_background();
    }
}

fn offer(client: &Client, sdp: String) {
    let target_uid = "9999".parse().unwrap();
    // A connection that is lost meanwhile is counted by its media.
    let _ = client.send(ClientMessage::Offer { target_uid, sdp, entry: None, video: None, tracks: None });
}

fn config(n: usize, address: &str) -> ClientConfig {
    let session = format!("0123456789abcd{n:06}").parse().unwrap();
    ClientConfig {
        kind: None,
        client: None,
        server: format!("ws://{address}").parse().unwrap(),
        trust: Trust::default(),
        room: ROOM.parse().unwrap(),
        room_name: None,
        user: (FIRST + n).to_string().parse().unwrap(),
        nickname: "N".into(),
        publishes: false,
        credentials: Credentials { session: Some(session), ..Credentials::default() },
        epoch: 1,
        initial_deadline: DEADLINE,
    }
}
