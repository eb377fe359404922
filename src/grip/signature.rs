//! Whether a request came through a proxy, and what to do if its signature does not verify.

use std::error::Error;
use std::fmt;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::Engine;
use serde_json::Value;

use super::key::Secret;

/// Whether a request came through a GRIP proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// It has no `Grip-Sig`, or there is no proxy: the client is connected directly.
    No,
    /// It has a `Grip-Sig`, but no endpoint has a key to verify it with: anyone may have made it.
    Unsigned,
    /// The key of one of the endpoints verifies its `Grip-Sig`.
    Signed,
}

/// A request has a `Grip-Sig` that no endpoint's key verifies: it is forged, expired, or the proxy
/// and this program do not agree on the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSignature;

/// What to do with a request whose `Grip-Sig` does not verify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSignaturePolicy {
    /// Answer 403.
    #[default]
    Refuse,
    /// Take it for a direct request, as the text of GRIP has it.
    Direct,
}

impl fmt::Display for InvalidSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GRIP signature invalid")
    }
}

impl Error for InvalidSignature {}

/// A JWT that says who publishes, until when; in seconds since 1970.
pub(super) fn sign(iss: &str, exp: u64, key: &Secret) -> String {
    let claims = format!(r#"{{"iss":{},"exp":{exp}}}"#, Value::from(iss));
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let mac = URL_SAFE_NO_PAD.encode(key.mac(&signed));
    signed + "." + &mac
}
