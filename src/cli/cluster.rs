//! Rooms on several servers: the flags `--redis`, `--node` and what belongs to them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::conflict::Conflict;
use super::meaning::{Cluster, Nodes};
use super::secrets::Secret;
use super::values;
use crate::id::NodeId;
use crate::room::DIRECT_EDGES;
use crate::signal::ServerUrl;
use crate::tls::Fingerprint;

/// The longest time in which a server sends its clients to the others.
const DRAIN: Duration = Duration::from_secs(10);

/// The flags of a node.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several servers")]
pub(super) struct TypedCluster {
    /// Share the rooms with all servers that use this Redis, for example redis://10.0.0.5:6379
    ///
    /// Start `serve` with the same Redis, teaching key and other settings on as many machines as you like, behind any
    /// load balancer. Write rediss:// for TLS, and redis://:PASSWORD@HOST or redis://USER:PASSWORD@HOST for a password;
    /// other users of this computer see the arguments of a program, so use the variable CLASSROOM_REDIS or
    /// --redis-password-file instead.
    #[arg(long, value_name = "URL", env = "CLASSROOM_REDIS", hide_env_values = true, hide_short_help = true)]
    redis: Option<Secret>,

    /// Read the password for --redis from the first line of this file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    redis_password_file: Option<PathBuf>,

    /// With --edge, get the lectures of this server without Redis, for example wss://class.school.example
    ///
    /// That server, the origin, keeps all rooms, and needs the same --edge-secret-file. Members join here as they join
    /// there, so give both servers the same teaching key, --auth and --turn-secret. Rooms are created at the origin.
    #[arg(long, value_name = "URL", help_heading = "Media", hide_short_help = true)]
    origin: Option<ServerUrl>,

    /// The fingerprint of the origin's certificate, if no CA that this computer trusts vouches for it
    #[arg(long, value_name = "SHA256", help_heading = "Media", hide_short_help = true)]
    origin_fingerprint: Option<Fingerprint>,

    /// Let edges in that show the secret in the first line of this file; with --origin, show it there
    ///
    /// The secret has 16 to 64 letters and digits. A program that has the secret can join as anybody.
    #[arg(long, value_name = "FILE", help_heading = "Media", hide_short_help = true)]
    edge_secret_file: Option<PathBuf>,

    /// The name of this server among the others [default: the name of the computer]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    node: Option<NodeId>,

    /// The URL by which the other servers reach this one, for example http://10.0.0.7:18080 [default: an address of
    /// this computer, with the port of --listen]
    #[arg(long, value_name = "URL", hide_short_help = true)]
    node_url: Option<ServerUrl>,

    /// Send the media of every lecture to the students of this server from here; receive each lecture only once
    ///
    /// The media of a lecture comes from one process: `classroom teach`, or the server that a teacher's browser or
    /// encoder sends to. With --edge, this server gets each lecture once from there, as a student does, and sends it to
    /// the students that are connected to this server, and to others while their server is no edge.
    #[arg(long, help_heading = "Media", hide_short_help = true)]
    edge: bool,

    /// Send each lecture to at most N edges directly, and from these to the others [default: 50]
    ///
    /// The computer that has the media sends a copy of the lecture to each of these edges. The lecture passes one more
    /// server on its way to the students of the others. Give all servers the same number.
    #[arg(long, value_name = "N", help_heading = "Media", hide_short_help = true)]
    direct_edges: Option<NonZeroUsize>,

    /// After SIGTERM, send the clients to the other servers within this time, and then end [default: 10s]
    ///
    /// From SIGTERM on, /readyz answers 503, and nobody can join here. Those who are here are told to connect again,
    /// which the load balancer lets them do at another server. A second SIGTERM ends this server at once.
    #[arg(long, value_name = "TIME", value_parser = values::duration, hide_short_help = true)]
    drain: Option<Duration>,
}

impl TypedCluster {
    pub(super) fn convert(self) -> Result<Option<Box<Cluster>>, Conflict> {
        let redis = self.redis.clone().and_then(Secret::given);
        let nodes = match redis {
            Some(redis) => {
                let flags = [
                    ("--origin", self.origin.is_some()),
                    ("--origin-fingerprint", self.origin_fingerprint.is_some()),
                    ("--edge-secret-file", self.edge_secret_file.is_some()),
                ];
                if let Some(flag) = typed(flags) {
                    return Err(Conflict::EdgesOfRedis(flag));
                }
                let url = redis.as_str().parse().map_err(Conflict::Redis)?;
                Nodes::Redis { url, password_file: self.redis_password_file }
            }
            None => match self.without_redis()? {
                Some(nodes) => nodes,
                None => return Ok(None),
            },
        };
        let Self { node: name, node_url: url, edge, direct_edges, drain, .. } = self;
        let drain = match &nodes {
            // There is no other server for the clients.
            Nodes::Origin { .. } => drain,
            Nodes::Redis { .. } | Nodes::Edge { .. } => drain.or(Some(DRAIN)),
        };
        let direct_edges = direct_edges.or(NonZeroUsize::new(DIRECT_EDGES)).unwrap_or(NonZeroUsize::MIN);
        Ok(Some(Box::new(Cluster { nodes, name, url, edge, direct_edges, drain })))
    }

    /// An origin or an edge; none for a server that has no others.
    fn without_redis(&self) -> Result<Option<Nodes>, Conflict> {
        let flags = [
            ("--redis-password-file", self.redis_password_file.is_some()),
            ("--node", self.node.is_some()),
            ("--node-url", self.node_url.is_some()),
        ];
        let secret_file = self.edge_secret_file.clone();
        let nodes = match (&self.origin, secret_file) {
            (Some(_), _) if !self.edge => return Err(Conflict::OriginWithout("--edge")),
            (Some(_), None) => return Err(Conflict::OriginWithout("--edge-secret-file FILE")),
            (None, _) if self.edge => return Err(Conflict::EdgeOfNobody),
            (None, _) if self.origin_fingerprint.is_some() => return Err(Conflict::OriginWithout("--origin URL")),
            (Some(origin), Some(secret_file)) => {
                Nodes::Edge { origin: origin.clone(), fingerprint: self.origin_fingerprint, secret_file }
            }
            (None, Some(secret_file)) => Nodes::Origin { secret_file },
            (None, None) => {
                let of_several = [("--direct-edges", self.direct_edges.is_some()), ("--drain", self.drain.is_some())];
                return match typed(flags.into_iter().chain(of_several)) {
                    Some(flag) => Err(Conflict::NodeWithoutRedis(flag)),
                    None => Ok(None),
                };
            }
        };
        match typed(flags) {
            Some(flag) => Err(Conflict::NodeWithoutRedis(flag)),
            None => Ok(Some(nodes)),
        }
    }
}

/// The first flag that was typed.
fn typed(flags: impl IntoIterator<Item = (&'static str, bool)>) -> Option<&'static str> {
    flags.into_iter().find(|(_, is_typed)| *is_typed).map(|(flag, _)| flag)
}
