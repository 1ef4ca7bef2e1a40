//! Ten thousand students of three rooms: who serves them, by the rules of rooms and the numbers of a plan.

use std::collections::{BTreeMap, BTreeSet};

use super::edges::{edge, offer, student_at};
use super::*;
use crate::plan::{Costs, Lecture, Machine, Shape, plan};
use crate::room::edges::RETURNS_WITHIN;

const STUDENTS: u32 = 10_000;

/// A room has at most `MAX_ROOM_USERS` members.
const ROOMS: u32 = 3;

/// Nodes beyond the plan.
const SPARE: usize = 3;

/// The nodes that are edges, and who serves each student.
struct Hall {
    server: TestServer,
    /// The connections of each node to the rooms.
    nodes: Vec<Vec<ConnId>>,
    served: BTreeMap<ConnId, ConnId>,
}

fn in_room(room: u32, newcomer: Newcomer) -> Newcomer {
    Newcomer { room: format!("hall{room}").parse().unwrap(), ..newcomer }
}

impl Hall {
    /// The student offers, and whoever gets the offer connects it.
    fn watches(&mut self, (user, conn): (&UserId, ConnId)) {
        let out = self.server.say(conn, offer(TEACHER));
        let by = out.iter().find_map(|output| match output {
            Output::Relay { to, .. } => Some(*to),
            _ => None,
        });
        let by = by.unwrap_or_else(|| panic!("{user}: {out:?}"));
        self.server.say(by, ClientMessage::Connected { target_uid: user.clone() });
        self.served.insert(conn, by);
    }

    /// The students of each node.
    fn loads(&self) -> Vec<usize> {
        let of = |node: &Vec<ConnId>| self.served.values().filter(|by| node.contains(by)).count();
        self.nodes.iter().map(of).collect()
    }
}

#[test]
fn a_plan_for_ten_thousand_holds_when_students_join_and_edges_die() {
    let (video_bits, joining) = (2_500_000.0, Duration::from_secs(60));
    let lecture = Lecture { students: u64::from(STUDENTS), video_bits, fps: 30.0, joining };
    let machine = Machine { uplink: 1e9, cores: 2.0, memory: 4e9 };
    let plan = plan(&lecture, &machine, &Costs::default()).unwrap();
    let Shape::Edges { edges, .. } = plan.shape else { panic!("{plan:?}") };
    let capacity = usize::try_from(plan.edge.streams()).unwrap();
    let count = usize::try_from(edges).unwrap() + SPARE;

    let mut server = TestServer::new();
    for room in 0..ROOMS {
        server.let_in(in_room(room, teacher()));
    }
    let mut node = |n: usize| {
        let edge = |room| in_room(room, edge(&format!("edge{n}"), &format!("node{n}")));
        (0..ROOMS).map(|room| server.enter(edge(room)).0).collect()
    };
    let nodes = (0..count).map(&mut node).collect();
    let mut hall = Hall { server, nodes, served: BTreeMap::new() };

    // A third of the servers are no edges.
    let servers = u32::try_from(count + count / 2).unwrap();
    let mut users = BTreeMap::new();
    for n in 0..STUDENTS {
        let user = format!("1{n:05}");
        let network = network_of(&format!("10.{}.{}.1", n / 250, n % 250));
        let student = Newcomer { network, ..student_at(&user, &format!("node{}", n / ROOMS % servers)) };
        let conn = hall.server.let_in(in_room(n % ROOMS, student));
        hall.watches((&id(&user), conn));
        users.insert(conn, id(&user));
        hall.server.pass(joining / STUDENTS);
    }
    let loads = hall.loads();
    assert_eq!(loads.iter().sum::<usize>(), STUDENTS as usize, "no student is served by a teacher's process");
    assert!(loads.iter().all(|load| *load <= capacity), "{capacity}: {loads:?}");

    let dead: BTreeSet<ConnId> = hall.nodes.drain(..SPARE).flatten().collect();
    dead.iter().for_each(|edge| hall.server.lose(*edge));
    let out = hall.server.pass(RETURNS_WITHIN);
    let hung_up = out.iter().filter_map(|output| match output {
        Output::Send { to, message: ServerMessage::Hangup { .. } } => Some(*to),
        _ => None,
    });
    let of_dead = hall.served.iter().filter(|(_, by)| dead.contains(by)).map(|(conn, _)| *conn);
    let of_dead: BTreeSet<ConnId> = of_dead.collect();
    assert_eq!(hung_up.collect::<BTreeSet<_>>(), of_dead, "exactly the students of the dead nodes");
    for conn in of_dead {
        hall.watches((&users[&conn], conn));
        hall.server.pass(joining / STUDENTS);
    }
    let loads = hall.loads();
    assert_eq!(loads.iter().sum::<usize>(), STUDENTS as usize);
    assert!(loads.iter().all(|load| *load <= capacity), "{capacity}: {loads:?}");
}
