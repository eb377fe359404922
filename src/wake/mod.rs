//! How tasks sleep until there is something for them, and how they are woken.
//!
//! A task *arms* itself by leaving its waker on a [`WaitList`], *looks* whether there is something
//! to take, and *sleeps* if not. Whoever brings something takes the list whole and wakes it outside
//! the lock. A [`ReadySet`] does the same for a task that waits on several lists at once: each list
//! marks what became ready, so that only that is looked at.
//!
//! Two traps, each with a loom test:
//!
//! - Only the list's *generation*, which counts how often the list was taken, says whether a task
//!   is still armed. What the list guards may have changed while nobody waited, so its own version
//!   says nothing: a task that went by it would miss its wake-up.
//! - A task that arms itself while something is left to take, or after the end, may never be woken
//!   again: it looks under the lock under which it arms, or looks once more after arming.

mod ready_set;
mod slots;
mod wait_list;

pub(crate) use ready_set::{Park, ReadyLeg, ReadySet};
pub(crate) use wait_list::{Ticket, WaitList, WakerId, Woken, FIRST_GENERATION};

use crate::sync::{AtomicU64, Ordering};

/// Whether `task` is armed: `ticket` is `armed`'s place on the list, and the list was not taken
/// since. Needs no lock.
#[inline]
pub(crate) fn is_armed(
    ticket: Ticket,
    generation: &AtomicU64,
    armed: WakerId,
    task: WakerId,
) -> bool {
    ticket.is_good(generation.load(Ordering::Acquire)) && armed == task
}
