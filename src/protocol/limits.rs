//! The limits of the protocol: sizes, rates and times that both ends know.

use std::time::Duration;

use crate::network::Rate;

/// The TCP port of a server when none is given.
pub const DEFAULT_PORT: u16 = 18080;

/// The path of the WebSocket.
pub const WS_PATH: &str = "/ws";

/// The largest message that a client may send, in bytes. An offer with three sections and all candidates has 5 kB; ten
/// times that leaves room for browsers and bounds the memory that a client can make the server hold.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The largest message that a server may send, in bytes: a list of [`MAX_ROOM_USERS`] with the longest names.
pub const MAX_SERVER_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Messages per second that a student may send on average. A negotiation takes one offer and about ten candidates.
pub const STUDENT_RATE: u32 = 50;

/// Messages that a student may send in one burst. A participant that gets the media of 24 others from the server sends
/// an offer and about ten candidates for each.
pub const STUDENT_BURST: u32 = 400;

/// Messages per second that a publisher may send on average: answers and candidates to a class that starts together.
pub const PUBLISHER_RATE: u32 = 5_000;

/// Messages that a publisher may send in one burst: ten for each of 2,000 students.
pub const PUBLISHER_BURST: u32 = 20_000;

/// The most students in a room: twice what one core can send a lecture to.
pub const MAX_ROOM_USERS: usize = 4_096;

/// The most rooms on a server: enough for a big school, and a bound for a client that opens rooms in a loop.
pub const MAX_ROOMS: usize = 4_096;

/// How long an empty created room stays: created in the evening for the next morning.
pub const CREATED_ROOM_STAYS: Duration = Duration::from_secs(12 * 60 * 60);

/// How long an empty room stays after its teacher said goodbye, so that latecomers learn that the lecture is over.
pub const ENDED_ROOM_STAYS: Duration = Duration::from_secs(10 * 60);

/// How long an empty room stays after the connection of its teacher was lost. Meanwhile nobody else may publish in it.
pub const OWNED_ROOM_STAYS: Duration = Duration::from_secs(10 * 60);

/// The most rooms of one network that wait for their first teacher with students inside.
pub const MAX_UNCLAIMED_ROOMS: usize = 50;

/// Rooms that are created, or that teachers open by joining: the lectures of a school behind one address, after a
/// restart of the server.
pub const OPENINGS: Rate = Rate { per_second: 1, burst: 40, all_per_second: 20, all_burst: 300 };

/// Joins: a building of 2,000 students behind one NAT in one burst, and some that join twice.
pub const JOINS: Rate = Rate { per_second: 50, burst: 2_400, all_per_second: 400, all_burst: 4_800 };

/// How often per second a member may join again on average. Each time it gets a list of the members.
pub const RETURN_RATE: u32 = 1;

/// Returns of one member in one burst: a network that breaks off again and again.
pub const RETURN_BURST: u32 = 8;

/// Offers to publishers: 500 students behind one NAT in one burst, and some that offer twice.
pub const OFFERS: Rate = Rate { per_second: 50, burst: 600, all_per_second: 200, all_burst: 2_000 };

/// Offers about speakers on the stage: a class of 500 behind one NAT connects to two new speakers in one burst, and
/// then to another one every five seconds. Apart from [`OFFERS`], so that a stage that changes often keeps nobody from
/// the lecture.
pub const STAGE_OFFERS: Rate = Rate { per_second: 100, burst: 1_200, all_per_second: 400, all_burst: 4_000 };

/// Offers of participants of calls and meetings, to each other and to the server: the 25 participants of a meeting,
/// behind one NAT, connect to each other in one burst, and some of them twice. Apart from [`OFFERS`], so that meetings
/// keep nobody from a lecture. Offers that go to nobody do not count.
pub const CONFERENCE_OFFERS: Rate = Rate { per_second: 100, burst: 1_200, all_per_second: 400, all_burst: 4_000 };

/// Offers of one participant of a call or meeting, per second on average.
pub const PARTICIPANT_OFFER_RATE: u32 = 10;

