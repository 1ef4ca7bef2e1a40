//! A running lecture: reacts to the SFU, signalling, the capture and the teacher, and reports once a second.

mod reports;
mod scenes;
mod signalling;
mod stage;
mod whip;
mod whip_out;

use std::future::Future;
use std::time::Instant;

use tokio::time::sleep_until;

use self::scenes::EmptyClass;
use super::attendance::{Attendance, Now};
use super::attendance_file::{AttendanceFile, AttendanceWriter};
use super::ending::can_ask;
use super::inputs::{Input, Inputs};
use super::roster::Roster;
use super::scenes::Scenes;
use super::source::Source;
use super::stats::Rates;
use super::student_states::StudentStates;
use super::talk::TeacherTalk;
use super::teacher_views::TeacherViews;
use super::throttled_lines::ThrottledLines;
use crate::cli::Teach;
use crate::commands::chat_commands::TeacherInput;
use crate::commands::edges::Meaning;
use crate::commands::lecture_orders::LectureOrder;
use crate::commands::metrics::MetricsStore;
use crate::commands::negotiation::rejection;
use crate::commands::or_never;
use crate::commands::source_monitor::SourceMonitor;
use crate::commands::stage::StageMedia;
use crate::commands::stop::Stop;
use crate::commands::waiting_offers::WaitingOffers;
use crate::commands::whip::WhipSessions;
use crate::commands::whip_out::WhipServers;
use crate::exit::Failure;
use crate::id::UserId;
use crate::media::{CaptureEvent, SlidePosition};
use crate::protocol::{ClientMessage, RoomSettings};
use crate::report::{EndReason, Event, Reporter, SlideReport, StudentState, missing_sentence};
use crate::sfu::{Departure, Sfu, SfuEvent};
use crate::signal::{Client, Goodbye};

/// The parts of a lecture, and the teacher's settings for its room.
pub(super) struct LectureParts {
    pub(super) sfu: Sfu,
    pub(super) stage: StageMedia,
    pub(super) views: TeacherViews,
    pub(super) client: Client,
    pub(super) source: Source,
    /// The scenes of `--lecture`.
    pub(super) scenes: Option<Scenes>,
    pub(super) whip_out: WhipServers,
    pub(super) settings: RoomSettings,
}

/// A running lecture.
pub(super) struct Lecture<'a> {
    pub(super) sfu: Sfu,
    /// The media of the speakers.
    pub(super) stage: StageMedia,
    /// The speakers at this computer.
    pub(super) views: TeacherViews,
    pub(super) client: Client,
    pub(super) source: Source,
    pub(super) scenes: Option<Scenes>,
    /// The WHIP servers that get the lecture as well.
    pub(super) whip_out: WhipServers,
    /// How to leave the room at the end.
    pub(super) goodbye: Goodbye,
    teach: &'a Teach,
    reporter: &'a Reporter,
    sources: SourceMonitor,
    whip: WhipSessions,
    /// Offers of students that came before the encoder.
    waiting: WaitingOffers,
    students: StudentStates,
    empty: EmptyClass,
    talk: TeacherTalk,
    attendance: Attendance,
    attendance_writer: Option<AttendanceWriter>,
    rates: Rates,
    metrics: MetricsStore,
    /// Whether the teacher has read that the server is lost.
    has_lost_server: bool,
    /// Lines about refused offers, errors that the server reports, and the media of speakers.
    refusals: ThrottledLines,
    server_errors: ThrottledLines,
    stage_warnings: ThrottledLines,
    /// The time to repeat the orders for a restarted server.
    orders_due: Option<Instant>,
}

impl<'a> Lecture<'a> {
    /// A lecture that starts now.
    pub(super) fn new(
        teach: &'a Teach,
        reporter: &'a Reporter,
        parts: LectureParts,
        (roster, attendance_file): (Roster, Option<AttendanceFile>),
        metrics: MetricsStore,
    ) -> Self {
        let LectureParts { sfu, stage, views, client, source, scenes, whip_out, settings } = parts;
        let talk = TeacherTalk::new(teach, settings, &sfu);
        Self {
            sfu,
            stage,
            views,
            client,
            source,
            scenes,
            whip_out,
            goodbye: if teach.end_class { Goodbye::LectureOver } else { Goodbye::Leave },
            teach,
            reporter,
            sources: SourceMonitor::default(),
            whip: WhipSessions::default(),
            waiting: WaitingOffers::default(),
            students: StudentStates::default(),
            empty: EmptyClass::default(),
            talk,
            attendance: Attendance::new(Now::read(), roster),
            attendance_writer: attendance_file.map(|file| AttendanceWriter::start(file, reporter)),
            rates: Rates::default(),
            metrics,
            has_lost_server: false,
            refusals: ThrottledLines::default(),
            server_errors: ThrottledLines::default(),
            stage_warnings: ThrottledLines::default(),
            orders_due: None,
        }
    }

