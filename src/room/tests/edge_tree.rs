//! A lecture over more edges than its holder serves: a tree of depth two.

use std::collections::{BTreeMap, BTreeSet};

use super::edges::{edge, offer, student_at};
use super::*;
use crate::room::DIRECT_EDGES;
use crate::room::edges::RETURNS_WITHIN;

const EDGES: usize = 120;
const STUDENTS_OF_EACH: usize = 10;

/// A lecture with its edges and students, and who serves each.
struct Tree {
    server: TestServer,
    teacher: ConnId,
    edges: BTreeMap<ConnId, UserId>,
    students: BTreeMap<ConnId, UserId>,
    served: BTreeMap<ConnId, ConnId>,
}

fn session(n: usize) -> SessionSecret {
    format!("sessionofedge{n:04}").parse().unwrap()
}

impl Tree {
    fn start() -> Self {
        let mut server = TestServer::new();
        let teacher = server.let_in(teacher());
        Self { server, teacher, edges: BTreeMap::new(), students: BTreeMap::new(), served: BTreeMap::new() }
    }

    fn edge_joins(&mut self, n: usize) -> ConnId {
        let user = format!("edge{n}");
        let newcomer = Newcomer { session: session(n), ..edge(&user, &format!("node{n}")) };
        let (conn, _) = self.server.enter(newcomer);
        self.edges.insert(conn, id(&user));
        conn
    }

    /// Somebody offers, and whoever gets the offer connects it.
    fn connects(&mut self, conn: ConnId) {
        let user = self.edges.get(&conn).or_else(|| self.students.get(&conn)).unwrap().clone();
        let out = self.server.say(conn, offer(TEACHER));
        let by = out.iter().find_map(|output| match output {
            Output::Relay { to, .. } => Some(*to),
            _ => None,
        });
        let by = by.unwrap_or_else(|| panic!("{user}: {out:?}"));
        if by != self.teacher && self.edges.contains_key(&conn) {
            let knows =
                |message: &ServerMessage| matches!(message, ServerMessage::Edges { edges } if edges.contains(&user));
            assert!(told(&out, by).iter().any(knows), "it hears that {user} is an edge: {out:?}");
        }
        self.server.say(by, ClientMessage::Connected { target_uid: user });
        self.served.insert(conn, by);
    }

    /// Those that get the lecture from this connection.
    fn served_by(&self, by: ConnId) -> BTreeSet<ConnId> {
        self.served.iter().filter(|(_, serves)| **serves == by).map(|(conn, _)| *conn).collect()
    }

    /// The lecture reaches every edge over at most one other one, and the holder serves as many edges as it may.
    #[track_caller]
    fn is_of_depth_two(&self) {
        let direct = self.served_by(self.teacher);
        assert_eq!(direct.len(), DIRECT_EDGES);
        for edge in self.edges.keys() {
            let above = self.served[edge];
            assert!(above == self.teacher || direct.contains(&above), "{}", self.edges[edge]);
        }
        let most = direct.iter().map(|edge| self.below(*edge).len()).max();
        assert!(most <= Some((EDGES - DIRECT_EDGES).div_ceil(DIRECT_EDGES) + 1), "{most:?}");
    }

    /// The edges below this one.
    fn below(&self, edge: ConnId) -> BTreeSet<ConnId> {
        self.served_by(edge).into_iter().filter(|conn| self.edges.contains_key(conn)).collect()
    }
}

fn hung_up(out: &[Output]) -> BTreeSet<ConnId> {
    let of = |output: &Output| match output {
        Output::Send { to, message: ServerMessage::Hangup { .. } } => Some(*to),
        _ => None,
    };
    out.iter().filter_map(of).collect()
}

