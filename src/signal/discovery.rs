//! Finds servers in the local network by DNS-SD over multicast DNS (RFC 6762, 6763).
//!
//! The service type is `_classroom._tcp.local.`, with `room=` and `teacher=` in its TXT record, and `tls=` with the
//! server's [`Identity`] if clients connect by TLS. Without multicast an announcement reaches nobody and a search finds
//! nothing; neither is an error.
//!
//! Anybody in the network can announce anything. So a caller that knows the identity of a room's server passes it to
//! [`discover`], which then prefers that server to the first one that answers.

mod daemon;

use std::net::IpAddr;
use std::time::Duration;

use mdns_sd::{ResolvedService, ServiceEvent, ServiceInfo, TryRecvError};
use rand::distr::{Alphanumeric, SampleString};
use tokio::time::{Instant, sleep};

use self::daemon::{Daemon, Receives};
use super::ServerUrl;
use crate::id::{Nickname, RoomId};
use crate::tls::Identity;

const SERVICE_TYPE: &str = "_classroom._tcp.local.";

/// How long withdrawing an announcement may take.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// How often to poll the library: short for a person who waits, and cheap for a computer that waits all night.
const POLL_INTERVAL: Duration = Duration::from_millis(30);

/// The most records of others that the library may keep for an announcement. It sets no limit of its own, and looks
/// through all of them after each datagram. It gets none where the kernel filters ([`daemon`]).
const MAX_CACHED: i64 = 8_192;

/// The most events of one search: two for each announced server.
const MAX_EVENTS: usize = 8_192;

/// The longest wait for the count of the library's records.
const COUNT_TIMEOUT: Duration = Duration::from_millis(500);

/// The most servers that a search returns.
const MAX_FOUND: usize = 256;

/// How many characters of the room id go into the service name: with the rest, a DNS label has at most 63 bytes.
const ROOM_CHARS_IN_NAME: usize = 40;

/// Multicast DNS can't be used here. The command continues without it.
#[derive(Debug, thiserror::Error)]
#[error("no discovery in this network: {0}")]
pub struct DiscoveryError(#[from] mdns_sd::Error);

/// A server that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The room that it teaches.
    pub room: RoomId,
    /// The server's address.
    pub url: ServerUrl,
    /// The teacher's name, possibly empty.
    pub nickname: Nickname,
    /// The identity of a server with TLS.
    pub identity: Option<Identity>,
}

/// The announcement of a server.
#[derive(Debug, Clone)]
pub struct Announced {
    /// The room that it teaches.
    pub room: RoomId,
    /// The TCP port on every address of this machine.
    pub port: u16,
    /// The teacher's name.
    pub nickname: Nickname,
    /// The identity, if clients connect by TLS.
    pub identity: Option<Identity>,
}

/// An announcement of a server, withdrawn when dropped.
pub struct Announcement {
    daemon: Daemon,
    /// Two machines may announce the same room, and one machine may announce two, so the name of a service is unique.
    unique: String,
    name: String,
}

/// Announces a server in the LAN.
pub fn announce(announced: &Announced) -> Result<Announcement, DiscoveryError> {
    let unique = Alphanumeric.sample_string(&mut rand::rng(), 8).to_lowercase();
    let service = service(announced, &unique)?;
    let name = service.get_fullname().to_owned();
    let announcement = Announcement { daemon: Daemon::start()?, unique, name };
    // Nobody else has such a name, so the records of others do not matter.
    announcement.daemon.set_receives(Receives::Queries);
    announcement.daemon.yield_to_others();
    announcement.daemon.library.register(service)?;
    Ok(announcement)
}

fn service(announced: &Announced, unique: &str) -> Result<ServiceInfo, mdns_sd::Error> {
    let short: String = announced.room.as_str().chars().take(ROOM_CHARS_IN_NAME).collect();
    let mut properties =
        vec![("room", announced.room.to_string()), ("teacher", announced.nickname.as_str().to_owned())];
    properties.extend(announced.identity.as_ref().map(|identity| ("tls", identity.to_string())));
    let service = ServiceInfo::new(
        SERVICE_TYPE,
        &format!("room {short} {unique}"),
        &format!("classroom-{unique}.local."),
        (),
        announced.port,
        &properties[..],
    )?;
    Ok(service.enable_addr_auto())
}

