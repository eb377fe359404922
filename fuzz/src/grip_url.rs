//! A GRIP_URL and its keys. It is written from parts, and read back from what a publisher sends and
//! from which signatures verify; the addresses are those of the URL standard's own parser. No
//! secret shows, and no public key or name of a file is taken as a secret.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use eventstream::grip::{Config, Endpoint, Item, Proxied, Publisher};
use eventstream::test_util::{ManualTimer, RecordingTransport};
use futures::executor::block_on;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request};
use serde_json::Value;

use crate::input::{text, Input};
use crate::jwt::{mac, signed, NEVER};

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(4) {
        0 => any(input.rest()),
        1 => lookalike(&mut input),
        2 => secret(&mut input),
        _ => url(&mut input),
    }
}

/// Any text: it parses or not, and is not quoted, since any part of it may be a key.
fn any(bytes: &[u8]) {
    let given = text(bytes);
    let shown = match given.parse::<Config>() {
        Ok(config) => format!("{config:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    for (name, value) in
        form_urlencoded::parse(given.split_once('?').unwrap_or_default().1.as_bytes())
    {
        let own = ["key", "verify-key"].contains(&&*name);
        // A short one can stand in the message by chance.
        if own && value.len() > 8 && !given.split('?').next().unwrap_or_default().contains(&*value)
        {
            assert!(!shown.contains(&*value), "{shown} shows a key of {given:?}");
        }
    }
    for made in [
        Endpoint::new("http://localhost/").and_then(|it| it.key(&given)).map(drop),
        Endpoint::new("http://localhost/").and_then(|it| it.verify_key(&given)).map(drop),
    ] {
        if let Err(error) = made {
            let shown = format!("{error} {error:?}");
            assert!(given.len() < 12 || !shown.contains(&given), "{shown} shows a key");
        }
    }
}

const PEM: &str = include_str!("../../tests/keys/es256-public.pem");
const PRIVATE: &str = include_str!("../../tests/keys/es256-private.pem");
const JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"CKo5A1ebyFcnmVV8SE5On-8G81JyBjSvcrx4VLetWCg","y":"7gwJqaU6N8TP88--twjkwoB36f-pT3QsmI46nPhjO7M"}"#;
const SSH: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqLBeVpgyiXwE6lZrc1iuBNmPhzPNMTQCoGhKGNVkjr me@host";

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    BASE64.decode(body.as_bytes()).expect("a PEM has base64")
}

/// A key that everybody knows, or the name of one, however it is wrapped, is no secret.
fn lookalike(input: &mut Input<'_>) {
    let mut bytes: Vec<u8> = match input.below(10) {
        0 => PEM.into(),
        1 => PRIVATE.into(),
        2 => JWK.into(),
        3 => format!("{{\"keys\":[{JWK}]}}").into(),
        4 => SSH.into(),
        5 => der(PEM),
        6 => der(PRIVATE),
        7 => input
            .pick(&[
                "/run/secrets/grip",
                "./grip.pem",
                "C:\\keys\\grip.pem",
                "grip.jwk",
                "~/.ssh/id",
                "/etc/ssl/private/grip",
            ])
            .into(),
        8 => input
            .pick(&[
                "https://example.com/keys",
                "data:text/plain,x",
                "vault://grip/key",
                "file:///etc/grip",
            ])
            .into(),
        _ => {
            BASE64.decode(SSH.split(' ').nth(1).unwrap_or_default().as_bytes()).unwrap_or_default()
        }
    };
    let mut encoded = false;
    for _ in 0..input.below(4) {
        let kind = input.below(10);
        // Nobody quotes binary.
        if kind > 3 && !bytes.is_ascii() {
            continue;
        }
        // One encoding is recognized, and one more after `base64:`.
        if kind < 4 && std::mem::replace(&mut encoded, true) {
            continue;
        }
        bytes = match kind {
            0 => BASE64.encode(&bytes).into(),
            1 => BASE64URL_NOPAD.encode(&bytes).into(),
            2 => HEXLOWER.encode(&bytes).into(),
            3 => HEXUPPER.encode(&bytes).into(),
            4 => [b" \n", &bytes[..], b"\r\n"].concat(),
            5 => [b"\"", &bytes[..], b"\""].concat(),
            6 => [b"'", &bytes[..], b"'"].concat(),

            8 if bytes.is_ascii() && encoded => {
                // As a file has it, in lines.
                let lines = bytes.chunks(64).collect::<Vec<_>>();
                lines.join(&b'\n')
            }
            _ => bytes,
        };
    }
    let wrapped = match String::from_utf8(bytes) {
        Ok(text) if input.flag() => text,
        Ok(text) => format!("base64:{}", BASE64.encode(text.as_bytes())),
        Err(bytes) => format!("base64:{}", BASE64.encode(bytes.as_bytes())),
    };
    let endpoint = || Endpoint::new("http://localhost/").expect("a valid URI");
    assert!(endpoint().key(&wrapped).is_err(), "{wrapped:?} is taken as a secret");
    assert!(endpoint().verify_key(&wrapped).is_err(), "{wrapped:?} is taken as a secret");
}

