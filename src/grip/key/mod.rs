//! Keys: those that verify a proxy's signatures, and the secret that signs publications.

mod shape;

use std::fmt;
use std::sync::Arc;

use base64::alphabet;
use base64::engine::{Engine, GeneralPurpose};
use hmac_sha256::HMAC;
#[cfg(feature = "jwt-simple")]
use jwt_simple::prelude::{
    ECDSAP256PublicKeyLike, ES256PublicKey, NoCustomClaims, RS256PublicKey, RSAPublicKeyLike,
    UnixTimeStamp, VerificationOptions,
};
use serde_json::Value;

pub(super) use self::shape::looks_formatted;
use self::shape::{is_json, is_pem, unless_secret};
use super::token::{Token, BASE64URL, LENIENT};

/// The standard alphabet. [`decode_base64`] also accepts the URL-safe one, because people paste
/// either.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Says what is wrong with a key, and never quotes the key.
pub(super) type Reason = &'static str;

/// The most characters of a secret that is given as plain text.
const MAX_PLAIN: usize = 512;

const EMPTY: Reason = "is empty";
const TOO_LONG: Reason = unless_secret!("has more than 512 characters, which no plain secret has");
const WHITE_SPACE: Reason = "contains white space, which a plain secret cannot have: write `%2B` \
                             for a plus in a URL, or write the secret as text after `secret:`";
const NOT_VISIBLE: Reason = "contains characters other than visible ASCII, which a plain secret \
                             cannot have: write it as text after `secret:`, or its bytes in \
                             base64 after `base64:`";
const NOT_JWK: Reason = unless_secret!("looks like JSON but is not a JWK");
const NOT_SPKI: Reason = unless_secret!("looks like a PEM but is not an SPKI public key");
const PRIVATE: Reason = "is a private key: give the public key, which verifies";

/// An HMAC key of any length except zero (Pushpin's sample key has 8 bytes).
#[derive(Clone)]
pub(super) struct Secret(Arc<[u8]>);

/// A key pinned to its one algorithm. A token's `alg` never chooses the algorithm.
#[derive(Clone)]
pub(super) enum VerifyKey {
    Hs256(Secret),
    #[cfg(feature = "jwt-simple")]
    Es256(Box<ES256PublicKey>),
    #[cfg(feature = "jwt-simple")]
    Rs256(Box<RS256PublicKey>),
}

/// The kinds of key that a text can contain.
enum Material {
    Secret(Secret),
    Pem(String),
    Jwk(String, Value),
}

impl Secret {
    /// Parses a key that signs: plain text, `secret:` followed by any text, `base64:` followed by
    /// encoded bytes, or an `oct` JWK.
    pub(super) fn parse(text: &str) -> Result<Self, Reason> {
        match Material::parse(text)? {
            Material::Secret(secret) => Ok(secret),
            Material::Pem(_) | Material::Jwk(..) => {
                Err("must be a secret: publications are signed with HS256")
            }
        }
    }

    pub(super) fn mac(&self, signed: &str) -> [u8; 32] {
        HMAC::mac(signed, &self.0)
    }

    /// Takes a text without a prefix, which can also be a key of another kind or the name of one.
    fn from_plain(text: &str) -> Result<Self, Reason> {
        if let Some(mistake) = shape::of_text(text) {
            return Err(mistake);
        }
        if text.contains(char::is_whitespace) {
            return Err(WHITE_SPACE);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NOT_VISIBLE);
        }
        if text.len() > MAX_PLAIN {
            return Err(TOO_LONG);
        }
        Self::from_bytes(text.as_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Reason> {
        if bytes.is_empty() {
            return Err(EMPTY);
        }
        Ok(Self(bytes.into()))
    }

    fn verifies(&self, token: &Token<'_>) -> bool {
        // `HMAC::verify` compares in constant time.
        <&[u8; 32]>::try_from(token.signature())
            .is_ok_and(|mac| HMAC::verify(token.signed(), &self.0, mac))
    }
}

impl VerifyKey {
    /// Parses a key that verifies: everything that [`Secret::parse`] accepts, and public keys as
    /// SPKI PEM or JWK, optionally inside `base64:`.
    pub(super) fn parse(text: &str) -> Result<Self, Reason> {
        match Material::parse(text)? {
            Material::Secret(secret) => Ok(Self::Hs256(secret)),
            Material::Pem(pem) => Self::from_spki(&spki(&pem)?),
            Material::Jwk(text, jwk) => Self::from_jwk(&text, &jwk),
        }
    }

    pub(super) fn alg(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            #[cfg(feature = "jwt-simple")]
            Self::Es256(_) => "ES256",
            #[cfg(feature = "jwt-simple")]
            Self::Rs256(_) => "RS256",
        }
    }

    /// Whether the token names this key's algorithm and was signed with this key. The claims are
    /// not checked.
    pub(super) fn verifies(&self, token: &Token<'_>) -> bool {
        token.alg() == Some(self.alg())
            && match self {
                Self::Hs256(secret) => secret.verifies(token),
                #[cfg(feature = "jwt-simple")]
                Self::Es256(key) => key
                    .verify_token::<NoCustomClaims>(&token.compact(), Some(signature_only()))
                    .is_ok(),
                #[cfg(feature = "jwt-simple")]
                Self::Rs256(key) => key
                    .verify_token::<NoCustomClaims>(&token.compact(), Some(signature_only()))
                    .is_ok(),
            }
    }

