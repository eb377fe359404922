//! The worker of one endpoint: sends what is queued, in its order, until the endpoint has decided.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_channel::Receiver;
use bytes::Bytes;
use futures::future::{select, Either, FutureExt};
use http::header::{HeaderValue, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode};

use super::losses::Loss;
use super::queue::{Queue, Queued, BUDGET, CLOSE, OPEN};
use super::verdict::Verdict;
use super::BATCH_BYTES;
use crate::grip::Transport;
use crate::runtime::quiet::quietly;
use crate::runtime::random::Random;
use crate::runtime::Timer;
use crate::trace;

/// The upper bound of the first pause. It doubles with each failure, up to 2 s while items wait,
/// which have only 30 s, else up to 30 s.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(2);
const MAX_IDLE_PAUSE: Duration = Duration::from_secs(30);
/// A token is good for ten minutes and used for five.
const TOKEN_USE: Duration = Duration::from_secs(300);
/// The most channels whose clients learn of losses in one POST.
const RESETS: usize = 1000;

/// Sends one endpoint's batches, one after another.
pub(super) struct Worker {
    queue: Arc<Queue>,
    transport: Arc<dyn Transport>,
    timer: Arc<dyn Timer>,
    token: Option<(SystemTime, HeaderValue)>,
    random: Random,
    /// POSTs in a row that failed for a transient reason.
    failures: u32,
    /// Nothing is sent before this.
    not_before: Instant,
    /// If there are only resets to send, they are not sent before this.
    not_idle_before: Instant,
    /// Losses of which clients must know before anything else is sent. Those that the queue counts
    /// are newer.
    owed: VecDeque<Loss>,
    /// Those of them whose resets are being sent.
    telling: Vec<Loss>,
    /// The most resets of one POST, and whether items may follow them in it: less once a POST with
    /// resets was refused.
    most_resets: usize,
    together: bool,
    /// How many items were settled when user code panicked the last time.
    panicked_at: Option<u64>,
}

impl Drop for Worker {
    /// Runs also if the executor drops the worker, so that every outcome resolves.
    fn drop(&mut self) {
        self.queue.stop();
    }
}

/// Items that are sent in one POST.
struct Part {
    items: Vec<Queued>,
    tries: u32,
    /// What the last try met.
    trouble: Option<String>,
}

/// What an endpoint made of a POST.
enum Reply {
    Accepted,
    /// It refused the POST because of its content: one bad item is enough for that.
    Refused,
    Failed(String),
    /// It may accept the same POST later, perhaps not before it said.
    Again(String, Option<Duration>),
}

impl Worker {
    pub(super) fn new(
        queue: Arc<Queue>,
        transport: Arc<dyn Transport>,
        timer: Arc<dyn Timer>,
    ) -> Self {
        let now = timer.now();
        Self {
            queue,
            transport,
            timer,
            token: None,
            random: Random::new(),
            failures: 0,
            not_before: now,
            not_idle_before: now,
            owed: VecDeque::new(),
            telling: Vec::new(),
            most_resets: RESETS,
            together: true,
            panicked_at: None,
        }
    }

