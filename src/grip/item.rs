//! An item published to a proxy, serialized as the JSON that its control port expects.

use base64::engine::general_purpose::STANDARD;
use base64::engine::Engine;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::hold::{encode_channel, encode_id};

/// Represents one item for the clients that a proxy holds on a channel.
///
/// The channel's name is the full name, including any prefix. It is encoded in the same way as in a
/// [`Hold`](super::Hold).
///
/// ```
/// use eventstream::grip::Item;
///
/// let item = Item::new("events-a b", "data: x\n\n").id("1");
/// assert_eq!(
///     serde_json::to_string(&item).unwrap(),
///     r#"{"channel":"events-a%20b","id":"1","formats":{"http-stream":{"content":"data: x\n\n"}}}"#
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an item does nothing until it is published"]
pub struct Item {
    channel: String,
    id: Option<String>,
    prev_id: Option<String>,
    format: Format,
}

/// The effect on held streams: GRIP's format `http-stream`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    Text(String),
    Binary(Vec<u8>),
    Action(&'static str),
}

impl Item {
    /// Creates an item that writes `content` to the clients. The bytes need not be UTF-8.
    pub fn new(channel: impl AsRef<str>, content: impl Into<Vec<u8>>) -> Self {
        let text = String::from_utf8(content.into());
        Self::of(
            channel.as_ref(),
            text.map_or_else(|error| Format::Binary(error.into_bytes()), Format::Text),
        )
    }

    /// Creates an item that ends the clients' streams.
    pub fn close(channel: impl AsRef<str>) -> Self {
        Self::of(channel.as_ref(), Format::Action("close"))
    }

    /// Creates an item that makes the proxy request each client's
    /// [`next_link`](super::Hold::next_link) now.
    pub fn hint(channel: impl AsRef<str>) -> Self {
        Self::of(channel.as_ref(), Format::Action("hint"))
    }

    /// Sets the item's id. For a minute, Pushpin drops further items with the same id on the
    /// channel, so no client gets a repeated publication twice.
    pub fn id(mut self, id: impl AsRef<str>) -> Self {
        self.id = Some(encode_id(id.as_ref()));
        self
    }

    /// Sets the id of the previous item on the channel, so that the proxy notices a gap.
    pub fn prev_id(mut self, id: impl AsRef<str>) -> Self {
        self.prev_id = Some(encode_id(id.as_ref()));
        self
    }

    fn of(channel: &str, format: Format) -> Self {
        Self { channel: encode_channel(channel), id: None, prev_id: None, format }
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_map(None)?;
        item.serialize_entry("channel", &self.channel)?;
        if let Some(id) = &self.id {
            item.serialize_entry("id", id)?;
        }
        if let Some(id) = &self.prev_id {
            item.serialize_entry("prev-id", id)?;
        }
        item.serialize_entry("formats", &One("http-stream", &self.format))?;
        item.end()
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => One("content", text).serialize(serializer),
            Self::Binary(bytes) => {
                One("content-bin", &STANDARD.encode(bytes)).serialize(serializer)
            }
            Self::Action(action) => One("action", action).serialize(serializer),
        }
    }
}

/// Serializes as a map with a single entry.
struct One<'a, T>(&'static str, &'a T);

impl<T: Serialize> Serialize for One<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, self.1)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(item: &Item) -> String {
        serde_json::to_string(item).unwrap()
    }

    #[test]
    fn each_kind_has_its_json() {
        let wrap =
            |inner: &str| format!(r#"{{"channel":"a%2Cb","formats":{{"http-stream":{inner}}}}}"#);
        let text = Item::new("a,b", "\u{2713}\n\"");
        assert_eq!(json(&text), wrap("{\"content\":\"\u{2713}\\n\\\"\"}"));
        let bytes = Item::new("a,b", b"\xff\x00\n");
        assert_eq!(json(&bytes), wrap(r#"{"content-bin":"/wAK"}"#));
        assert_eq!(json(&Item::close("a,b")), wrap(r#"{"action":"close"}"#));
        assert_eq!(json(&Item::hint("a,b")), wrap(r#"{"action":"hint"}"#));
        let ids = r#""id":"2","prev-id":"%C3%A9%0A""#;
        assert_eq!(
            json(&Item::hint("c").id("1").id("2").prev_id("\u{e9}\n")),
            format!(r#"{{"channel":"c",{ids},"formats":{{"http-stream":{{"action":"hint"}}}}}}"#)
        );
    }
}
