//! The last few answers of a log, shared by all readers at the same place.

use std::cell::Cell;

use bytes::{Buf, Bytes, BytesMut};

use super::CHUNK;

/// How many answers are remembered.
const ANSWERS: usize = 16;
/// A slice keeps its whole chunk alive: hand one out only if it is at least 1/8 of the chunk, else
/// copy.
pub(super) const WORTH_PINNING: usize = 8;

/// All frames behind a cursor, up to a limit of bytes.
#[derive(Clone, Debug)]
pub(in crate::hub) struct Answer {
    pub(in crate::hub) bytes: Bytes,
    /// Seq of the last frame in it.
    pub(in crate::hub) last: u64,
    pub(in crate::hub) events: u64,
}

/// An answer that other readers may come for.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) answer: Answer,
    /// The cursors that it answers whole: `from <= cursor < first`.
    pub(super) from: u64,
    pub(super) first: u64,
    /// Readers that may still want it.
    pub(super) wanted: usize,
}

#[derive(Debug, Default)]
pub(super) struct Answers(Vec<Remembered>);

impl Answers {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Where the answer for exactly this cursor is.
    #[inline]
    pub(super) fn position(&self, cursor: u64) -> Option<usize> {
        self.0.iter().rposition(|known| known.from <= cursor && cursor < known.first)
    }

    #[inline]
    pub(super) fn take(&mut self, at: usize) -> Answer {
        let known = &mut self.0[at];
        known.wanted -= 1;
        match known.wanted {
            // An answer that nobody else will ask for must not pin its memory.
            0 => self.0.swap_remove(at).answer,
            _ => known.answer.clone(),
        }
    }

    /// The last `len` bytes of an answer that begins before `cursor` and ends with the frame
    /// `last`. Readers that were woken while a burst was published have each had a different part
    /// of it: they need no copy each of the rest.
    pub(super) fn find_end(&mut self, cursor: u64, last: u64, len: usize) -> Option<Bytes> {
        let worth_pinning = |whole: &Bytes| len >= whole.len() / WORTH_PINNING;
        let at = self.0.iter().rposition(|Remembered { answer, first, .. }| {
            answer.last == last && *first <= cursor && worth_pinning(&answer.bytes)
        })?;
        let Answer { mut bytes, .. } = self.take(at);
        bytes.advance(bytes.len() - len);
        Some(bytes)
    }

    pub(super) fn remember(&mut self, answer: Remembered) {
        if self.0.len() == ANSWERS {
            self.0.remove(0);
        }
        self.0.push(answer);
    }
}

thread_local! {
    static SMALL_ANSWERS: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// Copies into memory that the small answers made on this thread share: not one allocation for
/// each, and none at all while readers drop what they got.
pub(super) fn copy_small(len: usize, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut arena = SMALL_ANSWERS.try_with(Cell::take).unwrap_or_default();
    if arena.capacity() < len {
        // Reclaims its memory if no answer in it is left, else allocates the same size again.
        arena.reserve(CHUNK);
    }
    fill(&mut arena);
    let answer = arena.split().freeze();
    // A thread that is ending has no place to put it back.
    let _ = SMALL_ANSWERS.try_with(|cell| cell.set(arena));
    answer
}
