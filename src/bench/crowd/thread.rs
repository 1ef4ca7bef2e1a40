//! A thread of a crowd: waits for many sockets, gives each student its turn.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::sample::Sample;
use super::student::{Fate, Student};
use super::{Clock, Command, CrowdEvent, Shared, Tally};

/// How often timers and commands are looked at.
const TICK: Duration = Duration::from_millis(5);

/// How often students look for what they miss: the interval at which they ask again.
const FEEDBACK: Duration = Duration::from_millis(20);

/// Students of a thread that may be about to connect: those of a class come in the same second, those of a whole school
/// do not.
const MAX_JOINING: usize = 300;

/// How long nobody looks at the sockets. A thread that waits for them would be woken by each send, on the CPU of the
/// sender: what no network asks of a teacher, and a bench shall measure the teacher.
pub(crate) const REST: Duration = Duration::from_millis(1);

/// Sockets that are told to be readable in one call, without waiting.
const EVENTS: usize = 256;
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Runs the students of these numbers until the commands end.
pub(super) fn run(
    numbers: &[usize],
    shared: &Shared,
    clock: Clock,
    commands: &Receiver<Command>,
    events: &Sender<CrowdEvent>,
) {
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
    let mut class = Class {
        seats: HashMap::new(),
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
        // One at a time: those who wait for their handshake are not kept waiting.
        let under_way = class.joining - waiting.len();
        let next = if under_way < MAX_JOINING { waiting.next() } else { None };
        let more = next.map(|number| class.join(number, shared, &epoll)).is_some();
        ready.clear();
        let before = Instant::now();
        if !more && !has_more {
            std::thread::sleep(REST);
        }
        class.sample.rested(before.elapsed());
        // Interrupted by a signal: the next round asks again.
        let _ = epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut ready), Some(&AT_ONCE));
        has_more = ready.len() == EVENTS;
        let now = Instant::now();
        for event in &ready {
            class.read(now, event.data.u64() as usize);
        }
        let now = Instant::now();
        if now - ticked >= TICK {
            ticked = now;
            class.for_each(|student, tally| student.tick(now, tally));
            class.for_each(|student, tally| student.tell_arrivals(now, tally));
            if now - fed_back >= FEEDBACK {
                fed_back = now;
                class.for_each(|student, tally| student.feed_back(now, tally));
            }
            class.sample.turn(now, class.joining == 0);
        }
        loop {
            match commands.try_recv() {
                Ok(Command::Answer { student, sdp }) => class.answer(now, student, sdp),
                Ok(Command::Tally(reply)) => drop(reply.send(class.tally.clone())),
                Ok(Command::Leave(done)) => {
                    class.students.into_iter().flatten().for_each(|student| student.close(now));
                    let _ = done.send(());
                    return;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }
}

struct Class<'a> {
    numbers: &'a [usize],
    /// The place of each number.
    seats: HashMap<usize, usize>,
    students: Vec<Option<Student>>,
    /// How many are neither connected nor gone.
    joining: usize,
    sample: Sample,
    tally: Tally,
    clock: Clock,
    events: &'a Sender<CrowdEvent>,
}

impl Class<'_> {
    fn join(&mut self, number: usize, shared: &Shared, epoll: &rustix::fd::OwnedFd) {
        let seat = self.seats.len();
        self.seats.insert(number, seat);
        let event = match Student::offer(shared, Instant::now()) {
            Ok((student, sdp)) => {
                let data = epoll::EventData::new_u64(seat as u64);
                match epoll::add(epoll, &student.socket, data, epoll::EventFlags::IN) {
                    Ok(()) => {
                        self.students[seat] = Some(student);
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
        let Some(&seat) = self.seats.get(&number) else { return };
        let Some(student) = &mut self.students[seat] else { return };
        match student.answer(now, sdp) {
            Ok(()) => {
                let fate = student.turn(now, &mut self.tally);
                self.note(seat, fate, "");
            }
            Err(cause) => self.note(seat, Fate::Gone, &cause.to_string()),
        }
    }

    fn read(&mut self, now: Instant, seat: usize) {
        let opens = self.sample.has(seat);
        if let Some(student) = &mut self.students[seat] {
            let fate = student.read(now, opens || !student.connected, &self.clock, &mut self.tally);
            self.note(seat, fate, "the connection was lost");
        }
    }

    fn for_each(&mut self, mut each: impl FnMut(&mut Student, &mut Tally) -> Fate) {
        for seat in 0..self.students.len() {
            if let Some(student) = &mut self.students[seat] {
                let fate = each(student, &mut self.tally);
                self.note(seat, fate, "the connection was lost");
            }
        }
    }

    fn note(&mut self, seat: usize, fate: Fate, why: &str) {
        let student = self.numbers[seat];
        let event = match fate {
            Fate::Same => return,
            Fate::Connected => {
                self.joining -= 1;
                CrowdEvent::Connected { student }
            }
            Fate::Gone => {
                let was = self.students[seat].take();
                self.joining -= usize::from(was.is_some_and(|student| !student.connected));
                CrowdEvent::Gone { student, why: why.to_owned() }
            }
        };
        let _ = self.events.send(event);
    }
}
