//! Locks and atomics: the standard library's, or loom's where a model is checked.
//!
//! A lock stays usable after a panic under it: only plain data is touched while one is held, so
//! what it guards is never left half-changed.

use std::sync::PoisonError;

pub(crate) use std::sync::Arc;

#[cfg(eventstream_loom)]
use loom::sync as imp;
#[cfg(not(eventstream_loom))]
use std::sync as imp;

pub(crate) use imp::atomic::{AtomicU64, AtomicUsize, Ordering};
pub(crate) use imp::MutexGuard;
use imp::RwLockReadGuard;
pub(crate) use imp::RwLockWriteGuard;

#[derive(Debug)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

#[derive(Debug)]
pub(crate) struct RwLock<T>(imp::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock that no loom model follows: for statics, which loom cannot have, and for what stands
/// outside the hub.
#[derive(Debug, Default)]
pub(crate) struct StdMutex<T>(std::sync::Mutex<T>);

impl<T> StdMutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a change of what a [`StdMutex`] guards.
#[derive(Debug, Default)]
pub(crate) struct StdCondvar(std::sync::Condvar);

impl StdCondvar {
    pub(crate) fn wait<'a, T>(
        &self,
        guard: std::sync::MutexGuard<'a, T>,
    ) -> std::sync::MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
