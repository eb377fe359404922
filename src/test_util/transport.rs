//! A transport that only records what it is given.

use std::fmt;
use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use futures::future::{ready, BoxFuture, FutureExt};
use http::{Request, Response, StatusCode, Uri};
use serde_json::Value;

use crate::grip::{Transport, TransportError};
use crate::sync::StdMutex;

/// A [`Transport`] that sends nothing, records every request, and answers at once.
///
/// It answers 200 until [`answer`](RecordingTransport::answer) sets another status. All clones
/// share one record.
///
/// ```
/// use eventstream::test_util::RecordingTransport;
/// use eventstream::{Event, EventStream};
/// use futures::executor::block_on;
///
/// let transport = RecordingTransport::new();
/// let stream = EventStream::builder()
///     .grip("http://proxy.example:5561/")
///     .transport(transport.clone())
///     .build()?;
/// block_on(stream.publish("news", Event::new("headline").data("It works")))?;
/// let item = &transport.items()[0];
/// assert_eq!(item.channel, "events-news");
/// assert!(item.content.as_ref().unwrap().ends_with("event: headline\ndata: It works\n\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct RecordingTransport(Arc<StdMutex<Record>>);

#[derive(Default)]
struct Record {
    requests: Vec<Request<Bytes>>,
    status: StatusCode,
}

/// An item as it was sent to a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedItem {
    /// The URI to which it was posted.
    pub uri: Uri,
    /// The channel, including the prefix and encoded for the proxy.
    pub channel: String,
    /// The item's id, which is the same in every retry.
    pub id: Option<String>,
    /// What the proxy writes to the clients; `None` for an item that closes the channel, and for a
    /// hint.
    pub content: Option<String>,
}

impl RecordingTransport {
    /// Creates a transport that answers every request with 200.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers with this status from now on.
    ///
    /// After 429 and 5xx the publisher tries again, with pauses measured by its timer.
    pub fn answer(&self, status: StatusCode) {
        self.lock().status = status;
    }

    /// Returns all requests so far, in order.
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.lock().requests.clone()
    }

    /// Returns the items of all requests so far, in order, whatever the answers were.
    pub fn items(&self) -> Vec<RecordedItem> {
        self.lock().requests.iter().flat_map(items).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock()
    }
}

fn items(request: &Request<Bytes>) -> Vec<RecordedItem> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let item = |item: &Value| RecordedItem {
        uri: request.uri().clone(),
        channel: text(&item["channel"]).unwrap_or_default(),
        id: text(&item["id"]),
        content: text(&item["formats"]["http-stream"]["content"]),
    };
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    body["items"].as_array().map(|items| items.iter().map(item).collect()).unwrap_or_default()
}

impl Transport for RecordingTransport {
    fn send(&self, req: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let mut record = self.lock();
        record.requests.push(req);
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = record.status;
        ready(Ok(answer)).boxed()
    }
}

impl fmt::Debug for RecordingTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingTransport").field("requests", &self.lock().requests.len()).finish()
    }
}
