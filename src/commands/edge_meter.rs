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
    students: usize,
    bytes: u64,
}

impl EdgeMeter {
    /// The counts now.
    pub(super) fn metrics(&self) -> EdgeMetrics {
        self.change(|all| *all)
    }

    /// Counts one more lecture.
    pub(super) fn lecture(&self) -> LectureMeter {
        self.change(|all| all.lectures += 1);
        LectureMeter { all: self.clone(), students: 0, bytes: 0 }
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
            all.received_bytes += bytes - before.1;
        });
    }
}

impl Drop for LectureMeter {
    fn drop(&mut self) {
        self.all.change(|all| {
            all.lectures -= 1;
            all.students -= self.students;
        });
    }
}
