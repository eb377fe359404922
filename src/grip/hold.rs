//! The response headers that make a GRIP proxy hold a client, written for Pushpin's actual parser.
//!
//! That parser splits lists at `,` outside quotes, cuts each entry at its first `;`, trims the
//! rest, and reads non-ASCII bytes as Latin-1. Characters with a meaning to the parser are
//! therefore escaped where it knows an escape, and percent-encoded elsewhere.

use std::time::Duration;

use base64::engine::general_purpose::STANDARD;
use base64::engine::Engine;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{utf8_percent_encode, AsciiSet, CONTROLS, NON_ALPHANUMERIC};

/// Everything except RFC 3986's unreserved characters and `/`. Python's `quote` encodes the same
/// set, so the names match those of publishers written in Python.
const NAME: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Characters that would end a link, and those that a URI must not contain anyway.
const LINK: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b',')
    .add(b';')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Pushpin counts milliseconds in 31 bits.
const MAX_SECONDS: u64 = 2_147_483;

/// Instructs a GRIP proxy to hold a client's connection and to write to it everything published on
/// the given channels.
///
/// Add its [`headers`](Hold::headers) to the response. The status, the other headers and the body
/// of that response go to the client. Names and values may be any text: they are encoded so that
/// the proxy decodes exactly what you passed.
///
/// ```
/// use std::time::Duration;
/// use eventstream::grip::Hold;
///
/// let headers = Hold::stream(["events-a, b"])
///     .keep_alive("event: keep-alive\ndata: \n\n", Duration::from_secs(20))
///     .headers();
/// assert_eq!(headers["grip-hold"], "stream");
/// assert_eq!(headers["grip-channel"], "events-a%2C%20b");
/// assert_eq!(
///     headers["grip-keep-alive"],
///     r"event: keep-alive\ndata: \n\n; format=cstring; timeout=20"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a hold does nothing until its headers are sent"]
pub struct Hold {
    channels: Vec<(String, Option<String>)>,
    keep_alive: Option<String>,
    next_link: Option<String>,
    gone_link: Option<String>,
    meta: Vec<String>,
}

impl Hold {
    /// Creates a hold for a stream subscribed to these channels. Names are full names, including
    /// any prefix.
    ///
    /// Every byte of a name that is neither unreserved in a URI nor `/` is sent as `%XX`, as in
    /// [`Item`](super::Item). Empty names are left out. Pushpin accepts 20 channels and ignores any
    /// more.
    pub fn stream<S: AsRef<str>>(channels: impl IntoIterator<Item = S>) -> Self {
        let names = channels.into_iter().map(|name| encode_channel(name.as_ref()));
        let channels = names.filter(|name| !name.is_empty()).map(|name| (name, None)).collect();
        Self { channels, keep_alive: None, next_link: None, gone_link: None, meta: Vec::new() }
    }

    /// Sets the id of the last item of a channel that the client has, so that the proxy notices a
    /// gap before the next one. It has no effect if the hold does not include this channel or if
    /// the id is empty.
    ///
    /// Pushpin refuses a hold that has a previous id but no [`next_link`](Hold::next_link). It
    /// sends the id back unquoted (in `Grip-Last`), so an id should not contain a space, `,`, `;`
    /// or `"`.
    pub fn prev_id(mut self, channel: impl AsRef<str>, id: impl AsRef<str>) -> Self {
        let (channel, id) = (encode_channel(channel.as_ref()), encode_id(id.as_ref()));
        for (name, prev_id) in &mut self.channels {
            if *name == channel {
                *prev_id = Some(id.clone()).filter(|id| !id.is_empty());
            }
        }
        self
    }

    /// Makes the proxy write `content` whenever nothing has been written for `every`.
    ///
    /// The time is cut to whole seconds, at least one and at most 2 147 483. With a zero duration
    /// or no content, the proxy writes no keep-alives.
    pub fn keep_alive(mut self, content: impl AsRef<[u8]>, every: Duration) -> Self {
        let content = content.as_ref();
        self.keep_alive = (!content.is_empty() && !every.is_zero()).then(|| {
            let (value, format) = match content.is_ascii() {
                true => (cstring(content), "cstring"),
                false => (STANDARD.encode(content), "base64"),
            };
            format!("{value}; format={format}; timeout={}", whole_seconds(every))
        });
        self
    }

