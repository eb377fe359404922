//! The test kit's decoder against two parsers that nobody here wrote. It is private, and reads what
//! a stream wrote, so its file is included here, and fed anything.

use bytes::Bytes;

use crate::input::Input;
use crate::kit::Decoder;
use crate::parsers::{self, Received};

/// What the decoder makes of these bytes, in pieces of this size, and the events' last ids.
fn decode(bytes: &[u8], size: usize) -> Vec<Received> {
    let mut decoder = Decoder::default();
    let mut received = Vec::new();
    for piece in bytes.chunks(size) {
        decoder.feed(piece);
        while let Some(event) = decoder.events.pop_front() {
            let id = decoder.last_event_id.clone();
            received.push(Received { name: event.name, data: event.data, id, retry: None });
        }
    }
    received
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (size, cut) = (1 + input.below(8), input.byte());
    // One parser waits after a CR for what may be its LF, so there is always something after it.
    let bytes = &[input.rest(), b":"].concat();
    let decoded = decode(bytes, 1);
    let contents = |received: &[Received]| -> Vec<_> {
        received.iter().map(|event| (event.name.clone(), event.data.clone())).collect()
    };
    // The ids are those at the end of a piece.
    assert_eq!(contents(&decode(bytes, size)), contents(&decoded), "cut into {size}");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // One parser panics on a byte order mark in front; that of the other is wrong, see below.
    if text.starts_with('\u{feff}') {
        return;
    }
    let mut front = Bytes::copy_from_slice(bytes);
    let back = front.split_off(usize::from(cut) % (bytes.len() + 1));
    let mut theirs = parsers::eventsource_stream(&[front.clone(), back.clone()]);
    theirs.iter_mut().for_each(|event| event.retry = None);
    assert_eq!(theirs, decoded);
    // The other takes a byte order mark in front of any line for the stream's, ignores `event` and
    // `id` without a colon, and takes an empty name for a name.
    let odd = |line: &str| {
        line.starts_with('\u{feff}') || ["event", "event:", "event: ", "id"].contains(&line)
    };
    if !text.split(['\r', '\n']).any(odd) {
        assert_eq!(parsers::sse_codec(&[front, back]), decoded);
    }
}