    #[cfg(feature = "jwt-simple")]
    fn from_spki(der: &[u8]) -> Result<Self, Reason> {
        if let Ok(key) = ES256PublicKey::from_der(der) {
            return Ok(Self::Es256(Box::new(key)));
        }
        // The RSA parser also accepts PKCS1. Its output is always SPKI, so comparing the two
        // rejects PKCS1.
        match RS256PublicKey::from_der(der) {
            Ok(key) if key.to_der().is_ok_and(|spki| spki == der) => Ok(Self::Rs256(Box::new(key))),
            _ => Err("is a PEM, but neither a P-256 nor an RSA (2048 to 4096 bits) public key"),
        }
    }

    #[cfg(feature = "jwt-simple")]
    fn from_jwk(text: &str, jwk: &Value) -> Result<Self, Reason> {
        let key = match jwk["kty"].as_str() {
            Some("EC") => ES256PublicKey::from_jwk(text).map(|key| Self::Es256(Box::new(key))),
            Some("RSA") => RS256PublicKey::from_jwk(text).map(|key| Self::Rs256(Box::new(key))),
            _ => return Err("is a JWK whose type is not EC, RSA or oct"),
        };
        key.map_err(|_| {
            "is a JWK, but neither a P-256 (ES256) nor an RSA (RS256, 2048 to 4096 bits) public key"
        })
    }

    #[cfg(not(feature = "jwt-simple"))]
    fn from_spki(_: &[u8]) -> Result<Self, Reason> {
        Err("is a PEM, which needs the feature `jwt-simple`")
    }

    #[cfg(not(feature = "jwt-simple"))]
    fn from_jwk(_: &str, _: &Value) -> Result<Self, Reason> {
        Err("is a JWK of a public key, which needs the feature `jwt-simple`")
    }
}

impl Material {
    /// Parses the text of a key. A text that looks like a key in some format is parsed as that
    /// format or is an error, and one that looks like the name of a key is an error. Neither is
    /// taken as a secret, because with a public text as the HMAC secret, anyone could sign. Only
    /// the prefix `secret:` and an `oct` JWK make a secret of everything.
    fn parse(text: &str) -> Result<Self, Reason> {
        if let Some(secret) = trim_start(text).strip_prefix("secret:") {
            return Secret::from_bytes(secret.as_bytes()).map(Self::Secret);
        }
        let text = trim(text);
        let Some(encoded) = text.strip_prefix("base64:") else {
            return match Self::formatted(text)? {
                Some(key) => Ok(key),
                None => Secret::from_plain(text).map(Self::Secret),
            };
        };
        let bytes = decode_base64(encoded).map_err(|()| "is not valid base64")?;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            if let Some(key) = Self::formatted(trim(text))? {
                return Ok(key);
            }
        }
        match shape::of_bytes(&bytes) {
            Some(mistake) => Err(mistake),
            None => Secret::from_bytes(&bytes).map(Self::Secret),
        }
    }

    /// Parses a PEM or a JWK. `None` means that the text is neither.
    fn formatted(text: &str) -> Result<Option<Self>, Reason> {
        if is_pem(text) {
            return Ok(Some(Self::Pem(text.to_owned())));
        }
        if !is_json(text) {
            return Ok(None);
        }
        let Ok(jwk @ Value::Object(_)) = serde_json::from_str::<Value>(text) else {
            return Err(NOT_JWK);
        };
        if jwk.get("keys").is_some() {
            return Err("is a set of JWKs: give a single JWK");
        }
        if jwk["kty"] == "oct" {
            let fits = |name, value| jwk.get(name).is_none_or(|it| it == value);
            let k = jwk["k"].as_str().and_then(|k| BASE64URL.decode(k).ok());
            return match k {
                Some(bytes) if fits("alg", "HS256") && fits("use", "sig") => {
                    Secret::from_bytes(&bytes).map(|secret| Some(Self::Secret(secret)))
                }
                _ => Err("is an oct JWK, but not a valid one for HS256"),
            };
        }
        if ["d", "p", "q"].iter().any(|private| jwk.get(private).is_some()) {
            return Err(PRIVATE);
        }
        Ok(Some(Self::Jwk(text.to_owned(), jwk)))
    }
}

/// Returns the DER inside a PEM. The PEM may have any kind of line breaks, or none.
fn spki(pem: &str) -> Result<Vec<u8>, Reason> {
    if pem.contains("PRIVATE KEY") {
        return Err(PRIVATE);
    }
    if pem.contains("BEGIN RSA PUBLIC KEY") {
        return Err("is a PKCS1 PEM: convert it to SPKI (`BEGIN PUBLIC KEY`)");
    }
    let body = pem
        .strip_prefix("-----BEGIN PUBLIC KEY-----")
        .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
        .map(|body| body.split_ascii_whitespace().collect::<String>());
    body.and_then(|body| BASE64.decode(body).ok()).ok_or(NOT_SPKI)
}

/// Decodes base64 in either alphabet. A space is read as a `+`, because query string decoding turns
/// `+` into a space.
fn decode_base64(text: &str) -> Result<Vec<u8>, ()> {
    let standard: String = text
        .chars()
        .map(|char| match char {
            ' ' | '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    BASE64.decode(standard).map_err(drop)
}

/// Trims white space and the byte order mark that some editors put at the start of a file.
pub(super) fn trim(text: &str) -> &str {
    trim_start(text).trim_end_matches(is_blank)
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_blank)
}

fn is_blank(char: char) -> bool {
    char.is_whitespace() || char == '\u{feff}'
}

/// Turns off jwt-simple's own checks of the claims, which use its clock and leeway. The claims are
/// checked in [`Token::holds`].
#[cfg(feature = "jwt-simple")]
fn signature_only() -> VerificationOptions {
    VerificationOptions {
        accept_future: true,
        time_tolerance: None,
        artificial_time: Some(UnixTimeStamp::from_secs(0)),
        ..VerificationOptions::default()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.alg())
    }
}

#[cfg(test)]
mod tests;
