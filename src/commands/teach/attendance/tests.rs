use super::*;

/// An attendance list and clocks that a test moves on.
struct Class {
    attendance: Attendance,
    now: Now,
}

impl Class {
    fn new() -> Self {
        let at = "2026-03-02T08:00:00Z".parse().unwrap();
        let now = Now { instant: Instant::now(), at };
        Self { attendance: Attendance::new(now, Roster::default()), now }
    }

    fn pass(&mut self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        self.now = Now { instant: self.now.instant + time, at: self.now.at + time };
    }

    fn joins(&mut self, id: &str, nickname: &str, client: Option<ClientKind>) {
        let user =
            User { user_id: user(id), nickname: nickname.into(), publishes: false, epoch: 1, client, moderates: false };
        self.attendance.joined(self.now, &user);
    }

    /// Joins the room and receives media.
    fn comes(&mut self, id: &str) {
        self.joins(id, &format!("N-{id}"), None);
        self.attendance.connected(self.now, &user(id));
    }

    /// Leaves the room and closes the connection.
    fn goes(&mut self, id: &str) {
        self.attendance.left(self.now, &user(id), LeaveReason::Left);
        self.attendance.disconnected(self.now, &user(id), Departure::Left);
    }

    /// Statistics of students: user id, packets of a kilobyte, lost packets, picture.
    fn sample(&mut self, peers: &[(&str, u64, u64, SentPicture)]) {
        let peers: Vec<(UserId, PeerStats)> = peers
            .iter()
            .map(|&(id, packets, lost, picture)| {
                (user(id), PeerStats { packets, lost, bytes: packets * 1000, picture, ..PeerStats::default() })
            })
            .collect();
        let bytes = peers.iter().map(|(_, stats)| stats.bytes).sum();
        self.attendance.sample(self.now, bytes, &peers);
    }

    fn row(&self, id: &str) -> StudentRow {
        self.attendance.rows(self.now).into_iter().find(|row| row.user.as_str() == id).unwrap()
    }

    fn at(&self, seconds_ago: u64) -> Timestamp {
        self.now.at - Duration::from_secs(seconds_ago)
    }
}

fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

#[test]
fn a_student_who_comes_back_keeps_its_row() {
    let mut class = Class::new();
    class.pass(60);
    class.comes("1001");
    class.pass(600);
    class.goes("1001");
    class.pass(120);
    class.comes("1001");
    class.pass(300);
    let row = class.row("1001");
    assert_eq!((row.times_joined, row.watched_s, row.longest_absence_s), (2, 900.0, 120.0));
    assert_eq!((row.first_joined, row.last_left), (class.at(1020), None), "still there");
    class.goes("1001");
    class.pass(200);
    class.attendance.close(class.now);
    let row = class.row("1001");
    assert_eq!((row.last_left, row.watched_s), (Some(class.at(200)), 900.0));
    assert_eq!(row.longest_absence_s, 200.0, "the lecture went on without it");
    assert_eq!(class.attendance.rows(class.now).len(), 1);
}

#[test]
fn students_leave_at_the_end_of_the_lecture() {
    let mut class = Class::new();
    class.comes("1001");
    class.joins("1002", "Ben", None);
    class.pass(90);
    class.attendance.close(class.now);
    for (id, watched, absence) in [("1001", 90.0, 0.0), ("1002", 0.0, 0.0)] {
        let row = class.row(id);
        assert_eq!((row.last_left, row.watched_s, row.longest_absence_s), (Some(class.now.at), watched, absence));
    }
}

#[test]
fn a_student_who_only_loses_signalling_is_not_absent() {
    let mut class = Class::new();
    class.comes("1001");
    class.pass(10);
    class.attendance.left(class.now, &user("1001"), LeaveReason::Lost);
    class.pass(10);
    assert_eq!(class.row("1001").last_left, None);
    class.joins("1001", "Anna", None);
    class.pass(10);
    let row = class.row("1001");
    assert_eq!((row.times_joined, row.watched_s, row.longest_absence_s), (1, 30.0, 0.0));
}

