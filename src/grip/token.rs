//! Parses `Grip-Sig`, the compact JWT with which a proxy authenticates itself.

use std::time::Duration;

use base64::alphabet;
#[cfg(feature = "jwt-simple")]
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// For decoding only: padding is optional.
pub(super) const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
pub(super) const BASE64URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
/// The most bytes of a token. A proxy's token has 150 to 500 bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// The parts of a token. None of them may be trusted until
/// [`VerifyKey::verifies`](super::key::VerifyKey::verifies) has returned true.
#[derive(Debug)]
pub(super) struct Token<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// Parses a token. Returns `None` if it is not a JWT or its header is not supported. Padding,
    /// spaces and tabs at the end are tolerated.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= MAX_TOKEN)?;
        let text = text.trim_end_matches([' ', '\t']).trim_end_matches('=');
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |part: &str| serde_json::from_slice(&BASE64URL.decode(part).ok()?).ok();
        let signature = BASE64URL.decode(signature).ok()?;
        let header: Map<_, _> = object(header)?;
        // RFC 7515, 4.1.11: a recipient must reject extensions that it does not understand, and
        // this crate understands none.
        (!header.contains_key("crit")).then_some(())?;
        Some(Self { signed, signature, header, claims: object(claims)? })
    }

    /// The whole token, without the padding and white space tolerated at its end.
    #[cfg(feature = "jwt-simple")]
    pub(super) fn compact(&self) -> String {
        format!("{}.{}", self.signed, URL_SAFE_NO_PAD.encode(&self.signature))
    }

    pub(super) fn signed(&self) -> &str {
        self.signed
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    pub(super) fn alg(&self) -> Option<&str> {
        self.header.get("alg")?.as_str()
    }

    /// Whether the claims hold at `now`, in seconds since 1970. `exp` must be present and in the
    /// future, `nbf` must not be in the future, and `iss` must match if one is required. `leeway`
    /// relaxes both times. `aud` and `iat` are not checked.
    pub(super) fn holds(&self, now: f64, leeway: Duration, iss: Option<&str>) -> bool {
        let leeway = leeway.as_secs_f64();
        let expires = self.claims.get("exp").and_then(Value::as_f64);
        let begins = self.claims.get("nbf").map_or(Some(f64::MIN), Value::as_f64);
        expires.is_some_and(|at| now < at + leeway)
            && begins.is_some_and(|at| now + leeway >= at)
            && iss.is_none_or(|iss| self.claims.get("iss").and_then(Value::as_str) == Some(iss))
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::grip::key::{Secret, VerifyKey};
    use crate::grip::signature::sign;

    fn token(header: &str, claims: &str) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mac = URL_SAFE_NO_PAD.encode(Secret::parse("k").unwrap().mac(&signed));
        signed + "." + &mac
    }

    fn holds(claims: &str, now: f64, leeway: u64) -> bool {
        let token = token(r#"{"alg":"HS256"}"#, claims);
        let parsed = Token::parse(token.as_bytes()).unwrap();
        assert!(VerifyKey::parse("k").unwrap().verifies(&parsed));
        parsed.holds(now, Duration::from_secs(leeway), None)
    }

    #[test]
    fn what_is_signed_verifies_until_it_expires() {
        let jwt = sign("a \"b\"", 600, &Secret::parse("k").unwrap());
        let parsed = Token::parse(jwt.as_bytes()).unwrap();
        assert!(
            VerifyKey::parse("k").unwrap().verifies(&parsed)
                && !VerifyKey::parse("K").unwrap().verifies(&parsed)
        );
        assert!(
            parsed.holds(599.9, Duration::ZERO, Some("a \"b\""))
                && !parsed.holds(600.0, Duration::ZERO, None)
        );
        assert_eq!(jwt, token(r#"{"alg":"HS256"}"#, r#"{"iss":"a \"b\"","exp":600}"#));
    }

    #[test]
    fn times_are_exact_and_leeway_goes_both_ways() {
        let (exp, nbf) = (r#"{"exp":1000}"#, r#"{"exp":9e9,"nbf":1000}"#);
        for (claims, now, leeway, expected) in [
            (exp, 999.0, 0, true),
            (exp, 1000.0, 0, false),
            (exp, 1004.0, 5, true),
            (exp, 1005.0, 5, false),
            (nbf, 1000.0, 0, true),
            (nbf, 999.0, 0, false),
            (nbf, 995.0, 5, true),
            (nbf, 994.0, 5, false),
            (r#"{"exp":1000.5}"#, 1000.4, 0, true),
            (r#"{"exp":1000.5}"#, 1000.5, 0, false),
            // A clock that cannot be read must not make expired tokens valid.
            (r#"{"exp":1e300}"#, f64::INFINITY, 0, false),
        ] {
            assert_eq!(holds(claims, now, leeway), expected, "{claims} at {now} with {leeway}");
        }
        for broken in [
            "{}",
            r#"{"exp":"9e9"}"#,
            r#"{"exp":null}"#,
            r#"{"exp":9e9,"nbf":null}"#,
            r#"{"exp":9e9,"nbf":"0"}"#,
        ] {
            assert!(!holds(broken, 1.0, 0), "{broken}");
        }
    }

    #[test]
    fn malformed_tokens_do_not_parse() {
        let good = token(r#"{"alg":"HS256"}"#, r#"{"exp":1}"#);
        assert!(Token::parse(format!("{good}= \t").as_bytes()).is_some());
        let long =
            token(r#"{"alg":"HS256"}"#, &format!(r#"{{"exp":1,"x":"{}"}}"#, "x".repeat(MAX_TOKEN)));
        let crit = token(r#"{"alg":"HS256","crit":[]}"#, r#"{"exp":1}"#);
        let list = token(r#"{"alg":"HS256"}"#, r#"[{"exp":1}]"#);
        for bad in [
            "",
            ".",
            "..",
            "...",
            &good[..20],
            &format!("{good}.x"),
            &format!(" {good}"),
            &long,
            &crit,
            &list,
        ] {
            assert!(Token::parse(bad.as_bytes()).is_none(), "{bad:.40}");
        }
        assert!(Token::parse(b"\xff.\xff.\xff").is_none());
    }
}