    /// Handles inputs until one of them ends the lecture.
    pub(super) async fn run<S: Future<Output = Stop>>(
        &mut self,
        mut inputs: Inputs<'_, S>,
    ) -> Result<EndReason, Failure> {
        self.write_attendance(Now::read());
        self.begin_scenes();
        loop {
            self.change_stage();
            let scene_tick = self.next_scene_tick();
            let input = tokio::select! {
                () = or_never(scene_tick.map(sleep_until)) => match self.on_scene_tick() {
                    Some(reason) => return Ok(reason),
                    None => continue,
                },
                input = inputs.next(self.talk.next_tick()) => input,
                output = self.stage.next() => {
                    self.on_stage(output);
                    continue;
                }
                request = self.views.next() => {
                    self.on_view(request);
                    continue;
                }
                output = self.whip_out.next() => {
                    self.on_whip_out(output);
                    continue;
                }
            };
            let ended = match input {
                Input::Stop(stop) => self.on_stop(stop, &mut inputs),
                Input::Answer(goodbye) => {
                    self.goodbye = goodbye;
                    Some(EndReason::Interrupted)
                }
                Input::Sfu(event) => {
                    self.on_sfu(event);
                    None
                }
                Input::SfuEnded => return Err(Failure::internal(anyhow::anyhow!("the SFU has ended"))),
                Input::Signal(event) => {
                    self.on_signal(event)?;
                    None
                }
                Input::Capture(event) => self.on_capture(event)?,
                Input::Whip(request) => {
                    self.on_whip(request);
                    None
                }
                Input::Notice(sentence) => {
                    self.reporter.notice(sentence);
                    None
                }
                Input::Line(line) => self.on_line(&line),
                Input::TalkTick => {
                    self.talk.tick(&self.sfu, self.reporter);
                    None
                }
                Input::Second => self.on_second(&mut inputs).await,
            };
            if let Some(reason) = ended {
                return Ok(reason);
            }
        }
    }

    /// Ends the lecture, or first asks the teacher whether the class ends too. The lecture goes on meanwhile.
    fn on_stop<S: Future<Output = Stop>>(&self, stop: Stop, inputs: &mut Inputs<'_, S>) -> Option<EndReason> {
        let is_open = stop == Stop::Interrupt && self.goodbye == Goodbye::Leave && !self.students.is_empty();
        let asks = is_open && can_ask(self.reporter) && inputs.ask(self.reporter);
        (!asks).then(|| stop.reason())
    }

    /// The teacher has typed a line.
    fn on_line(&mut self, line: &str) -> Option<EndReason> {
        match TeacherInput::parse(line) {
            TeacherInput::Lecture(order) => return self.obey(order),
            input => {
                if let Some(message) = self.talk.typed(input, &self.sfu, self.reporter) {
                    self.send(message);
                }
            }
        }
        None
    }

    fn obey(&mut self, order: LectureOrder) -> Option<EndReason> {
        if let Some(obeyed) = self.order_scenes(&order) {
            return obeyed.unwrap_or_else(|sentence| {
                self.reporter.notice(sentence);
                None
            });
        }
        match order {
            LectureOrder::Pause | LectureOrder::Scene(_) => {
                self.reporter.notice("this lecture has no scenes: start it with --lecture FILE.toml");
            }
            LectureOrder::Turn(turn) => {
                let turned = match self.source.shared_capture() {
                    Some(shared) => shared.capture().turn(turn),
                    None => Err("the encoder that sends this lecture turns its slides itself".to_owned()),
                };
                turned.unwrap_or_else(|sentence| self.reporter.notice(sentence));
            }
            LectureOrder::Missing if self.attendance.has_roster() => {
                self.reporter.notice(missing_sentence(&self.attendance.missing()));
            }
            LectureOrder::Missing => {
                self.reporter.notice("this lecture has no roster: start it with --roster class.csv");
            }
        }
        None
    }

