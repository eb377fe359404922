//! Keys: those that verify a proxy's signatures, and the secret that signs publications.

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

use super::token::{Token, BASE64URL, LENIENT};

/// The standard alphabet. [`decode_base64`] also accepts the URL-safe one, because people paste
/// either.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Says what is wrong with a key, and never quotes the key.
pub(super) type Reason = &'static str;

const EMPTY: Reason = "is empty";
const DER: Reason = "is a DER key: give a PEM or a JWK";
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
    /// Parses a key that signs: plain text, `base64:` followed by encoded bytes, or an `oct` JWK.
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
    /// format or is an error. It is never taken as a secret, because with a public key as the HMAC
    /// secret, anyone could sign.
    fn parse(text: &str) -> Result<Self, Reason> {
        let text = trim(text);
        let Some(encoded) = text.strip_prefix("base64:") else {
            if let Some(key) = Self::formatted(text)? {
                return Ok(key);
            }
            return Secret::from_bytes(text.as_bytes()).map(Self::Secret);
        };
        let bytes = decode_base64(encoded).map_err(|()| "is not valid base64")?;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            if let Some(key) = Self::formatted(trim(text))? {
                return Ok(key);
            }
        }
        if is_der(&bytes) {
            return Err(DER);
        }
        Secret::from_bytes(&bytes).map(Self::Secret)
    }

    /// Parses a PEM or a JWK. `None` means that the text can only be a secret.
    fn formatted(text: &str) -> Result<Option<Self>, Reason> {
        if is_pem(text) {
            return Ok(Some(Self::Pem(text.to_owned())));
        }
        if !is_json(text) {
            let inside = decode_base64(&text.split_ascii_whitespace().collect::<String>());
            return if inside.is_ok_and(|bytes| is_der(&bytes)) { Err(DER) } else { Ok(None) };
        }
        let Ok(jwk @ Value::Object(_)) = serde_json::from_str::<Value>(text) else {
            return Err("looks like JSON but is not a JWK");
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

/// Whether a text looks like a PEM or JSON rather than a secret or a token.
pub(super) fn looks_formatted(text: &str) -> bool {
    is_pem(text) || is_json(text)
}

fn is_pem(text: &str) -> bool {
    text.starts_with("-----") || text.contains("-----BEGIN") || text.contains("-----END")
}

fn is_json(text: &str) -> bool {
    text.starts_with(['{', '[']) || text.contains("\"kty\"")
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
    body.and_then(|body| BASE64.decode(body).ok())
        .ok_or("looks like a PEM but is not an SPKI public key")
}

/// Whether the bytes are the DER of an EC or RSA key, which contains the algorithm's object
/// identifier.
fn is_der(bytes: &[u8]) -> bool {
    const EC: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
    const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    bytes.starts_with(b"\x30")
        && (bytes.windows(EC.len()).any(|at| at == EC)
            || bytes.windows(RSA.len()).any(|at| at == RSA))
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
    text.trim_matches(|char: char| char.is_whitespace() || char == '\u{feff}')
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
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECKo5A1ebyFcnmVV8SE5On+8G81Jy\nBjSvcrx4VLetWCjuDAmppTo3xM/zz763COTCgHfp/6lPdCyYjjqc+GM7sw==\n-----END PUBLIC KEY-----\n";

    fn secret(text: &str) -> Vec<u8> {
        match VerifyKey::parse(text) {
            Ok(VerifyKey::Hs256(Secret(bytes))) => bytes.to_vec(),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn refused(text: &str) -> Reason {
        VerifyKey::parse(text).expect_err(text)
    }

    #[test]
    fn a_secret_is_any_text_or_any_bytes() {
        assert_eq!(secret("x"), b"x");
        assert_eq!(secret(" \tch\u{e4}nge me\r\n"), "ch\u{e4}nge me".as_bytes());
        for form in ["base64:++//AA==", "base64:  //AA", "base64:--__AA", "base64:++//AA"] {
            assert_eq!(secret(form), b"\xfb\xef\xff\x00", "{form}");
        }
        // The decoded bytes are the key: white space is not trimmed, and a brace in binary data
        // does not make it JSON.
        assert_eq!(secret("base64:IAo="), b" \n");
        assert_eq!(secret("base64:e/8"), b"{\xff");
        assert_eq!(
            secret(r#"{"kty":"oct","k":"Y2hhbmdlbWU","alg":"HS256","use":"sig"}"#),
            b"changeme"
        );
        assert_eq!(secret("MII-but-no-key"), b"MII-but-no-key");
    }

    #[test]
    fn nothing_empty_is_a_key() {
        for empty in ["", "  \n", "\u{feff}", "base64:", r#"{"kty":"oct","k":""}"#] {
            assert_eq!(refused(empty), EMPTY, "{empty:?}");
            assert_eq!(Secret::parse(empty).unwrap_err(), EMPTY, "{empty:?}");
        }
    }

    #[test]
    fn what_looks_like_a_key_but_is_not_one_is_never_a_secret() {
        let body: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
        let wrapped = |text: &str| format!("base64:{}", BASE64.encode(text));
        let whole = [
            "{bad".to_owned(),
            "[1".to_owned(),
            "\u{feff}{}".to_owned(),
            r#"x{"kty":"EC"}"#.to_owned(),
            r#"{"kty":"oct"}"#.to_owned(),
            r#"{"kty":"oct","k":"YQ","alg":"HS512"}"#.to_owned(),
            r#"{"keys":[]}"#.to_owned(),
            PEM[..100].to_owned(),
            PEM[30..].to_owned(),
            format!("x {PEM}"),
            PEM.replace("BEGIN PUBLIC", "BEGIN RSA PUBLIC").replace("END PUBLIC", "END RSA PUBLIC"),
            PEM.replace("PUBLIC", "PRIVATE"),
            PEM.replace("PUBLIC", "EC PRIVATE"),
            PEM.replace("PUBLIC KEY", "CERTIFICATE"),
            PEM.replace('\n', "\\n"),
            PEM.replace("MFkw", "MFk"),
            format!("{PEM}{PEM}"),
            body.clone(),
            format!("{}\n{}", &body[..64], &body[64..]),
        ];
        for text in &whole {
            refused(text);
            refused(&wrapped(text));
        }
        assert_eq!(refused(&format!("base64:{body}")), DER);
        assert_eq!(refused("base64:!!!!"), "is not valid base64");
    }

    #[test]
    fn only_a_secret_signs() {
        assert!(Secret::parse(PEM).unwrap_err().contains("HS256"));
        assert!(Secret::parse(r#"{"kty":"EC","crv":"P-256"}"#).unwrap_err().contains("HS256"));
    }

    #[cfg(feature = "jwt-simple")]
    #[test]
    fn a_public_key_fixes_the_algorithm() {
        let one_line = PEM.replace('\n', " ");
        for form in [
            PEM.to_owned(),
            one_line,
            PEM.replace('\n', "\r\n"),
            format!("base64:{}", BASE64.encode(PEM)),
        ] {
            assert_eq!(VerifyKey::parse(&form).unwrap().alg(), "ES256");
        }
        let jwk = r#" {"kty":"EC","crv":"P-256","x":"CKo5A1ebyFcnmVV8SE5On-8G81JyBjSvcrx4VLetWCg","y":"7gwJqaU6N8TP88--twjkwoB36f-pT3QsmI46nPhjO7M"} "#;
        assert_eq!(VerifyKey::parse(jwk).unwrap().alg(), "ES256");
        assert!(refused(&jwk.replace("7gwJ", "7gwK")).contains("JWK"), "not on the curve");
        assert!(refused(&jwk.replace("P-256", "P-384")).contains("P-256"));
        assert!(refused(&jwk.replace("}", r#","d":"AA"}"#)).contains("private"));
        assert!(refused(r#"{"kty":"OKP"}"#).contains("EC, RSA or oct"));
    }

    #[cfg(not(feature = "jwt-simple"))]
    #[test]
    fn a_public_key_names_the_missing_feature() {
        assert!(refused(PEM).contains("`jwt-simple`"));
        assert!(refused(r#"{"kty":"RSA","n":"AA","e":"AQAB"}"#).contains("`jwt-simple`"));
    }
}
