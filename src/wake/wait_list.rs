//! The tasks that wait for one thing. Whoever brings it takes the list whole, which its generation
//! shows to the tasks.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::task::Waker;

use super::ready_set::ReadyLeg;
use super::slots::Slots;
use crate::sync::{AtomicU64, Ordering};

/// A place on a list, good for one generation of it. The default is good for none. Packed, because
/// each subscriber has one or two.
#[derive(Clone, Copy, Debug, Default)]
#[repr(Rust, packed(4))]
pub(crate) struct Ticket {
    generation: u64,
    slot: u32,
}

/// Identifies a waker on a list by its addresses. No other waker can have them, because the list
/// owns this one for as long as the id is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WakerId(usize, usize);

impl WakerId {
    pub(crate) fn of(waker: &Waker) -> Self {
        Self(waker.data() as usize, std::ptr::from_ref(waker.vtable()) as usize)
    }
}

impl Ticket {
    /// Whether the list was not taken since, judged by its generation without the lock.
    pub(super) fn is_good(self, generation: u64) -> bool {
        self.generation == generation
    }
}

#[derive(Debug)]
pub(crate) struct WaitList {
    /// How often the list was taken, plus one. Only this says whether a ticket is still good: a
    /// version of the log would not, because the log also grows while nobody waits.
    generation: u64,
    tasks: Slots<Waker>,
    /// The drained buffer of an earlier list, to be used again.
    spare: Vec<Option<Waker>>,
    legs: Option<Box<Slots<ReadyLeg>>>,
}

/// Generations start above the default ticket's, which is good for none.
pub(crate) const FIRST_GENERATION: u64 = 1;

impl Default for WaitList {
    fn default() -> Self {
        Self {
            generation: FIRST_GENERATION,
            tasks: Slots::default(),
            spare: Vec::new(),
            legs: None,
        }
    }
}

impl WaitList {
    fn is_armed(&self, ticket: Ticket) -> bool {
        ticket.is_good(self.generation)
    }

    /// Puts a task's waker on the list. Drop what comes back outside the lock.
    #[must_use]
    #[inline]
    pub(crate) fn arm_task(&mut self, ticket: &mut Ticket, waker: Waker) -> Option<Waker> {
        if self.is_armed(*ticket) {
            let slot = self.tasks.get_mut(ticket.slot)?;
            return match slot {
                Some(armed) if armed.will_wake(&waker) => Some(waker),
                _ => slot.replace(waker),
            };
        }
        *ticket = Ticket { generation: self.generation, slot: self.tasks.insert(waker) };
        None
    }

    /// Puts one leg of a task that waits on several lists on this one.
    pub(crate) fn arm_leg(&mut self, ticket: &mut Ticket, leg: impl FnOnce() -> ReadyLeg) {
        if !self.is_armed(*ticket) {
            let slot = self.legs.get_or_insert_with(Box::default).insert(leg());
            *ticket = Ticket { generation: self.generation, slot };
        }
    }

    /// Takes a task off the list. Drop what comes back outside the lock.
    #[must_use]
    pub(crate) fn disarm_task(&mut self, ticket: Ticket) -> Option<Waker> {
        self.is_armed(ticket).then(|| self.tasks.remove(ticket.slot)).flatten()
    }

    /// Takes a leg off the list. Drop what comes back outside the lock.
    #[must_use]
    pub(crate) fn disarm_leg(&mut self, ticket: Ticket) -> Option<ReadyLeg> {
        match &mut self.legs {
            Some(legs) if ticket.is_good(self.generation) => legs.remove(ticket.slot),
            _ => None,
        }
    }

    /// Takes the list whole: in O(1) for tasks, while each leg is marked ready here.
    ///
    /// A publisher calls this under the channel's lock and **before** it draws its seq. A reader
    /// whose reading of the sequence covers that seq therefore finds the mark.
    ///
    /// `None` if nobody waits. `generation` gets the new generation before anything else happens.
    pub(crate) fn take(&mut self, generation: &AtomicU64) -> Option<Woken> {
        let legs = self.legs.as_mut().filter(|legs| !legs.is_empty());
        if self.tasks.is_empty() && legs.is_none() {
            return None;
        }
        self.generation += 1;
        let sorted = self.generation % SORTED_EVERY == 0;
        let mut woken = Woken { sorted, ..Woken::default() };
        generation.store(self.generation, Ordering::Release);
        if !self.tasks.is_empty() {
            (woken.first, woken.rest) = self.tasks.take(std::mem::take(&mut self.spare));
        }
        if let Some(legs) = legs {
            legs.drain(|leg| woken.of_legs.extend(leg.mark()));
        }
        Some(woken)
    }

    /// Gives a drained buffer back for the next list.
    pub(crate) fn recycle(&mut self, spare: Vec<Option<Waker>>) {
        self.spare = spare;
    }
}

/// Of more than this many tasks, each [`SORTED_EVERY`]th wake is sorted by task address. Such a
/// crowd is in no cache when its turn comes, and a walk through memory from one end to the other
/// costs fewer misses than jumps: 8 % less CPU at 10 000 clients (`benches/`, over sockets). Tasks
/// fall asleep in about the order in which they were woken, so sorting each time would gain
/// nothing.
const CROWD: usize = 1024;
const SORTED_EVERY: u64 = 8;

/// Wakers that were taken off a list and are to be woken without the lock.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    /// Whether to sort them first, if they are a crowd.
    sorted: bool,
    first: Option<Waker>,
    rest: Vec<Option<Waker>>,
    of_legs: Vec<Waker>,
}

impl Woken {
    /// Wakes all, whatever one of them does: the first panic goes on when the last was woken.
    /// Returns the buffer.
    ///
    /// Call it with no lock held: wakers are the user's code.
    pub(crate) fn wake(mut self) -> Vec<Option<Waker>> {
        let used = self.rest.len();
        if self.sorted && used > CROWD {
            self.rest.sort_unstable_by_key(|waker| {
                waker.as_ref().map_or(0, |waker| waker.data() as usize)
            });
        }
        let mut panicked = None;
        {
            let mut wakers = self
                .first
                .take()
                .into_iter()
                .chain(self.rest.drain(..).flatten())
                .chain(self.of_legs);
            // The outer loop turns once more only after a panic.
            while let Err(panic) =
                catch_unwind(AssertUnwindSafe(|| wakers.by_ref().for_each(Waker::wake)))
            {
                match panicked {
                    None => panicked = Some(panic),
                    // Dropping a payload may panic again.
                    Some(_) => std::mem::forget(panic),
                }
            }
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
        // Do not keep room for a crowd that has left.
        if self.rest.capacity() > 64 + 4 * used {
            self.rest = Vec::new();
        }
        self.rest
    }
}
