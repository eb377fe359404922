//! A slab whose first slot costs no allocation, because most channels have one reader.

#[derive(Debug)]
pub(super) struct Slots<T> {
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
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Option<T>> {
        match slot.checked_sub(1) {
            None => Some(&mut self.first),
            Some(index) => self.rest.get_mut(index as usize),
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, value: T) -> u32 {
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

    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
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

    /// Takes everything out; `spare` becomes the next buffer.
    pub(super) fn take(&mut self, spare: Vec<Option<T>>) -> (Option<T>, Vec<Option<T>>) {
        self.len = 0;
        self.free.clear();
        (self.first.take(), std::mem::replace(&mut self.rest, spare))
    }

    pub(super) fn drain(&mut self, f: impl FnMut(T)) {
        self.len = 0;
        self.free.clear();
        self.first.take().into_iter().chain(self.rest.drain(..).flatten()).for_each(f);
    }
}
