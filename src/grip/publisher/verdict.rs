//! What became of an item at an endpoint.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use async_channel::Sender;

use super::losses::{Loss, Origin};
use crate::runtime::quiet::quietly;
use crate::sync::StdMutex;
use crate::trace;

/// Why an item fails whose worker is gone.
pub(super) const STOPPED: &str = "publisher stopped";

/// What went wrong with an item at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    endpoint: Arc<str>,
    reason: Arc<str>,
}

impl Failure {
    /// The endpoint's control URI, without anything secret.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Why the endpoint did not take the item.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.reason)
    }
}

/// The id of an item that failed at an endpoint, and why.
pub(crate) type Report = (Arc<str>, Failure);

/// One endpoint's name and what it counts.
pub(super) struct Tally {
    pub(super) name: Arc<str>,
    pub(super) accepted: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) resets: AtomicU64,
}

impl Tally {
    pub(super) fn new(name: &str) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            name: name.into(),
            accepted: zero(),
            failed: zero(),
            retried: zero(),
            resets: zero(),
        }
    }

    /// How many items were settled.
    pub(super) fn settled(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed)
    }

    /// Logs that items failed. Subscribers of the log are user code, so call it with no lock held,
    /// after everything is settled.
    #[cfg_attr(
        not(feature = "tracing"),
        expect(unused_variables, clippy::unused_self, reason = "there is no log")
    )]
    pub(super) fn log_failed(&self, items: usize, reason: &str) {
        if items > 0 {
            trace::warn!(
                target: "eventstream::grip", endpoint = &*self.name, items, "failed: {reason}"
            );
        }
    }
}

/// Settles one item at one endpoint. Dropped unsettled it is a failure, so an outcome always
/// resolves.
pub(super) struct Verdict {
    pub(super) tally: Arc<Tally>,
    /// When the publication began.
    pub(super) since: Instant,
    id: Arc<str>,
    /// Whose clients miss something if the item fails: a stream, and one of its channels.
    from: Option<(Arc<dyn Origin>, Arc<str>)>,
    /// Failures are sent here. Dropping the sender without sending means the item was accepted.
    report: StdMutex<Option<Sender<Report>>>,
    settled: AtomicBool,
}

impl Verdict {
    pub(super) fn new(
        tally: Arc<Tally>,
        since: Instant,
        id: Arc<str>,
        from: Option<(Arc<dyn Origin>, Arc<str>)>,
        report: Option<Sender<Report>>,
    ) -> Self {
        let (report, settled) = (StdMutex::new(report), AtomicBool::new(false));
        Self { tally, since, id, from, report, settled }
    }

    pub(super) fn accept(&self) {
        if let Some(report) = self.settle(&self.tally.accepted) {
            quietly(|| drop(report));
        }
    }

    /// False if the item was settled before.
    pub(super) fn fail(&self, reason: &Arc<str>) -> bool {
        let Some(report) = self.settle(&self.tally.failed) else { return false };
        let failure = Failure { endpoint: self.tally.name.clone(), reason: reason.clone() };
        // Unbounded, and closed only if nobody waits for the outcome anymore.
        quietly(|| drop(report.map(|report| report.try_send((self.id.clone(), failure)))));
        true
    }

    /// Only the first call counts.
    fn settle(&self, counter: &AtomicU64) -> Option<Option<Sender<Report>>> {
        if self.settled.swap(true, Ordering::Relaxed) {
            return None;
        }
        counter.fetch_add(1, Ordering::Relaxed);
        Some(self.report.lock().take())
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What is lost to clients if the item fails.
    pub(super) fn loss(&self) -> Option<Loss> {
        let (origin, channel) = self.from.as_ref()?;
        Some(Loss { origin: origin.clone(), channel: channel.clone(), id: Some(self.id.clone()) })
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        if !self.is_settled() {
            self.fail(&STOPPED.into());
        }
    }
}

/// An item that could not even be queued.
pub(crate) struct Rejected {
    pub(super) verdict: Arc<Verdict>,
    pub(super) reason: &'static str,
}
