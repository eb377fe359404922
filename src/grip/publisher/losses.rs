//! What an endpoint did not get, until its clients know.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::grip::{Item, ItemJson};

/// A stream, as the publisher sees it: it knows how to say that events are missing.
pub(crate) trait Origin: Send + Sync {
    /// The item that tells the clients of this channel that events are missing. `position` is the
    /// id of the newest of them, if it is known.
    fn reset(&self, channel: &str, position: Option<&str>) -> Item;

    /// All channels that the stream knows.
    fn channels(&self) -> Vec<Arc<str>>;
}

/// Events of one channel of one stream that an endpoint did not get.
#[derive(Clone)]
pub(super) struct Loss {
    pub(super) origin: Arc<dyn Origin>,
    pub(super) channel: Arc<str>,
    /// The id of the newest of these events, unless they are from an unknown place.
    pub(super) id: Option<Arc<str>>,
}

impl Loss {
    pub(super) fn reset(&self) -> ItemJson {
        ItemJson::whole(&self.origin.reset(&self.channel, self.id.as_deref()))
    }

    /// About how much memory it takes.
    fn size(&self) -> usize {
        self.channel.len() + 128
    }
}

/// Losses by stream and channel: a channel's clients need to know once, whatever they missed.
#[derive(Default)]
pub(super) struct Losses {
    by_channel: BTreeMap<(usize, Arc<str>), Loss>,
    /// Streams that lost events of more channels than can be remembered.
    whole: BTreeMap<usize, Arc<dyn Origin>>,
}

impl Losses {
    /// Adds a loss. Returns by how much this has grown.
    pub(super) fn add(&mut self, loss: Loss) -> usize {
        let origin = identity(&loss.origin);
        let size = loss.size();
        let key = (origin, loss.channel.clone());
        let Some(known) = self.by_channel.get_mut(&key) else {
            if self.whole.contains_key(&origin) {
                return 0;
            }
            self.by_channel.insert(key, loss);
            return size;
        };
        // The ids of one stream differ only in the number at their end.
        if let (Some(new), Some(old)) = (&loss.id, &known.id) {
            if (new.len(), new) > (old.len(), old) {
                known.id = loss.id;
            }
        }
        0
    }

    /// Adds all of `other`. Returns by how much both together have shrunk.
    pub(super) fn merge(&mut self, other: Self) -> usize {
        self.whole.extend(other.whole);
        let mut known = 0;
        for loss in other.by_channel.into_values() {
            let size = loss.size();
            known += size - self.add(loss);
        }
        known
    }

    /// Counts a stream as having lost events of all its channels. Those that are noted stay,
    /// because by the time of their resets the stream may have forgotten them.
    pub(super) fn add_all_of(&mut self, origin: &Arc<dyn Origin>) {
        self.whole.insert(identity(origin), origin.clone());
    }

    /// Takes up to `count` losses. Returns by how much this has shrunk.
    pub(super) fn take(&mut self, count: usize) -> (Vec<Loss>, usize) {
        let mut taken = Vec::new();
        let mut gone = 0;
        while taken.len() < count {
            let Some((_, loss)) = self.by_channel.pop_first() else { break };
            gone += loss.size();
            taken.push(loss);
        }
        (taken, gone)
    }

    /// Takes a stream that lost events of all its channels.
    pub(super) fn take_whole(&mut self) -> Option<Arc<dyn Origin>> {
        self.whole.pop_first().map(|(_, origin)| origin)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_channel.is_empty() && self.whole.is_empty()
    }
}

/// Tells streams apart. The losses of a stream keep it alive, so no other has its address.
fn identity(origin: &Arc<dyn Origin>) -> usize {
    Arc::as_ptr(origin).cast::<()>() as usize
}
