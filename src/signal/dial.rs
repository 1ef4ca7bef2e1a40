//! A TCP connection to a server, made soon after a dead path works again, and the pauses between attempts.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// How long connecting may take, once the name is resolved or known to have no address.
const DIAL_WITHIN: Duration = Duration::from_secs(3);

/// How long resolving the name may take: if one of two name servers is dead, an answer takes five seconds.
const NAME_WITHIN: Duration = Duration::from_secs(10);

/// When the next attempt starts beside the earlier ones. The kernel retransmits a lost SYN after 1, 3 and 7 s (RFC
/// 6298, section 2), so a single attempt would notice seconds too late that the path works again.
const NEXT_ATTEMPT: Duration = Duration::from_secs(1);

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Pauses between attempts. Each is twice as long as the one before, up to a maximum, and is drawn from the upper half
/// of that time: thirty machines that start together do not reconnect in step.
///
/// A pause starts with the attempt, so the next attempt follows at once when nobody answered the last one.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Pauses of at most `longest`.
    pub fn up_to(longest: Duration) -> Self {
        Self { next: FIRST_PAUSE.min(longest), longest }
    }

    /// The rest of the next pause, after an attempt that began at `begun`.
    pub fn after(&mut self, begun: Instant) -> Duration {
        let pause = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(self.longest);
        pause.saturating_sub(begun.elapsed())
    }
}

/// Why connecting failed.
#[derive(Debug)]
pub(crate) enum DialError {
    /// The name has no address, or no name server answers.
    Name(io::Error),
    /// An address refused the connection, or has no route.
    Connect(io::Error),
    /// No address answered within [`DIAL_WITHIN`].
    Silence,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => write!(f, "its name does not resolve: {error}"),
            Self::Connect(error) => error.fmt(f),
            Self::Silence => write!(f, "no answer within {} s", DIAL_WITHIN.as_secs()),
        }
    }
}

/// Connects to a host. `known` is the address that the host had before and is tried at once: while the path is dead the
/// name can't be resolved, and afterwards that takes seconds.
pub(crate) async fn dial(host: &str, port: u16, known: Option<SocketAddr>) -> Result<TcpStream, DialError> {
    let name = async {
        let found = timeout(NAME_WITHIN, lookup_host((host, port))).await;
        let silence = || Err(io::Error::new(io::ErrorKind::TimedOut, "no name server answers"));
        found.map_or_else(|_| silence(), |found| found.map(Iterator::collect))
    };
    connect_to_one(name, known, TcpStream::connect).await
}

