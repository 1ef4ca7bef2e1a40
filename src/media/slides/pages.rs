//! Pictures that a thread draws before they are shown: the wanted one first, then its neighbours.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use gstreamer as gst;

/// The memory for drawn pages, and the fewest of them: the page, the next one and the one before.
const MAX_KEPT_BYTES: usize = 64_000_000;
const MIN_KEPT: usize = 3;

/// A picture, or why there is none.
pub(in crate::media) type Drawn = Result<gst::Buffer, String>;

/// Draws the page of an index, and gives up soon after the function says that it is to stop.
pub(in crate::media) type Draw = Box<dyn FnMut(usize, &dyn Fn() -> bool) -> Drawn + Send>;

/// Drawn pages and the thread that draws them.
pub(in crate::media) struct Pages {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The number of pages.
    count: usize,
    /// The index of the page that is shown, or will be.
    wanted: Option<usize>,
    /// Drawn pages, the latest use last; an error is the cause for the teacher.
    pages: Vec<(usize, Drawn)>,
    is_stopping: bool,
}

impl Pages {
    /// Starts the thread. `bytes` is the size of a picture; `on_drawn` is called after each one.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(in crate::media) fn start(
        count: usize,
        bytes: usize,
        mut draw: Draw,
        on_drawn: impl Fn() + Send + 'static,
    ) -> Result<Self, String> {
        let state = State { count, wanted: None, pages: Vec::new(), is_stopping: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let kept = (MAX_KEPT_BYTES / bytes.max(1)).max(MIN_KEPT);
        let own = shared.clone();
        let run = move || {
            while let Some(index) = own.next() {
                let drawn = draw(index, &|| own.lock().is_stopping);
                own.lock().keep(index, drawn, kept);
                on_drawn();
            }
        };
        let thread = std::thread::Builder::new().name("pages-draw".into()).spawn(run);
        Ok(Self { shared, thread: Some(thread.map_err(|error| error.to_string())?) })
    }

    /// The picture of a page, if it is drawn. From now on the thread draws this page and its neighbours.
    pub(in crate::media) fn get(&self, index: usize) -> Option<Drawn> {
        let mut state = self.shared.lock();
        if state.wanted.replace(index) != Some(index) {
            self.shared.changed.notify_all();
        }
        state.touch(index);
        state.page(index).cloned()
    }

    /// Ends the drawing soon.
    pub(in crate::media) fn stop(&self) {
        self.shared.lock().is_stopping = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a page to draw. None at the end.
    fn next(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            if let Some(index) = state.missing() {
                return Some(index);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    /// The drawn page of this index.
    fn page(&self, index: usize) -> Option<&Drawn> {
        self.pages.iter().find(|(of, _)| *of == index).map(|(_, drawn)| drawn)
    }

    /// The page to draw next: the wanted one, then those that probably follow.
    fn missing(&self) -> Option<usize> {
        let index = self.wanted?;
        let near = [Some(index), Some(index + 1).filter(|next| *next < self.count), index.checked_sub(1)];
        near.into_iter().flatten().find(|index| self.page(*index).is_none())
    }

    /// Keeps a page, and forgets those that have not been used for the longest time.
    fn keep(&mut self, index: usize, drawn: Drawn, most: usize) {
        self.pages.push((index, drawn));
        let excess = self.pages.len().saturating_sub(most);
        self.pages.drain(..excess);
    }

    /// Notes that a page is used.
    fn touch(&mut self, index: usize) {
        if let Some(at) = self.pages.iter().position(|(of, _)| *of == index) {
            let page = self.pages.remove(at);
            self.pages.push(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(wanted: usize, count: usize) -> State {
        State { count, wanted: Some(wanted), pages: Vec::new(), is_stopping: false }
    }

    #[test]
    fn the_wanted_page_is_drawn_first_and_then_its_neighbours() {
        let mut state = state(4, 6);
        let mut drawn = Vec::new();
        while let Some(index) = state.missing() {
            state.keep(index, Err(String::new()), 10);
            drawn.push(index);
        }
        assert_eq!(drawn, [4, 5, 3]);
        state.wanted = Some(5);
        assert_eq!(state.missing(), None, "the last page has no next one");
        state.wanted = Some(0);
        assert_eq!(state.missing(), Some(0));
    }

    #[test]
    fn the_page_that_was_not_used_for_the_longest_time_is_forgotten() {
        let mut state = state(0, 9);
        for index in 0..3 {
            state.keep(index, Err(String::new()), 3);
        }
        state.touch(0);
        state.keep(3, Err(String::new()), 3);
        assert_eq!([0, 1, 2, 3].map(|index| state.page(index).is_some()), [true, false, true, true]);
    }

    #[test]
    fn a_page_is_drawn_when_it_is_wanted() {
        let (drawn, seen) = std::sync::mpsc::channel();
        let draw: Draw = Box::new(|index, _| Err(format!("no ink for {index}")));
        let pages = Pages::start(2, 1, draw, move || drawn.send(()).unwrap()).unwrap();
        assert!(pages.get(1).is_none());
        seen.recv().unwrap();
        assert_eq!(pages.get(1).unwrap().unwrap_err(), "no ink for 1");
    }
}
