//! One request of a client and its answer, by HTTP or HTTPS, within limits of time and size.
//!
//! This uses hyper alone, which the server needs anyway: reqwest or ureq would add a tree of crates, and hyper-util's
//! client a connection pool, to save some 20 lines of this file.

use std::io;
use std::net::{IpAddr, SocketAddr};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::tls::{Stream, TlsError, Trust};

/// The most bytes of the headers of an answer.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The server of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server<'a> {
    /// A name or an address, IPv6 without brackets.
    pub(super) host: &'a str,
    pub(super) port: u16,
    /// With it, by TLS.
    pub(super) trust: Option<&'a Trust>,
    /// No nearer address gets the request: a server that names another one can't lead a client to services that only
    /// this computer or its network can reach.
    pub(super) nearest: Distance,
}

/// How far an address is from this computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Distance {
    /// This computer, or its link, on which clouds have services.
    Computer,
    /// A private network (RFC 1918, RFC 4193).
    Network,
    Internet,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// Nothing answered.
    #[error("{0}")]
    Unreachable(io::Error),
    /// There is no secure connection.
    #[error("{0}")]
    Tls(TlsError),
    /// The answer is not HTTP, is too large, or broke off.
    #[error("{0}")]
    Broken(String),
}

impl Server<'_> {
    /// The value of `Host` in a request to this server.
    pub(super) fn authority(&self) -> String {
        let (host, port) = (self.host, self.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Sends a request and reads its answer, of at most `most` bytes. Also returns the distance of the address that
    /// answered. The caller limits the time.
    pub(super) async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<(Response<Bytes>, Distance), ExchangeError> {
        let broken = |error: hyper::Error| ExchangeError::Broken(error.to_string());
        let (stream, distance) = self.connect().await.map_err(ExchangeError::Unreachable)?;
        let stream: Stream = match self.trust {
            Some(trust) => trust.connect(stream, self.host).await.map_err(ExchangeError::Tls)?,
            None => Box::new(stream),
        };
        let authority = self.authority().try_into().map_err(|_| ExchangeError::Broken("a bad host name".to_owned()))?;
        request.headers_mut().insert(header::HOST, authority);
        request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        let mut client = http1::Builder::new();
        client.max_buf_size(MAX_HEADER_BYTES);
        let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let answer = async {
            let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let body = Limited::new(body, most).collect().await;
            let body = body.map_err(|error| ExchangeError::Broken(error.to_string()))?.to_bytes();
            Ok((Response::from_parts(head, body), distance))
        };
        // The connection must be polled while the answer is awaited.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answered = &mut answer => answered,
            _ = &mut connection => answer.await,
        }
    }

    async fn connect(&self) -> io::Result<(TcpStream, Distance)> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((self.host, self.port)).await?.collect();
        for address in addresses {
            let distance = Distance::of(address.ip());
            if distance < self.nearest {
                failed = io::Error::new(io::ErrorKind::PermissionDenied, "it is nearer than the server that named it");
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok((stream, distance)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl Distance {
    fn of(ip: IpAddr) -> Self {
        let (is_of_computer, is_private) = match ip.to_canonical() {
            IpAddr::V4(ip) => (ip.is_loopback() || ip.is_unspecified() || ip.is_link_local(), ip.is_private()),
            IpAddr::V6(ip) => {
                (ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local(), ip.is_unique_local())
            }
        };
        match (is_of_computer, is_private) {
            (true, _) => Self::Computer,
            (_, true) => Self::Network,
            _ => Self::Internet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_distance() {
        let distance = |ip: &str| Distance::of(ip.parse().unwrap());
        for own in ["127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "::1", "::", "::ffff:127.0.0.1", "fe80::1"]
        {
            assert_eq!(distance(own), Distance::Computer, "{own}");
        }
        for private in ["192.168.1.5", "10.0.0.1", "fd00::1"] {
            assert_eq!(distance(private), Distance::Network, "{private}");
        }
        assert_eq!(["203.0.113.1", "2001:db8::1"].map(distance), [Distance::Internet; 2]);
        assert!(Distance::Computer < Distance::Network && Distance::Network < Distance::Internet);
    }
}