    /// Sets the URI that the proxy requests when an item is missing, or after `timeout` without an
    /// item.
    ///
    /// The timeout is cut to whole seconds, at least one and at most 2 147 483, unless it is zero:
    /// then the proxy requests the URI immediately. A relative URI is resolved against the URI of
    /// the request.
    pub fn next_link(mut self, uri: impl AsRef<str>, timeout: Duration) -> Self {
        let seconds = if timeout.is_zero() { 0 } else { whole_seconds(timeout) };
        self.next_link =
            link(uri.as_ref()).map(|link| format!("{link}; rel=next; timeout={seconds}"));
        self
    }

    /// Sets the URI that the proxy posts to once the client has disconnected (Pushpin 1.41 and
    /// later).
    pub fn gone_link(mut self, uri: impl AsRef<str>) -> Self {
        self.gone_link = link(uri.as_ref()).map(|link| format!("{link}; rel=gone"));
        self
    }

    /// Adds a value that the proxy's filters can use. A value with an empty name is left out.
    ///
    /// The name is encoded like a channel name. In the value, printable ASCII is kept, and bytes
    /// that a header cannot carry become `%XX`.
    pub fn meta(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        if !name.is_empty() {
            self.meta.push(format!("{}={}", encode_channel(name), quoted(value)));
        }
        self
    }

