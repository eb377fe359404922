//! Parses a GRIP_URL: a control URI that may contain credentials and keys.

use http::uri::Authority;
use http::Uri;
use percent_encoding::{utf8_percent_encode, AsciiSet, CONTROLS};

use super::error::InvalidConfig;
use crate::percent::{decode, decode_form};

/// Characters that people paste into URLs although a URI must not contain them.
const NOT_IN_URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The query parameters of a GRIP_URL. All others belong to the control URI.
const PARAMETERS: [&str; 4] = ["iss", "key", "verify-iss", "verify-key"];

const NOT_HTTP: &str = "is not an http or https URI";

/// The parts of a GRIP_URL.
pub(super) struct GripUrl {
    scheme: &'static str,
    userinfo: Option<String>,
    authority: Authority,
    /// The path, with one trailing slash removed.
    path: String,
    /// The query without [`PARAMETERS`].
    query: String,
    /// The values of [`PARAMETERS`], in that order.
    pub(super) given: [Option<String>; 4],
}

impl GripUrl {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidConfig> {
        let wrong = |why| InvalidConfig::new("control URI", why);
        if text.chars().any(char::is_control) {
            return Err(wrong("contains control characters"));
        }
        let (text, _fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(NOT_HTTP))?;
        let scheme = ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known));
        let scheme = scheme.ok_or_else(|| wrong(NOT_HTTP))?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '\\']).unwrap_or(rest.len()));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo.to_owned()), host),
            None => (None, authority),
        };
        let authority: Authority =
            host.to_ascii_lowercase().parse().map_err(|_| wrong("has an invalid host"))?;
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        if authority.host().is_empty() || (!port.is_empty() && authority.port_u16().is_none()) {
            return Err(wrong("has an invalid host or port"));
        }
        let encoded = |text: &str| utf8_percent_encode(text, NOT_IN_URI).to_string();
        let path = encoded(path.strip_suffix('/').unwrap_or(path));
        let (mut given, mut kept) = ([const { None }; 4], Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match known(&decode_form(name).unwrap_or_default())? {
                // The first value wins, as in the reference implementation.
                Some(at) if given[at].is_some() => {}
                Some(at) => {
                    let value = decode_form(value)
                        .map_err(|_| InvalidConfig::new(PARAMETERS[at], "is not UTF-8"))?;
                    given[at] = Some(value);
                }
                None => kept.push(encoded(pair)),
            }
        }
        Ok(Self { scheme, userinfo, authority, path, query: kept.join("&"), given })
    }

    pub(super) fn name(&self) -> Result<String, InvalidConfig> {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        Ok(format!("{}://{}{path}", self.scheme, self.authority))
    }

    pub(super) fn publish_uri(&self) -> Result<Uri, InvalidConfig> {
        let slash = if self.path.ends_with('/') { "" } else { "/" };
        let mark = if self.query.is_empty() { "" } else { "?" };
        let path_and_query = format!("{}{slash}publish/{mark}{}", self.path, self.query);
        let uri = Uri::builder()
            .scheme(self.scheme)
            .authority(self.authority.clone())
            .path_and_query(path_and_query);
        uri.build().map_err(|_| InvalidConfig::new("control URI", "has an invalid path or query"))
    }

    /// Returns the credentials. As in the reference implementation, neither the user nor the
    /// password counts without the other.
    pub(super) fn user(&self) -> Result<Option<(String, String)>, InvalidConfig> {
        let Some((user, password)) =
            self.userinfo.as_deref().and_then(|userinfo| userinfo.split_once(':'))
        else {
            return Ok(None);
        };
        if user.is_empty() || password.is_empty() {
            return Ok(None);
        }
        match (decode(user), decode(password)) {
            (Ok(user), Ok(password)) => Ok(Some((user, password))),
            _ => Err(InvalidConfig::new("user or password", "is not UTF-8")),
        }
    }
}

/// Returns the index of this name in [`PARAMETERS`]. A near miss is an error: a key that is ignored
/// verifies nothing.
fn known(name: &str) -> Result<Option<usize>, InvalidConfig> {
    let plain = |name: &str| {
        name.chars()
            .filter(|char| !"-_".contains(*char))
            .flat_map(char::to_lowercase)
            .collect::<String>()
    };
    match PARAMETERS.iter().position(|ours| plain(ours) == plain(name)) {
        Some(at) if PARAMETERS[at] == name => Ok(Some(at)),
        Some(at) => Err(InvalidConfig::new(
            PARAMETERS[at],
            format!("is misspelt as {name:?} in the GRIP_URL"),
        )),
        None => Ok(None),
    }
}