impl std::fmt::Debug for Announcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Announcement({})", self.name)
    }
}

impl Announcement {
    /// Replaces what is announced; the room stays.
    ///
    /// # Errors
    /// If the thread of the announcement has ended.
    pub fn update(&self, announced: &Announced) -> Result<(), DiscoveryError> {
        Ok(self.daemon.library.register(service(announced, &self.unique)?)?)
    }

    /// Whether a flood of records has filled the library's cache; then it is time for a new announcement.
    pub async fn is_flooded(&self) -> bool {
        self.records().await.is_some_and(|records| records > MAX_CACHED)
    }

    /// The number of records of others that the library keeps; none if it does not answer.
    pub async fn records(&self) -> Option<i64> {
        let counted = self.daemon.library.get_metrics().ok()?;
        let count = || next(|| counted.try_recv(), Instant::now() + COUNT_TIMEOUT);
        let metrics = match count().await {
            Some(metrics) => metrics,
            None => {
                // A flood keeps the library from its commands, among them an update.
                self.daemon.set_receives(Receives::Nothing);
                let metrics = count().await;
                self.daemon.set_receives(Receives::Queries);
                metrics?
            }
        };
        Some(metrics.iter().filter(|(name, _)| name.starts_with("cached-")).map(|(_, count)| count).sum())
    }

    /// Withdraws the announcement; waits half a second at the most.
    pub async fn stop(self) {
        self.daemon.set_receives(Receives::Nothing);
        if let Ok(done) = self.daemon.library.unregister(&self.name) {
            _ = next(|| done.try_recv(), Instant::now() + STOP_TIMEOUT).await;
        }
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // The daemon ends after this command. After `stop` the command does nothing.
        _ = self.daemon.library.unregister(&self.name);
    }
}

/// Searches for servers, up to `MAX_EVENTS` answers, as more are a flood. With a room, returns as soon as a server of
/// that room is found; with an identity as well, as soon as the server with that identity is found, which is then the
/// first one. Else returns all answers within `time`.
pub async fn discover(
    room: Option<&RoomId>,
    identity: Option<&Identity>,
    time: Duration,
) -> Result<Vec<Found>, DiscoveryError> {
    let deadline = Instant::now() + time;
    let searching = Daemon::start()?;
    let events = searching.library.browse(SERVICE_TYPE)?;
    let own = own_networks();
    let mut found: Vec<Found> = Vec::new();
    let mut seen = 0;
    while let Some(event) = next(|| events.try_recv(), deadline).await {
        seen += 1;
        if seen > MAX_EVENTS {
            break;
        }
        let ServiceEvent::ServiceResolved(service) = event else { continue };
        let Some(server) = understood(&service, &own) else { continue };
        if room.is_some_and(|room| *room != server.room) {
            continue;
        }
        let is_known = identity.is_some() && server.identity.as_ref() == identity;
        if is_known {
            return Ok(vec![server]);
        }
        // A service is resolved again for each further address. A stranger may announce any number of servers.
        if !found.contains(&server) && found.len() < MAX_FOUND {
            found.push(server);
        }
        if room.is_some() && identity.is_none() {
            break;
        }
    }
    Ok(found)
}

/// The next event before the deadline. Polls, because the library wakes tasks only with features that we do not need
/// otherwise, and a blocked thread would outlive a cancelled search.
async fn next<T>(mut receive: impl FnMut() -> Result<T, TryRecvError>, deadline: Instant) -> Option<T> {
    // First the deadline, which also ends a flood of events.
    while Instant::now() < deadline {
        match receive() {
            Ok(event) => return Some(event),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => sleep(POLL_INTERVAL).await,
        }
    }
    None
}

/// Reads a stranger's announcement; nothing if it is incomplete.
fn understood(service: &ResolvedService, own: &[if_addrs::Interface]) -> Option<Found> {
    let room = service.get_property_val_str("room")?.parse().ok()?;
    let nickname = Nickname::from(service.get_property_val_str("teacher").unwrap_or_default());
    let addresses = service.get_addresses().iter().map(mdns_sd::ScopedIp::to_ip_addr);
    let best = addresses.filter_map(|ip| rank(ip, own).map(|rank| (rank, ip))).min()?.1;
    let port = service.get_port();
    let tls = service.get_property_val_str("tls");
    let identity = tls.map(str::parse::<Identity>).transpose().ok()?;
    let host = match &identity {
        Some(Identity::Name(name)) => name.clone(),
        Some(Identity::Certificate(_)) | None => best.to_string(),
    };
    let url = ServerUrl::new(&host, port).with_tls(identity.is_some());
    (port != 0).then_some(Found { room, url, nickname, identity })
}

