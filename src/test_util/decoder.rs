//! A decoder of event streams that works like a browser's (WHATWG HTML, 9.2.6).

use std::collections::VecDeque;
use std::time::Duration;

use serde::de::DeserializeOwned;

/// An event as a client received it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The event's name; `message` if none was sent.
    pub name: String,
    /// The data, with its lines separated by LF.
    pub data: String,
    /// The id that was sent with the event, if any.
    pub id: Option<String>,
}

impl Received {
    /// Deserializes the data as JSON.
    ///
    /// # Errors
    ///
    /// If the data is not JSON, or not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.data)
    }
}

/// Decodes bytes into events, wherever the bytes are cut.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// Whether the last byte was a CR: an LF right after it belongs to the same line end.
    after_cr: bool,
    /// Whether the first line has been decoded: only that line may start with a byte order mark.
    begun: bool,
    name: String,
    data: Option<String>,
    id: Option<String>,
    pub(super) last_event_id: String,
    pub(super) retry: Option<Duration>,
    pub(super) events: VecDeque<Received>,
}

impl Decoder {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' if std::mem::take(&mut self.after_cr) => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    let mut line = std::mem::take(&mut self.line);
                    self.line(&line);
                    line.clear();
                    self.line = line;
                }
                _ => {
                    self.after_cr = false;
                    self.line.push(byte);
                }
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = if std::mem::replace(&mut self.begun, true) {
            &*line
        } else {
            line.strip_prefix('\u{feff}').unwrap_or(&line)
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                // A number that is too large to parse leaves the previous one in place.
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            // Comments and unknown fields are ignored.
            _ => {}
        }
    }

    /// Handles the end of a block. A block without data is not an event, but its id counts.
    fn dispatch(&mut self) {
        let (name, id) = (std::mem::take(&mut self.name), self.id.take());
        if let Some(id) = &id {
            self.last_event_id.clone_from(id);
        }
        let Some(data) = self.data.take() else { return };
        let name = if name.is_empty() { "message".to_owned() } else { name };
        self.events.push_back(Received { name, data, id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(stream: &[u8], cut: usize) -> (Vec<(String, String)>, Decoder) {
        let mut decoder = Decoder::default();
        stream.chunks(cut).for_each(|chunk| decoder.feed(chunk));
        let events = decoder.events.drain(..).map(|event| (event.name, event.data)).collect();
        (events, decoder)
    }

    /// Tests the standard's own examples, and the rules that it states in prose.
    #[test]
    fn streams_are_decoded_as_the_standard_has_it_wherever_they_are_cut() {
        let message = |data: &str| ("message".to_owned(), data.to_owned());
        let named = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        for (stream, expected, last_event_id) in [
            ("data: YHOO\ndata: +2\ndata: 10\n\n", vec![message("YHOO\n+2\n10")], ""),
            (
                ": test stream\n\ndata: first event\nid: 1\n\n\
                 data:second event\nid\n\ndata:  third event\n\n",
                vec![message("first event"), message("second event"), message(" third event")],
                "",
            ),
            ("data\n\ndata\ndata\n\ndata:", vec![message(""), message("\n")], ""),
            ("data:test\n\ndata: test\n\n", vec![message("test"), message("test")], ""),
            (
                "\u{feff}event: a\rdata: 1\r\rid: 7\r\n\r\ndata: 2\r\n\r\n",
                vec![named("a", "1"), message("2")],
                "7",
            ),
            (
                "event: dropped\n\nid: x\0y\nretry: 1s\ndata: a\u{2028}b\n\n",
                vec![message("a\u{2028}b")],
                "",
            ),
            ("Data: no\n data: no\ndata: yes\n\n\u{feff}data: no\n\n", vec![message("yes")], ""),
        ] {
            for cut in [1, 2, 3, 5, 1000] {
                let (events, decoder) = decode(stream.as_bytes(), cut);
                assert_eq!(events, expected, "{stream:?} cut at {cut}");
                assert_eq!(decoder.last_event_id, last_event_id, "{stream:?}");
                assert_eq!(decoder.retry, None, "{stream:?}");
            }
        }
        let (events, decoder) = decode(b"retry: 1500\n\n", 4);
        assert!(events.is_empty());
        assert_eq!(decoder.retry, Some(Duration::from_millis(1500)));
    }
}