    fn on_sfu(&mut self, event: SfuEvent) {
        let Some(event) = self.source.on_sfu(event) else {
            self.end_absent_sources();
            return self.offer_waiting();
        };
        let Some(event) = self.of_student(event) else { return };
        if let SfuEvent::Gone { user, .. } = &event
            && self.talk.edges().contains(user)
        {
            self.send(ClientMessage::Hangup { target_uid: user.clone(), source: None });
        }
        let encodings = || self.source.encodings();
        match self.talk.edges().on_event(event, &self.sfu, encodings) {
            Meaning::Own(event) => self.on_student_event(event),
            Meaning::AtEdges(events) => events.into_iter().for_each(|event| self.on_student_event(event)),
        }
    }

    /// An event of a student here or at an edge.
    fn on_student_event(&mut self, event: SfuEvent) {
        match event {
            SfuEvent::Answer { user, sdp } => {
                self.send(ClientMessage::Answer { entry: None, target_uid: user, sdp, source: None });
            }
            SfuEvent::Refused { user, why } => {
                let line = format!("refused {}: {why}", self.attendance.named(&user));
                self.refusals.line(line).into_iter().for_each(|line| self.reporter.detail(line));
                self.set_state(&user, StudentState::Refused);
                self.send(rejection(user, None, &why));
            }
            SfuEvent::Connected(user) => {
                self.attendance.connected(Now::read(), &user);
                self.set_state(&user, StudentState::Watching);
                // From now on nobody takes the student's place in a full room.
                self.send(ClientMessage::Connected { target_uid: user });
            }
            SfuEvent::Gone { user, why } => {
                self.attendance.disconnected(Now::read(), &user, why);
                if why == Departure::Failed {
                    self.reporter.warn(format!(
                        "the connection of {} failed because of a bug in this program; the student can connect again; \
                         please report the bug",
                        self.attendance.named(&user)
                    ));
                }
                let state = match why {
                    Departure::Left => StudentState::Left,
                    Departure::Lost
                    | Departure::NeverConnected
                    | Departure::Misbehaved
                    | Departure::OtherCodec
                    | Departure::Failed => StudentState::Lost,
                };
                self.set_state(&user, state);
                self.talk.disconnected(&user, &self.sfu, self.reporter);
                // The server drops this message if the student has left the room.
                self.send(ClientMessage::Hangup { target_uid: user, source: None });
            }
            SfuEvent::ChannelOpen(user) => self.talk.channel_opened(&user, &self.sfu),
            SfuEvent::Heard { user, text } => self.talk.received(&user, &text, &self.sfu, self.reporter),
            SfuEvent::Notice(sentence) => self.reporter.notice(sentence),
            // The source has handled these, and without a publisher there are no encodings to tell.
            SfuEvent::KeyFrameNeeded(_) | SfuEvent::Needed(..) | SfuEvent::Encodings(_) => {}
            SfuEvent::Session { number, event } => self.on_session(number, event),
        }
    }

    fn on_capture(&mut self, event: CaptureEvent) -> Result<Option<EndReason>, Failure> {
        match event {
            CaptureEvent::Playing { path, index, of } => {
                self.reporter.event(&Event::Playing { file: path.display().to_string(), index, of });
            }
            CaptureEvent::Slide(SlidePosition { page, pages, is_black, notes }) => {
                self.reporter.event(&Event::Slide(SlideReport { page, pages, black: is_black, notes }));
            }
            CaptureEvent::Scene(event) => return Ok(self.on_scene(event)),
            CaptureEvent::Eos => return Ok(Some(EndReason::EndOfFile)),
            CaptureEvent::Error(error) => return Err(error.into()),
            CaptureEvent::Warning(sentence) => {
                self.reporter.warn(sentence);
                // The capture may have given up an encoding.
                self.source.announce_encodings(&self.sfu);
            }
        }
        Ok(None)
    }

    fn set_state(&mut self, user: &UserId, state: StudentState) {
        if self.talk.edges().contains(user) {
            return;
        }
        if self.students.set(user, state) {
            let nickname = self.attendance.nickname(user).to_owned();
            self.reporter.event(&Event::Student { user: user.clone(), nickname, state });
        }
    }

    fn send(&self, message: ClientMessage) {
        if self.client.send(message).is_err() {
            self.reporter.warn("the queue to the signalling server is full; a student has to connect again");
        }
    }
}