/// Ranks an address, lower is better: a server announces all of its addresses, also those of bridges and tunnels.
fn rank(ip: IpAddr, own: &[if_addrs::Interface]) -> Option<u8> {
    match ip {
        _ if ip.is_loopback() => Some(4),
        IpAddr::V4(v4) if own.iter().any(|interface| shares_network(interface, v4)) => Some(0),
        IpAddr::V4(_) => Some(1),
        // A link-local address means nothing without its interface.
        IpAddr::V6(v6) if v6.is_unicast_link_local() => None,
        IpAddr::V6(_) => Some(2),
    }
}

fn shares_network(interface: &if_addrs::Interface, ip: std::net::Ipv4Addr) -> bool {
    match &interface.addr {
        if_addrs::IfAddr::V4(own) => ip & own.netmask == own.ip & own.netmask,
        if_addrs::IfAddr::V6(_) => false,
    }
}

fn own_networks() -> Vec<if_addrs::Interface> {
    if_addrs::get_if_addrs().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_our_own_network_ranks_first() {
        let own = [if_addrs::Interface {
            name: "eth0".into(),
            addr: if_addrs::IfAddr::V4(if_addrs::Ifv4Addr {
                ip: "10.0.3.7".parse().unwrap(),
                netmask: "255.255.255.0".parse().unwrap(),
                prefixlen: 24,
                broadcast: None,
            }),
            index: None,
            oper_status: if_addrs::IfOperStatus::Up,
            is_p2p: false,
        }];
        let rank = |ip: &str| rank(ip.parse().unwrap(), &own);
        assert!(rank("10.0.3.99") < rank("172.17.0.1"));
        assert!(rank("172.17.0.1") < rank("2001:db8::1"));
        assert!(rank("2001:db8::1") < rank("127.0.0.1"));
        assert_eq!(rank("fe80::1"), None);
    }

    #[tokio::test]
    async fn a_teacher_is_found_by_room_until_it_stops() {
        let has_multicast = own_networks().iter().any(|interface| !interface.is_loopback() && interface.ip().is_ipv4());
        if !has_multicast {
            eprintln!("skipped: no network interface but loopback, multicast DNS reaches nobody");
            return;
        }
        let room: RoomId = format!("test-{}", Alphanumeric.sample_string(&mut rand::rng(), 8)).parse().unwrap();
        let mut announced =
            Announced { room: room.clone(), port: 18_080, nickname: "Ms Li 李".into(), identity: None };
        let announcement = announce(&announced).unwrap();
        let found = discover(Some(&room), None, Duration::from_secs(10)).await.unwrap();
        let [found] = &found[..] else { panic!("found {found:?}, is UDP port 5353 blocked?") };
        assert_eq!((&found.room, found.nickname.as_str(), found.url.port()), (&room, "Ms Li 李", 18_080));
        assert!(!found.url.uses_tls() && found.identity.is_none());

        let identity: Identity = "school.example".parse().unwrap();
        announced.identity = Some(identity.clone());
        announcement.update(&announced).unwrap();
        let found = discover(Some(&room), Some(&identity), Duration::from_secs(10)).await.unwrap();
        assert_eq!((found.len(), found[0].url.to_string().as_str()), (1, "wss://school.example:18080"));

        announcement.stop().await;
        assert_eq!(discover(Some(&room), None, Duration::from_millis(300)).await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn events_without_end_do_not_outlast_the_deadline() {
        let deadline = Instant::now() + Duration::from_secs(1);
        assert_eq!(next(|| Ok(1), deadline).await, Some(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(next(|| Ok(1), deadline).await, None);
    }

    #[tokio::test]
    async fn a_search_ends_in_time_on_any_network() {
        let nowhere = "no-such-room-anywhere".parse().unwrap();
        let search = discover(Some(&nowhere), None, Duration::from_millis(100));
        assert!(tokio::time::timeout(Duration::from_secs(5), search).await.is_ok());
    }
}