#[test]
fn a_row_says_how_the_student_left() {
    let mut class = Class::new();
    let out = |class: &mut Class, id: &str, order: fn(UserId) -> RoomOrder| {
        class.comes(id);
        class.attendance.left(class.now, &user(id), LeaveReason::Removed);
        class.attendance.ordered(&order(user(id)));
        // The order also closes the media connection.
        class.attendance.disconnected(class.now, &user(id), Departure::Left);
        class.row(id).how_left
    };
    assert_eq!(out(&mut class, "kicked", |target_uid| RoomOrder::Kick { target_uid }), Some(HowLeft::Kicked));
    assert_eq!(out(&mut class, "banned", |target_uid| RoomOrder::Ban { target_uid }), Some(HowLeft::Banned));
    class.joins("full", "", None);
    class.attendance.left(class.now, &user("full"), LeaveReason::Removed);
    assert_eq!(class.row("full").how_left, Some(HowLeft::Removed));
    for id in ["said", "lost", "stays", "alone"] {
        class.comes(id);
    }
    class.goes("said");
    class.attendance.left(class.now, &user("lost"), LeaveReason::Lost);
    assert_eq!(class.row("lost").how_left, None, "it still watches");
    class.attendance.disconnected(class.now, &user("lost"), Departure::Lost);
    class.attendance.left(class.now, &user("alone"), LeaveReason::Lost);
    class.attendance.close(class.now);
    let all =
        [("said", HowLeft::Left), ("lost", HowLeft::Lost), ("stays", HowLeft::Stayed), ("alone", HowLeft::Stayed)];
    for (id, how) in all {
        assert_eq!(class.row(id).how_left, Some(how), "{id}");
    }
}

#[test]
fn a_student_who_comes_back_has_not_left() {
    let mut class = Class::new();
    class.comes("1001");
    class.attendance.left(class.now, &user("1001"), LeaveReason::Left);
    class.attendance.disconnected(class.now, &user("1001"), Departure::Lost);
    assert_eq!(class.row("1001").how_left, Some(HowLeft::Left), "its goodbye counts");
    class.comes("1001");
    assert_eq!(class.row("1001").how_left, None);
    // The media connection fails, the student stays in the room and goes away later.
    class.attendance.disconnected(class.now, &user("1001"), Departure::Lost);
    assert_eq!(class.row("1001").how_left, None);
    class.attendance.left(class.now, &user("1001"), LeaveReason::Left);
    assert_eq!(class.row("1001").how_left, Some(HowLeft::Left));
}

#[test]
fn a_student_without_statistics_no_longer_watches() {
    let mut class = Class::new();
    class.comes("1001");
    class.pass(10);
    class.sample(&[]);
    class.pass(10);
    assert_eq!(class.row("1001").watched_s, 10.0);
}

#[test]
fn loss_and_bytes_are_summed_over_all_connections() {
    let mut class = Class::new();
    class.comes("1001");
    class.pass(1);
    class.sample(&[("1001", 800, 20, SentPicture::Full)]);
    // After a page reload nothing reports the end of the old connection.
    class.pass(1);
    class.sample(&[("1001", 100, 0, SentPicture::Full)]);
    class.pass(1);
    class.sample(&[("1001", 200, 10, SentPicture::Full)]);
    let row = class.row("1001");
    assert_eq!((row.loss_percent, row.bytes), (Some(3.0), 1_000_000));
    class.goes("1001");
    assert_eq!(class.row("1001").bytes, 1_000_000);
    class.joins("1002", "", None);
    assert_eq!(class.row("1002").loss_percent, None, "nothing was sent");
}

#[test]
fn picture_shares_refer_to_the_watched_time() {
    let mut class = Class::new();
    class.comes("1001");
    class.sample(&[("1001", 1, 0, SentPicture::Full)]);
    class.pass(50);
    class.sample(&[("1001", 2, 0, SentPicture::Low)]);
    class.pass(30);
    class.sample(&[("1001", 3, 0, SentPicture::Withheld)]);
    class.pass(20);
    class.goes("1001");
    class.pass(1000);
    let row = class.row("1001");
    assert_eq!((row.low_percent, row.no_picture_percent, row.watched_s), (Some(30.0), Some(20.0), 100.0));
}