    /// Returns the `Grip-` headers to add to the response.
    pub fn headers(&self) -> HeaderMap {
        let channel = |(name, prev_id): &(String, Option<String>)| match prev_id {
            Some(id) if id.bytes().all(is_bare) => format!("{name}; prev-id={id}"),
            Some(id) => format!("{name}; prev-id={}", quoted(id)),
            None => name.clone(),
        };
        let mut headers = HeaderMap::new();
        let mut add = |name, value: &str| {
            // Never fails: every value has been encoded to printable ASCII.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        };
        add("grip-hold", "stream");
        add("grip-channel", &self.channels.iter().map(channel).collect::<Vec<_>>().join(", "));
        self.keep_alive.iter().for_each(|value| add("grip-keep-alive", value));
        if !self.meta.is_empty() {
            add("grip-set-meta", &self.meta.join(", "));
        }
        self.next_link.iter().chain(&self.gone_link).for_each(|value| add("grip-link", value));
        headers
    }
}

/// Encodes a channel name for the proxy. Holds and items must both use this, or they do not match.
pub(crate) fn encode_channel(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

/// Encodes an id for a header; printable ASCII stays as it is. Holds and items must both use this,
/// or they do not match.
pub(super) fn encode_id(id: &str) -> String {
    utf8_percent_encode(id, CONTROLS).to_string()
}

/// Whether this byte may appear in an unquoted parameter value.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", encode_id(value).replace('\\', r"\\").replace('"', r#"\""#))
}

fn link(uri: &str) -> Option<String> {
    // Pushpin answers `<>` with an error, which the client would get.
    (!uri.is_empty()).then(|| format!("<{}>", utf8_percent_encode(uri, LINK)))
}

/// Escapes content as a `cstring`. Pushpin knows `\\`, `\n`, `\r` and `\xHH`, and drops the
/// backslash of any other escape. A bare `;` would end the value, and a space at either end would
/// be trimmed.
fn cstring(content: &[u8]) -> String {
    let last = content.len() - 1;
    let mut out = String::with_capacity(content.len() + 16);
    for (at, &byte) in content.iter().enumerate() {
        match byte {
            b'\\' => out.push_str(r"\\"),
            b'\n' => out.push_str(r"\n"),
            b'\r' => out.push_str(r"\r"),
            b' ' if at != 0 && at != last => out.push(' '),
            b';' => out.push_str(r"\x3b"),
            byte if byte.is_ascii_graphic() => out.push(char::from(byte)),
            byte => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().clamp(1, MAX_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(hold: &Hold, name: &str) -> String {
        hold.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn names_are_encoded_as_python_quotes_them() {
        assert_eq!(encode_channel("aZ0-._~/"), "aZ0-._~/");
        assert_eq!(
            encode_channel("a b,c;d\"e%\r\n\u{e9}\u{2713}+"),
            "a%20b%2Cc%3Bd%22e%25%0D%0A%C3%A9%E2%9C%93%2B"
        );
    }

    #[test]
    fn a_keep_alive_is_what_pushpin_unescapes() {
        let keep_alive = |content: &str, every| {
            header(&Hold::stream(["a"]).keep_alive(content, every), "grip-keep-alive")
        };
        let every = Duration::from_millis(20_900);
        assert_eq!(
            keep_alive("a\\b;\t\u{7f}\0\r\n", every),
            r"a\\b\x3b\x09\x7f\x00\r\n; format=cstring; timeout=20"
        );
        assert_eq!(keep_alive("  ", every), r"\x20\x20; format=cstring; timeout=20");
        assert_eq!(keep_alive(" \" , ", every), r#"\x20" ,\x20; format=cstring; timeout=20"#);
        assert_eq!(keep_alive(": \u{e9}", every), "OiDDqQ==; format=base64; timeout=20");
        assert_eq!(keep_alive("k", Duration::from_millis(1)), "k; format=cstring; timeout=1");
        assert_eq!(keep_alive("k", Duration::MAX), "k; format=cstring; timeout=2147483");
        assert_eq!(keep_alive("k", Duration::ZERO) + &keep_alive("", every), "");
    }

    #[test]
    fn an_id_is_quoted_where_it_must_be() {
        let held = |id: &str| {
            header(&Hold::stream(["a", "b"]).prev_id("a", id).prev_id("x", "y"), "grip-channel")
        };
        assert_eq!(held("7v0q2m9x4tkc1-42"), "a; prev-id=7v0q2m9x4tkc1-42, b");
        assert_eq!(held("x y,z"), r#"a; prev-id="x y,z", b"#);
        assert_eq!(held(r#"";\"#), r#"a; prev-id="\";\\", b"#);
        assert_eq!(held("\u{e9}\n"), "a; prev-id=%C3%A9%0A, b");
        assert_eq!(held(""), "a, b");
    }

    #[test]
    fn links_and_meta_cannot_break_out() {
        let hold = Hold::stream(["a"])
            .next_link("/n?a=1,2;b=%41\"<>\r\n\u{e9}#f", Duration::from_millis(20_700))
            .gone_link("http://[::1]/g")
            .meta("k", "a\\b\"c,\n\u{e9}")
            .meta("a b", "")
            .meta("", "x");
        let links: Vec<_> = hold.headers().get_all("grip-link").iter().cloned().collect();
        assert_eq!(links[0], "</n?a=1%2C2%3Bb=%41%22%3C%3E%0D%0A%C3%A9#f>; rel=next; timeout=20");
        assert_eq!(links[1], "<http://[::1]/g>; rel=gone");
        assert_eq!(header(&hold, "grip-set-meta"), r#"k="a\\b\"c,%0A%C3%A9", a%20b="""#);
        let timeout = |timeout| header(&Hold::stream(["a"]).next_link("/n", timeout), "grip-link");
        assert_eq!(timeout(Duration::ZERO), "</n>; rel=next; timeout=0");
        assert_eq!(timeout(Duration::from_millis(1)), "</n>; rel=next; timeout=1");
        assert_eq!(
            header(&Hold::stream(["a"]).next_link("", Duration::ZERO).gone_link(""), "grip-link"),
            ""
        );
    }

    #[test]
    fn empty_names_are_left_out() {
        assert_eq!(header(&Hold::stream(["", "a", ""]), "grip-channel"), "a");
        assert_eq!(Hold::stream([""; 0]).headers()["grip-channel"], "");
    }
}
