//! Whether a request came through a proxy, and what happens if its signature does not verify.

use std::error::Error;
use std::fmt;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::Engine;
use serde_json::Value;

use super::key::Secret;

/// Tells whether a request came through a GRIP proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proxied {
    /// The client connected directly: the request has no `Grip-Sig`, or no proxy is configured.
    No,
    /// The request has a `Grip-Sig`, but no endpoint has a key to verify it: anyone may have made
    /// it.
    Unsigned,
    /// The request has a `Grip-Sig` that the key of one of the endpoints verifies.
    Signed,
}

/// Reports a request whose `Grip-Sig` no endpoint's key verifies.
///
/// The signature is forged or expired, there are several, or the proxy and this program do not use
/// the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidSignature;

/// Decides what happens to a request whose `Grip-Sig` does not verify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSignaturePolicy {
    /// Answers the request with 403 Forbidden. This is the default.
    #[default]
    Refuse,
    /// Treats the request as a direct one, as the GRIP specification says.
    Direct,
}

impl fmt::Display for InvalidSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid GRIP signature")
    }
}

impl Error for InvalidSignature {}

/// Makes the JWT that authorizes publications by `iss` until `exp`, in seconds since 1970.
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
