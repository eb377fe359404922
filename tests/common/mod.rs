//! Reads what a stream has ready, as exact bytes.
#![allow(dead_code, reason = "each test uses a part")]

use std::task::Poll;

use bytes::Bytes;
use futures::stream::{Stream, StreamExt};
use futures::task::noop_waker_ref;

/// All items that a stream has now, and whether it has ended.
pub(crate) fn ready<S: Stream + Unpin>(stream: &mut S) -> (Vec<S::Item>, bool) {
    let mut cx = std::task::Context::from_waker(noop_waker_ref());
    let mut items = Vec::new();
    loop {
        match stream.poll_next_unpin(&mut cx) {
            Poll::Ready(Some(item)) => items.push(item),
            Poll::Ready(None) => return (items, true),
            Poll::Pending => return (items, false),
        }
    }
}

/// The bytes that a subscription has now, as text.
pub(crate) fn text<S: Stream<Item = Bytes> + Unpin>(stream: &mut S) -> String {
    String::from_utf8(ready(stream).0.concat()).unwrap()
}

/// The bytes that a body has now, as text.
pub(crate) fn body_text(body: &mut eventstream::Body) -> String {
    let bytes: Vec<Bytes> =
        ready(body).0.into_iter().map(|item| item.unwrap_or_else(|never| match never {})).collect();
    String::from_utf8(bytes.concat()).unwrap()
}