    /// Sends batches each time it is woken; ends when `woken` is closed and the queue is empty.
    pub(super) async fn run(mut self, woken: Receiver<()>) {
        loop {
            let open = self.sleep(&woken).await;
            if !open {
                // What is still owed gets one last chance.
                self.not_idle_before = self.timer.now();
            }
            loop {
                match AssertUnwindSafe(self.turn()).catch_unwind().await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) if self.survives() => {}
                    Err(_) => return,
                }
            }
            if !open {
                return;
            }
        }
    }

    /// Waits until there is something to send. False if there will be nothing anymore.
    async fn sleep(&mut self, woken: &Receiver<()>) -> bool {
        let woken = woken.recv();
        if !self.owes() {
            return woken.await.is_ok();
        }
        self.watch(woken, self.not_idle_before, None).await.is_none_or(|woken| woken.is_ok())
    }

    fn owes(&self) -> bool {
        !self.owed.is_empty() || self.queue.owes()
    }

    /// Cleans up after a panic of user code: the transport, or a subscriber of the log. It costs
    /// the batch that was being sent. False if nothing has been settled since the last panic, so
    /// that it would happen again and again.
    fn survives(&mut self) -> bool {
        let told = !self.telling.is_empty();
        self.still_owes();
        // The log or the timer may be what panics.
        quietly(|| self.queue.fail_in_flight("sending it panicked"));
        quietly(|| self.back_off(None));
        let settled = self.queue.tally.settled();
        told || self.panicked_at.replace(settled) != Some(settled)
    }

    /// Sends one batch. False if there is nothing to send at this time.
    async fn turn(&mut self) -> bool {
        self.queue.fail_late(self.timer.now(), None);
        let (items, markers) = self.queue.next_batch(!self.owed.is_empty());
        if items.is_empty() {
            // A flush does not end between a loss and the word of it, as the program may end too.
            let urgent = !markers.is_empty() || self.timer.now() >= self.not_idle_before;
            if !(self.owes() && urgent) {
                return markers.release();
            }
            self.send(Part { items, tries: 0, trouble: None }).await;
            markers.release();
        } else {
            markers.release();
            self.send(Part { items, tries: 0, trouble: None }).await;
        }
        true
    }

    /// Sends a batch until each of its items is settled. A batch that is refused is halved until
    /// the bad items are alone. Resets alone are tried once.
    async fn send(&mut self, batch: Part) {
        let has_items = !batch.items.is_empty();
        // The front part goes first, which keeps the order of the queue.
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            loop {
                part.items.retain(|item| !item.verdict.is_settled());
                let over = has_items && part.items.is_empty();
                if over || self.nap(self.not_before, part.trouble.as_deref()).await {
                    break;
                }
            }
            part.items.retain(|item| !item.verdict.is_settled());
            if has_items && part.items.is_empty() {
                continue;
            }
            let (mut body, all) = self.resets(&part);
            let resets = self.telling.len();
            if !all {
                // The items have to wait for the rest of the resets.
                parts.push(part);
                part = Part { items: Vec::new(), tries: 0, trouble: None };
            }
            part.write(&mut body);
            if resets + part.items.len() == 0 {
                continue;
            }
            part.tries += 1;
            if part.tries > 1 {
                self.queue.tally.retried.fetch_add(1, Ordering::Relaxed);
            }
            let name = Arc::clone(&self.queue.tally.name);
            let post = self.post(body.into(), part.trouble.as_deref());
            let reply = trace::grip(&name, resets + part.items.len(), post).await;
            self.decided(reply, part, &mut parts);
        }
    }

    /// Starts a POST's body with resets for what is owed. They are then in `telling`. False if this
    /// part's items have no place behind them.
    fn resets(&mut self, part: &Part) -> (Vec<u8>, bool) {
        let mut body = OPEN.to_vec();
        loop {
            if self.owed.is_empty() {
                self.owed.extend(self.queue.take_losses(self.most_resets));
            }
            let Some(loss) = self.owed.pop_front() else { break };
            let (before, json) = (body.len(), loss.reset());
            json.write("", &mut body);
            body.push(b',');
            let many = self.telling.len() == self.most_resets;
            if before > OPEN.len() && (many || body.len() > BATCH_BYTES) {
                body.truncate(before);
                self.owed.push_front(loss);
                return (body, false);
            }
            self.telling.push(loss);
        }
        let fits = self.together && body.len() + part.len() <= BATCH_BYTES;
        (body, self.telling.is_empty() || fits)
    }

    /// Does with the items and resets of a POST what the endpoint's reply demands.
    fn decided(&mut self, reply: Reply, mut part: Part, parts: &mut Vec<Part>) {
        let resets = self.telling.len();
        match reply {
            Reply::Accepted => {
                self.failures = 0;
                self.queue.tally.resets.fetch_add(resets as u64, Ordering::Relaxed);
                self.telling.clear();
                part.items.drain(..).for_each(|item| item.verdict.accept());
                (self.most_resets, self.together) = (RESETS, true);
                trace::debug!(target: "eventstream::grip", tries = part.tries, "accepted");
            }
            Reply::Refused => {
                self.failures = 0;
                match part.items.len() {
                    0 if resets > 1 => self.most_resets = resets / 2,
                    // Nobody can be told, as the endpoint does not take it.
                    0 => self.telling.clear(),
                    1 if resets > 0 => {
                        self.together = false;
                        parts.push(Part { items: part.items, tries: 0, trouble: None });
                    }
                    1 => self.queue.fail(part.verdicts(), "refused as a bad request"),
                    count => {
                        let back = part.items.split_off(count / 2);
                        parts.push(Part { items: back, tries: 0, trouble: None });
                        parts.push(Part { items: part.items, tries: 0, trouble: None });
                    }
                }
                self.still_owes();
            }
            Reply::Failed(reason) => {
                if resets > 0 {
                    self.back_off(None);
                }
                self.not_before = self.timer.now();
                self.still_owes();
                self.queue.fail(part.verdicts(), &reason);
                if part.items.is_empty() {
                    // What waits for these resets shares their fate.
                    parts.clear();
                    self.queue.fail_in_flight(&reason);
                }
            }
            Reply::Again(reason, after) => {
                self.still_owes();
                self.back_off(after);
                let tries = part.tries;
                trace::debug!(
                    target: "eventstream::grip",
                    tries,
                    pause = ?self.not_before.saturating_duration_since(self.timer.now()),
                    "{reason}, trying again"
                );
                let tries = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
                let trouble = Some(format!("{reason}, after {tries}"));
                parts.push(part);
                // Resets alone are tried again when there is time.
                parts.retain(|part| !part.items.is_empty());
                if let Some(next) = parts.last_mut() {
                    next.trouble = trouble;
                }
            }
        }
    }

    /// The endpoint did not get the resets that were being sent.
    fn still_owes(&mut self) {
        while let Some(loss) = self.telling.pop() {
            self.owed.push_front(loss);
        }
    }

    /// Posts once, or once more with a new token if the endpoint does not like the one that it got:
    /// its clock may differ.
    async fn post(&mut self, body: Bytes, trouble: Option<&str>) -> Reply {
        let mut answer = self.post_once(body.clone(), trouble).await;
        if matches!(answer, Ok((StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _)))
            && self.token.take().is_some()
        {
            self.queue.tally.retried.fetch_add(1, Ordering::Relaxed);
            answer = self.post_once(body, trouble).await;
        }
        match answer {
            Ok((status, _)) if status.is_success() => Reply::Accepted,
            Ok((StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE, _)) => Reply::Refused,
            Ok((status, after))
                if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() =>
            {
                Reply::Again(format!("answered {status}"), after)
            }
            Ok((status, _)) => Reply::Failed(format!("answered {status}")),
            Err(reason) => Reply::Again(reason, None),
        }
    }

    async fn post_once(
        &mut self,
        body: Bytes,
        trouble: Option<&str>,
    ) -> Result<(StatusCode, Option<Duration>), String> {
        let endpoint = &self.queue.endpoint;
        let mut req = Request::new(body);
        *req.method_mut() = Method::POST;
        *req.uri_mut() = endpoint.publish_uri();
        let len = req.body().len();
        req.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        req.headers_mut().insert(CONTENT_LENGTH, len.into());
        let timeout = endpoint.post_timeout();
        if let Some(authorization) = self.authorization(SystemTime::now()) {
            req.headers_mut().insert(AUTHORIZATION, authorization);
        }
        let end = after(self.timer.now(), timeout);
        match self.watch(self.transport.send(req), end, trouble).await {
            Some(Ok(answer)) => Ok((answer.status(), retry_after(answer.headers()))),
            Some(Err(error)) => Err(format!("no answer: {error}")),
            None => Err(format!("no answer in {timeout:?}")),
        }
    }

    /// Waits for `work` until `end`.
    async fn watch<F: Future>(
        &self,
        work: F,
        end: Instant,
        trouble: Option<&str>,
    ) -> Option<F::Output> {
        let mut work = pin!(work);
        loop {
            match select(work.as_mut(), pin!(self.nap(end, trouble))).await {
                Either::Left((done, _)) => return Some(done),
                Either::Right((true, _)) => return None,
                Either::Right((false, _)) => {}
            }
        }
    }

    /// Sleeps until `end` or until the next item's time is up, if that is sooner. Those whose time
    /// is up fail, which ends it too. True if `end` has come.
    async fn nap(&self, end: Instant, trouble: Option<&str>) -> bool {
        let now = self.timer.now();
        let failed = self.queue.fail_late(now, trouble);
        if failed || now >= end {
            return now >= end;
        }
        // What is queued meanwhile has more time than this.
        let next = self.queue.next_late().unwrap_or(after(now, BUDGET)).min(end);
        self.timer.sleep(next.saturating_duration_since(now)).await;
        if self.timer.now() < next {
            // A timer that is early must not keep this task busy.
            yield_once().await;
        }
        false
    }

    /// By the wall clock, as the endpoint does it: that moves on while a machine sleeps, and may be
    /// set.
    fn authorization(&mut self, now: SystemTime) -> Option<HeaderValue> {
        if let Some((signed, token)) = &self.token {
            if now.duration_since(*signed).is_ok_and(|age| age < TOKEN_USE) {
                return Some(token.clone());
            }
        }
        let token = self.queue.endpoint.authorization(now)?;
        self.token = self.queue.endpoint.signs().then(|| (now, token.clone()));
        Some(token)
    }

    /// Sets the time of the next try: anything up to a bound that doubles, so that many publishers
    /// do not come back at once.
    fn back_off(&mut self, asked: Option<Duration>) {
        let bound = FIRST_PAUSE * 2u32.pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let pause = self.random.jitter(bound.min(MAX_PAUSE)).max(asked.unwrap_or_default());
        let idle_pause = self.random.jitter(bound.min(MAX_IDLE_PAUSE)).max(pause);
        let now = self.timer.now();
        (self.not_before, self.not_idle_before) = (now + pause, now + idle_pause);
    }
}

