//! `Accept` against RFC 9110. The header is written from ranges whose meaning is known beforehand,
//! so nothing here parses one.

use std::sync::OnceLock;

use eventstream::EventStream;
use futures::executor::block_on;
use http::header::{HeaderValue, ACCEPT};
use http::{Method, Request, Response};

use crate::input::Input;

fn accepts(lines: &[Vec<u8>]) -> Option<bool> {
    static STREAM: OnceLock<EventStream> = OnceLock::new();
    let stream = STREAM.get_or_init(EventStream::new);
    let mut req = Request::new(());
    *req.method_mut() = Method::HEAD;
    for line in lines {
        req.headers_mut().append(ACCEPT, HeaderValue::from_bytes(line).ok()?);
    }
    match block_on(stream.run(&req, Response::new(()), "a")).status().as_u16() {
        200 => Some(true),
        406 => Some(false),
        other => panic!("status {other}"),
    }
}

/// A range, and what it says of event streams: how specific it is, and whether it admits them.
fn range(input: &mut Input<'_>, out: &mut Vec<u8>) -> Option<(u8, bool)> {
    let (media, specificity) = input.pick(&[
        ("text/event-stream", Some(2)),
        ("text/*", Some(1)),
        ("*/*", Some(0)),
        ("text/html", None),
        ("text/event-streams", None),
        ("application/*", None),
        ("*", None),
        ("text", None),
        ("text/event-stream/x", None),
        ("image/event-stream", None),
    ]);
    let upper = input.byte();
    let cased = |(at, byte): (usize, u8)| match upper >> (at % 8) & 1 {
        0 => byte,
        _ => byte.to_ascii_uppercase(),
    };
    out.extend(media.bytes().enumerate().map(cased));
    let mut weight = None;
    for _ in 0..input.below(4) {
        space(input, out);
        out.push(b';');
        space(input, out);
        match input.below(4) {
            0 => out.extend(input.pick(&["a=b", "level=1", "qq=0", "x", "charset=utf-8"]).bytes()),
            1 => {
                // Whatever is quoted means nothing.
                out.extend(b"x=\"");
                for _ in 0..input.below(6) {
                    out.extend(input.pick(&[",", ";", "q=0", "\\\"", "\\\\", "*/*", "é"]).bytes());
                }
                out.push(b'"');
            }
            _ => {
                let (value, means) = input.pick(&[
                    ("1", Some(true)),
                    ("1.", Some(true)),
                    ("1.000", Some(true)),
                    ("0", Some(false)),
                    ("0.", Some(false)),
                    ("0.000", Some(false)),
                    ("0.001", Some(true)),
                    ("0.5", Some(true)),
                    ("0.10", Some(true)),
                    ("", None),
                    ("2", None),
                    ("1.001", None),
                    ("0.0000", None),
                    ("0.1234", None),
                    ("-0", None),
                    ("00", None),
                    (".5", None),
                    ("\"1\"", None),
                ]);
                out.push(input.pick(b"qQ"));
                space(input, out);
                out.push(b'=');
                space(input, out);
                out.extend(value.bytes());
                weight.get_or_insert(means);
            }
        }
    }
    space(input, out);
    // A range whose weight does not parse admits nothing, and refuses nothing.
    Some((specificity?, weight.unwrap_or(Some(true))?))
}

fn space(input: &mut Input<'_>, out: &mut Vec<u8>) {
    out.extend(input.pick(&["", "", "", " ", "\t", " \t "]).bytes());
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        return check_any(&mut input);
    }
    let (mut lines, mut empty) = (Vec::new(), true);
    let mut best: Option<(u8, bool)> = None;
    for _ in 0..input.below(4) {
        let mut line = Vec::new();
        for at in 0..input.below(4) {
            if at > 0 {
                line.push(b',');
            }
            space(&mut input, &mut line);
            if input.below(8) == 0 {
                continue;
            }
            empty = false;
            best = best.max(range(&mut input, &mut line));
        }
        lines.push(line);
    }
    let expected = best.map_or(empty, |(_, accepted)| accepted);
    let shown = || lines.iter().map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>();
    assert_eq!(accepts(&lines), Some(expected), "{:?}", shown());
}

/// Bytes without a meaning known beforehand: what holds for any header.
fn check_any(input: &mut Input<'_>) {
    let lines: Vec<Vec<u8>> = (0..2).map(|_| input.line().to_vec()).collect();
    let Some(accepted) = accepts(&lines) else { return };
    let cased = lines.iter().map(|line| line.to_ascii_uppercase()).collect::<Vec<_>>();
    assert_eq!(accepts(&cased), Some(accepted), "case counts");
    // Lines are one list (RFC 9110, 5.3), unless a quote is left open.
    if lines.iter().all(|line| !line.contains(&b'"')) {
        assert_eq!(accepts(&[lines.join(&b","[..])]), Some(accepted), "lines count");
        let more = [lines.clone(), vec![b"text/event-stream".to_vec()]].concat();
        assert_eq!(accepts(&more), Some(true), "the most specific range does not decide");
    }
}
