//! Events as publishers make them, and how they become the bytes of a frame.

pub(crate) mod control;
mod error;
mod id;

use std::time::Duration;

use bytes::Bytes;
use memchr::memchr2;
use serde::Serialize;

pub use error::InvalidEvent;
pub(crate) use error::Mistake;
pub use id::EventId;
pub(crate) use id::{Epoch, OWN_ID_MAX};

/// The longest reconnection time in milliseconds: timers of JavaScript overflow at more.
const RETRY_MAX: u64 = (1 << 31) - 1;

/// One server-sent event, as a typed value.
///
/// Setters never fail, so a chain of setters needs no `?`: the event keeps the first mistake, and
/// [`encode`](Event::encode) and every way to publish report it. On the wire an event is a block of
/// lines (WHATWG HTML, section 9.2): comment, `id`, `event`, `retry`, and always at least one
/// `data` line.
///
/// A browser hands an event to the listeners of its name; an event without a name is a plain
/// `message`. Avoid the names `open` and `error`: listeners cannot tell such events from
/// `EventSource`'s own.
///
/// ```
/// use eventstream::Event;
///
/// let event = Event::new("score").json(&[2, 1]);
/// assert_eq!(&event.encode()?[..], b"event: score\ndata: [2,1]\n\n");
/// # Ok::<(), eventstream::InvalidEvent>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "an event does nothing until it is published"]
pub struct Event {
    name: String,
    data: String,
    id: Option<String>,
    retry: Option<u64>,
    comment: Option<String>,
    mistake: Option<InvalidEvent>,
}

impl Event {
    /// Creates an event of this name. With `""` it has no name, and browsers treat it as a plain
    /// `message`.
    ///
    /// A name with CR, LF or NUL is a mistake, because it would forge a field (WHATWG HTML, section
    /// 9.2.6). So are the names of the events that a stream itself sends: `stream-open`,
    /// `stream-reset`, `stream-error` and `keep-alive`.
    pub fn new(name: impl Into<String>) -> Self {
        let mut event = Self::named(name.into());
        let name = &event.name;
        if let Some(found) = forbidden(name) {
            event.note(Mistake::Name { name: name.clone(), found });
        } else if control::NAMES.contains(&name.as_str()) {
            event.note(Mistake::ReservedName(name.clone()));
        }
        event
    }

    /// An event whose name is not checked. Only the crate's own frames may use reserved names.
    fn named(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// Sets the data: any text, with any line endings.
    ///
    /// CRLF, CR and LF each end a line. The receiver gets each as LF, because the format has no
    /// other line end.
    pub fn data(mut self, text: impl Into<String>) -> Self {
        self.data = text.into();
        self
    }

    /// Sets the data to the compact JSON of `value`.
    ///
    /// A value that JSON cannot hold is a mistake, for example a map whose keys are not strings.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_string(value) {
            Ok(json) => self.data = json,
            Err(error) => self.note(Mistake::Json(error.to_string())),
        }
        self
    }

    /// Sets the id, instead of the one that the stream would give.
    ///
    /// A client that reconnects with it goes on after this event, as long as the channel keeps the
    /// event and keeps no other event of the same id.
    ///
    /// The id comes back in a header, so it may have up to 1 KiB of visible ASCII and spaces, with
    /// no space at either end. Anything else is a mistake, and so are an empty id, `error`,
    /// `earliest` and an id of the form that the stream gives (13 of `0-9a-z`, a hyphen, digits);
    /// these three also as a part between commas.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        let id = id.into();
        if let Some(why) = id::refusal(&id) {
            self.note(Mistake::Id { id: id.clone(), why });
        }
        self.id = Some(id);
        self
    }

    /// Sets how long the client waits before it reconnects: 1 ms to 2^31 - 1 ms (24.8 days), in
    /// whole milliseconds. A fraction is cut off, but less than a millisecond becomes one.
    ///
    /// Zero and longer times are mistakes: with zero browsers reconnect without a pause, and so do
    /// clients whose timers overflow.
    pub fn retry(mut self, after: Duration) -> Self {
        // A part of a millisecond must not become zero, which means "at once" to some clients.
        let millis = after.as_millis().max(u128::from(!after.is_zero()));
        match u64::try_from(millis) {
            Ok(millis @ 1..=RETRY_MAX) => self.retry = Some(millis),
            _ => self.note(Mistake::Retry(after)),
        }
        self
    }

    /// Sets a comment, which clients ignore. Each line of the text becomes a comment line.
    pub fn comment(mut self, text: impl Into<String>) -> Self {
        self.comment = Some(text.into());
        self
    }

    /// Encodes the event as it goes over the wire, without the id that a stream with history adds.
    ///
    /// # Errors
    ///
    /// The first mistake that any setter met.
    pub fn encode(&self) -> Result<Bytes, InvalidEvent> {
        let mut out = Vec::new();
        self.encode_into(&mut out)?;
        Ok(out.into())
    }

    pub(crate) fn given_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Appends the frame to `out`. Returns where in it the stream's `id:` line belongs, and how
    /// much of it counts against [`Limits::frame`](crate::Limits::frame).
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) -> Result<Encoded, InvalidEvent> {
        if let Some(mistake) = &self.mistake {
            return Err(mistake.clone());
        }
        let start = out.len();
        out.reserve(self.data.len() + self.name.len() + 32);
        if let Some(comment) = &self.comment {
            lines(out, b": ", comment.as_bytes());
        }
        let id_at = out.len();
        if let Some(id) = &self.id {
            field(out, b"id: ", id.as_bytes());
        }
        if !self.name.is_empty() {
            field(out, b"event: ", self.name.as_bytes());
        }
        if let Some(millis) = self.retry {
            field(out, b"retry: ", itoa::Buffer::new().format(millis).as_bytes());
        }
        let data_at = out.len();
        lines(out, b"data: ", self.data.as_bytes());
        // A single line of data may be as long as the limit: its framing does not count, that of
        // further lines does.
        let weight = (id_at - start) + (out.len() - data_at - b"data: \n".len());
        out.push(b'\n');
        Ok(Encoded { start, id_at, end: out.len(), weight: weight.max(self.name.len()) })
    }

    fn note(&mut self, mistake: Mistake) {
        self.mistake.get_or_insert_with(|| mistake.into());
    }
}

