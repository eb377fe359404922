//! Decides whether a client accepts an event stream (RFC 9110, 12.5.1).

use http::header::ACCEPT;
use http::HeaderMap;

/// Whether the `Accept` headers of a request admit `text/event-stream`.
///
/// The most specific range that matches it decides, and `q=0` refuses. A missing or empty header
/// admits everything; a range that does not parse admits nothing. Parameters other than `q` are
/// ignored.
pub(crate) fn accepts_events(headers: &HeaderMap) -> bool {
    let mut empty = true;
    let mut best: Option<(u8, bool)> = None;
    for range in headers.get_all(ACCEPT).iter().flat_map(|line| split(line.as_bytes(), b',')) {
        let mut parts = split(range, b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        empty &= range.trim_ascii().is_empty();
        let specificity = match media.to_ascii_lowercase().as_slice() {
            b"text/event-stream" => 2,
            b"text/*" => 1,
            b"*/*" => 0,
            _ => continue,
        };
        let weight = parts.find_map(|part| match part {
            [b'q' | b'Q', rest @ ..] => {
                rest.trim_ascii_start().strip_prefix(b"=").map(|q| quality(q.trim_ascii_start()))
            }
            _ => None,
        });
        let Some(accepted) = weight.unwrap_or(Some(true)) else { continue };
        // Of equally specific ranges, one that accepts is enough.
        best = best.max(Some((specificity, accepted)));
    }
    best.map_or(empty, |(_, accepted)| accepted)
}

/// Whether `q` is above zero. Returns `None` if it is not a valid `qvalue`.
fn quality(q: &[u8]) -> Option<bool> {
    let (whole, fraction) = match q {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    match whole {
        b'0' if fraction.iter().all(u8::is_ascii_digit) => {
            Some(fraction.iter().any(|&digit| digit != b'0'))
        }
        b'1' if fraction.iter().all(|&digit| digit == b'0') => Some(true),
        _ => None,
    }
}

/// Splits at each `separator` outside quoted strings.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&byte| {
        let within = quoted;
        (quoted, escaped) = match byte {
            _ if escaped => (quoted, false),
            b'\\' if quoted => (quoted, true),
            b'"' => (!quoted, false),
            _ => (quoted, false),
        };
        byte == separator && !within
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepts(lines: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        accepts_events(&headers)
    }

    #[test]
    fn what_admits_an_event_stream() {
        assert!(accepts(&[]));
        for admits in [
            "",
            " ",
            "*/*",
            "text/*",
            "text/event-stream",
            "TEXT/Event-Stream",
            "text/event-stream; charset=utf-8",
            "text/event-stream;q=0.001",
            "text/event-stream; Q = 1.000",
            "text/html, */*;q=0.1",
            "text/html;level=\"a,b;q=0\", text/event-stream",
            "text/*;q=0, text/event-stream",
            "*/*;q=0,text/*",
            "text/event-stream;q=0, text/event-stream",
            "text/event-stream;x=\"\\\",\";q=1",
        ] {
            assert!(accepts(&[admits]), "{admits:?}");
        }
        assert!(accepts(&["text/html", "text/event-stream"]));
    }

    #[test]
    fn what_does_not() {
        for refuses in [
            "text/html",
            "application/json, image/*",
            "text/event-stream;q=0",
            "text/event-stream; q=0.000, */*",
            "text/*;q=0, */*",
            "text/event-stream;q=2",
            "text/event-stream;q=0.0001",
            "text/event-stream;q=",
            "text/event-streams",
            "text",
            "*",
            ",;,=",
            "\"text/event-stream\"",
            "\u{e9}\u{fe}",
        ] {
            assert!(!accepts(&[refuses]), "{refuses:?}");
        }
    }
}
