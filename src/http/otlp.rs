//! Traces to a collector by OTLP/HTTP.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Request, header};
use url::{Host, Url};

use super::client::{Address, exchange};
use crate::tls::Trust;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer to read.
const MAX_BYTES: usize = 64 * 1024;

/// A collector, as `http://HOST:4318` names it.
#[derive(Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    host: String,
    port: u16,
    uses_tls: bool,
    path: String,
}

/// The text is no URL of a collector.
#[derive(Debug, thiserror::Error)]
#[error("expected http://HOST:4318 or https://HOST:4318, a collector that takes OTLP over HTTP")]
pub struct OtlpUrlError;

impl FromStr for OtlpEndpoint {
    type Err = OtlpUrlError;
    fn from_str(text: &str) -> Result<Self, OtlpUrlError> {
        let url = Url::parse(text.trim()).map_err(|_| OtlpUrlError)?;
        let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !matches!(url.scheme(), "http" | "https") || !is_bare {
            return Err(OtlpUrlError);
        }
        let host = match url.host().ok_or(OtlpUrlError)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let port = url.port_or_known_default().ok_or(OtlpUrlError)?;
        // OTLP 1.5, OTLP/HTTP request: the path of traces follows that of the URL.
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        Ok(Self { host, port, uses_tls: url.scheme() == "https", path })
    }
}

impl OtlpEndpoint {
    /// Sends an `ExportTraceServiceRequest` as JSON. Takes 5 s at most.
    ///
    /// # Errors
    /// Why the collector has not taken it, in words.
    pub async fn send(&self, body: String) -> Result<(), String> {
        let trust = self.uses_tls.then(|| Trust::roots(None)).transpose().map_err(|error| error.to_string())?;
        let address = Address { host: self.host.clone(), port: self.port, trust };
        let request = Request::post(&self.path).header(header::CONTENT_TYPE, "application/json");
        let answer = exchange(&address, request, Bytes::from(body), (MAX_BYTES, TIMEOUT)).await;
        match answer.map_err(|error| error.to_string())?.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answered {status}")),
        }
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (if self.uses_tls { "https" } else { "http" }, &self.host);
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        write!(f, "{scheme}://{host}:{}{}", self.port, self.path)
    }
}

impl fmt::Debug for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_follows_that_of_the_url() {
        let shown = |text: &str| text.parse::<OtlpEndpoint>().map(|endpoint| endpoint.to_string()).ok();
        assert_eq!(shown("http://a:4318").as_deref(), Some("http://a:4318/v1/traces"));
        assert_eq!(shown("https://[::1]:9/otel/").as_deref(), Some("https://[::1]:9/otel/v1/traces"));
        assert_eq!(shown("http://a").as_deref(), Some("http://a:80/v1/traces"));
        for bad in ["a:4318", "grpc://a:4317", "http://", "http://u:p@a:1", "http://a:1/?x"] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }
}
