//! Locks and atomics: the standard library's, or loom's where a model is checked.
//!
//! The locks outlive a panic: nothing but plain data is touched under them, so what they guard
//! stays whole.

use std::sync::PoisonError;

pub(crate) use std::sync::Arc;

#[cfg(eventstream_loom)]
use loom::sync as imp;
#[cfg(not(eventstream_loom))]
use std::sync as imp;

pub(crate) use imp::atomic::{AtomicU64, AtomicUsize, Ordering};
pub(crate) use imp::MutexGuard;
use imp::{RwLockReadGuard, RwLockWriteGuard};

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
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self(imp::RwLock::new(T::default()))
    }
}
