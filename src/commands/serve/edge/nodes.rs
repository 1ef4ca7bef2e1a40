//! The edges of one lecture at this server: one that sends by itself, and one for each node of an engine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{EdgeSettings, Ended};
use crate::cli::EngineNode;
use crate::commands::serve::engine::{Lines, Node};
use crate::signal::LocalEdge;

/// The longest time without students.
const IDLE: Duration = Duration::from_secs(60);

/// The pauses before a node that has failed gets the lecture again: the first one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// When any edge of a lecture last had students. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Busy(Arc<Mutex<Instant>>);

impl Busy {
    fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// There are students.
    pub(super) fn touch(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Whether nobody needs the edges.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) + IDLE <= now
    }
}

/// The nodes of engines, and which of them have failed, as all lectures of this server have seen. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Nodes(Arc<[(Node, Mutex<NodeState>)]>);

#[derive(Debug, Default)]
struct NodeState {
    has_failed: bool,
    /// The last reason that the operator knows.
    told: Option<String>,
}

impl Nodes {
    /// Nodes that have not failed.
    pub(super) fn new(nodes: Vec<EngineNode>) -> Self {
        Self(nodes.into_iter().map(|node| (Node::new(node), Mutex::default())).collect())
    }

    fn state(&self, node: usize) -> Option<MutexGuard<'_, NodeState>> {
        self.0.get(node).map(|(_, state)| state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has_failed(&self, node: usize) -> bool {
        self.state(node).is_some_and(|state| state.has_failed)
    }

    /// The node answers. `has_served`: it has also sent a lecture to students.
    fn works(&self, node: usize, has_served: bool) {
        if let Some(mut state) = self.state(node) {
            state.has_failed = false;
            if has_served {
                state.told = None;
            }
        }
    }

    /// The node has failed. Returns whether the operator does not know the reason yet.
    fn fails(&self, node: usize, why: &str) -> bool {
        self.state(node).is_some_and(|mut state| {
            state.has_failed = true;
            state.told.replace(why.to_owned()).as_deref() != Some(why)
        })
    }
}

/// Runs all edges of a lecture until nobody needs them, or the server ends.
pub(super) async fn run(edge: LocalEdge, settings: EdgeSettings, nodes: Nodes) {
    let (busy, lines) = (Busy::new(Instant::now()), Lines::default());
    let further = nodes.0.iter().filter_map(|_| edge.another());
    let mut edges: Vec<LocalEdge> = further.collect();
    // The first one is in the room already, before the first offer: a node that works takes it.
    let of_sfu = if settings.has_sfu {
        Some(edge)
    } else {
        let first = (0..edges.len()).find(|node| !nodes.has_failed(*node)).unwrap_or(0);
        if let Some(place) = edges.get_mut(first) {
            *place = edge;
        }
        None
    };
    let mut running = JoinSet::new();
    for (number, (edge, (node, _))) in edges.into_iter().zip(nodes.0.iter()).enumerate() {
        let place = (number, node.clone(), lines.clone());
        running.spawn(run_node(edge, place, settings.clone(), (nodes.clone(), busy.clone())));
    }
    if let Some(edge) = of_sfu {
        super::run(edge, None, settings, busy).await;
    }
    while running.join_next().await.is_some() {}
}

/// Has the lecture at one node, while the node can be used.
async fn run_node(
    mut edge: LocalEdge,
    (number, node, lines): (usize, Node, Lines),
    settings: EdgeSettings,
    (nodes, busy): (Nodes, Busy),
) {
    let mut pause = FIRST_PAUSE;
    let reporter = settings.reporter.clone();
    loop {
        let why = match node.check().await {
            Ok(()) => {
                nodes.works(number, false);
                let began = Instant::now();
                let (ended, back, has_served) =
                    super::run(edge, Some((node.clone(), lines.clone())), settings.clone(), busy.clone()).await;
                edge = back;
                nodes.works(number, has_served);
                // One that takes students and drops them soon is a disturbance.
                if has_served && began.elapsed() >= LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                match ended {
                    Ended::Idle => return,
                    Ended::Lost(why) => why,
                }
            }
            Err(why) => why,
        };
        // Students are placed elsewhere meanwhile.
        edge.wait();
        if nodes.fails(number, &why) {
            reporter.warn(format!("{node} serves no students: {why}"));
        }
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if busy.is_idle(Instant::now()) || edge.has_ended() {
                return;
            }
            sleep(FIRST_PAUSE.min(until.saturating_duration_since(Instant::now()))).await;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_reads_each_reason_once_until_the_node_has_served_students() {
        let nodes = Nodes::new(vec![EngineNode::Janus("ws://h".parse().unwrap())]);
        assert!(!nodes.has_failed(0) && nodes.fails(0, "is away") && nodes.clone().has_failed(0));
        nodes.works(0, false);
        assert!(!nodes.has_failed(0) && !nodes.fails(0, "is away") && nodes.fails(0, "refuses"));
        nodes.works(0, true);
        assert!(nodes.fails(0, "refuses"));
    }
}
