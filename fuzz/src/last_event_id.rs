//! Where a client goes on that comes back with an id, in headers or in the query. The query is read
//! by the URL standard's own parser.

use std::sync::OnceLock;
use std::time::Duration;

use eventstream::{Event, EventStream};
use futures::executor::block_on;
use http::{HeaderValue, Request, Response, Uri};
use percent_encoding::percent_decode_str;

use crate::input::Input;
use crate::probe;

/// What is never missing in a list of ids.
const EVENTS: u64 = 4;
/// The id of the second event, given by the publisher, and one that two events have.
const GIVEN: [&str; 2] = ["x, y", "twice"];

struct Known {
    stream: EventStream,
    epoch: String,
    /// The stream's own ids, from that of its start on.
    ids: Vec<String>,
    frames: Vec<String>,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        // A real timer would take most of the time.
        let stream = EventStream::builder().keep_alive(Duration::ZERO).build();
        let stream = stream.expect("valid settings");
        let start = stream.subscribe("a").last_event_id().to_string();
        let epoch = start.strip_suffix("-0").expect("an epoch").to_owned();
        let mut frames = Vec::new();
        for (seq, given) in
            [None, Some(GIVEN[0]), Some(GIVEN[1]), Some(GIVEN[1])].iter().enumerate()
        {
            let event = Event::default().data(seq.to_string());
            let event = given.iter().fold(event, |event, id| event.id(*id));
            let id = stream.try_publish("a", event).expect("it is valid");
            frames.push(format!("id: {id}\ndata: {seq}\n\n"));
        }
        let ids = (0..=EVENTS).map(|seq| format!("{epoch}-{seq}")).collect();
        Known { stream, epoch, ids, frames }
    })
}

impl Known {
    fn own(&self, id: &str) -> Option<u64> {
        self.ids.iter().zip(0..).find_map(|(own, seq)| (own == id).then_some(seq))
    }

    /// The body of a client that came with these ids, as one text.
    fn expected(&self, ids: &str) -> String {
        let reset = || {
            let data = r#"{"channels":["a"],"reason":"unknown"}"#;
            let id = format!("id: {}-{EVENTS}\n", self.epoch);
            format!("event: stream-open\ndata: \n\n{id}event: stream-reset\ndata: {data}\n\n")
        };
        let open = |id: &str, after: u64| {
            let rest = self.frames[after as usize..].concat();
            format!("id: {id}\nevent: stream-open\ndata: \n\n{rest}")
        };
        let parts = ids.split(',').map(|part| part.trim_matches([' ', '\t']));
        match parts.filter_map(|part| self.own(part)).max() {
            _ if ids.is_empty() => open(&format!("{}-{EVENTS}", self.epoch), EVENTS),
            Some(seq) => open(&format!("{}-{seq}", self.epoch), seq),
            None if ids == GIVEN[0] => open(ids, 2),
            None => reset(),
        }
    }
}

/// An id, mostly one that means something.
fn id(input: &mut Input<'_>) -> Vec<u8> {
    let known = known();
    let own = |seq: u64| format!("{}-{seq}", known.epoch).into_bytes();
    match input.byte() {
        byte @ 0..64 => own(u64::from(byte % 6)),
        64..80 => format!("{}-01", known.epoch).into_bytes(),
        80..96 => known.epoch.to_uppercase().into_bytes(),
        byte @ 96..128 => GIVEN[usize::from(byte % 2)].into(),
        128..136 => b"error".to_vec(),
        136..144 => b"earliest".to_vec(),
        144..152 => Vec::new(),
        152..160 => b",".to_vec(),
        _ => input.bytes().to_vec(),
    }
}

fn joined(input: &mut Input<'_>) -> Vec<u8> {
    let mut value = id(input);
    for _ in 0..input.below(3) {
        value.extend_from_slice(input.pick(&[b"," as &[u8], b", ", b"\t,  ", b" "]));
        value.extend(id(input));
    }
    value
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mut req = Request::new(());
    let mut lines = Vec::new();
    for _ in 0..input.below(3) {
        let line = joined(&mut input);
        let Ok(value) = HeaderValue::from_bytes(&line) else { return };
        req.headers_mut().append("last-event-id", value);
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    let mut query = Vec::new();
    for _ in 0..input.below(3) {
        let name = input.pick(&["lastEventId", "lasteventid", "last%45ventId", "x", ""]);
        let value = match input.below(3) {
            // As it is, with whatever stands for something else in a query.
            0 => String::from_utf8_lossy(&joined(&mut input)).replace(['#', ' '], ""),
            1 => form_urlencoded::byte_serialize(&joined(&mut input)).collect(),
            _ => input.pick(&["%", "%e", "%zz", "%ff", "+", "%2C", "=", "a=b"]).to_owned(),
        };
        query.push(format!("{name}={value}"));
    }
    let query = query.join("&");
    let Ok(uri) = format!("/?{query}").parse::<Uri>() else { return };
    *req.uri_mut() = uri.clone();
    lines.retain(|line| !line.is_empty());
    if lines.is_empty() {
        let query = uri.query().unwrap_or_default();
        let raw = query.split('&').filter(|pair| !pair.is_empty());
        let read = form_urlencoded::parse(query.as_bytes());
        for (raw, (name, value)) in raw.zip(read) {
            if name == "lastEventId" && !value.is_empty() {
                // A value that is not UTF-8 is nothing that anybody was given, as a whole.
                let raw = raw.split_once('=').unwrap_or_default().1;
                let broken = percent_decode_str(raw).decode_utf8().is_err();
                lines.push(if broken { "\u{fffd}".to_owned() } else { value.into_owned() });
            }
        }
    }
    let ids = lines.join(", ");
    let answer = block_on(known().stream.run(&req, Response::new(()), "a"));
    let reserved = ids.split(',').any(|id| id.trim_matches([' ', '\t']) == "error");
    if reserved {
        assert_eq!(answer.status(), 400, "{ids:?}");
        return;
    }
    assert_eq!(answer.status(), 200, "{ids:?}");
    let (bytes, ended) = probe::ready(&mut answer.into_body());
    assert!(!ended);
    assert_eq!(String::from_utf8_lossy(&bytes), known().expected(&ids), "{ids:?}");
}