#[test]
fn a_row_has_the_name_the_client_and_the_actions() {
    let mut class = Class::new();
    class.joins("1001", "", Some(ClientKind::Whep));
    class.joins("1001", "Anna", None);
    let (chatted, raised) = (StudentAction::Chatted(user("1001")), StudentAction::RaisedHand(user("1001")));
    [&chatted, &chatted, &raised].into_iter().for_each(|action| class.attendance.count(class.now, action));
    class.attendance.count(class.now, &StudentAction::Chatted(user("9999")));
    let row = class.row("1001");
    assert_eq!((row.nickname.as_str(), row.client, row.chats, row.hands), ("Anna", Some("whep"), 2, 1));
    assert_eq!(class.attendance.named(&user("1001")).to_string(), "Anna (1001)");
    assert_eq!(class.attendance.named(&user("1002")).to_string(), "1002");
    assert_eq!(class.attendance.rows(class.now).len(), 1, "the teacher is no student");
}

#[test]
fn the_summary_has_the_most_students_at_the_same_time() {
    let mut class = Class::new();
    class.comes("1001");
    class.comes("1002");
    class.goes("1001");
    class.pass(10);
    class.comes("1003");
    class.sample(&[("1002", 5, 0, SentPicture::Full), ("1003", 5, 0, SentPicture::Full)]);
    let summary = class.attendance.summary(class.now);
    assert_eq!((summary.most_at_once, summary.duration_s, summary.bytes), (2, 10.0, 10_000));
    let order: Vec<&str> = summary.students.iter().map(|row| row.user.as_str()).collect();
    assert_eq!(order, ["1001", "1002", "1003"]);
}

#[test]
fn a_change_is_reported_once() {
    let mut class = Class::new();
    assert!(class.attendance.take_changed() && !class.attendance.take_changed());
    class.comes("1001");
    assert!(class.attendance.take_changed() && !class.attendance.take_changed());
    class.sample(&[("1001", 5, 0, SentPicture::Full)]);
    assert!(!class.attendance.take_changed(), "statistics are not a change");
    class.goes("1001");
    assert!(class.attendance.take_changed());
}

#[test]
fn a_flood_of_ids_is_bounded_and_keeps_students_who_watched() {
    let mut class = Class::new();
    class.comes("anna");
    class.pass(1);
    class.goes("anna");
    class.comes("ben");
    for number in 0..2 * MAX_ROWS {
        let id = format!("flood-{number}");
        class.joins(&id, "", None);
        class.attendance.left(class.now, &user(&id), LeaveReason::Left);
    }
    let rows = class.attendance.rows(class.now);
    assert!(rows.len() <= MAX_ROWS, "{}", rows.len());
    assert_eq!((class.row("anna").watched_s, class.row("ben").times_joined), (1.0, 1));
    let summary = class.attendance.summary(class.now);
    assert_eq!(summary.students.len() as u64 + summary.unlisted, 2 * MAX_ROWS as u64 + 2);
}

#[test]
fn the_time_on_the_stage_is_the_sum_of_all_visits() {
    let mut class = Class::new();
    class.comes("1001");
    // Invited, and not come.
    class.attendance.speaks_no_more(class.now, &user("1001"));
    class.pass(10);
    class.attendance.speaks(class.now, &user("1001"));
    class.pass(20);
    assert_eq!(class.row("1001").stage_s, 20.0);
    class.attendance.speaks_no_more(class.now, &user("1001"));
    class.pass(5);
    class.attendance.speaks(class.now, &user("1001"));
    class.pass(30);
    class.attendance.close(class.now);
    class.pass(60);
    assert_eq!(class.row("1001").stage_s, 50.0, "the end of the lecture ends the visit");
}