impl Part {
    /// Ends the body of a POST with the items.
    fn write(&self, body: &mut Vec<u8>) {
        for item in &self.items {
            item.json.write(item.verdict.id(), body);
            body.push(b',');
        }
        if body.ends_with(b",") {
            body.pop();
        }
        body.extend_from_slice(CLOSE);
    }

    /// Length of that.
    fn len(&self) -> usize {
        self.items.iter().map(|item| item.len() + ",".len()).sum::<usize>() + CLOSE.len()
    }

    fn verdicts(&self) -> Vec<Arc<Verdict>> {
        self.items.iter().map(|item| item.verdict.clone()).collect()
    }
}

/// How long an endpoint wants to be left alone (RFC 9110, section 10.2.3, in seconds): as long as
/// an item may wait at most. A date is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(BUDGET))
}

/// The time after a pause, which may be endless.
fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now + Duration::from_secs(1 << 32))
}

/// Lets other tasks run.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::Response;

    use super::super::queue::Bounds;
    use super::*;
    use crate::grip::Endpoint;
    use crate::runtime::Background;

    #[test]
    fn a_token_is_used_for_five_minutes_of_the_wall_clock() {
        let endpoint = Endpoint::new("http://localhost/?iss=me&key=changeme").unwrap();
        let queue = Arc::new(Queue::new(endpoint, Bounds { items: 1, bytes: 1 }));
        let transport =
            |_: Request<Bytes>| async { Ok::<_, &'static str>(Response::new(Bytes::new())) };
        let mut worker = Worker::new(queue, Arc::new(transport), Arc::new(Background));
        let start = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut token_at =
            |seconds| worker.authorization(start + Duration::from_secs(seconds)).unwrap();
        let first = token_at(0);
        assert_eq!(token_at(299), first);
        let second = token_at(300);
        assert_ne!(second, first);
        assert_eq!(token_at(599), second);
        // The clock is set back: the token would be good for longer than the endpoint may like.
        let third = token_at(299);
        assert_ne!(third, second);
        assert_eq!(token_at(300), third);
        // A token as old as this may be refused, whatever monotonic clocks say.
        assert_ne!(token_at(100_000), third);
    }
}
