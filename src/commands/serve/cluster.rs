//! This server as a node of a server on several machines, which meet in Redis.

use std::path::Path;
use std::sync::Arc;

use rand::distr::{Alphanumeric, SampleString};
use tokio::sync::mpsc;

use crate::access::Access;
use crate::cli::{self, Nodes};
use crate::commands::access::read_secrets;
use crate::exit::Failure;
use crate::id::NodeId;
use crate::protocol::SessionSecret;
use crate::report::Reporter;
use crate::room::Meetings;
use crate::signal::{ClusterConfig, Ownership, ServerUrl};
use crate::store::{MemoryStore, Node, OriginStore, RedisStore, Store, Times};

/// Sentences that wait for the operator.
const NOTICES: usize = 64;

/// The origin, as its edges call it.
const ORIGIN: &str = "origin";

/// Characters of the secret of a node: 190 bits.
const SECRET_CHARS: usize = 32;

/// A node whose store answers.
pub(in crate::commands) struct ClusterNode {
    store: Arc<dyn Store>,
    ownership: Ownership,
    /// The secret that others show to this node.
    secret: SessionSecret,
    id: NodeId,
    url: Option<ServerUrl>,
    is_edge: bool,
    direct_edges: usize,
    times: Times,
    notices: mpsc::Sender<String>,
}

impl ClusterNode {
    /// Connects to Redis, if the nodes meet there.
    ///
    /// # Errors
    /// If Redis does not answer, the file of a secret can't be read, or the name is too long.
    pub(in crate::commands) async fn connect(cluster: cli::Cluster, reporter: &Reporter) -> Result<Self, Failure> {
        let cli::Cluster { nodes, name, url, edge: is_edge, direct_edges, .. } = cluster;
        let times = Times::default();
        let own_secret = || Alphanumeric.sample_string(&mut rand::rng(), SECRET_CHARS).parse();
        let own_secret = || own_secret().map_err(Failure::internal);
        let (store, ownership, secret): (Arc<dyn Store>, _, SessionSecret) = match nodes {
            Nodes::Redis { url: mut redis, password_file } => {
                if let Some(path) = password_file {
                    let text = read_secrets(&path, "--redis-password-file", reporter)?;
                    redis = redis.with_password(text.lines().next().unwrap_or_default().trim());
                }
                let store = RedisStore::connect(&redis, times).await.map_err(|error| {
                    Failure::usage(anyhow::anyhow!("{error}; start Redis 6.2 or newer there, or correct --redis"))
                })?;
                (Arc::new(store), Ownership::Leased, own_secret()?)
            }
            Nodes::Origin { secret_file } => {
                (Arc::new(MemoryStore::new(times)), Ownership::All, edge_secret(&secret_file, reporter)?)
            }
            Nodes::Edge { origin, fingerprint, secret_file } => {
                let origin = Node {
                    id: ORIGIN.parse().map_err(Failure::internal)?,
                    url: origin.web_socket(),
                    fingerprint: fingerprint.map(|fingerprint| fingerprint.to_string()),
                    secret: edge_secret(&secret_file, reporter)?,
                    settings: 0,
                };
                // Nobody has a member in a room here, so nobody calls this node.
                (Arc::new(OriginStore::new(origin)), Ownership::Nothing, own_secret()?)
            }
        };
        let name = name.map_or_else(computer, |name| name.as_str().to_owned());
        // A process that starts again is another node: the rooms of the first one are lost.
        let id = format!("{name}.{:08x}", rand::random::<u32>()).parse();
        let id = id.map_err(|error| Failure::usage(anyhow::anyhow!("can't use --node {name}: {error}")))?;
        let (notices, mut sentences) = mpsc::channel::<String>(NOTICES);
        let reporter = reporter.clone();
        tokio::spawn(async move {
            while let Some(sentence) = sentences.recv().await {
                reporter.warn(sentence);
            }
        });
        let direct_edges = direct_edges.get();
        Ok(Self { store, ownership, secret, id, url, is_edge, direct_edges, times, notices })
    }

    /// The URL of this node for the others, if it was typed.
    pub(super) fn url(&self) -> Option<&ServerUrl> {
        self.url.as_ref()
    }

    /// Whether this node sends the media of all lectures to its students.
    pub(super) fn is_edge(&self) -> bool {
        self.is_edge
    }

    /// The most edges that get a lecture from the holder of its media.
    pub(super) fn direct_edges(&self) -> usize {
        self.direct_edges
    }

    /// The settings for signalling. `own` is the address of this server, `fingerprint` that of its certificate.
    pub(super) fn config(
        self,
        own: ServerUrl,
        fingerprint: Option<String>,
        access: &Access,
        meetings: Meetings,
    ) -> ClusterConfig {
        let Self { store, ownership, secret, id, url, times, notices, .. } = self;
        let meetings = match meetings {
            Meetings::Anyone => 1,
            Meetings::Teachers => 2,
            Meetings::Off => 3,
        };
        let node = Node {
            id,
            url: url.unwrap_or(own).web_socket(),
            fingerprint,
            secret,
            settings: access.digest().wrapping_add(meetings),
        };
        ClusterConfig { store, node, times, ownership, notices }
    }
}

/// The secret of edges, in the first line of a file.
fn edge_secret(path: &Path, reporter: &Reporter) -> Result<SessionSecret, Failure> {
    let text = read_secrets(path, "--edge-secret-file", reporter)?;
    text.lines().next().unwrap_or_default().trim().parse().map_err(|_| {
        let path = path.display();
        Failure::usage(anyhow::anyhow!(
            "the first line of {path} is no secret for edges: write 16 to 64 letters and digits, for example by \
             openssl rand -hex 16"
        ))
    })
}

/// The name of this computer, as far as an id may have it.
fn computer() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).take(50).collect();
    if name.is_empty() { "node".into() } else { name }
}