/// Offers of one participant in one burst: its own media and that of 24 others, each several times.
pub const PARTICIPANT_OFFER_BURST: u32 = 120;

/// How often per second a member may call, or enter a conference, on average. Both make a sound, or connections, at
/// others.
pub const CALL_RATE: u32 = 1;

/// Calls and entries of one member in one burst.
pub const CALL_BURST: u32 = 8;

/// How long the server waits for the next change of a participant who changes too often, before it tells the others.
pub const RESTLESS_INTERVAL: Duration = Duration::from_secs(1);

/// How long the place of a participant is kept whose connection is lost, or whose page is loaded again: a phone that
/// changes from Wi-Fi to the mobile network takes longer than [`RESUME_GRACE`].
pub const CONFERENCE_GRACE: Duration = Duration::from_secs(10);

/// When a client may try again to enter a room that nobody has opened yet.
pub const NOT_OPEN_RETRY: Duration = Duration::from_secs(5);

/// The most candidates that are relayed for one offer of a student; more are ignored. Browsers send about ten.
pub const MAX_CANDIDATES_PER_OFFER: u32 = 32;

/// The most clients that wait in the lobby of one room.
pub const MAX_LOBBY: usize = 1_000;

/// How long changes of a lobby are collected for one list.
pub const LOBBY_INTERVAL: Duration = Duration::from_millis(500);

/// How long a member of a full room may be without media before another one gets its place. Media takes less than a
/// second on a LAN, and some seconds over a TURN server.
pub const MEDIA_WITHIN: Duration = Duration::from_secs(5);

/// How long the user id of a lost connection stays reserved: a client reconnects within a second or two.
pub const RESUME_GRACE: Duration = Duration::from_secs(5);

/// The time for which the server keeps the media of a publisher after a lost connection. It is longer than
/// [`RESUME_GRACE`] for a laptop that changes its Wi-Fi, or a page that is loaded again. Meanwhile the students stay
/// connected.
pub const MEDIA_STAYS: Duration = Duration::from_secs(60);

/// The most rooms whose media a server carries. One room takes a thread and, with 30 students at 2.5 Mbit/s, a tenth of
/// a core. Once all places are taken, another publisher gets that of one whose media has not arrived within
/// [`MEDIA_WITHIN`], or is lost for [`MEDIA_STAYS`] already.
pub const MAX_MEDIA_ROOMS: usize = 16;

/// How long joins and leaves of students are collected before other students get them.
pub const PRESENCE_INTERVAL: Duration = Duration::from_millis(100);

/// The most clients that a list of a lobby names.
pub const MAX_LOBBY_LIST: usize = 100;

/// How long the server waits for the credentials of a client that announced them.
pub const AUTH_WITHIN: Duration = Duration::from_secs(5);

/// How often the server sends a WebSocket ping.
pub const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The silence after which either end gives up the connection: two unanswered pings and a margin.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(12);

/// Messages that may wait for one student before it counts as a slow consumer: 50 s of presence batches.
pub const STUDENT_QUEUE: usize = 512;

/// Messages that may wait for one publisher. A class of 2,000 that offers at the same instant, candidates included,
/// takes half; the other half is for the server's own messages.
pub const PUBLISHER_QUEUE: usize = 32_768;

/// Bytes that may wait for one student: a list of [`MAX_LISTED_USERS`] with the longest names, and a margin.
pub const STUDENT_QUEUE_BYTES: usize = 256 * 1024;

/// Bytes that may wait for all students of a server together. Beyond that, the student for whom most waits is closed.
pub const ALL_STUDENTS_QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Bytes that may wait for one publisher: the full list of the largest room and a margin.
pub const PUBLISHER_QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// The most members in a list for a student. A publisher gets all.
pub const MAX_LISTED_USERS: usize = 500;

/// How often one client gets a list of users at most.
pub const USER_LIST_INTERVAL: Duration = Duration::from_secs(1);
