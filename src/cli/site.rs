//! How browsers reach the built-in server: the flags `--public-url`, `--proxy`, `--host` and `--whep-origin`.

use std::net::IpAddr;

use clap::Args;

use crate::http::{Host, Origin, Site, WhepOrigin};

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct TypedSite {
    /// The address by which browsers reach this server, for example https://class.school.example, where a reverse proxy
    /// answers. The proxy runs on this computer and sets X-Forwarded-For. To teach on this server, everybody then needs
    /// a teaching key or a token, also on this computer, because all connections come from the proxy
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub(super) public_url: Option<Origin>,

    /// The address of the reverse proxy, if it runs on another computer; may be repeated
    #[arg(long, value_name = "IP", hide_short_help = true, requires = "public_url")]
    pub(super) proxy: Vec<IpAddr>,

    /// Another name by which browsers reach this computer, for example lab.school.example; may be repeated. The
    /// certificate of --tls is for this name, too. Addresses, localhost and the host name are known without this flag
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) host: Vec<Host>,

    /// Let pages of this site play by WHEP, for example https://school.example, or * for all sites; may be repeated
    #[arg(long, value_name = "ORIGIN", hide_short_help = true)]
    pub(super) whep_origin: Vec<WhepOrigin>,
}

impl TypedSite {
    /// The first flag that was typed.
    pub(super) fn first_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--public-url", self.public_url.is_some()),
            ("--host", !self.host.is_empty()),
            ("--whep-origin", !self.whep_origin.is_empty()),
        ];
        flags.into_iter().find(|(_, is_typed)| *is_typed).map(|(flag, _)| flag)
    }
}

impl From<TypedSite> for Site {
    fn from(typed: TypedSite) -> Self {
        let proxies = typed.proxy.iter().map(IpAddr::to_canonical).collect();
        Site { public_url: typed.public_url, proxies, hosts: typed.host, whep_origins: typed.whep_origin }
    }
}
