//! The log of one channel: plain data, no lock, no waker.
//!
//! Frames lie end to end in chunks. A reader gets everything behind its cursor as one `Bytes`: a
//! slice of a chunk if one chunk holds all of it, else a copy that is made once and shared by all
//! readers at the same place or further on.

mod answers;
mod gathered;
mod given_ids;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::control::{id_line_len, write_id_line};
use crate::event::Epoch;
use crate::limits::History;
pub(super) use answers::Answer;
use answers::{copy_small, Answers, Remembered, WORTH_PINNING};
pub(super) use gathered::{Gathered, Place};
pub(super) use given_ids::Found;
use given_ids::GivenIds;

/// Size at which a chunk is sealed; a larger frame gets a chunk of its own.
const CHUNK: usize = 16 << 10;
/// An answer up to this size shares an allocation with others; a larger one has its own.
const SMALL: usize = CHUNK / 4;

#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    chunks: VecDeque<Chunk>,
    open: Vec<u8>,
    /// Position of the open chunk's first byte. Positions count all bytes ever appended.
    open_start: u64,
    /// Position of the first byte still kept.
    head: u64,
    /// Seq of the newest event no longer kept.
    floor: u64,
    given: Option<Box<GivenIds>>,
    answers: Answers,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    /// Position after its last byte.
    end: u64,
    /// When it was published, in the hub's nanoseconds.
    at: u64,
}

/// A sealed chunk and the position of its first byte.
#[derive(Debug)]
struct Chunk {
    start: u64,
    bytes: Bytes,
}

/// An encoded frame without the `id:` line that belongs between its two parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) before_id: &'a [u8],
    /// Set if the stream gives the frame its id.
    pub(super) own_id: Option<Epoch>,
    pub(super) after_id: &'a [u8],
    pub(super) given_id: Option<&'a Arc<str>>,
}

