//! Frames of several logs that are to become one item. They are named first, and each is copied
//! once, when it is known which of them the item has room for.

use bytes::Bytes;

use super::answers::WORTH_PINNING;
use super::{Answer, Log};

/// Where a reader goes on in a log.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct Place {
    /// The seq of its next frame, or a lower one before the log was looked at; `u64::MAX` if there
    /// is none.
    pub(in crate::hub) next: u64,
    /// Where that frame and its chunk were. Checked before use, because the oldest ones go.
    entry: usize,
    chunk: usize,
}

/// A frame, and where its bytes are.
#[derive(Clone, Copy, Debug)]
struct Placed {
    seq: u64,
    source: u32,
    /// Which of the reader's logs it is from, by a number that the reader gave.
    slot: u32,
    from: usize,
    to: usize,
}

#[derive(Debug, Default)]
pub(in crate::hub) struct Gathered {
    frames: Vec<Placed>,
    sources: Vec<Bytes>,
    /// What open chunks hold has to be copied: the source [`COPIED`].
    copied: Vec<u8>,
    /// The indexes in `frames`, by seq.
    order: Vec<u32>,
    /// The same with gaps, to make the order, and a bit for each slot that is taken.
    slots: Vec<u32>,
    taken: Vec<u64>,
    /// The bytes of all frames.
    size: usize,
    /// No frame has a seq outside these.
    seqs: Option<(u64, u64)>,
}

const COPIED: u32 = u32::MAX;
/// The most seqs that get a slot each.
const DENSE: usize = 1 << 15;

impl Place {
    /// After `cursor`, wherever that is in the log.
    pub(in crate::hub) fn after(cursor: u64) -> Self {
        Self { next: cursor + 1, entry: 0, chunk: 0 }
    }

    /// Goes back to a frame that was not handed out.
    pub(in crate::hub) fn go_back(&mut self, seq: u64) {
        self.next = self.next.min(seq);
        self.entry = self.entry.saturating_sub(1);
    }
}

impl Log {
    /// Adds the frames from `place` on, up to the seq `until`, and moves the place behind them.
    ///
    /// Where these are more than `cap` bytes, it lowers `until` to the frame that is too much, so
    /// that nobody looks further in other logs.
    pub(in crate::hub) fn gather(
        &self,
        place: &mut Place,
        slot: u32,
        until: &mut u64,
        cap: usize,
        out: &mut Gathered,
    ) {
        let first = self.index_of(place);
        let known = out.frames.len();
        let mut from = self.start_of(first);
        let limit = from.saturating_add(cap as u64);
        // The positions in the source that is at hand, and what makes a position its index.
        let (mut source, mut source_end, mut base) = (COPIED, 0, 0);
        let mut entries = self.entries.range(first..);
        place.next = loop {
            let Some(entry) = entries.next() else { break u64::MAX };
            if entry.seq > *until {
                break entry.seq;
            }
            if from >= source_end {
                match self.chunk_at(from, place.chunk) {
                    Some(index) => {
                        let chunk = &self.chunks[index];
                        (source, base) = (out.sources.len() as u32, chunk.start);
                        source_end = chunk.start + chunk.bytes.len() as u64;
                        out.sources.push(chunk.bytes.clone());
                        place.chunk = index;
                    }
                    None => {
                        (source, base, source_end) = (COPIED, from, u64::MAX);
                    }
                }
            }
            let (start, end) = ((from - base) as usize, (entry.end - base) as usize);
            out.frames.push(Placed { seq: entry.seq, source, slot, from: start, to: end });
            from = entry.end;
            if entry.end > limit {
                *until = entry.seq;
                break entries.next().map_or(u64::MAX, |next| next.seq);
            }
        };
        place.entry = first + (out.frames.len() - known);
        let added = &out.frames[known..];
        if let (Some(oldest), Some(newest)) = (added.first(), added.last()) {
            let (low, high) = out.seqs.unwrap_or((oldest.seq, newest.seq));
            out.seqs = Some((low.min(oldest.seq), high.max(newest.seq)));
        }
        out.size += (from - self.start_of(first)) as usize;
        if source == COPIED && source_end > 0 {
            // The frames of the open chunk are the last ones.
            let at = out.copied.len();
            let open = (base - self.open_start) as usize..(from - self.open_start) as usize;
            out.copied.extend_from_slice(&self.open[open]);
            let copied = out.frames[known..].iter_mut().rev();
            copied.take_while(|frame| frame.source == COPIED).for_each(|frame| {
                frame.from += at;
                frame.to += at;
            });
        }
    }

