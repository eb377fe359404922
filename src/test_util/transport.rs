//! A control port that only takes notes.

use std::fmt;
use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use futures::future::{ready, BoxFuture, FutureExt};
use http::{Request, Response, StatusCode, Uri};
use serde_json::Value;

use crate::grip::{Transport, TransportError};
use crate::sync::StdMutex;

/// A [`Transport`] that sends nothing, records all, and answers at once: 200, until it is told
/// otherwise. Clones are the same record.
///
/// ```
/// use eventstream::test_util::RecordingTransport;
/// use eventstream::{Event, EventStream};
/// use futures::executor::block_on;
///
/// let transport = RecordingTransport::new();
/// let stream =
///     EventStream::builder().grip("http://proxy.example:5561/").transport(transport.clone()).build()?;
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
    /// Where it was sent to.
    pub uri: Uri,
    /// The channel with its prefix, encoded as the proxy knows it.
    pub channel: String,
    /// Its id: the same in every try.
    pub id: Option<String>,
    /// What clients are sent; `None` for an item that closes the channel, or is a hint.
    pub content: Option<String>,
}

impl RecordingTransport {
    /// One that accepts everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers with this status from now on. The publisher tries again after 429 and 5xx, with
    /// pauses by its timer.
    pub fn answer(&self, status: StatusCode) {
        self.lock().status = status;
    }

    /// All requests so far, in their order.
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.lock().requests.clone()
    }

    /// The items of all requests so far, whatever was answered.
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