#[test]
fn many_edges_form_a_tree_and_a_death_moves_one_branch() {
    let mut tree = Tree::start();
    let all: Vec<ConnId> = (0..EDGES).map(|n| tree.edge_joins(n)).collect();
    all.iter().for_each(|edge| tree.connects(*edge));
    tree.is_of_depth_two();
    for n in 0..EDGES * STUDENTS_OF_EACH {
        let user = format!("1{n:05}");
        let network = network_of(&format!("10.{}.{}.1", n / 250, n % 250));
        let student = Newcomer { network, ..student_at(&user, &format!("node{}", n % EDGES)) };
        let conn = tree.server.let_in(student);
        tree.students.insert(conn, id(&user));
        tree.connects(conn);
    }
    assert!(all.iter().all(|edge| tree.served_by(*edge).len() >= STUDENTS_OF_EACH));

    // An edge with edges below it dies: exactly its students and these edges are placed anew.
    let dead = *all.iter().find(|edge| !tree.below(**edge).is_empty()).unwrap();
    let branch = tree.served_by(dead);
    tree.server.lose(dead);
    let out = tree.server.pass(RETURNS_WITHIN);
    assert_eq!(hung_up(&out), branch);
    tree.edges.remove(&dead);
    tree.served.remove(&dead);
    branch.iter().for_each(|conn| tree.connects(*conn));
    tree.is_of_depth_two();
    assert_eq!(tree.served_by(dead), BTreeSet::new());

    // An edge that can't reach the one above it gets another one, and its low tier comes the same way.
    let leaf = *all.iter().find(|edge| tree.served.get(*edge).is_some_and(|by| *by != tree.teacher)).unwrap();
    let first = tree.served[&leaf];
    let out = tree.server.say(first, ClientMessage::Hangup { target_uid: tree.edges[&leaf].clone(), source: None });
    assert_eq!(hung_up(&out), BTreeSet::from([leaf]));
    let offered = |out: &[Output]| {
        out.iter().find_map(|output| if let Output::Relay { to, .. } = output { Some(*to) } else { None }).unwrap()
    };
    assert_ne!(offered(&tree.server.say(leaf, offer(TEACHER))), tree.teacher);
    let second = offered(&tree.server.say(leaf, offer(TEACHER)));
    tree.connects(leaf);
    let third = tree.served[&leaf];
    assert!(third != tree.teacher && third != second, "those that did not connect it are left out");
    let n = all.iter().position(|edge| *edge == leaf).unwrap();
    let route = Route { node: None, edge: Some(EdgeRole::Receives) };
    let low = Newcomer { route, session: session(n), ..edge(&format!("edge{n}low"), &format!("node{n}")) };
    let (low, _) = tree.server.enter(low);
    assert_eq!(offered(&tree.server.say(low, offer(TEACHER))), third);
}

#[test]
fn a_tree_stays_as_it_is_when_the_room_moves_to_another_node() {
    let mut tree = Tree::start();
    let all: Vec<ConnId> = (0..DIRECT_EDGES + 2).map(|n| tree.edge_joins(n)).collect();
    all.iter().for_each(|edge| tree.connects(*edge));
    let leaf = *all.last().unwrap();
    let (above, of_leaf) = (tree.served[&leaf], tree.edges[&leaf].clone());
    let upper = all.iter().position(|edge| *edge == above).unwrap();
    // At the next owner all of them come back, and say whom they serve. No media stops, and nobody offers.
    let mut next = Tree::start();
    let back = next.edge_joins(upper);
    let said = |tree: &mut Tree, by| tree.server.say(by, ClientMessage::Connected { target_uid: of_leaf.clone() });
    assert_eq!(said(&mut next, back), []);
    let leaf = next.edge_joins(DIRECT_EDGES + 1);
    assert_eq!(said(&mut next, back), [], "an edge is no student that has left");
    for n in (0..=DIRECT_EDGES).filter(|n| *n != upper) {
        next.edge_joins(n);
    }
    // The edge above dies there, and the one below is told.
    next.server.lose(back);
    assert_eq!(hung_up(&next.server.pass(RETURNS_WITHIN)), BTreeSet::from([leaf]));
}