impl Log {
    /// The log of a channel whose events up to `floor` are gone.
    pub(super) fn after(floor: u64) -> Self {
        Self { floor, ..Self::default() }
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Seq of the newest event there ever was.
    pub(super) fn tail(&self) -> u64 {
        self.entries.back().map_or(self.floor, |newest| newest.seq)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// When the newest event was published.
    pub(super) fn newest_at(&self) -> Option<u64> {
        self.entries.back().map(|newest| newest.at)
    }

    /// Bytes of the frames kept.
    pub(super) fn bytes(&self) -> u64 {
        self.end() - self.head
    }

    fn end(&self) -> u64 {
        self.open_start + self.open.len() as u64
    }

    /// Appends a frame and returns its length in bytes.
    pub(super) fn append(&mut self, seq: u64, frame: Frame<'_>, now: u64, keep: &History) -> usize {
        self.answers.clear();
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(seq);
        let id_len = frame.own_id.map_or(0, |_| id_line_len(digits));
        let len = frame.before_id.len() + id_len + frame.after_id.len();
        // Evicts first, so that no buffer grows for the sake of frames that are about to go.
        while self.entries.len() >= keep.events
            || (!self.entries.is_empty() && self.bytes() + len as u64 > keep.bytes as u64)
        {
            self.evict_oldest();
        }
        self.expire(now, keep);
        self.make_room(len);
        self.open.extend_from_slice(frame.before_id);
        if let Some(epoch) = frame.own_id {
            write_id_line(epoch, digits, &mut self.open);
        }
        self.open.extend_from_slice(frame.after_id);
        let end = self.end();
        self.entries.push_back(Entry { seq, end, at: now });
        if let Some(id) = frame.given_id {
            self.given.get_or_insert_with(Box::default).insert(seq, id);
        }
        len
    }

    /// Drops the events that are over the age limit.
    pub(super) fn expire(&mut self, now: u64, keep: &History) {
        while self.entries.front().is_some_and(|oldest| keep.due(oldest.at) <= now) {
            self.answers.clear();
            self.evict_oldest();
        }
        if self.entries.is_empty() && self.open.capacity() > 0 {
            self.open_start = self.end();
            self.open = Vec::new();
        }
    }

    fn evict_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        self.floor = oldest.seq;
        self.head = oldest.end;
        while self
            .chunks
            .front()
            .is_some_and(|chunk| chunk.start + chunk.bytes.len() as u64 <= oldest.end)
        {
            self.chunks.pop_front();
        }
        if let Some(given) = &mut self.given {
            given.remove(oldest.seq);
        }
    }

    /// Makes room for `len` more bytes in the open chunk, sealing it first if they would not fit.
    fn make_room(&mut self, len: usize) {
        let used = self.open.len();
        if used > 0 && used + len > CHUNK {
            let bytes = Bytes::from(std::mem::take(&mut self.open));
            self.chunks.push_back(Chunk { start: self.open_start, bytes });
            self.open_start += used as u64;
        }
        if self.open.capacity() - self.open.len() < len {
            // Small at first, so that quiet channels cost little; a whole chunk once traffic has
            // filled one.
            let busy = !self.chunks.is_empty() && len <= SMALL;
            let doubled = if busy { CHUNK } else { (2 * self.open.capacity()).min(CHUNK) };
            let wanted = doubled.max(self.open.len() + len);
            self.open.reserve_exact(wanted - self.open.len());
        }
    }

    /// Index of the first entry after `cursor`.
    fn index_after(&self, cursor: u64) -> usize {
        match self.entries.len() {
            // By far the usual case: all but the newest were read.
            n if n >= 2 && self.entries[n - 2].seq <= cursor => {
                n - usize::from(self.entries[n - 1].seq > cursor)
            }
            _ => self.search_after(cursor),
        }
    }

    /// As [`index_after`](Self::index_after) for readers further behind. The search begins where
    /// the entry would be if seqs were evenly spread, which finds it in a few looks where many
    /// channels are merged.
    #[inline(never)]
    fn search_after(&self, cursor: u64) -> usize {
        let (Some(oldest), Some(newest)) = (self.entries.front(), self.entries.back()) else {
            return 0;
        };
        let behind = cursor.saturating_sub(oldest.seq) as f64;
        let spread = (newest.seq - oldest.seq).max(1) as f64;
        let guess = (behind / spread * self.entries.len() as f64) as usize;
        self.partition_near(guess, |entry| entry.seq <= cursor)
    }

    /// Index of the first entry that is not `before`, found by a search that starts at `guess`.
    fn partition_near(&self, guess: usize, before: impl Fn(&Entry) -> bool) -> usize {
        let Some(last) = self.entries.len().checked_sub(1) else { return 0 };
        let guess = guess.min(last);
        let (mut low, mut high, mut step) = (0, guess, 1);
        if before(&self.entries[guess]) {
            (low, high) = (guess + 1, last + 1);
            while low + step <= last && before(&self.entries[low + step]) {
                low += step + 1;
                step *= 2;
            }
            high = high.min(low + step);
        } else {
            while high >= step && !before(&self.entries[high - step]) {
                high -= step;
                step *= 2;
            }
            low = low.max(high.saturating_sub(step));
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match before(&self.entries[middle]) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// The seq of the entry before this one, or 0: the lowest cursor whose next entry this is.
    fn seq_before(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |before| self.entries[before].seq)
    }

    fn start_of(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(self.head, |before| self.entries[before].end)
    }

    /// Index after the last of the entries from `first` on that together have at most `cap` bytes,
    /// or after the first of them.
    fn index_capped(&self, first: usize, cap: usize) -> usize {
        let limit = self.start_of(first).saturating_add(cap as u64);
        match self.entries.back() {
            Some(newest) if newest.end <= limit => self.entries.len(),
            _ => self.entries.partition_point(|entry| entry.end <= limit).max(first + 1),
        }
    }

    /// Everything after `cursor`, up to `cap` bytes but at least one frame. `readers` may come for
    /// the same.
    #[inline]
    pub(super) fn read(&mut self, cursor: u64, cap: usize, readers: usize) -> Option<Answer> {
        match self.answers.position(cursor) {
            Some(at) => Some(self.answers.take(at)),
            None => self.answer(cursor, cap, readers),
        }
    }

    /// An answer that nobody has asked for yet. Kept out of line: one reader of a crowd comes here,
    /// and the others need not pay for it.
    #[inline(never)]
    fn answer(&mut self, cursor: u64, cap: usize, readers: usize) -> Option<Answer> {
        if self.tail() <= cursor || self.entries.is_empty() {
            return None;
        }
        let first = self.index_after(cursor);
        let behind = self.index_capped(first, cap);
        let (start, newest) = (self.start_of(first), self.entries[behind - 1]);
        let (last, events) = (newest.seq, (behind - first) as u64);
        if let Some(bytes) = self.answers.find_end(cursor, last, (newest.end - start) as usize) {
            return Some(Answer { bytes, last, events });
        }
        let answer = Answer { bytes: self.copy_or_slice(start, newest.end), last, events };
        if readers > 1 {
            self.answers.remember(Remembered {
                answer: answer.clone(),
                from: self.seq_before(first),
                first: self.entries[first].seq,
                wanted: readers - 1,
            });
        }
        Some(answer)
    }

    /// Adds the frames with `cursor < seq <= cut` to `out`. If these are more than `budget` bytes
    /// it adds none, and the answer is false.
    pub(super) fn collect(
        &self,
        cursor: u64,
        cut: u64,
        budget: usize,
        out: &mut Collected,
    ) -> bool {
        if self.tail() <= cursor {
            return true;
        }
        let first = self.index_after(cursor);
        let due = match self.tail() <= cut {
            true => self.entries.len(),
            false => self.entries.partition_point(|entry| entry.seq <= cut),
        };
        if first >= due {
            return true;
        }
        let (start, end) = (self.start_of(first), self.entries[due - 1].end);
        if end - start > budget as u64 {
            return false;
        }
        let base = out.bytes.len();
        self.for_each_part(start, end, |part| out.bytes.extend_from_slice(part));
        let mut from = start;
        for entry in self.entries.range(first..due) {
            let place = |position: u64| base + (position - start) as usize;
            out.frames.push((entry.seq, place(from), place(entry.end)));
            from = entry.end;
        }
        true
    }

    /// Where a publisher's id stands among the events kept.
    pub(super) fn find(&self, id: &str) -> Found {
        self.given.as_ref().map_or(Found::Nowhere, |given| given.find(id))
    }

    fn copy_or_slice(&self, start: u64, end: u64) -> Bytes {
        let len = (end - start) as usize;
        if len >= CHUNK / WORTH_PINNING {
            let index = self.chunks.partition_point(|chunk| chunk.start <= start);
            if let Some(chunk) = index.checked_sub(1).map(|index| &self.chunks[index]) {
                let from = (start - chunk.start) as usize;
                if from + len <= chunk.bytes.len() {
                    return chunk.bytes.slice(from..from + len);
                }
            }
        }
        if len <= SMALL {
            return copy_small(len, |out| {
                self.for_each_part(start, end, |part| out.extend_from_slice(part))
            });
        }
        let mut out = Vec::with_capacity(len);
        self.for_each_part(start, end, |part| out.extend_from_slice(part));
        out.into()
    }

    /// The bytes from position `start` to `end`, chunk by chunk.
    fn for_each_part(&self, start: u64, end: u64, mut f: impl FnMut(&[u8])) {
        if start < self.open_start {
            let first = self.chunks.partition_point(|chunk| chunk.start <= start).saturating_sub(1);
            for chunk in self.chunks.range(first..) {
                if chunk.start >= end {
                    return;
                }
                let from = start.saturating_sub(chunk.start) as usize;
                let to = ((end - chunk.start) as usize).min(chunk.bytes.len());
                f(&chunk.bytes[from..to]);
            }
        }
        if end > self.open_start {
            let from = start.saturating_sub(self.open_start) as usize;
            f(&self.open[from..(end - self.open_start) as usize]);
        }
    }
}

/// Frames of several logs that are to become one item.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) bytes: Vec<u8>,
    /// The seq of each frame, and where it lies in `bytes`.
    pub(super) frames: Vec<(u64, usize, usize)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_the_same_index_from_wherever_it_starts() {
        for len in [0, 1, 2, 3, 7, 64, 100] {
            let entries = (0..len).map(|n| Entry { seq: 10 + n * n, end: n, at: 0 }).collect();
            let log = Log { entries, ..Log::default() };
            for cursor in 0..=len * len + 11 {
                let expected = log.entries.partition_point(|entry| entry.seq <= cursor);
                assert_eq!(log.search_after(cursor), expected, "{cursor} of {len}");
                for guess in [0, 1, 5, 50, 99, 1000] {
                    let found = log.partition_near(guess, |entry| entry.seq <= cursor);
                    assert_eq!(found, expected, "{cursor} of {len} from {guess}");
                }
            }
        }
    }
}
