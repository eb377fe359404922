//! A hold's headers, read back as Pushpin reads them. The parser below has Pushpin's rules, found
//! by observing a real one (`tests/vectors/pushpin-observed.json`).

use std::time::Duration;

use data_encoding::BASE64;
use eventstream::grip::Hold;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::input::Input;

/// One entry of a header: its value, and its parameters.
type Entry = (String, Parameters);
type Parameters = Vec<(String, String)>;

/// Splits a list at commas. A quote anywhere begins a string in which commas do not count, and a
/// backslash there takes the next character as it is.
fn list(header: &str) -> Vec<String> {
    let (mut entries, mut entry, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = header.chars();
    while let Some(char) = chars.next() {
        match char {
            ',' if !quoted => entries.push(std::mem::take(&mut entry)),
            '\\' if quoted => {
                entry.push(char);
                entry.extend(chars.next());
            }
            _ => {
                quoted ^= char == '"';
                entry.push(char);
            }
        }
    }
    entries.push(entry);
    entries
        .into_iter()
        .map(|entry| entry.trim().to_owned())
        .filter(|entry| !entry.is_empty())
        .collect()
}

/// Cuts an entry at its first `;` and reads the parameters after it, whose values may be quoted.
fn entry(text: &str) -> Entry {
    let (value, rest) = text.split_once(';').unwrap_or((text, ""));
    (value.trim().to_owned(), parameters(rest, ';'))
}

/// Reads `name=value` pairs up to the end.
fn parameters(text: &str, separator: char) -> Parameters {
    let (mut found, mut chars) = (Vec::new(), text.chars().peekable());
    while chars.peek().is_some() {
        let mut name = String::new();
        while let Some(char) = chars.next_if(|&char| char != '=' && char != separator) {
            name.push(char);
        }
        let mut value = String::new();
        if chars.next_if_eq(&'=').is_some() {
            if chars.next_if_eq(&'"').is_some() {
                loop {
                    match chars.next().expect("a quote is closed") {
                        '"' => break,
                        '\\' => value.push(chars.next().expect("an escape has a character")),
                        char => value.push(char),
                    }
                }
            } else {
                while let Some(char) = chars.next_if(|&char| char != separator) {
                    assert!(char != '"', "a quote in the middle of a value: {text:?}");
                    value.push(char);
                }
            }
        }
        while let Some(char) = chars.next_if(|&char| char == ' ' || char == separator) {
            if char == separator {
                break;
            }
        }
        found.push((name.trim().to_owned(), value));
    }
    found
}

/// What Pushpin makes of a keep-alive's text.
fn cstring(text: &str) -> Vec<u8> {
    let (mut out, mut chars) = (Vec::new(), text.chars());
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next().expect("a single backslash at the end is a 502") {
                'n' => out.push(b'\n'),
                'r' => out.push(b'\r'),
                't' => out.push(b'\t'),
                'x' => {
                    let hex: String = chars.by_ref().take(2).collect();
                    out.push(u8::from_str_radix(&hex, 16).expect("two hex digits"));
                }
                other => out.push(other as u8),
            },
            _ => out.push(char as u8),
        }
    }
    out
}

fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().expect("ASCII")).collect()
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

/// An id or a value of meta data: control characters and what is not ASCII become `%XX`.
fn header_text(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn seconds(duration: Duration) -> String {
    duration.as_secs().clamp(1, 2_147_483).to_string()
}

fn duration(input: &mut Input<'_>) -> Duration {
    Duration::new(input.number(), u32::from(input.byte()) * 1_000_000)
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let names: Vec<String> = (0..input.below(5)).map(|_| input.text()).collect();
    let mut hold = Hold::stream(&names);
    let mut prev = Vec::new();
    for _ in 0..input.below(3) {
        let name = names.get(input.below(5)).cloned().unwrap_or_default();
        let id = input.text();
        hold = hold.prev_id(&name, &id);
        prev.retain(|(known, _)| *known != name);
        prev.push((name, id));
    }
    let has = input.byte();
    let (content, every) = (input.bytes(), duration(&mut input));
    let (next, timeout) = (input.text(), duration(&mut input));
    let gone = input.text();
    let meta: Vec<_> = (0..input.below(4)).map(|_| (input.text(), input.text())).collect();
    if has & 1 > 0 {
        hold = hold.keep_alive(content, every);
    }
    if has & 2 > 0 {
        hold = hold.next_link(&next, timeout);
    }
    if has & 4 > 0 {
        hold = hold.gone_link(&gone);
    }
    for (name, value) in &meta {
        hold = hold.meta(name, value);
    }
    let headers = hold.headers();

    assert_eq!(lines(&headers, "grip-hold"), ["stream"]);
    let channels: Vec<(Vec<u8>, Parameters)> = lines(&headers, "grip-channel")
        .iter()
        .flat_map(|line| list(line))
        .map(|text| entry(&text))
        .map(|(name, parameters)| (decoded(&name), parameters))
        .collect();
    let expected: Vec<_> = names
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| {
            let id = prev.iter().find(|(known, id)| known == name && !id.is_empty());
            let id = id.map(|(_, id)| ("prev-id".to_owned(), header_text(id)));
            (name.clone().into_bytes(), Vec::from_iter(id))
        })
        .collect();
    assert_eq!(channels, expected);

    let keep_alives = lines(&headers, "grip-keep-alive");
    if has & 1 > 0 && !content.is_empty() && !every.is_zero() {
        let [value] = keep_alives[..] else { panic!("{keep_alives:?}") };
        let (value, parameters) = entry(value);
        let format = if content.is_ascii() { "cstring" } else { "base64" };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parameters, [pair("format", format), pair("timeout", &seconds(every))]);
        let sent = match format {
            "cstring" => cstring(&value),
            _ => BASE64.decode(value.as_bytes()).expect("base64"),
        };
        assert_eq!(sent, content);
    } else {
        assert!(keep_alives.is_empty());
    }

    let mut links = Vec::new();
    if has & 2 > 0 && !next.is_empty() {
        let timeout = if timeout.is_zero() { "0".to_owned() } else { seconds(timeout) };
        links.push((&next, format!("rel=next;timeout={timeout}")));
    }
    if has & 4 > 0 && !gone.is_empty() {
        links.push((&gone, "rel=gone".to_owned()));
    }
    let sent = lines(&headers, "grip-link");
    assert_eq!(sent.len(), links.len());
    for (sent, (uri, parameters)) in sent.iter().zip(links) {
        // A `;` or a `,` in the URI is a 502, so there is one entry, cut at its first `;`.
        let (link, rest) = sent.split_once(';').expect("a link has parameters");
        assert!(!sent.contains(','), "{sent}");
        assert_eq!(rest.replace(' ', ""), parameters);
        let link = link.strip_prefix('<').and_then(|link| link.strip_suffix('>')).expect("a link");
        assert!(
            link.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte)),
            "{link}"
        );
        assert_eq!(decoded(link), decoded(uri), "{link}");
    }

    let sent: Vec<_> = lines(&headers, "grip-set-meta")
        .iter()
        .flat_map(|line| parameters(line, ','))
        .map(|(name, value)| (decoded(&name), value))
        .collect();
    let meta = meta.into_iter().filter(|(name, _)| !name.is_empty());
    let expected: Vec<_> =
        meta.map(|(name, value)| (name.into_bytes(), header_text(&value))).collect();
    assert_eq!(sent, expected);
}
