//! Where a held stream begins. The proxy delivers it, so no cursor tracks it.

use super::subscribe::Start;
use super::Hub;
use crate::event::control::ResetReason;
use crate::event::EventId;

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
}
