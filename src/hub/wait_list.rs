//! Who waits for a channel. A publisher takes the list whole; a generation tells a waiting reader
//! that it was taken.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::task::Waker;

use super::ready::ReadyLeg;
use crate::sync::{AtomicU64, Ordering};

/// A place in a list, good for one generation of it. The default is nowhere. Packed, for each
/// subscriber has one or two.
#[derive(Clone, Copy, Debug, Default)]
#[repr(Rust, packed(4))]
pub(crate) struct Ticket {
    generation: u64,
    slot: u32,
}

/// A waker that is on the list, by its addresses. They cannot be another's: the list holds it as
/// long as this counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WakerId(usize, usize);

impl WakerId {
    pub(crate) fn of(waker: &Waker) -> Self {
        Self(waker.data() as usize, std::ptr::from_ref(waker.vtable()) as usize)
    }
}

impl Ticket {
    /// Whether it is still good, by a look at the list's generation without the lock.
    pub(crate) fn is_good(self, generation: u64) -> bool {
        self.generation == generation
    }
}

#[derive(Debug)]
pub(crate) struct WaitList {
    /// Counts the times it was taken, from 1: the only judge of whether a ticket is still good. The
    /// log's version is not: it also moves while nobody waits.
    generation: u64,
    tasks: Slots<Waker>,
    /// The drained buffer of an earlier list, for the next one.
    spare: Vec<Option<Waker>>,
    legs: Option<Box<Slots<ReadyLeg>>>,
}

/// No ticket is good before it was given out.
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
    pub(crate) fn is_armed(&self, ticket: Ticket) -> bool {
        ticket.generation == self.generation
    }

    /// Puts the waker of a one-channel reader on the list. What comes back must be dropped outside
    /// the lock.
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

    /// Puts one leg of a reader of several channels on the list.
    pub(super) fn arm_leg(&mut self, ticket: &mut Ticket, leg: ReadyLeg) {
        if !self.is_armed(*ticket) {
            let slot = self.legs.get_or_insert_with(Box::default).insert(leg);
            *ticket = Ticket { generation: self.generation, slot };
        }
    }

    /// Takes a task off the list. What comes back must be dropped outside the lock.
    #[must_use]
    pub(crate) fn disarm_task(&mut self, ticket: Ticket) -> Option<Waker> {
        self.is_armed(ticket).then(|| self.tasks.remove(ticket.slot)).flatten()
    }

    /// Takes a leg off the list. What comes back must be dropped outside the lock.
    #[must_use]
    pub(super) fn disarm_leg(&mut self, ticket: Ticket) -> Option<ReadyLeg> {
        match &mut self.legs {
            Some(legs) if self.generation == ticket.generation => legs.remove(ticket.slot),
            _ => None,
        }
    }

    /// Takes the list whole, in O(1) for the readers of one channel. Legs are marked ready here,
    /// under the channel's lock, and so **before** the publisher draws its seq: a reader whose cut
    /// covers that seq finds the mark.
    ///
    /// `None` if nobody waits. `generation` gets the new one before anything else is done.
    pub(crate) fn take(&mut self, generation: &AtomicU64) -> Option<Woken> {
        let legs = self.legs.as_mut().filter(|legs| !legs.is_empty());
        if self.tasks.is_empty() && legs.is_none() {
            return None;
        }
        self.generation += 1;
        let mut woken = Woken { in_order: self.generation % NOW_AND_THEN == 0, ..Woken::default() };
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

/// More than so many are now and then woken in the order in which their tasks lie in memory. What
/// belongs to a crowd is in no cache when its turn comes, and to walk through it from one end to
/// the other is cheaper than to jump about in it. They fall asleep again in about the order in
/// which they were woken, so now and then is enough, and costs next to nothing.
const CROWD: usize = 1024;
const NOW_AND_THEN: u64 = 8;

/// Wakers on their way out of the lock.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    /// To be put in order first, if they are a crowd.
    in_order: bool,
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
        if self.in_order && used > CROWD {
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
            // One waker a turn of the outer loop only where the one before panicked.
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
        // A crowd that left should not be remembered for ever.
        if self.rest.capacity() > 64 + 4 * used {
            self.rest = Vec::new();
        }
        self.rest
    }
}

/// A slab whose first place costs no allocation: most channels have one reader.
#[derive(Debug)]
struct Slots<T> {
    first: Option<T>,
    rest: Vec<Option<T>>,
    free: Vec<u32>,
    len: u32,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { first: None, rest: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Option<T>> {
        match slot.checked_sub(1) {
            None => Some(&mut self.first),
            Some(index) => self.rest.get_mut(index as usize),
        }
    }

    #[inline]
    fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if self.first.is_none() {
            self.first = Some(value);
            return 0;
        }
        if let Some(slot) = self.free.pop() {
            if let Some(place) = self.get_mut(slot) {
                *place = Some(value);
                return slot;
            }
        }
        self.rest.push(Some(value));
        self.rest.len() as u32
    }

    fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.get_mut(slot)?.take()?;
        self.len -= 1;
        if self.len == 0 {
            self.rest.clear();
            self.free.clear();
        } else if slot > 0 {
            self.free.push(slot);
        }
        Some(value)
    }

    /// Everything in it; `spare` becomes the next buffer.
    fn take(&mut self, spare: Vec<Option<T>>) -> (Option<T>, Vec<Option<T>>) {
        self.len = 0;
        self.free.clear();
        (self.first.take(), std::mem::replace(&mut self.rest, spare))
    }

    fn drain(&mut self, f: impl FnMut(T)) {
        self.len = 0;
        self.free.clear();
        self.first.take().into_iter().chain(self.rest.drain(..).flatten()).for_each(f);
    }
}
