//! Items as JSON, written before an event has its number.

use std::sync::Arc;

use super::Item;
use crate::event::control::ID;

/// An item as JSON, with gaps where its id belongs.
#[derive(Clone, Debug)]
pub(crate) struct ItemJson {
    /// The id goes between each two of them.
    parts: Arc<[Box<str>]>,
}

impl ItemJson {
    /// An item that has its id already, or needs none.
    pub(super) fn whole(item: &Item) -> Self {
        Self { parts: [to_json(item).into()].into() }
    }

    /// An event's frame. With `own_id` the id is also a line of the frame, between its two parts.
    pub(crate) fn frame(channel: &str, before_id: &str, after_id: &str, own_id: bool) -> Self {
        // The shape of an item is known to `Item` alone: an item without id and content is cut open
        // at its two empty strings. Nothing else in it can be empty, or contain a quote.
        let shape = to_json(&Item::new(channel, "").id(""));
        let mut pieces = shape.split("\"\"");
        let [start, middle, end] = std::array::from_fn(|_| pieces.next().unwrap_or_default());
        let (before, after) = (escaped(before_id), escaped(after_id));
        let start = format!("{start}\"").into();
        let parts: Vec<Box<str>> = match own_id {
            true => {
                let content = format!("\"{middle}\"{before}{ID}").into();
                vec![start, content, format!("\\n{after}\"{end}").into()]
            }
            false => vec![start, format!("\"{middle}\"{before}{after}\"{end}").into()],
        };
        Self { parts: parts.into() }
    }

    /// Its length in bytes with an id of this length.
    pub(crate) fn len(&self, id: usize) -> usize {
        self.parts.iter().map(|part| part.len()).sum::<usize>() + (self.parts.len() - 1) * id
    }

    pub(super) fn write(&self, id: &str, out: &mut Vec<u8>) {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(id.as_bytes());
            }
            out.extend_from_slice(part.as_bytes());
        }
    }
}

fn to_json(item: &Item) -> String {
    // Strings and maps with string keys cannot fail.
    serde_json::to_string(item).unwrap_or_default()
}

/// The inside of a JSON string.
fn escaped(text: &str) -> String {
    let mut quoted = serde_json::Value::from(text).to_string();
    quoted.pop();
    quoted.remove(0);
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use super::*;

    #[test]
    fn the_id_is_put_in_its_places() {
        for (own_id, content) in [
            (true, ": \"c\"\nid: e-7\ndata: \u{1}\"\"\n\n"),
            (false, ": \"c\"\ndata: \u{1}\"\"\n\n"),
        ] {
            let json = ItemJson::frame("a b\"\"", ": \"c\"\n", "data: \u{1}\"\"\n\n", own_id);
            let mut out = Vec::new();
            json.write("e-7", &mut out);
            assert_eq!(out.len(), json.len(3));
            let formats = json!({ "http-stream": { "content": content } });
            let item = json!({ "channel": "a%20b%22%22", "id": "e-7", "formats": formats });
            assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), item);
        }
    }

    #[test]
    fn a_frame_is_written_as_the_item_that_it_is() {
        let (before, after) = (": \u{2713}\n", "event: \\\"\ndata: \u{2028}\t\n\n");
        let mut out = Vec::new();
        ItemJson::frame("c,d", before, after, false).write("e-7", &mut out);
        let item = Item::new("c,d", format!("{before}{after}")).id("e-7");
        assert_eq!(String::from_utf8(out).unwrap(), to_json(&item));
    }
}
