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

    pub(super) fn name(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        format!("{}://{}{path}", self.scheme, self.authority)
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
    if let Some(at) = PARAMETERS.iter().position(|ours| *ours == name) {
        return Ok(Some(at));
    }
    match PARAMETERS.iter().find(|ours| is_near(&plain(ours), &plain(name))) {
        Some(ours) => {
            Err(InvalidConfig::new(ours, format!("is misspelt as {name:?} in the GRIP_URL")))
        }
        None => Ok(None),
    }
}

/// A name as it is compared: without case and without what may join its words.
fn plain(name: &str) -> String {
    name.chars().filter(|char| !"-_".contains(*char)).flat_map(char::to_lowercase).collect()
}

/// Whether `name` looks like a misspelling of a known parameter.
///
/// A word of three letters may have one typo. Two words together may have two, unless the first is
/// right: then the second is judged alone, since `verify-ssl` and `verify-ip` are other parameters.
fn is_near(ours: &str, name: &str) -> bool {
    const FIRST: &str = "verify";
    match (ours.strip_prefix(FIRST), name.strip_prefix(FIRST)) {
        (Some(ours), Some(name)) => is_near(ours, name),
        (Some(_), None) => typos(ours, name) <= 2,
        (None, _) => typos(ours, name) <= 1 || (ours, name) == ("iss", "issuer"),
    }
}

/// How many letters must be put in, left out, replaced or swapped with the next one (the distance
/// of Damerau and Levenshtein, where no part is changed twice).
fn typos(ours: &str, name: &str) -> usize {
    let name: Vec<_> = name.chars().collect();
    let ours: Vec<_> = ours.chars().collect();
    if name.len() > 2 * ours.len() {
        return name.len() - ours.len();
    }
    // Rows of the table: for the last two letters of the known name, and for none of it.
    let (mut before, mut row) = (Vec::new(), (0..=name.len()).collect::<Vec<_>>());
    for (at, our) in ours.iter().enumerate() {
        let mut next = vec![at + 1];
        for (to, its) in name.iter().enumerate() {
            let replaced = row[to] + usize::from(our != its);
            let mut least = replaced.min(row[to + 1] + 1).min(next[to] + 1);
            if at > 0 && to > 0 && ours[at - 1] == *its && name[to - 1] == *our {
                least = least.min(before[to - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parameter is refused as, or `None` if it stays in the control URI.
    fn misspelt(name: &str) -> Option<&'static str> {
        let error = match GripUrl::parse(&format!("http://localhost/?{name}=x")) {
            Ok(url) => {
                assert_eq!((url.query, url.given), (format!("{name}=x"), Default::default()));
                return None;
            }
            Err(error) => error.to_string(),
        };
        let ours = PARAMETERS
            .into_iter()
            .find(|ours| error == format!("grip: {ours} is misspelt as {name:?} in the GRIP_URL"));
        Some(ours.unwrap_or_else(|| panic!("{name}: {error}")))
    }

    /// Only those that differ by case, `-` or `_` were refused; all others were ignored, and
    /// nothing was verified.
    #[test]
    fn a_parameter_with_a_typo_is_refused() {
        for (ours, names) in [
            ("iss", &["is", "ss", "isss", "iis", "sis", "isd", "ISS", "i-ss", "issuer"][..]),
            // The price: these are other words.
            ("iss", &["ids", "iso", "rss"]),
            ("key", &["kye", "ekey", "ey", "ke", "keys", "kkey", "kez", "Kye", "k_ey", "hey"]),
            (
                "verify-iss",
                &[
                    "verifyiss",
                    "verify_is",
                    "verify-isss",
                    "verify-issuer",
                    "veriy-iss",
                    "vrfy-iss",
                ],
            ),
            (
                "verify-key",
                &[
                    "verifykey",
                    "verify_key",
                    "Verify-Key",
                    "verify_keys",
                    "verify-kye",
                    "verify-ke",
                    "veriy-key",
                    "verfiy-kye",
                    "evrify-key",
                    "verifiy_keys",
                    "erify-key",
                ],
            ),
        ] {
            for name in names {
                assert_eq!(misspelt(name), Some(ours), "{name}");
            }
        }
    }

    #[test]
    fn a_parameter_of_another_name_is_kept() {
        for name in [
            "service",
            "page",
            "v",
            "id",
            "keep",
            "k",
            "kid",
            "keyid",
            "api-key",
            "apikey",
            "issue",
            "issued",
            "iat",
            "exp",
            "ts",
            "ssl",
            "tls",
            "i",
            "user",
            "token",
            "auth",
            "realm",
            "verify",
            "verify-ssl",
            "verify-tls",
            "verify-ip",
            "verify-id",
            "verify-peer",
            "verified",
            "verifier",
            "notify-key",
            "ver",
            "-",
            "verify-",
            "%C3%A9",
        ] {
            assert_eq!(misspelt(name), None, "{name}");
        }
        assert_eq!(misspelt(&"key".repeat(10_000)), None);
        let url = GripUrl::parse("http://h/?iss=a&key=b&verify-iss=c&verify-key=d").unwrap();
        assert_eq!(url.given, ["a", "b", "c", "d"].map(|value| Some(value.to_owned())));
    }

    #[test]
    fn typos_are_counted_as_by_damerau_and_levenshtein() {
        for (ours, name, count) in [
            ("key", "key", 0),
            ("key", "kye", 1),
            ("key", "eky", 1),
            ("key", "yke", 2),
            ("key", "", 3),
            ("key", "keyring", 4),
            ("verifykey", "evirfykye", 3),
            ("verifykey", "verifkys", 3),
            ("verifykey", "verifykey\u{e9}", 1),
        ] {
            assert_eq!(typos(ours, name), count, "{name}");
        }
    }
}
