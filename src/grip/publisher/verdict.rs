//! What became of an item at an endpoint.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use async_channel::Sender;

use super::Permit;
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
}

impl Tally {
    pub(super) fn new(name: &str) -> Self {
        let zero = || AtomicU64::new(0);
        Self { name: name.into(), accepted: zero(), failed: zero(), retried: zero() }
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
    /// Failures are sent here. Dropping the sender without sending means the item was accepted.
    report: StdMutex<Option<Sender<Report>>>,
    id: Arc<str>,
    settled: AtomicBool,
}

impl Verdict {
    pub(super) fn new(tally: Arc<Tally>, id: Arc<str>, report: Option<Sender<Report>>) -> Self {
        Self { tally, report: StdMutex::new(report), id, settled: AtomicBool::new(false) }
    }

    pub(super) fn accept(&self) {
        drop(self.settle(&self.tally.accepted));
    }

    pub(super) fn fail(&self, reason: &Arc<str>) {
        if let Some(report) = self.settle(&self.tally.failed) {
            let failure = Failure { endpoint: self.tally.name.clone(), reason: reason.clone() };
            // Unbounded, and closed only if nobody waits for the outcome anymore.
            let _ = report.try_send((self.id.clone(), failure));
        }
    }

    /// Only the first call counts.
    fn settle(&self, counter: &AtomicU64) -> Option<Sender<Report>> {
        if self.settled.swap(true, Ordering::Relaxed) {
            return None;
        }
        counter.fetch_add(1, Ordering::Relaxed);
        self.report.lock().take()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
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
    pub(super) permit: Option<Permit>,
}

/// Fails items of one endpoint.
pub(super) fn fail_all(verdicts: impl IntoIterator<Item = Arc<Verdict>>, reason: &str) {
    let mut verdicts = verdicts.into_iter().peekable();
    let Some(tally) = verdicts.peek().map(|first| first.tally.clone()) else { return };
    let (mut count, shared) = (0, reason.into());
    for verdict in verdicts {
        verdict.fail(&shared);
        count += 1;
    }
    tally.log_failed(count, reason);
}
