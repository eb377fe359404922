//! An event is refused for a reason, or two foreign parsers read from its bytes what was published.

use std::time::Duration;

use eventstream::Event;

use crate::input::{text, Input};
use crate::parsers::{self, Received};

struct Draft {
    name: String,
    id: Option<String>,
    data: String,
    comment: Option<String>,
    retry: Option<u64>,
}

impl Draft {
    fn event(&self) -> Event {
        let mut event = Event::new(&self.name).data(&self.data);
        event = self.id.iter().fold(event, |event, id| event.id(id));
        event = self.comment.iter().fold(event, |event, comment| event.comment(comment));
        self.retry.iter().fold(event, |event, millis| event.retry(Duration::from_millis(*millis)))
    }

    /// The rules of `Event`'s documentation, written down once more.
    fn is_valid(&self) -> bool {
        let reserved = ["stream-open", "stream-reset", "stream-error", "keep-alive"];
        !self.name.contains(['\r', '\n', '\0'])
            && !reserved.contains(&&*self.name)
            && self.retry.is_none_or(|millis| (1..1 << 31).contains(&millis))
            && self.id.as_ref().is_none_or(|id| is_valid_id(id))
    }

    fn received(&self) -> Received {
        Received {
            name: if self.name.is_empty() { "message".to_owned() } else { self.name.clone() },
            id: self.id.clone().unwrap_or_default(),
            data: self.data.replace("\r\n", "\n").replace('\r', "\n"),
            retry: self.retry.map(Duration::from_millis),
        }
    }
}

pub(crate) fn is_valid_id(id: &str) -> bool {
    let parts = || id.split(',').map(|part| part.trim_matches(' '));
    (1..=1024).contains(&id.len())
        && id.chars().all(|char| (' '..='~').contains(&char))
        && id.trim_matches(' ') == id
        && !parts().any(|part| ["error", "earliest"].contains(&part) || is_own(part))
}

/// Whether an id has the form of those that a stream gives.
fn is_own(id: &str) -> bool {
    id.split_once('-').is_some_and(|(epoch, seq)| {
        epoch.len() == 13
            && epoch.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
            && !seq.is_empty()
            && seq.bytes().all(|byte| byte.is_ascii_digit())
    })
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let has = input.byte();
    let draft = Draft {
        name: input.text(),
        id: (has & 1 > 0).then(|| input.text()),
        comment: (has & 2 > 0).then(|| input.text()),
        retry: (has & 4 > 0).then(|| input.number()),
        data: String::new(),
    };
    let (first, second) = (usize::from(input.byte()), usize::from(input.byte()));
    let draft = Draft { data: text(input.rest()), ..draft };
    let encoded = draft.event().encode();
    assert_eq!(encoded.is_ok(), draft.is_valid());
    let Ok(mut frame) = encoded else { return };
    let mut received = draft.received();
    // One parser gets the frame whole, the other in three pieces.
    let whole = [frame.clone()];
    assert_eq!(parsers::eventsource_stream(&whole), std::slice::from_ref(&received));
    received.retry = None;
    let start = frame.split_to(first % frame.len());
    let middle = frame.split_to(second % frame.len());
    assert_eq!(parsers::sse_codec(&[start, middle, frame]), [received]);
}
