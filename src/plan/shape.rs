//! Which machines there are, and who sends to whom.

use super::{Capacity, Impossible};

/// The machines of a lecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The origin sends to all students.
    Origin,
    /// The origin sends to the edges, and each of them to its students.
    Edges {
        /// The number of edges.
        edges: u64,
        /// The most students of an edge.
        students_of_each: u64,
    },
}

impl Shape {
    pub(super) fn of(students: u64, origin: Capacity, edge: Capacity) -> Result<Self, Impossible> {
        if origin.streams() >= students {
            return Ok(Self::Origin);
        }
        let edges = students.div_ceil(edge.at_least_one()?);
        if edges > origin.at_least_one()? {
            return Err(Impossible::TooManyEdges { edges, possible: origin.streams() });
        }
        Ok(Self::Edges { edges, students_of_each: students.div_ceil(edges) })
    }

    /// The students of each edge; `None` without edges.
    pub(super) fn students_of_each(&self) -> Option<u64> {
        match *self {
            Self::Origin => None,
            Self::Edges { students_of_each, .. } => Some(students_of_each),
        }
    }

    /// The streams that the origin sends.
    pub(super) fn streams_of_origin(&self, students: u64) -> u64 {
        match *self {
            Self::Origin => students,
            Self::Edges { edges, .. } => edges,
        }
    }
}
