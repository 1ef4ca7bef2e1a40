//! A thread of a crowd: reads many sockets and runs each student in turn.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::sample::Sample;
use super::student::{Change, Student};
use super::{Clock, Command, Credentials, CrowdEvent, Tally};
use crate::bench::cpu::give_way;

/// The interval at which timers and commands are handled.
const TICK: Duration = Duration::from_millis(5);

/// How often students send NACKs: the interval of retries.
const FEEDBACK: Duration = Duration::from_millis(20);

/// The maximum number of students of a thread that join at once. A class joins within a second, a whole school does
/// not.
const MAX_JOINING: usize = 300;

/// The pause between two reads of the sockets. A thread that waits for them would be woken by each send at the sender's
/// cost, which no real network imposes and which would distort the measurement.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);

/// The maximum number of readable sockets that one call of `epoll_wait` reports, without waiting.
const EVENTS: usize = 256;
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Runs the students with these numbers until the commands end.
pub(super) fn run(
    numbers: &[usize],
    credentials: &Credentials,
    clock: Clock,
    commands: &Receiver<Command>,
    events: &Sender<CrowdEvent>,
) {
    give_way();
    let epoll = match epoll::create(epoll::CreateFlags::CLOEXEC) {
        Ok(epoll) => epoll,
        Err(cause) => {
            let gone = |student: &usize| CrowdEvent::Gone { student: *student, why: cause.to_string() };
            for event in numbers.iter().map(gone) {
                let _ = events.send(event);
            }
            return;
        }
    };
    let now = Instant::now();
    let mut students = Students {
        indices: HashMap::new(),
        students: numbers.iter().map(|_| None).collect(),
        joining: numbers.len(),
        sample: Sample::new(numbers.len(), now),
        tally: Tally::default(),
        events,
        numbers,
        clock,
    };
    let mut waiting = numbers.iter().copied();
    let mut ready = Vec::with_capacity(EVENTS);
    let (mut ticked, mut fed_back) = (now, now);
    let mut has_more = false;
    loop {
        // One offer per turn, so that other handshakes are not delayed.
        let under_way = students.joining - waiting.len();
        let next = if under_way < MAX_JOINING { waiting.next() } else { None };
        let more = next.map(|number| students.join(number, credentials, &epoll)).is_some();
        ready.clear();
        let before = Instant::now();
        if !more && !has_more {
            std::thread::sleep(PAUSE);
        }
        students.sample.rested(before.elapsed());
        // If a signal interrupts this, the next turn polls again.
        let _ = epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut ready), Some(&AT_ONCE));
        has_more = ready.len() == EVENTS;
        let now = Instant::now();
        for event in &ready {
            students.read(now, event.data.u64() as usize);
        }
        let now = Instant::now();
        if now - ticked >= TICK {
            ticked = now;
            students.for_each(|student, tally| student.tick(now, tally));
            students.for_each(|student, tally| student.send_transport_feedback(now, tally));
            if now - fed_back >= FEEDBACK {
                fed_back = now;
                students.for_each(|student, tally| student.send_reports(now, tally));
            }
            students.sample.turn(now, students.joining == 0);
        }
        loop {
            match commands.try_recv() {
                Ok(Command::Answer { student, sdp }) => students.answer(now, student, sdp),
                Ok(Command::Tally(reply)) => drop(reply.send(students.tally.clone())),
                Ok(Command::Leave(done)) => {
                    students.students.into_iter().flatten().for_each(|student| student.close(now));
                    let _ = done.send(());
                    return;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }
}

struct Students<'a> {
    numbers: &'a [usize],
    /// The index of each number in `students`.
    indices: HashMap<usize, usize>,
    students: Vec<Option<Student>>,
    /// The number of students neither connected nor gone.
    joining: usize,
    sample: Sample,
    tally: Tally,
    clock: Clock,
    events: &'a Sender<CrowdEvent>,
}

impl Students<'_> {
    fn join(&mut self, number: usize, credentials: &Credentials, epoll: &rustix::fd::OwnedFd) {
        let index = self.indices.len();
        self.indices.insert(number, index);
        let event = match Student::offer(credentials, Instant::now()) {
            Ok((student, sdp)) => {
                let data = epoll::EventData::new_u64(index as u64);
                match epoll::add(epoll, &student.socket, data, epoll::EventFlags::IN) {
                    Ok(()) => {
                        self.students[index] = Some(student);
                        CrowdEvent::Offer { student: number, sdp }
                    }
                    Err(cause) => CrowdEvent::Gone { student: number, why: cause.to_string() },
                }
            }
            Err(cause) => CrowdEvent::Gone { student: number, why: cause.to_string() },
        };
        if matches!(event, CrowdEvent::Gone { .. }) {
            self.joining -= 1;
        }
        let _ = self.events.send(event);
    }

    fn answer(&mut self, now: Instant, number: usize, sdp: String) {
        let Some(&index) = self.indices.get(&number) else { return };
        let Some(student) = &mut self.students[index] else { return };
        match student.answer(now, sdp) {
            Ok(()) => {
                let change = student.turn(now, &mut self.tally);
                self.note(index, change, "");
            }
            Err(cause) => self.note(index, Change::Gone, &cause.to_string()),
        }
    }

    fn read(&mut self, now: Instant, index: usize) {
        let opens = self.sample.has(index);
        if let Some(student) = &mut self.students[index] {
            let change = student.read(now, opens || !student.connected, &self.clock, &mut self.tally);
            self.note(index, change, "the connection was lost");
        }
    }

    fn for_each(&mut self, mut each: impl FnMut(&mut Student, &mut Tally) -> Change) {
        for index in 0..self.students.len() {
            if let Some(student) = &mut self.students[index] {
                let change = each(student, &mut self.tally);
                self.note(index, change, "the connection was lost");
            }
        }
    }

    fn note(&mut self, index: usize, change: Change, why: &str) {
        let student = self.numbers[index];
        let event = match change {
            Change::None => return,
            Change::Connected => {
                self.joining -= 1;
                CrowdEvent::Connected { student }
            }
            Change::Gone => {
                let was = self.students[index].take();
                self.joining -= usize::from(was.is_some_and(|student| !student.connected));
                CrowdEvent::Gone { student, why: why.to_owned() }
            }
        };
        let _ = self.events.send(event);
    }
}
