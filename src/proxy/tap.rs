//! How publications get from the hub into the proxies' queues.

use std::time::Instant;

use async_channel::Sender;

use super::{Outcome, Proxy};
use crate::event::{EventId, InvalidEvent, Mistake, OWN_ID_MAX};
use crate::grip::{ItemJson, Permit, Publisher, Rejected, Report, BATCH_BYTES};
use crate::hub::Tap;

/// Puts events into the queues of all endpoints, in the order in which the hub numbers them.
pub(crate) struct ProxyTap<'a> {
    publisher: &'a Publisher,
    channel: String,
    report: Option<Sender<Report>>,
    /// When the publication began.
    since: Instant,
    frames: Vec<ItemJson>,
    /// How many of the frames are numbered.
    numbered: usize,
    pub(super) permits: Vec<Permit>,
    rejected: Vec<Rejected>,
}

impl Proxy {
    /// A tap for a publication on `channel`, whose failures are sent to `report`.
    pub(crate) fn tap(&self, channel: &str, report: Option<Sender<Report>>) -> ProxyTap<'_> {
        ProxyTap {
            publisher: &self.publisher,
            channel: self.channel(channel),
            report,
            since: self.publisher.now(),
            frames: Vec::new(),
            numbered: 0,
            permits: Vec::new(),
            rejected: Vec::new(),
        }
    }

    /// A tap, and the outcome that it reports to. `failed` gets the publication's ids and the id of
    /// the first item that failed, and returns the id for the error.
    pub(crate) fn follow<T>(
        &self,
        channel: &str,
        failed: fn(&T, &str) -> EventId,
    ) -> (ProxyTap<'_>, Outcome<T>) {
        let (report, reports) = async_channel::unbounded();
        (self.tap(channel, Some(report)), Outcome::new(reports, failed))
    }
}

impl Tap for ProxyTap<'_> {
    fn encoded(
        &mut self,
        before_id: &[u8],
        after_id: &[u8],
        own_id: bool,
    ) -> Result<(), InvalidEvent> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let frame = ItemJson::frame(&self.channel, text(before_id), text(after_id), own_id);
        let (size, limit) = (frame.len(OWN_ID_MAX), BATCH_BYTES - 64);
        if size > limit {
            let what = "the event's JSON for a proxy's control port";
            return Err(Mistake::TooLarge { what, size, limit }.into());
        }
        self.frames.push(frame);
        Ok(())
    }

    fn numbered(&mut self, id: impl FnOnce() -> EventId) {
        if let Some(frame) = self.frames.get(self.numbered) {
            let id = id();
            let report = self.report.as_ref();
            let (id, since) = (id.as_ref(), self.since);
            let rejected = self.publisher.enqueue(frame, id, since, report, &mut self.permits);
            self.rejected.extend(rejected);
            self.numbered += 1;
        }
    }
}

impl Drop for ProxyTap<'_> {
    /// By now no lock is held, so the workers may be woken.
    fn drop(&mut self) {
        if self.numbered > 0 {
            self.publisher.dispatch(std::mem::take(&mut self.rejected));
        }
    }
}
