//! Looks at answers: which channels a client was subscribed to.

use eventstream::Body;
use futures::task::noop_waker_ref;
use futures::StreamExt;
use http::Response;
use serde_json::Value;

/// An id of another stream: a client that sends it gets a reset that names each of its channels.
pub(crate) const FOREIGN: &str = "0000000000000-0";

/// All that a body has now, and whether it has ended.
pub(crate) fn ready(body: &mut Body) -> (Vec<u8>, bool) {
    let mut cx = std::task::Context::from_waker(noop_waker_ref());
    let mut bytes = Vec::new();
    loop {
        match body.poll_next_unpin(&mut cx) {
            std::task::Poll::Ready(Some(Ok(item))) => bytes.extend_from_slice(&item),
            std::task::Poll::Ready(Some(Err(never))) => match never {},
            std::task::Poll::Ready(None) => return (bytes, true),
            std::task::Poll::Pending => return (bytes, false),
        }
    }
}

/// The channels of a client that came with [`FOREIGN`], or the status and text of its refusal.
pub(crate) fn channels(answer: Response<Body>) -> Result<Vec<String>, (u16, String)> {
    let status = answer.status().as_u16();
    let (bytes, _) = ready(&mut answer.into_body());
    let text = String::from_utf8(bytes).expect("a body is text");
    if status != 200 {
        return Err((status, text));
    }
    let expected = "event: stream-open\ndata: \n\n";
    let reset = text.strip_prefix(expected).unwrap_or_else(|| panic!("{text:?}"));
    let (_, data) = reset.split_once("data: ").unwrap_or_else(|| panic!("{text:?}"));
    let data: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
    assert_eq!(data["reason"], "unknown");
    let names = data["channels"].as_array().expect("a list of channels");
    Ok(names.iter().map(|name| name.as_str().expect("a name").to_owned()).collect())
}