/// Tries one more address each second, in turn. The first connection wins.
async fn connect_to_one<T, C: Future<Output = io::Result<T>>>(
    name: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    known: Option<SocketAddr>,
    connect: impl Fn(SocketAddr) -> C,
) -> Result<T, DialError> {
    let mut name = std::pin::pin!(name.fuse());
    let mut resolves = true;
    let mut addresses: Vec<SocketAddr> = known.into_iter().collect();
    let mut attempts: FuturesUnordered<C> = addresses.iter().map(|address| connect(*address)).collect();
    // How many attempts were started, which is also the index of the next address, modulo their number.
    let mut begun = attempts.len();
    let mut next = interval(NEXT_ATTEMPT);
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    next.reset();
    let mut last_error = None;
    let mut deadline = Instant::now();
    loop {
        tokio::select! {
            found = &mut name, if resolves => {
                resolves = false;
                deadline = Instant::now() + DIAL_WITHIN;
                match found {
                    Ok(found) => addresses.extend(found.into_iter().filter(|address| Some(*address) != known)),
                    Err(error) => last_error = last_error.or(Some(DialError::Name(error))),
                }
            }
            Some(attempt) = attempts.next() => match attempt {
                Ok(connected) => return Ok(connected),
                Err(error) => last_error = Some(DialError::Connect(error)),
            },
            _ = next.tick() => {
                if !addresses.is_empty() {
                    attempts.push(connect(addresses[begun % addresses.len()]));
                    begun += 1;
                }
            }
            () = sleep_until(deadline), if !resolves => return Err(last_error.unwrap_or(DialError::Silence)),
        }
        // An untried address need not wait while others fail.
        if attempts.is_empty() && begun < addresses.len() {
            attempts.push(connect(addresses[begun]));
            begun += 1;
            next.reset();
        }
        if attempts.is_empty() && !resolves {
            let nothing = || DialError::Name(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
            return Err(last_error.unwrap_or_else(nothing));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::sleep;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 1).into()
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_attempt_notices_a_path_that_works_again() {
        let start = Instant::now();
        // The SYN of an attempt is lost during the first 1.5 s.
        let connect = |to| async move {
            if start.elapsed() < Duration::from_millis(1500) {
                sleep(seconds(3600)).await;
            }
            Ok(to)
        };
        let connected = connect_to_one(async { Ok(vec![address(1)]) }, None, connect).await.unwrap();
        assert_eq!((connected, start.elapsed()), (address(1), seconds(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_does_not_delay_the_others() {
        let tried = RefCell::new(Vec::new());
        let connect = |to| {
            tried.borrow_mut().push(to);
            async move {
                if to == address(1) {
                    sleep(seconds(3600)).await;
                }
                Ok(to)
            }
        };
        let addresses = async { Ok(vec![address(1), address(2)]) };
        assert_eq!(connect_to_one(addresses, None, connect).await.unwrap(), address(2));
        assert_eq!(*tried.borrow(), [address(1), address(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_address_is_tried_before_the_lookup() {
        let start = Instant::now();
        let never = std::future::pending::<io::Result<Vec<SocketAddr>>>();
        let connected = connect_to_one(never, Some(address(7)), |to| async move { Ok(to) }).await.unwrap();
        assert_eq!((connected, start.elapsed()), (address(7), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_name_server_does_not_use_up_the_time_to_connect() {
        let start = Instant::now();
        let slow = async {
            sleep(seconds(5)).await;
            Ok(vec![address(1)])
        };
        let silent = connect_to_one(slow, None, |_| std::future::pending::<io::Result<()>>()).await.unwrap_err();
        assert!(matches!(silent, DialError::Silence), "{silent}");
        assert_eq!(start.elapsed(), seconds(5) + DIAL_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_moved_is_found_by_name() {
        let connect = |to| async move {
            let refused = to == address(7);
            if refused { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(to) }
        };
        let name = async {
            sleep(Duration::from_millis(200)).await;
            Ok(vec![address(7), address(8)])
        };
        assert_eq!(connect_to_one(name, Some(address(7)), connect).await.unwrap(), address(8));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_is_returned() {
        let refuse = |_| async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused)) };
        let start = Instant::now();
        let refused = connect_to_one(async { Ok(vec![address(1), address(2)]) }, None, refuse).await;
        assert!(matches!(refused, Err(DialError::Connect(_))), "{refused:?}");
        let nameless = connect_to_one(async { Err(io::ErrorKind::NotFound.into()) }, None, refuse).await;
        assert!(matches!(nameless, Err(DialError::Name(_))), "{nameless:?}");
        let empty = connect_to_one(async { Ok(Vec::new()) }, None, refuse).await.unwrap_err();
        assert_eq!(empty.to_string(), "its name does not resolve: it has no address");
        assert_eq!(start.elapsed(), Duration::ZERO, "nobody waits for what is known");
    }

    const LONGEST: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_the_longest_and_differ() {
        let mut backoff = Backoff::up_to(LONGEST);
        let pauses: Vec<Duration> = (0..50).map(|_| backoff.after(Instant::now())).collect();
        assert!(pauses[0] <= FIRST_PAUSE, "{pauses:?}");
        let late = &pauses[10..];
        assert!(late.iter().all(|pause| (LONGEST / 2..=LONGEST).contains(pause)), "{late:?}");
        assert!(late.windows(2).any(|two| two[0].abs_diff(two[1]) > LONGEST / 20), "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_attempt_follows_a_long_one_at_once() {
        let mut backoff = Backoff::up_to(LONGEST);
        for _ in 0..10 {
            let begun = Instant::now();
            tokio::time::advance(LONGEST).await;
            assert_eq!(backoff.after(begun), Duration::ZERO);
        }
    }
}