/// A key that is taken as a secret is exactly the bytes that the documentation says.
fn secret(input: &mut Input<'_>) {
    let (kind, bytes) = (input.below(4), input.rest());
    let given = text(bytes);
    let (key, secret) = match kind {
        0 => (given.clone(), given.trim_matches(blank).as_bytes().to_vec()),
        1 => (format!("secret:{given}"), given.clone().into()),
        2 => (format!("base64:{}", BASE64.encode(bytes)), bytes.to_vec()),
        _ => {
            let k = BASE64URL_NOPAD.encode(bytes);
            (format!("{{\"kty\":\"oct\",\"k\":\"{k}\"}}"), bytes.to_vec())
        }
    };
    let made = Endpoint::new("http://localhost/").and_then(|endpoint| endpoint.verify_key(&key));
    match made {
        Err(_) => {
            let plain = kind == 2
                || (kind == 0 && (given.starts_with("base64:") || given.starts_with("secret:")));
            let simple = bytes.iter().all(u8::is_ascii_alphanumeric) && bytes.len() <= 20;
            // What no rule of the documentation forbids is taken.
            let must = matches!(kind, 1 | 3) || (!plain && simple && !decodes_to_more(bytes));
            assert!(bytes.is_empty() || !must, "{key:?} is refused");
        }
        Ok(endpoint) => {
            assert!(!secret.is_empty(), "an empty secret");
            if kind == 0
                && (key.trim_matches(blank).starts_with("base64:")
                    || key.trim_start_matches(blank).starts_with("secret:"))
            {
                return;
            }
            if kind == 0 || kind == 2 {
                assert!(!is_public(&secret), "{key:?} is taken as a secret");
            }
            if kind == 2 && secret.first() == Some(&b'{') {
                // An `oct` JWK in base64.
                return;
            }
            if kind == 0 && secret.first() == Some(&b'{') {
                return;
            }
            let config = Config::from(endpoint);
            let claims = format!("{{\"exp\":{NEVER}}}");
            let token = signed(r#"{"alg":"HS256"}"#, &claims, &secret);
            let mut headers = HeaderMap::new();
            headers.insert("grip-sig", HeaderValue::from_str(&token).expect("ASCII"));
            assert_eq!(config.proxied(&headers), Ok(Proxied::Signed), "{key:?}");
        }
    }
}

fn blank(char: char) -> bool {
    char.is_whitespace() || char == '\u{feff}'
}

/// Whether these letters and digits may be the encoding of something else.
fn decodes_to_more(bytes: &[u8]) -> bool {
    // Base64 of a sequence of ASN.1, of a path and the like begins like this, and so does hex.
    bytes.iter().all(u8::is_ascii_hexdigit)
        || bytes.starts_with(b"M")
        || bytes.starts_with(b"AAAA")
        || bytes.starts_with(b"0x")
        || data_encoding::BASE64_NOPAD
            .decode(&bytes[..bytes.len() - bytes.len() % 4])
            .is_ok_and(|bytes| bytes.iter().filter(|byte| byte.is_ascii_graphic()).count() > 1)
}

/// Whether this is, beyond doubt, something that others know.
fn is_public(secret: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(secret) else { return false };
    let object = matches!(serde_json::from_str::<Value>(text), Ok(Value::Object(it)) if it.get("kty") != Some(&"oct".into()));
    object
        || text.contains("-----BEGIN")
        || text.starts_with("ssh-rsa ")
        // Names have no control characters.
        || !text.contains(char::is_control)
            && (text.starts_with("https://") || text.starts_with("./") || text.ends_with(".pem"))
}

/// Runs what it is given at once: no worker of this test waits for anything.
#[derive(Clone, Default)]
struct Later(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl eventstream::runtime::Executor for Later {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.lock().expect("no panic under it").push(task);
    }
}

/// The one request of an endpoint that publishes something.
fn published(config: Config) -> Request<Bytes> {
    let (transport, later) = (RecordingTransport::new(), Later::default());
    let publisher = Publisher::new(config, transport.clone(), later.clone(), ManualTimer::new());
    drop(publisher.publish(Item::hint("c")));
    drop(publisher);
    let tasks = std::mem::take(&mut *later.0.lock().expect("no panic under it"));
    tasks.into_iter().for_each(block_on);
    let mut requests = transport.requests();
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

/// Writes a value for a query, in one of the ways that mean the same.
fn encoded(value: &str, bits: u8) -> String {
    value
        .bytes()
        .enumerate()
        .map(|(at, byte)| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b':' if bits >> (at % 8) & 1 == 0 => {
                char::from(byte).into()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Long enough that it is nowhere by chance, and never in what is not secret.
const SECRET: &str = "s3cr3t";

fn word(input: &mut Input<'_>, start: &str) -> String {
    let letters = input.bytes();
    let letters = letters
        .iter()
        .map(|byte| char::from(b"abcdefghijklmnop4qrstuvwxyz7 ~:"[usize::from(byte % 31)]));
    format!("{start}{}z", letters.collect::<String>())
}

fn url(input: &mut Input<'_>) {
    let (scheme, host) = (
        input.pick(&["http", "https", "HTTP"]),
        input.pick(&["localhost", "LocalHost:5561", "127.0.0.1:1", "[::1]:80", "[::1]"]),
    );
    let path = input.pick(&["", "/", "/a", "/a/", "/a//", "/a/%2f/b c", "/realm/r"]);
    let user = input.flag().then(|| (word(input, "u").replace(':', ""), word(input, SECRET)));
    let mut query = Vec::new();
    let (mut iss, mut key, mut verify_iss, mut verify_key) = (None, None, None, None);
    let mut kept = Vec::new();
    for _ in 0..input.below(6) {
        let at = input.below(6);
        let start = if [1, 3].contains(&at) { SECRET } else { "n" };
        let (value, bits) = (word(input, start), input.byte());
        let spaceless = value.replace(' ', "-");
        let (name, value) = match at {
            0 => ("iss", value),
            1 => ("key", spaceless),
            2 => ("verify-iss", value),
            3 => ("verify-key", spaceless),
            _ => (input.pick(&["x", "service", "a%20b", "k"]), value),
        };
        let pair = format!("{name}={}", encoded(&value, bits));
        match at {
            0 => iss = iss.or(Some(value)),
            1 => key = key.or(Some(value)),
            2 => verify_iss = verify_iss.or(Some(value)),
            3 => verify_key = verify_key.or(Some(value)),
            _ => kept.push(pair.clone()),
        }
        query.push(pair);
    }
    let bits = input.byte();
    let userinfo = user.iter().map(|(user, password)| {
        format!("{}:{}@", encoded(user, bits).replace(':', "%3A"), encoded(password, bits))
    });
    let userinfo: String = userinfo.collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let given = format!("{scheme}://{userinfo}{host}{path}{mark}{}", query.join("&"));
    let made = given.parse::<Config>();
    let shown = match &made {
        Ok(config) => format!("{config:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    for secret in [&key, &verify_key].into_iter().flatten().chain(user.iter().map(|user| &user.1)) {
        assert!(!shown.contains(secret), "{shown} shows a secret of {given}");
    }
    // What the setters' documentation forbids.
    let fits = (iss.is_none() || key.is_some())
        && (verify_iss.is_none() || verify_key.is_some() || (key.is_some() && iss.is_some()));
    assert_eq!(made.is_ok(), fits, "{given}: {shown}");
    let Ok(config) = made else { return };
    assert_eq!(config.verifies(), verify_key.is_some() || (key.is_some() && iss.is_some()));

    let request = published(config.clone());
    let mut expected = url::Url::parse(&format!("{scheme}://{host}{path}")).expect("a valid URL");
    let path = path.strip_suffix('/').unwrap_or(path);
    expected.set_path(&format!("{path}{}publish/", if path.ends_with('/') { "" } else { "/" }));
    expected.set_query(Some(kept.join("&")).filter(|kept| !kept.is_empty()).as_deref());
    let sent = url::Url::parse(&request.uri().to_string()).expect("a valid URL");
    assert_eq!(sent, expected, "{given}");

    let authorization =
        request.headers().get("authorization").map(|it| it.to_str().expect("ASCII"));
    match (&iss, &key, &user) {
        (Some(iss), Some(key), _) => {
            let token = authorization.and_then(|it| it.strip_prefix("Bearer ")).expect("a token");
            let (signed, signature) = token.rsplit_once('.').expect("a token");
            let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).expect("base64");
            assert_eq!(signature, mac(signed.as_bytes(), key.as_bytes()), "{given}");
            let claims = signed.split_once('.').expect("a token").1;
            let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).expect("base64");
            let claims: Value = serde_json::from_slice(&claims).expect("JSON");
            assert_eq!(claims["iss"], **iss, "{given}");
        }
        (_, Some(token), _) => assert_eq!(authorization, Some(&*format!("Bearer {token}"))),
        (_, _, Some((user, password))) => {
            let pair = BASE64.encode(format!("{user}:{password}").as_bytes());
            assert_eq!(authorization, Some(&*format!("Basic {pair}")), "{given}");
        }
        _ => assert_eq!(authorization, None),
    }
    if let Some(verify) = verify_key.as_ref().or(key.as_ref().filter(|_| iss.is_some())) {
        let iss = verify_iss.as_deref().unwrap_or("anybody");
        let proxied = |key: &str, iss: &str| {
            let claims = format!("{{\"exp\":{NEVER},\"iss\":{}}}", Value::from(iss));
            let token = signed(r#"{"alg":"HS256"}"#, &claims, key.as_bytes());
            let mut headers = HeaderMap::new();
            headers.insert("grip-sig", HeaderValue::from_str(&token).expect("ASCII"));
            config.proxied(&headers).is_ok()
        };
        assert!(proxied(verify, iss), "{given}");
        assert!(!proxied("another", iss), "{given}");
        assert_eq!(proxied(verify, "other"), verify_iss.is_none(), "{given}");
    }
}