    /// As much from `place` up to the seq `until` as one item holds, if there is more than that.
    pub(in crate::hub) fn read_full(
        &self,
        place: &mut Place,
        until: u64,
        cap: usize,
    ) -> Option<Answer> {
        let first = self.index_of(place);
        let start = self.start_of(first);
        let limit = start.saturating_add(cap as u64);
        let too_much = self.entries.back().is_some_and(|newest| newest.end > limit);
        let behind = too_much.then(|| self.index_capped(first, cap))?;
        let next = self.entries.get(behind).filter(|next| next.seq <= until)?;
        let last = self.entries[behind - 1];
        (place.next, place.entry) = (next.seq, behind);
        let bytes = self.copy_or_slice(start, last.end);
        Some(Answer { bytes, last: last.seq, events: (behind - first) as u64 })
    }

    fn index_of(&self, place: &Place) -> usize {
        match self.entries.get(place.entry) {
            Some(entry) if entry.seq == place.next => place.entry,
            _ => self.index_after(place.next - 1),
        }
    }

    /// Index of the sealed chunk that has this position, which may be the one at `guess` or the
    /// next.
    fn chunk_at(&self, position: u64, guess: usize) -> Option<usize> {
        if position >= self.open_start {
            return None;
        }
        let mut near = guess..guess + 2;
        let found = near.find(|&index| {
            self.chunks.get(index).is_some_and(|chunk| {
                chunk.start <= position && position - chunk.start < chunk.bytes.len() as u64
            })
        });
        let search = || self.chunks.partition_point(|chunk| chunk.start <= position).checked_sub(1);
        found.or_else(search)
    }
}

impl Gathered {
    /// The bytes of all frames.
    pub(in crate::hub) fn size(&self) -> usize {
        self.size
    }

    pub(in crate::hub) fn clear(&mut self) {
        self.frames.clear();
        self.sources.clear();
        self.copied.clear();
        (self.size, self.seqs) = (0, None);
    }

    /// What the buffers hold when they are empty.
    pub(in crate::hub) fn capacity(&self) -> usize {
        self.copied.capacity()
            + self.frames.capacity() * size_of::<Placed>()
            + (self.order.capacity() + self.slots.capacity()) * size_of::<u32>()
            + self.sources.capacity() * size_of::<Bytes>()
    }

    /// Puts the frames in the order of their seqs.
    fn sort(&mut self) {
        let Self { frames, order, slots, taken, .. } = self;
        order.clear();
        let Some((oldest, newest)) = self.seqs else { return };
        let all = 0..frames.len() as u32;
        let range = (newest - oldest).saturating_add(1).try_into().unwrap_or(usize::MAX);
        if range > DENSE.min(32 * frames.len()) {
            order.extend(all);
            order.sort_unstable_by_key(|&at| frames[at as usize].seq);
            return;
        }
        // So dense that each seq can have a slot of its own.
        let slot = |frame: &Placed| (frame.seq - oldest) as usize;
        order.resize(frames.len(), 0);
        if range == frames.len() {
            all.zip(&*frames).for_each(|(at, frame)| order[slot(frame)] = at);
            return;
        }
        slots.resize(slots.len().max(range), 0);
        taken.clear();
        taken.resize(range.div_ceil(64), 0);
        for (at, frame) in all.zip(&*frames) {
            let slot = slot(frame);
            slots[slot] = at;
            taken[slot / 64] |= 1 << (slot % 64);
        }
        let mut ordered = order.iter_mut();
        for (slots, &bits) in slots.chunks(64).zip(&*taken) {
            let mut bits: u64 = bits;
            while bits != 0 {
                let Some(next) = ordered.next() else { return };
                *next = slots[bits.trailing_zeros() as usize];
                bits &= bits - 1;
            }
        }
    }

