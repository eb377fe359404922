//! How publications get from the hub into the proxies' queues.

use async_channel::Sender;

use super::{Outcome, Proxy};
use crate::event::{EventId, InvalidEvent, Mistake, OWN_ID_MAX};
use crate::grip::{ItemJson, Publication, Publisher, Rejected, Report, BATCH_BYTES};
use crate::hub::Tap;

/// Puts events into the queues of all endpoints, in the order in which the hub numbers them.
pub(crate) struct ProxyTap<'a> {
    publisher: &'a Publisher,
    channel: String,
    report: Option<Sender<Report>>,
    pub(super) publication: Publication,
    frames: Vec<ItemJson>,
    /// How many of the frames are numbered.
    numbered: usize,
    rejected: Vec<Rejected>,
}

impl Proxy {
    /// A tap for a publication on `channel`, whose failures are sent to `report`.
    pub(crate) fn tap(&self, channel: &str, report: Option<Sender<Report>>) -> ProxyTap<'_> {
        ProxyTap {
            publisher: &self.publisher,
            channel: self.channel(channel),
            report,
            publication: Publication {
                since: self.publisher.now(),
                from: Some((self.clients.clone(), channel.into())),
                expected: false,
            },
            frames: Vec::new(),
            numbered: 0,
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
            let enqueued = self.publisher.enqueue(frame, id.as_ref(), &self.publication, report);
            self.rejected.extend(enqueued);
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
