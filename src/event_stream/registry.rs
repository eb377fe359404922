//! Process-wide values by name: the first caller of a name builds the value, and all share it.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use crate::error::{BuildError, BuildErrorKind};
use crate::sync::{StdCondvar, StdMutex};

/// One slot per name. A slot stays once it is made, so that all callers of a name wait for the same
/// one.
pub(super) struct Registry<T>(StdMutex<Option<HashMap<String, Arc<Slot<T>>>>>);

struct Slot<T> {
    stage: StdMutex<Stage<T>>,
    changed: StdCondvar,
}

enum Stage<T> {
    Empty,
    Building(ThreadId),
    Built(T),
}

impl<T: Clone> Registry<T> {
    pub(super) const fn new() -> Self {
        Self(StdMutex::new(None))
    }

    /// No lock is held while `build` runs; callers of the same name wait for it.
    pub(super) fn get_or_build(
        &self,
        name: &str,
        build: impl FnOnce() -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        let slot =
            self.0.lock().get_or_insert_default().entry(name.to_owned()).or_default().clone();
        let this_thread = thread::current().id();
        let mut stage = slot.stage.lock();
        loop {
            match &*stage {
                Stage::Built(value) => return Ok(value.clone()),
                Stage::Building(thread) if *thread == this_thread => {
                    let text =
                        format!("event stream {name:?} is asked for while it is being built");
                    return Err(BuildError::new(BuildErrorKind::Recursion, text));
                }
                Stage::Building(_) => stage = slot.changed.wait(stage),
                Stage::Empty => break,
            }
        }
        *stage = Stage::Building(this_thread);
        drop(stage);
        // Empties the slot again if `build` fails or panics.
        let mut attempt = Attempt { slot: &slot, outcome: Stage::Empty };
        let value = build()?;
        attempt.outcome = Stage::Built(value.clone());
        Ok(value)
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { stage: StdMutex::new(Stage::Empty), changed: StdCondvar::default() }
    }
}

/// Stores its outcome when dropped, and lets the waiting callers go on.
struct Attempt<'a, T> {
    slot: &'a Slot<T>,
    outcome: Stage<T>,
}

impl<T> Drop for Attempt<'_, T> {
    fn drop(&mut self) {
        *self.slot.stage.lock() = std::mem::replace(&mut self.outcome, Stage::Empty);
        self.slot.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static REGISTRY: Registry<Arc<str>> = Registry::new();

    fn built(name: &str) -> Arc<str> {
        REGISTRY.get_or_build(name, || unreachable!("it is built")).unwrap()
    }

    #[test]
    fn the_first_caller_builds_and_all_get_the_same() {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                thread::spawn(move || {
                    REGISTRY.get_or_build("shared", || Ok(n.to_string().into())).unwrap()
                })
            })
            .collect();
        for thread in threads {
            assert!(Arc::ptr_eq(&thread.join().unwrap(), &built("shared")));
        }
    }

    #[test]
    fn neither_a_failure_nor_a_panic_is_kept() {
        let failure = || BuildError::new(BuildErrorKind::Setting, "a mistake");
        let failed = REGISTRY.get_or_build("fails", || Err(failure()));
        assert_eq!(failed, Err(failure()));
        let panicked = thread::spawn(|| {
            REGISTRY.get_or_build("fails", || std::panic::resume_unwind(Box::new(()))).is_ok()
        });
        assert!(panicked.join().is_err());
        assert_eq!(REGISTRY.get_or_build("fails", || Ok("works".into())), Ok("works".into()));
    }

    #[test]
    fn a_build_may_ask_for_other_names_but_not_its_own() {
        let build = || Ok("value".into());
        let outer = REGISTRY.get_or_build("outer", || {
            REGISTRY.get_or_build("inner", build)?;
            REGISTRY.get_or_build("outer", build)
        });
        let error = outer.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Recursion);
        let text = r#"event stream "outer" is asked for while it is being built"#;
        assert_eq!(error.to_string(), text);
        assert_eq!(&*built("inner"), "value");
    }
}
