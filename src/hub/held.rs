//! Where a held stream begins. The proxy delivers it, so no cursor tracks it.

use super::subscribe::Start;
use super::Hub;
use crate::event::control::{self, ResetReason};
use crate::event::EventId;
use crate::sync::Arc;

impl Hub {
    /// The position to open a held stream with, and the reset that comes behind it. A client that
    /// comes back gets a reset, because nothing is known here of what the proxy has sent it.
    pub(crate) fn beginning(
        &self,
        channels: &[impl AsRef<str>],
        start: Start<'_>,
    ) -> (Option<EventId>, Vec<u8>) {
        let (newest, mut reset) = (self.sequence.newest(), Vec::new());
        match start {
            _ if !self.history.replay => (None, reset),
            Start::Now => (Some(self.sequence.id(newest)), reset),
            Start::After(_) => {
                self.write_reset(&mut reset, newest, channels, ResetReason::Unknown);
                (None, reset)
            }
        }
    }

    /// The reset for the clients of a channel some of whose events a proxy did not get; `newest` is
    /// the id of the newest of these.
    pub(crate) fn lost(&self, channel: &str, newest: Option<&str>) -> Vec<u8> {
        let id = newest.filter(|_| self.history.replay).map(|id| EventId::given(id.into()));
        let mut frame = Vec::new();
        let channels = [channel].into_iter().collect();
        control::stream_reset(&mut frame, id.as_ref(), &channels, ResetReason::Lost);
        frame
    }

    /// The names of all channels in the map.
    pub(crate) fn channel_names(&self) -> Vec<Arc<str>> {
        self.map.read().channels.keys().cloned().collect()
    }
}
