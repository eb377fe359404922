//! Items as JSON, made before an event has its number.

use std::sync::Arc;

use super::hold::encode_channel;

/// An item as JSON, but for its id, of which only the places are known.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    /// The id stands between each two of them.
    parts: Arc<[Box<str>]>,
}

impl Rendered {
    /// A whole item.
    pub(super) fn whole(json: String) -> Self {
        Self { parts: [json.into()].into() }
    }

    /// An event's frame. With `own_id` the id is also a line of the frame, between its two parts.
    pub(crate) fn frame(channel: &str, before_id: &str, after_id: &str, own_id: bool) -> Self {
        let start = format!("{{\"channel\":{},\"id\":\"", quoted(&encode_channel(channel)));
        let content = "\",\"formats\":{\"http-stream\":{\"content\":\"";
        let end = format!("{}\"}}}}}}", escaped(after_id));
        let before = escaped(before_id);
        let parts: Vec<Box<str>> = match own_id {
            true => vec![
                start.into(),
                format!("{content}{before}id: ").into(),
                format!("\\n{end}").into(),
            ],
            false => vec![start.into(), format!("{content}{before}{end}").into()],
        };
        Self { parts: parts.into() }
    }

    /// Its bytes with an id of this length.
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

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The inside of a JSON string.
fn escaped(text: &str) -> String {
    let mut quoted = quoted(text);
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
        for (own_id, content) in
            [(true, ": \"c\"\nid: e-7\ndata: \u{1}\n\n"), (false, ": \"c\"\ndata: \u{1}\n\n")]
        {
            let rendered = Rendered::frame("a b", ": \"c\"\n", "data: \u{1}\n\n", own_id);
            let mut out = Vec::new();
            rendered.write("e-7", &mut out);
            assert_eq!(out.len(), rendered.len(3));
            let item = json!({ "channel": "a%20b", "id": "e-7", "formats": { "http-stream": { "content": content } } });
            assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), item);
        }
    }
}
