//! The flags of ICE-TCP and of traces.

use clap::{Args, ValueEnum};

use crate::http::OtlpEndpoint;

/// Whether students may get media by TCP from the media port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum IceTcp {
    /// By the TCP port of the pages, which is open in any case
    #[default]
    Auto,
    /// Also by the TCP port with the number of the media port
    On,
    /// Never
    Off,
}

#[derive(Debug, Args)]
pub(super) struct TypedIceTcp {
    /// Send media by TCP to students whose network blocks UDP: by the TCP port of the pages (auto), also by that with
    /// the number of the UDP port (on), or never (off)
    #[arg(long, value_enum, value_name = "WHEN", default_value_t, help_heading = "Network", hide_short_help = true)]
    ice_tcp: IceTcp,
}

#[derive(Debug, Args)]
pub(super) struct TypedTraces {
    /// Send traces of joins to this OpenTelemetry collector, for example http://localhost:4318 (OTLP over HTTP)
    #[arg(
        long,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        help_heading = "Network",
        hide_short_help = true
    )]
    pub(super) otlp: Option<OtlpEndpoint>,
}

impl TypedIceTcp {
    pub(super) fn convert(self) -> IceTcp {
        self.ice_tcp
    }

    /// Whether the flag says something else than the default.
    pub(super) fn is_typed(&self) -> bool {
        self.ice_tcp != IceTcp::default()
    }
}
