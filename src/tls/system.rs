//! A connection to a server of somebody else, for which the root certificates of the system vouch.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::trust::Stream;

/// Does the handshake over a TCP connection to `host`. The caller limits its time.
///
/// # Errors
/// If the handshake fails, or no root certificate vouches for the server.
pub(crate) async fn connect_by_system_roots(stream: TcpStream, host: &str) -> io::Result<Stream> {
    let mut roots = RootCertStore::empty();
    // A broken certificate of the system is skipped.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(super::provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}
