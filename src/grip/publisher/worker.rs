//! The worker of one endpoint: sends what is queued, in its order, until the endpoint has decided.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_channel::Receiver;
use bytes::Bytes;
use futures::future::{select, Either};
use http::header::{HeaderValue, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, StatusCode};

use super::queue::{Queue, Queued, CLOSE, OPEN};
use super::verdict::fail_all;
use crate::grip::Transport;
use crate::runtime::random::Random;
use crate::runtime::Timer;
use crate::trace;

/// How often, and for how long in all, a batch is tried.
const TRIES: u32 = 5;
const TRY_TIME: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A token is good for ten minutes and used for five.
const TOKEN_USE: Duration = Duration::from_secs(300);

/// Sends one endpoint's batches, one after another.
pub(super) struct Worker {
    queue: Arc<Queue>,
    transport: Arc<dyn Transport>,
    timer: Arc<dyn Timer>,
    token: Option<(Instant, HeaderValue)>,
    random: Random,
}

impl Drop for Worker {
    /// Runs also if the executor drops the worker or the transport panics, so that every outcome
    /// resolves.
    fn drop(&mut self) {
        self.queue.stop();
    }
}

/// What an endpoint made of a POST after all tries.
enum Reply {
    Accepted,
    /// It refused the POST because of its content: one bad item is enough for that.
    Refused(String),
    Failed(String),
}

impl Worker {
    pub(super) fn new(
        queue: Arc<Queue>,
        transport: Arc<dyn Transport>,
        timer: Arc<dyn Timer>,
    ) -> Self {
        Self { queue, transport, timer, token: None, random: Random::new() }
    }

    /// Sends batches each time it is woken; ends when `woken` is closed and the queue is empty.
    pub(super) async fn run(mut self, woken: Receiver<()>) {
        loop {
            let wake = woken.recv().await;
            while let Some(batch) = self.queue.next_batch(self.timer.now()) {
                self.send_batch(batch).await;
            }
            if wake.is_err() {
                return;
            }
        }
    }

    /// Sends a batch. A batch that is refused is halved until the bad items are alone.
    async fn send_batch(&mut self, batch: Vec<Queued>) {
        // The front part goes first, which keeps the order of the queue.
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let name = Arc::clone(&self.queue.tally.name);
            let reply = trace::grip(&name, part.len(), self.post(&part)).await;
            match reply {
                Reply::Accepted => part.drain(..).for_each(|item| item.verdict.accept()),
                Reply::Refused(_) if part.len() > 1 => {
                    let back = part.split_off(part.len() / 2);
                    parts.push(back);
                    parts.push(part);
                    continue;
                }
                Reply::Refused(reason) | Reply::Failed(reason) => {
                    fail_all(part.into_iter().map(|item| item.verdict), &reason);
                }
            }
        }
    }

    /// Posts items until the endpoint has decided, or they have been tried often or long enough.
    async fn post(&mut self, items: &[Queued]) -> Reply {
        let mut body = OPEN.to_vec();
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            item.json.write(&item.id, &mut body);
        }
        body.extend_from_slice(CLOSE);
        let body = Bytes::from(body);
        let start = self.timer.now();
        let mut tries = 0;
        loop {
            tries += 1;
            let reason = match self.post_once(body.clone()).await {
                Ok(status) if status.is_success() => {
                    trace::debug!(target: "eventstream::grip", tries, "accepted");
                    return Reply::Accepted;
                }
                Ok(StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE) => {
                    return Reply::Refused("refused as a bad request".into());
                }
                Ok(status)
                    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() =>
                {
                    format!("answered {status}")
                }
                Ok(status) => return Reply::Failed(format!("answered {status}")),
                Err(reason) => reason,
            };
            let pause = self.pause(tries);
            let given_up = items.iter().all(|item| item.verdict.is_settled());
            if given_up
                || tries == TRIES
                || self.timer.now().saturating_duration_since(start) + pause > TRY_TIME
            {
                return Reply::Failed(format!("{reason}, after {tries} tries"));
            }
            self.queue.tally.retried.fetch_add(1, Ordering::Relaxed);
            trace::debug!(target: "eventstream::grip", tries, ?pause, "{reason}, trying again");
            self.timer.sleep(pause).await;
        }
    }

    async fn post_once(&mut self, body: Bytes) -> Result<StatusCode, String> {
        let endpoint = &self.queue.endpoint;
        let mut req = Request::new(body);
        *req.method_mut() = Method::POST;
        *req.uri_mut() = endpoint.publish_uri();
        let len = req.body().len();
        req.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        req.headers_mut().insert(CONTENT_LENGTH, len.into());
        let timeout = endpoint.post_timeout();
        if let Some(authorization) = self.authorization() {
            req.headers_mut().insert(AUTHORIZATION, authorization);
        }
        match select(self.transport.send(req), self.timer.sleep(timeout)).await {
            Either::Left((Ok(answer), _)) => Ok(answer.status()),
            Either::Left((Err(error), _)) => Err(format!("no answer: {error}")),
            Either::Right(_) => Err(format!("no answer in {timeout:?}")),
        }
    }

    fn authorization(&mut self) -> Option<HeaderValue> {
        let now = self.timer.now();
        if let Some((made, token)) = &self.token {
            if now.saturating_duration_since(*made) < TOKEN_USE {
                return Some(token.clone());
            }
        }
        let token = self.queue.endpoint.authorization(SystemTime::now())?;
        self.token = Some((now, token.clone()));
        Some(token)
    }

    /// The pause before the next try: anything up to a bound that doubles, so that many publishers
    /// do not come back at once.
    fn pause(&self, tries: u32) -> Duration {
        self.random.jitter(FIRST_PAUSE * 2u32.pow(tries - 1))
    }
}