/// Where a frame lies in the buffer that it was encoded to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    pub(crate) start: usize,
    pub(crate) id_at: usize,
    pub(crate) end: usize,
    pub(crate) weight: usize,
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Writes one field per line of `text`. CRLF is one line break (WHATWG HTML, section 9.2.5); an
/// empty text is one empty line.
fn lines(out: &mut Vec<u8>, name: &[u8], mut text: &[u8]) {
    while let Some(at) = memchr2(b'\r', b'\n', text) {
        field(out, name, &text[..at]);
        let crlf = text[at..].starts_with(b"\r\n");
        text = &text[at + 1 + usize::from(crlf)..];
    }
    field(out, name, text);
}

/// The first character that a single-line field must not contain.
fn forbidden(text: &str) -> Option<&'static str> {
    // Names and ids are short, so a look at each byte is quicker than a vectorised search.
    text.bytes().find(|byte| *byte <= b'\r' && matches!(byte, b'\r' | b'\n' | b'\0')).map(|byte| {
        match byte {
            b'\r' => "a carriage return",
            b'\n' => "a line feed",
            _ => "a NUL",
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(event: &Event) -> String {
        String::from_utf8(event.encode().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn fields_come_in_one_order_and_every_block_has_data() {
        let event =
            Event::new("e").comment("c").id("i").retry(Duration::from_micros(1_500_999)).data("d");
        assert_eq!(wire(&event), ": c\nid: i\nevent: e\nretry: 1500\ndata: d\n\n");
        assert_eq!(wire(&Event::default()), "data: \n\n");
        assert_eq!(wire(&Event::new("e").data("")), "event: e\ndata: \n\n");
    }

    #[test]
    fn each_kind_of_line_end_starts_one_new_line() {
        assert_eq!(
            wire(&Event::default().data("a\r\nb\rc\nd\n\r\n")),
            "data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: \n\n"
        );
        assert_eq!(
            wire(&Event::default().comment("a\rid: 1\r\n\r\nb").data(" x")),
            ": a\n: id: 1\n: \n: b\ndata:  x\n\n"
        );
        assert_eq!(
            wire(&Event::default().data("\u{2028}\u{2029}\u{85}\u{b}\u{c}")),
            "data: \u{2028}\u{2029}\u{85}\u{b}\u{c}\n\n"
        );
    }

    #[test]
    fn only_the_framing_of_one_data_line_is_free() {
        let weight = |event: Event| event.encode_into(&mut Vec::new()).unwrap().weight;
        assert_eq!(weight(Event::new("name").id("i").data("four")), 4);
        assert_eq!(weight(Event::default().data("a\nb")), "a\ndata: b".len());
        assert_eq!(weight(Event::default().comment("c").data("x")), ": c\n".len() + 1);
    }

    #[test]
    fn the_first_mistake_is_the_one_reported() {
        let event = Event::new("a\nb").id("").data("x");
        assert_eq!(
            event.encode().unwrap_err().to_string(),
            r#"event name "a\nb" contains a line feed"#
        );
        assert!(Event::new("a\0").encode().is_err() && Event::new("a\r").encode().is_err());
        let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert_eq!(
            Event::new("x").json(&keys).encode().unwrap_err().to_string(),
            "data cannot be written as JSON: key must be a string"
        );
        assert!(Event::default().retry(Duration::MAX).encode().is_err());
    }
}
