//! Channel templates, parameters and path patterns. Templates and URIs are written from parts whose
//! values are known beforehand.

use std::sync::OnceLock;
use std::time::Duration;

use eventstream::{EventStream, Params};
use futures::executor::block_on;
use http::{Request, Uri};

use crate::input::{text, Input};
use crate::probe::{self, FOREIGN};

fn stream() -> &'static EventStream {
    static STREAM: OnceLock<EventStream> = OnceLock::new();
    // A real timer would take most of the time.
    let build = || EventStream::builder().keep_alive(Duration::ZERO).build();
    STREAM.get_or_init(|| build().expect("valid settings"))
}

const NAMES: [&str; 4] = ["a", "b", "room", "é x"];

enum Part {
    Text(String),
    Route(&'static str),
    Query(&'static str),
}

/// Percent-encodes what must be, and of the rest what the bits say.
fn encode(bytes: &[u8], bits: u8, space: &str) -> String {
    let mut out = String::new();
    for (at, &byte) in bytes.iter().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        match (plain && bits >> (at % 8) & 1 == 0, byte) {
            (true, _) => out.push(char::from(byte)),
            (false, b' ') if bits & 1 == 0 => out.push_str(space),
            (false, _) if bits & 2 == 0 => out.push_str(&format!("%{byte:02x}")),
            (false, _) => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A value as bytes: the right one, if it is UTF-8.
type Value = Vec<u8>;

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        return check_any(&mut input);
    }
    let mut query: Vec<(&str, Value)> = Vec::new();
    let mut encoded_query = Vec::new();
    for _ in 0..input.below(4) {
        let (name, value, bits) = (input.pick(&NAMES), input.bytes(), input.byte());
        let name_and_value = [name.as_bytes(), value].map(|part| encode(part, bits, "+"));
        // An empty value needs no `=`.
        let short = value.is_empty() && bits & 4 > 0;
        let pair = if short { name_and_value[0].clone() } else { name_and_value.join("=") };
        encoded_query.push(pair);
        query.push((name, value.to_vec()));
    }
    let (pattern, name) = input.pick(&[
        ("", ""),
        ("/r/{a}", "a"),
        ("/r/{b}/events", "b"),
        ("/{*room}", "room"),
        ("/r/{a}.sse", "a"),
    ]);
    let (value, bits) = (input.bytes(), input.byte());
    let captured = (!name.is_empty() && !value.is_empty()).then(|| (name, value.to_vec()));
    let path = match pattern {
        "" => "/anything".to_owned(),
        _ => {
            let (before, rest) = pattern.split_once('{').unwrap_or_default();
            let after = rest.split_once('}').unwrap_or_default().1;
            format!("{before}{}{after}", encode(value, bits, "%20"))
        }
    };
    let uri = format!("{path}?{}", encoded_query.join("&"));
    let uri: Uri = uri.parse().unwrap_or_else(|error| panic!("{uri}: {error}"));
    let mut params: Vec<(&str, String)> = Vec::new();
    for _ in 0..input.below(3) {
        params.push((input.pick(&NAMES), input.text()));
    }
    let (mut templates, mut expected) = (Vec::new(), Ok::<_, &str>(Vec::<String>::new()));
    let missing_path = !pattern.is_empty() && captured.is_none();
    for _ in 0..1 + input.below(3) {
        let mut template = String::new();
        let mut channel = Ok(String::new());
        for _ in 0..input.below(5) {
            let part = match input.below(3) {
                0 => Part::Text(input.text()),
                1 => Part::Route(input.pick(&NAMES)),
                _ => Part::Query(input.pick(&NAMES)),
            };
            let value = match &part {
                Part::Text(text) => {
                    template += &text.replace('{', "{{").replace('}', "}}");
                    Some(Ok(text.clone()))
                }
                Part::Route(name) => {
                    template += &format!("{{{name}}}");
                    let given = params.iter().rev().find(|(known, _)| known == name);
                    let captured = captured.as_ref().filter(|(known, _)| known == name);
                    given.map(|(_, value)| Ok(value.clone())).or_else(|| {
                        captured.map(|(_, value)| String::from_utf8(value.clone()).map_err(drop))
                    })
                }
                Part::Query(name) => {
                    template += &format!("{{?{name}}}");
                    let first = query.iter().find(|(known, _)| known == name);
                    first.map(|(_, value)| String::from_utf8(value.clone()).map_err(drop))
                }
            };
            let is_text = matches!(part, Part::Text(_));
            channel = channel.and_then(|channel| match value {
                Some(Ok(value)) if is_text || !value.is_empty() => Ok(channel + &value),
                Some(Err(())) => Err("is not UTF-8"),
                _ => Err("Missing parameter"),
            });
        }
        templates.push(template);
        expected = expected.and_then(|mut all: Vec<String>| {
            all.push(channel?);
            Ok(all)
        });
    }
    // Templates are names like any others: blank ones are dropped, and so is each that was there.
    let mut seen = Vec::new();
    templates.retain(|template| {
        let new = !template.trim().is_empty() && !seen.contains(template);
        seen.push(template.clone());
        new
    });
    let handler = stream().handler(&templates[..]);
    let handler = if pattern.is_empty() { handler } else { handler.path(pattern) };
    let mut req = Request::new(());
    *req.uri_mut() = uri.clone();
    req.headers_mut().insert("last-event-id", http::HeaderValue::from_static(FOREIGN));
    req.extensions_mut().insert(params.into_iter().collect::<Params>());
    let got = probe::channels(block_on(handler.call(req)));
    if missing_path {
        assert_eq!(got.map_err(|(status, _)| status), Err(404), "{uri} for {pattern}");
        return;
    }
    // The first template that fails decides; those that were dropped do not.
    match expected {
        Err(why) => {
            let (status, text) = got.expect_err("a parameter is missing or broken");
            assert_eq!(status, 400);
            assert!(
                text.contains("Missing parameter") || text.contains("is not UTF-8"),
                "{why}: {text}"
            );
        }
        Ok(channels) => {
            let mut names: Vec<String> = Vec::new();
            for name in channels {
                if !name.trim().is_empty() && !names.contains(&name) {
                    names.push(name);
                }
            }
            if names.is_empty() || names.iter().any(|name| name.len() > 256) {
                assert_eq!(got.map_err(|(status, _)| status), Err(400), "{names:?}");
            } else {
                assert_eq!(got, Ok(names), "{templates:?} on {uri}");
            }
        }
    }
}

/// Whether a template parses, by a second reading of the rules: braces are doubled or enclose a
/// name that has none and no `?`, except one in front.
fn parses(template: &str) -> bool {
    let mut chars = template.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '{' | '}' if chars.peek() == Some(&char) => {
                chars.next();
            }
            '{' => {
                let mut name = String::new();
                loop {
                    match chars.next() {
                        None => return false,
                        Some('}') => break,
                        Some(char) => name.push(char),
                    }
                }
                let name = name.strip_prefix('?').unwrap_or(&name);
                if name.is_empty() || name.contains(['{', '?']) {
                    return false;
                }
            }
            '}' => return false,
            _ => {}
        }
    }
    true
}

/// Any template and any pattern.
fn check_any(input: &mut Input<'_>) {
    let (template, path) = (text(input.line()), text(input.line()));
    let handler = stream().handler(template.as_str());
    let handler = if path.is_empty() { handler } else { handler.path(&path) };
    let Ok(uri) = text(input.rest()).parse::<Uri>() else { return };
    let mut req = Request::new(());
    *req.uri_mut() = uri;
    req.headers_mut().insert("last-event-id", http::HeaderValue::from_static(FOREIGN));
    let got = probe::channels(block_on(handler.call(req)));
    let blank = template.trim().is_empty();
    if !blank && !parses(&template) {
        assert_eq!(got.map_err(|(status, _)| status), Err(500), "{template:?}");
    } else if path.is_empty() {
        let status = got.map_or_else(|(status, _)| status, |_| 200);
        assert!([200, 400].contains(&status), "{template:?}: {status}");
    }
}
