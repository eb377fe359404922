//! `Grip-Sig`: a token verifies if, and only if, it was signed with the key, names its algorithm,
//! is from the issuer and has not expired. The signatures are another implementation's.

use std::sync::OnceLock;

use data_encoding::BASE64URL_NOPAD;
use eventstream::grip::{Config, Proxied};
use http::{HeaderMap, HeaderValue};

use crate::input::{text, Input};
use crate::jwt::{mac, NEVER};

/// What `proxied` says of these values of the header.
fn proxied(config: &Config, values: &[Vec<u8>]) -> Option<bool> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("grip-sig", HeaderValue::from_bytes(value).ok()?);
    }
    match config.proxied(&headers) {
        Ok(Proxied::Signed) => Some(true),
        Err(_) => Some(false),
        Ok(other) => panic!("{other:?} with a key"),
    }
}

/// A number as JSON, and what it is.
fn time(input: &mut Input<'_>) -> (String, Option<f64>) {
    let (json, value) = input.pick(&[
        ("1", Some(1.0)),
        ("0", Some(0.0)),
        ("-1", Some(-1.0)),
        ("1e300", Some(1e300)),
        ("1e-9", Some(1e-9)),
        ("18446744073709551615", Some(u64::MAX as f64)),
        ("9999999999.5", Some(9_999_999_999.5)),
        ("\"9999999999\"", None),
        ("null", None),
        ("true", None),
        ("[9999999999]", None),
    ]);
    match input.flag() {
        true => (NEVER.to_string(), Some(NEVER as f64)),
        false => (json.to_owned(), value),
    }
}

/// The seeds are signed with the vectors' key, which is none of these.
const KEYS: [&[u8]; 3] =
    [b"a key", b"k", b"another key, of some length that is over 64 bytes, so it is hashed"];
const ISS: &str = "pushpin";

/// For each key one that takes any issuer, and one that wants `ISS`.
fn configs() -> &'static [Config] {
    static CONFIGS: OnceLock<Vec<Config>> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let config = |key: &[u8], iss: &str| {
            let key = data_encoding::BASE64URL.encode(key);
            let url = format!("http://localhost/?verify-key=base64:{key}{iss}");
            url.parse().expect("a valid GRIP_URL")
        };
        let iss = format!("&verify-iss={ISS}");
        KEYS.into_iter().flat_map(|key| [config(key, ""), config(key, &iss)]).collect()
    })
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (which, iss) = (input.below(KEYS.len()), input.flag().then_some(ISS));
    let key = KEYS[which];
    let config = &configs()[2 * which + usize::from(iss.is_some())];
    if input.below(8) == 0 {
        // Nobody finds a signature by chance.
        let got = proxied(config, &[input.rest().to_vec()]);
        assert!(got != Some(true), "{:?} verifies", text(data));
        return;
    }

    let mut valid = true;
    let (alg, right) = input.pick(&[
        ("\"alg\":\"HS256\"", true),
        ("\"alg\":\"HS256\"", true),
        ("\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"x\"", true),
        ("\"typ\":1,\"alg\":\"HS256\"", true),
        ("\"alg\":\"none\"", false),
        ("\"alg\":\"hs256\"", false),
        ("\"alg\":\"HS512\"", false),
        ("\"alg\":\"ES256\"", false),
        ("\"alg\":[\"HS256\"]", false),
        ("\"typ\":\"JWT\"", false),
        ("\"alg\":\"HS256\",\"crit\":[\"exp\"]", false),
        ("\"alg\":\"HS256\",\"crit\":[]", false),
        // The last of two counts, whichever parser reads it.
        ("\"alg\":\"none\",\"alg\":\"HS256\"", true),
        ("\"alg\":\"HS256\",\"alg\":\"none\"", false),
    ]);
    valid &= right;
    let mut claims = Vec::new();
    if input.below(8) > 0 {
        let (json, exp) = time(&mut input);
        claims.push(format!("\"exp\":{json}"));
        valid &= exp.is_some_and(|exp| exp > 4e9);
    } else {
        valid = false;
    }
    if input.below(3) == 0 {
        let (json, nbf) = time(&mut input);
        claims.push(format!("\"nbf\":{json}"));
        valid &= nbf.is_some_and(|nbf| nbf < 1e9);
    }
    let (claimed, matches) = input.pick(&[
        ("\"iss\":\"pushpin\"", true),
        ("\"iss\":\"pushpin\"", true),
        ("\"iss\":\"\\u0070ushpin\"", true),
        ("\"iss\":\"Pushpin\"", false),
        ("\"iss\":\"pushpin \"", false),
        ("\"iss\":[\"pushpin\"]", false),
        ("\"iss\":null", false),
        ("\"aud\":\"pushpin\"", false),
        ("\"iat\":99999999999", false),
    ]);
    claims.push(claimed.to_owned());
    valid &= matches || iss.is_none();
    if input.flag() {
        claims.rotate_left(1);
    }
    let parts = [format!("{{{alg}}}"), format!("{{{}}}", claims.join(","))];
    let signed = parts.map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".");
    let used = if input.below(4) == 0 { input.pick(&KEYS) } else { key };
    valid &= used == key;
    let mut signature = mac(signed.as_bytes(), used);
    match input.below(8) {
        0 => {
            let at = input.below(signature.len());
            signature[at] ^= 1 << input.below(8);
            valid = false;
        }
        1 => {
            signature.truncate(input.below(signature.len()));
            valid = false;
        }
        2 => {
            signature.push(input.byte());
            valid = false;
        }
        _ => {}
    }
    let mut token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)).into_bytes();
    // What is tolerated at the end, and what is not.
    let (end, tolerated) = input.pick(&[
        ("", true),
        ("", true),
        ("=", true),
        ("= \t", true),
        (" ", true),
        (".", false),
    ]);
    token.extend(end.bytes());
    valid &= tolerated;
    if input.below(8) == 0 {
        // Any other change breaks it, except of bits that encode nothing, at a part's end.
        let at = usize::from(input.byte()) % token.len();
        let before = std::mem::replace(&mut token[at], input.byte());
        let ends = token.get(at + 1).is_none_or(|next| b".= \t".contains(next));
        if before != token[at] {
            let got = proxied(config, &[token.clone()]);
            let harmless = ends || b"= \t".contains(&before);
            assert!(got != Some(true) || (valid && harmless), "{:?}", text(&token));
        }
        return;
    }
    let got = proxied(config, &[token.clone()]);
    assert_eq!(got, Some(valid), "{:?} with iss {iss:?}", text(&token));
    // Two headers leave open which one counts.
    assert_eq!(proxied(config, &[token.clone(), token]), Some(false));
}