    /// Drops the frames for which an item of `cap` bytes has certainly no room. Returns the seq of
    /// the newest that is left, which does not fit either.
    pub(in crate::hub) fn prune(&mut self, cap: usize, mut go_back: impl FnMut(u32, u64)) -> u64 {
        self.sort();
        let mut size = 0;
        let too_much = self.order.iter().map(|&at| &self.frames[at as usize]).find(|frame| {
            size += frame.to - frame.from;
            size > cap
        });
        let Some(&Placed { seq: until, .. }) = too_much else { return u64::MAX };
        self.frames.retain(|frame| {
            if frame.seq > until {
                go_back(frame.slot, frame.seq);
            }
            frame.seq <= until
        });
        (self.size, self.seqs) = (size, self.seqs.map(|(oldest, _)| (oldest, until)));
        until
    }

    /// Makes one item of `head` and of the frames up to the seq `until` that fit into `cap` bytes,
    /// but at least one. Returns it with the number of the frames in it and the seqs of the first
    /// and the last of them. The others go back to their places.
    pub(in crate::hub) fn make_item(
        &mut self,
        head: Vec<u8>,
        until: u64,
        cap: usize,
        mut go_back: impl FnMut(u32, u64),
    ) -> (Bytes, usize, Option<(u64, u64)>) {
        self.sort();
        let (mut count, mut size) = (self.order.len(), self.size);
        // From the end, because nearly all fit.
        while let Some(&at) = self.order[..count].last() {
            let frame = &self.frames[at as usize];
            if frame.seq <= until && (size <= cap || count == 1) {
                break;
            }
            go_back(frame.slot, frame.seq);
            (count, size) = (count - 1, size - (frame.to - frame.from));
        }
        let seq = |nth: usize| self.frames[self.order[nth] as usize].seq;
        let seqs = count.checked_sub(1).map(|last| (seq(0), seq(last)));
        (self.join(head, count, size), count, seqs)
    }

    /// The first `count` frames in order, which have `size` bytes, after `head`.
    fn join(&self, mut head: Vec<u8>, count: usize, size: usize) -> Bytes {
        let mut frames = self.order[..count].iter().map(|&at| self.frames[at as usize]);
        let Some(mut run) = frames.next() else { return head.into() };
        let mut reserved = false;
        loop {
            let next = loop {
                match frames.next() {
                    Some(frame) if frame.source == run.source && frame.from == run.to => {
                        run.to = frame.to;
                    }
                    next => break next,
                }
            };
            let source = self.sources.get(run.source as usize);
            if !reserved {
                reserved = true;
                let all = head.is_empty() && next.is_none();
                if let Some(source) =
                    source.filter(|source| all && size >= source.len() / WORTH_PINNING)
                {
                    return source.slice(run.from..run.to);
                }
                head.reserve_exact(size);
            }
            head.extend_from_slice(
                &source.map_or(&self.copied[..], |source| source)[run.from..run.to],
            );
            match next {
                Some(frame) => run = frame,
                None => return head.into(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_in_order_however_sparse_their_seqs_are() {
        for step in [1, 2, 3, 31, 40, 1000, 1 << 40] {
            for count in [1, 2, 3, 63, 64, 65, 300_u64] {
                // 7 divides none of the counts but 63, whose frames keep their order.
                let nth = |n: u64| if count % 7 == 0 { n } else { n * 7 % count };
                let frame = |n| Placed {
                    seq: 5 + step * nth(n) + step / 3 * (nth(n) % 2),
                    source: COPIED,
                    slot: 0,
                    from: 0,
                    to: 1,
                };
                let frames: Vec<_> = (0..count).map(frame).collect();
                let mut expected: Vec<_> = frames.iter().map(|frame| frame.seq).collect();
                expected.sort();
                let seqs = Some((expected[0], expected[count as usize - 1]));
                let mut gathered = Gathered { frames, seqs, ..Gathered::default() };
                for _ in 0..2 {
                    gathered.sort();
                    let ordered = gathered.order.iter().map(|&at| gathered.frames[at as usize].seq);
                    assert!(ordered.eq(expected.iter().copied()), "{count} by {step}");
                }
            }
        }
    }
}
