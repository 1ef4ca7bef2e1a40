//! The counts of the edges of a server, for `/metrics`.

use std::sync::{Arc, Mutex, PoisonError};

use crate::report::EdgeMetrics;

/// Counts all edges of a server. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub(super) struct EdgeMeter(Arc<Mutex<EdgeMetrics>>);

/// Counts one edge until it is dropped.
#[derive(Debug)]
pub(super) struct LectureMeter {
    all: EdgeMeter,
    /// The node of an engine that sends to the students.
    node: Option<String>,
    students: usize,
    bytes: u64,
}

impl EdgeMeter {
    /// The counts now.
    pub(super) fn metrics(&self) -> EdgeMetrics {
        self.change(|all| all.clone())
    }

    /// Counts one more lecture, which a node of an engine sends to students, if one is named.
    pub(super) fn lecture(&self, node: Option<String>) -> LectureMeter {
        self.change(|all| {
            all.lectures += 1;
            if let Some(node) = &node {
                all.at_nodes.entry(node.clone()).or_default();
            }
        });
        LectureMeter { all: self.clone(), node, students: 0, bytes: 0 }
    }

    fn change<T>(&self, change: impl FnOnce(&mut EdgeMetrics) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LectureMeter {
    /// A connection to the holder of the media was made.
    pub(super) fn pulled(&self) {
        self.all.change(|all| all.pulls += 1);
    }

    /// The edge has these students now, and has received so many bytes in all.
    pub(super) fn update(&mut self, students: usize, bytes: u64) {
        let before = (std::mem::replace(&mut self.students, students), std::mem::replace(&mut self.bytes, bytes));
        self.all.change(|all| {
            all.students = all.students + students - before.0;
            if let Some(at_node) = self.node.as_ref().and_then(|node| all.at_nodes.get_mut(node)) {
                *at_node = *at_node + students - before.0;
            }
            all.received_bytes += bytes - before.1;
        });
    }
}

impl Drop for LectureMeter {
    fn drop(&mut self) {
        self.all.change(|all| {
            all.lectures -= 1;
            all.students -= self.students;
            if let Some(at_node) = self.node.as_ref().and_then(|node| all.at_nodes.get_mut(node)) {
                *at_node -= self.students;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_count_at_the_node_that_sends_to_them() {
        let meter = EdgeMeter::default();
        let [mut a, mut b] = ["ws://a", "ws://b"].map(|node| meter.lecture(Some(node.to_owned())));
        let mut own = meter.lecture(None);
        a.update(3, 0);
        b.update(2, 0);
        own.update(4, 0);
        a.update(1, 0);
        drop(b);
        let EdgeMetrics { students, at_nodes, .. } = meter.metrics();
        let at_nodes: Vec<_> = at_nodes.iter().map(|(node, count)| (node.as_str(), *count)).collect();
        assert_eq!((students, at_nodes), (5, vec![("ws://a", 1), ("ws://b", 0)]));
    }
}
