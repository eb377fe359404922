//! Process-wide streams by name.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::builder::BuildError;
use crate::event_stream::EventStream;

/// One per name; a slot once made stays, so that all callers of a name wait for the same one.
static SLOTS: Mutex<Option<HashMap<String, Arc<Slot>>>> = Mutex::new(None);

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Empty,
    Building(ThreadId),
    Built(EventStream),
}

pub(crate) fn get_or_build(
    name: &str,
    build: impl FnOnce() -> Result<EventStream, BuildError>,
) -> Result<EventStream, BuildError> {
    let slot = lock(&SLOTS).get_or_insert_default().entry(name.to_owned()).or_default().clone();
    let this_thread = thread::current().id();
    let mut state = lock(&slot.state);
    loop {
        match &*state {
            State::Built(stream) => return Ok(stream.clone()),
            State::Building(thread) if *thread == this_thread => {
                return Err(BuildError::new(format!(
                    "event stream {name:?} is asked for while it is being built"
                )));
            }
            State::Building(_) => {
                state = slot.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            }
            State::Empty => break,
        }
    }
    *state = State::Building(this_thread);
    drop(state);
    // Empties the slot again if `build` fails or panics.
    let mut outcome = Outcome { slot: &slot, state: State::Empty };
    let stream = build()?;
    outcome.state = State::Built(stream.clone());
    Ok(stream)
}

struct Outcome<'a> {
    slot: &'a Slot,
    state: State,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        *lock(&self.slot.state) = std::mem::take(&mut self.state);
        self.slot.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> Result<EventStream, BuildError> {
        Ok(EventStream::new())
    }

    fn published(name: &str) -> u64 {
        get_or_build(name, || unreachable!("it is built")).unwrap().stats().published
    }

    #[test]
    fn the_first_caller_builds_and_all_get_the_same() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(|| {
                    get_or_build("shared", build)
                        .unwrap()
                        .try_publish("a", Default::default())
                        .unwrap()
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
        assert_eq!(published("shared"), 4);
    }

    #[test]
    fn neither_a_failure_nor_a_panic_is_kept() {
        let failure = get_or_build("fails", || {
            EventStream::builder().history(crate::History::default().events(0)).build()
        });
        assert_eq!(failure.unwrap_err().to_string(), "history: events: must not be zero");
        let panicked = thread::spawn(|| {
            get_or_build("fails", || std::panic::resume_unwind(Box::new(()))).is_ok()
        })
        .join();
        assert!(panicked.is_err());
        assert!(get_or_build("fails", build).is_ok());
    }

    #[test]
    fn a_build_may_ask_for_other_names_but_not_its_own() {
        let outer = get_or_build("outer", || {
            get_or_build("inner", build)?;
            get_or_build("outer", build)
        });
        assert_eq!(
            outer.unwrap_err().to_string(),
            r#"event stream "outer" is asked for while it is being built"#
        );
        assert_eq!(published("inner"), 0);
    }
}
