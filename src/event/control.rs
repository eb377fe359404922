//! The frames that streams send on their own behalf, and the `id:` line that they add to events.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::id::EPOCH_LEN;
use super::{Epoch, Event, EventId};

/// The start of an `id:` line.
pub(crate) const ID: &str = "id: ";

/// Sent after a time of silence. A named event, because a comment makes some clients deliver an
/// empty message.
pub(crate) const KEEP_ALIVE: &[u8] = b"event: keep-alive\ndata: \n\n";

const STREAM_OPEN: &str = "stream-open";

/// The names of the events that streams send, or may send one day. Publishers cannot use them.
pub(super) const NAMES: [&str; 4] = [STREAM_OPEN, "stream-reset", "stream-error", "keep-alive"];

/// Why events are missing from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResetReason {
    /// The position that the client came back with is older than the history.
    Evicted,
    /// The client read too slowly.
    Lagged,
    /// The id that the client came back with names no position.
    Unknown,
    /// A proxy did not get them.
    #[cfg(feature = "grip")]
    Lost,
}

impl ResetReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Lagged => "lagged",
            Self::Unknown => "unknown",
            #[cfg(feature = "grip")]
            Self::Lost => "lost",
        }
    }
}

/// The first frame of a body. A client that loses the stream right after it comes back to
/// `position`.
pub(crate) fn stream_open(position: Option<&EventId>, retry: Option<Duration>) -> Bytes {
    let mut frame = position.map_or_else(Vec::new, |id| format!("{ID}{id}\n").into_bytes());
    let open = Event::named(STREAM_OPEN.into());
    let open = retry.map_or(open.clone(), |after| open.retry(after));
    // `Builder::retry` has checked the time, so this cannot fail.
    let _ = open.encode_into(&mut frame);
    frame.into()
}

/// Appends a `stream-reset`. `channels` is a JSON list of names: JSON escapes line breaks, so a
/// name cannot forge a field.
pub(crate) fn stream_reset(
    out: &mut Vec<u8>,
    position: Option<&EventId>,
    channels: &Value,
    reason: ResetReason,
) {
    if let Some(id) = position {
        out.extend_from_slice(format!("{ID}{id}\n").as_bytes());
    }
    let reason = reason.as_str();
    let data = format!("{{\"channels\":{channels},\"reason\":\"{reason}\"}}");
    out.extend_from_slice(format!("event: stream-reset\ndata: {data}\n\n").as_bytes());
}

/// Tells the client when to come back, and nothing else.
pub(crate) fn retry(after: Duration) -> Bytes {
    format!("retry: {}\n\n", after.as_millis()).into()
}

/// Appends the line `id: <epoch>-<seq>`.
pub(crate) fn write_id_line(epoch: Epoch, seq: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(ID.as_bytes());
    out.extend_from_slice(epoch.as_bytes());
    out.push(b'-');
    out.extend_from_slice(seq.as_bytes());
    out.push(b'\n');
}

/// Length of that line.
pub(crate) fn id_line_len(seq: &str) -> usize {
    ID.len() + EPOCH_LEN + "-".len() + seq.len() + "\n".len()
}
