//! Signatures, holds and items as recorded of the reference's GRIP libraries. Where the reference
//! is wrong, a table says why and what is right; other tables list the cases that are out of scope.
//! The unit tests in `src/grip` have the vectors for addresses, authorization and the clock.
#![cfg(feature = "grip")]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::engine::Engine;
use eventstream::grip::{Config, Endpoint, Hold, InvalidConfig, InvalidSignature, Item, Proxied};
use eventstream::{BuildError, Event};
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode;
use proptest::prelude::*;
use serde_json::{json, Value};

const PUBLIC_KEYS: bool = cfg!(feature = "jwt-simple");
const NEEDS_FEATURE: &str = "`jwt-simple`";

/// Keys that are refused as a verify-key: what the error says with the feature `jwt-simple` (`None`
/// if this takes the key), and what it says without.
const REFUSED_KEYS: [(&str, Option<&str>, &str); 19] = [
    ("empty", Some("is empty"), "is empty"),
    ("jwks", Some("is a set of JWKs"), "is a set of JWKs"),
    ("bad_json", Some("looks like JSON"), "looks like JSON"),
    ("ec_priv_jwk", Some("is a private key"), "is a private key"),
    ("rsa_pkcs1_pem", Some("is a PKCS1 PEM"), "is a PKCS1 PEM"),
    ("ec384_pem", Some("neither a P-256 nor an RSA"), NEEDS_FEATURE),
    ("ed_pem", Some("neither a P-256 nor an RSA"), NEEDS_FEATURE),
    ("ec_pem", None, NEEDS_FEATURE),
    ("ec_pem_notrail", None, NEEDS_FEATURE),
    ("ec_pem_crlf", None, NEEDS_FEATURE),
    ("ec_pem_oneline", None, NEEDS_FEATURE),
    ("ec_pem_lead_space", None, NEEDS_FEATURE),
    ("ec_pem_b64", None, NEEDS_FEATURE),
    ("ec_jwk", None, NEEDS_FEATURE),
    ("ec_jwk_b64", None, NEEDS_FEATURE),
    ("ec_jwk_alg", None, NEEDS_FEATURE),
    ("ec_jwk_lead_space", None, NEEDS_FEATURE),
    ("rsa_pem", None, NEEDS_FEATURE),
    ("rsa_jwk", None, NEEDS_FEATURE),
];

const PINNED: &str = "a key is pinned to one algorithm";

/// Tokens and keys with another outcome than recorded: why, and whether the token verifies.
const LISTED_SIGNATURES: [(&str, &str, &str, bool); 4] = [
    ("hs384", "raw_changeme", PINNED, false),
    ("hs512", "raw_changeme", PINNED, false),
    ("ps256", "rsa_pem", PINNED, false),
    ("es256", "ec_jwk_lead_space", "white space around a key is trimmed", true),
];

const CHANGEME: [&str; 3] = ["raw_changeme", "b64_changeme", "oct_jwk"];
const EC: [&str; 10] = [
    "ec_pem",
    "ec_pem_notrail",
    "ec_pem_crlf",
    "ec_pem_oneline",
    "ec_pem_lead_space",
    "ec_pem_b64",
    "ec_jwk",
    "ec_jwk_b64",
    "ec_jwk_alg",
    "ec_jwk_lead_space",
];

/// Keys that are the same key in several forms, and all tokens that verify with them.
const VERIFYING: [(&[&str], &[&str]); 6] = [
    (
        &CHANGEME,
        &[
            "fanout_com_style",
            "hs256",
            "hs256_aud",
            "hs256_exp_float",
            "hs256_iat_future",
            "hs256_iss_array",
            "hs256_no_iss",
            "hs256_no_typ",
            "hs256_other_iss",
            "hs256_padded",
            "hs256_trailing_space",
        ],
    ),
    (&["b64url_bin", "b64_bin"], &["hs256_bin_key"]),
    (&["b64_hello"], &["hs256_hello"]),
    (&["text_aGVsbG8"], &["hs256_b64text_key"]),
    (&EC, &["es256", "es256_fastly_like"]),
    (&["rsa_pem", "rsa_jwk"], &["rs256"]),
];

const EACH_KEY: &str = "an endpoint without a key does not weaken the others";
const NO_KEY: &str = "an issuer without a key is an error when the stream is built; before, all \
                      signatures are refused";

/// Configurations and tokens with another outcome than recorded: why, and the outcome, `None` for a
/// refused signature.
const LISTED_DECISIONS: [(&str, &str, Option<Proxied>); 7] = [
    ("key_then_nokey / hs256_wrong_key", EACH_KEY, None),
    ("nokey_then_key / hs256", EACH_KEY, Some(Proxied::Signed)),
    ("nokey_then_key / hs256_wrong_key", EACH_KEY, None),
    ("nokey_then_key / garbage", EACH_KEY, None),
    (
        "iss_key_default / hs256_wrong_key",
        "a wrong signature is refused, not taken for a direct request",
        None,
    ),
    ("verify_iss_only / hs256", NO_KEY, None),
    ("verify_iss_only / hs256_wrong_key", NO_KEY, None),
];

const NO_HOLD: &str = "headers without a hold do nothing";
const RESPONSE_HOLD: &str = "response holds are out of scope";

/// Responses that are not stream holds, and why.
const OTHER_RESPONSES: [(&str, &str); 7] = [
    ("no_hold_channel_only", NO_HOLD),
    ("keepalive_no_hold_dropped", NO_HOLD),
    ("link_no_hold", "pages without a hold are out of scope"),
    ("hold_response_timeout", RESPONSE_HOLD),
    ("hold_response_timeout_fraction", RESPONSE_HOLD),
    ("status", RESPONSE_HOLD),
    ("link_neg", "no `Duration` is negative"),
];

const KEEP_ALIVE: &str = "Grip-Keep-Alive";
const EMPTY: &str = "an empty keep-alive makes Pushpin answer 502";

/// Holds with another header than recorded: why, the header, and its value instead or `None` where
/// there is no such header. What the hold means is the same, or what the reference meant to say.
const LISTED_HOLDS: [(&str, &str, &str, Option<&str>); 10] = [
    ("several_channels", "names are percent-encoded", "Grip-Channel", Some("a, b%20c, d")),
    (
        "keepalive_crlf_tab",
        r"Pushpin reads `\t` as the letter",
        KEEP_ALIVE,
        Some(r"a\r\n\x09b; format=cstring; timeout=20"),
    ),
    (
        "keepalive_semicolon",
        "`;` ends the value",
        KEEP_ALIVE,
        Some(r": a\x3b b\n\n; format=cstring; timeout=20"),
    ),
    (
        "keepalive_del",
        "a header must not contain DEL",
        KEEP_ALIVE,
        Some(r"a\x7fb; format=cstring; timeout=20"),
    ),
    (
        "keepalive_c1",
        "what is not ASCII is sent as the base64 of its UTF-8",
        KEEP_ALIVE,
        Some("YcKFYg==; format=base64; timeout=20"),
    ),
    ("keepalive_empty", EMPTY, KEEP_ALIVE, None),
    ("keepalive_bytes_empty", EMPTY, KEEP_ALIVE, None),
    ("keepalive_timeout0", "0 s means no keep-alive", KEEP_ALIVE, None),
    ("link_unicode", "URIs are ASCII", "Grip-Link", Some("</%C3%BC>; rel=next; timeout=1")),
    ("all", "the status is the response's own", "Grip-Status", None),
];

/// Publications without an item to compare, and why.
const OTHER_PUBLICATIONS: [(&str, &str); 4] = [
    ("http_response", RESPONSE_HOLD),
    ("http_response_full", RESPONSE_HOLD),
    ("no_endpoints", "without endpoints the reference sends nothing, and a stream is a direct one"),
    ("iss_ec_pem_private", "the reference sends nothing, and only secrets sign"),
];

type MakeItem = fn() -> Item;

/// The publications of something other than an item on `chan` with the content `x`.
const ITEMS: [(&str, MakeItem); 14] = [
    ("no_auth_http_stream", || Item::new("chan", "hello\n")),
    ("ids", || Item::new("chan", "x").id("2").prev_id("1")),
    ("prev_only", || Item::new("chan", "x").prev_id("1")),
    ("bytes_content", || Item::new("chan", b"\xff\0\n")),
    ("close", || Item::close("chan")),
    ("close_with_content", || Item::close("chan")),
    ("empty_content", || Item::new("chan", "")),
    ("unicode", || Item::new("ch\u{e4}n \u{2603}", "data: \u{2713} \u{1f600}\u{2028}\n\n")),
    ("servegrip_prefix", || Item::new("sg-chan", "x")),
    ("eventstream_default_prefix", || {
        event("events-chan", Event::new("message").json(&json!({ "a": 1 })))
    }),
    ("eventstream_empty_prefix", || event("chan", Event::new("m").json(&()))),
    ("eventstream_no_event", || event("events-chan", Event::new("").json(&json!({ "x": 1 })))),
    ("eventstream_data_undefined", || event("events-chan", Event::new("e"))),
    ("eventstream_publish_fails", || event("events-chan", Event::new("m").json(&1))),
];

const CLOSE: &str = "the content of a close is ignored, so it is left out";
const UNDEFINED: &str = "the reference writes JavaScript's `undefined` as a name or as data";

/// Items with another field than recorded: why, the field, and its value instead or `None` where
/// there is no such field.
const LISTED_ITEMS: [(&str, &str, &str, Option<&str>); 5] = [
    ("close", CLOSE, "content", None),
    ("close_with_content", CLOSE, "content", None),
    (
        "unicode",
        "Pushpin reads a header's UTF-8 as Latin-1, so the names of holds and items are ASCII",
        "channel",
        Some("ch%C3%A4n%20%E2%98%83"),
    ),
    ("eventstream_no_event", UNDEFINED, "content", Some("data: {\"x\":1}\n\n")),
    ("eventstream_data_undefined", UNDEFINED, "content", Some("event: e\ndata: \n\n")),
];

fn event(channel: &str, event: Event) -> Item {
    Item::new(channel, event.encode().unwrap())
}

fn vectors(file: &str) -> Value {
    serde_json::from_str(file).unwrap()
}

fn headers(signatures: &[&str]) -> HeaderMap {
    signatures
        .iter()
        .map(|token| ("grip-sig".parse().unwrap(), HeaderValue::from_str(token).unwrap()))
        .collect()
}

fn local() -> Endpoint {
    Endpoint::new("http://localhost:5561/").unwrap()
}

/// What the error says if this key is refused.
fn refusal(key: &str) -> Option<&'static str> {
    let (_, with_feature, without) = REFUSED_KEYS.iter().find(|(refused, ..)| *refused == key)?;
    match PUBLIC_KEYS {
        true => *with_feature,
        false => Some(without),
    }
}

#[test]
fn signatures_verify_as_recorded_or_as_is_right() {
    let file = vectors(include_str!("vectors/grip-sig.json"));
    let (mut run, mut refused, mut listed) = (0, 0, 0);
    for case in file["cases"].as_array().unwrap() {
        let text = |name: &str| case["input"][name].as_str();
        let (token, key) = (text("token").unwrap(), text("key").unwrap());
        let name = format!("{token} / {key} / {:?}", text("iss"));
        let made = local().verify_key(file["keys"][key].as_str().unwrap());
        run += 1;
        if let Some(why) = refusal(key) {
            let error = made.expect_err(&name).to_string();
            assert!(error.starts_with("grip: verify-key "), "{name}: {error}");
            assert!(error.contains(why), "{name}: {why:?} is not in {error:?}");
            refused += 1;
            continue;
        }
        let mut endpoint = made.unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Some(iss) = text("iss") {
            endpoint = endpoint.verify_iss(iss);
        }
        let mut verifies = case["expect"].as_bool().unwrap();
        let mut rows = LISTED_SIGNATURES.iter();
        if let Some((.., why, right)) = rows.find(|row| (row.0, row.1) == (token, key)) {
            println!("{name}: {why}");
            assert_ne!(verifies, *right, "{name} need not be listed");
            verifies = *right;
            listed += 1;
        }
        let expected = verifies.then_some(Proxied::Signed);
        let signature = file["tokens"][token].as_str().unwrap();
        let decision = Config::from(endpoint).proxied(&headers(&[signature])).ok();
        assert_eq!(decision, expected, "{name}");
    }
    println!("grip-sig.json, cases: {run} run, of them {refused} refused keys and {listed} listed");
    let with_taken_keys = LISTED_SIGNATURES.iter().filter(|(_, key, ..)| refusal(key).is_none());
    let expected = (269, if PUBLIC_KEYS { 41 } else { 196 }, with_taken_keys.count());
    assert_eq!((run, refused, listed), expected);
}

/// Every recorded token with every recorded key: exactly the pairs of the table verify.
#[test]
fn exactly_the_right_pairs_verify() {
    let file = vectors(include_str!("vectors/grip-sig.json"));
    let right: BTreeMap<&str, &[&str]> = VERIFYING
        .iter()
        .flat_map(|(keys, tokens)| keys.iter().map(|key| (*key, *tokens)))
        .filter(|(key, _)| refusal(key).is_none())
        .collect();
    let mut taken = Vec::new();
    for (key, text) in file["keys"].as_object().unwrap() {
        let Ok(endpoint) = local().verify_key(text.as_str().unwrap()) else { continue };
        let config = Config::from(endpoint);
        let tokens = file["tokens"].as_object().unwrap().iter();
        let mut verified: Vec<_> = tokens
            .filter(|(_, token)| config.proxied(&headers(&[token.as_str().unwrap()])).is_ok())
            .map(|(name, _)| name.as_str())
            .collect();
        verified.sort_unstable();
        assert_eq!(right.get(key.as_str()), Some(&&*verified), "{key}");
        taken.push(key.as_str());
    }
    taken.sort_unstable();
    assert_eq!(taken, right.into_keys().collect::<Vec<_>>(), "the keys that are taken");
}

#[test]
fn the_decision_fails_closed() {
    let file = vectors(include_str!("vectors/grip-sig.json"));
    let (mut run, mut listed) = (0, 0);
    for case in file["publisher_validateGripSig"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let endpoint = |client: &Value| {
            let text = |name: &str| client[name].as_str();
            // Not the recorded host: a literal token needs https, or an endpoint on this machine.
            let mut endpoint = local();
            if let Some(key) = text("verify_key") {
                endpoint = endpoint.verify_key(key).unwrap();
            }
            if let Some(iss) = text("verify_iss") {
                endpoint = endpoint.verify_iss(iss);
            }
            match (text("control_iss"), text("key")) {
                (Some(iss), Some(key)) => endpoint.iss(iss).key(key).unwrap(),
                (None, Some(token)) => endpoint.bearer(token),
                _ => endpoint,
            }
        };
        let clients = case["input"]["clients"].as_array().unwrap();
        let config = Config::from(clients.iter().map(endpoint).collect::<Vec<_>>());
        let token = case["input"]["token"].as_str();
        let signatures: Vec<_> =
            token.iter().map(|token| file["tokens"][token].as_str().unwrap()).collect();
        let recorded = |flag: &str| case["expect"][flag].as_bool().unwrap();
        let mut right = Some(match (recorded("isProxied"), recorded("isSigned")) {
            (true, true) => Proxied::Signed,
            (true, false) => Proxied::Unsigned,
            (false, _) => Proxied::No,
        });
        let mut rows = LISTED_DECISIONS.iter();
        if let Some((_, why, instead)) = rows.find(|(listed, ..)| *listed == name) {
            println!("{name}: {why}");
            assert_ne!(right, *instead, "{name} need not be listed");
            right = *instead;
            listed += 1;
        }
        assert_eq!(config.proxied(&headers(&signatures)).ok(), right, "{name}");
        run += 1;
    }
    println!("grip-sig.json, publisher_validateGripSig: {run} run, of them {listed} listed");
    assert_eq!((run, listed), (20, LISTED_DECISIONS.len()));

    let token = |name: &str| file["tokens"][name].as_str().unwrap();
    let keyed: Config = "http://localhost/?verify-key=changeme".parse().unwrap();
    let two = [token("hs256"), token("hs256")];
    for bad in [
        &[""][..],
        &["garbage"],
        &[token("hs256_expired")],
        &two,
        &[token("garbage"), token("hs256")],
    ] {
        assert_eq!(keyed.proxied(&headers(bad)).ok(), None, "{bad:?}");
    }
    let keyless: Config = "http://localhost/".parse().unwrap();
    assert_eq!(keyless.proxied(&headers(&two)).ok(), Some(Proxied::Unsigned));
    // Each endpoint's issuer goes with its own key.
    let mixed = vec![
        local().verify_key("changeme").unwrap().verify_iss("x"),
        local().verify_key("other").unwrap().verify_iss("pushpin"),
    ];
    assert_eq!(Config::from(mixed).proxied(&headers(&[token("hs256")])).ok(), None);
}

#[test]
fn a_public_key_is_never_a_secret() {
    let file = vectors(include_str!("vectors/grip-sig.json"));
    let cases = file["key_confusion"].as_array().unwrap();
    for case in cases {
        let text = |name: &str| case["input"][name].as_str().unwrap();
        match local().verify_key(text("key")) {
            Ok(endpoint) => {
                let decision = Config::from(endpoint).proxied(&headers(&[text("token")])).ok();
                assert_eq!(decision, None, "{case}");
            }
            Err(error) if PUBLIC_KEYS => panic!("{case}: {error}"),
            Err(error) => assert!(error.to_string().contains(NEEDS_FEATURE), "{case}: {error}"),
        }
    }
    println!("grip-sig.json, key_confusion: {} run", cases.len());
    assert_eq!(cases.len(), 2);

    // The reference took each of these for a secret: a token signed with the public text verified.
    let pem = file["keys"]["ec_pem"].as_str().unwrap();
    let pkcs1 = file["keys"]["rsa_pkcs1_pem"].as_str().unwrap();
    let jwks = file["keys"]["jwks"].as_str().unwrap();
    let truncated = &pem[..pem.len() / 2];
    let private = &pem.replace("PUBLIC", "PRIVATE");
    for text in ["", " ", truncated, &pem[10..], pkcs1, jwks, "{bad", private] {
        for key in [text.to_owned(), format!("base64:{}", STANDARD.encode(text.trim()))] {
            let encoded = percent_encoding::utf8_percent_encode(&key, ALL);
            let url = format!("http://localhost/?verify-key={encoded}");
            let lines = key.trim_start_matches("base64:").lines();
            let secret = lines.max_by_key(|line| line.len()).unwrap_or_default();
            for error in [local().verify_key(&key).unwrap_err(), url.parse::<Config>().unwrap_err()]
            {
                let shown = error.to_string();
                assert!(shown.starts_with("grip: verify-key "), "{key:?}: {shown}");
                assert!(secret.trim().is_empty() || !shown.contains(secret), "{key:?}: {shown}");
                assert_eq!(BuildError::from(error).to_string(), shown, "{key:?}");
            }
            let shown = local().key(&key).unwrap_err().to_string();
            assert!(shown.starts_with("grip: key "), "{key:?}: {shown}");
        }
    }
}

/// Keys in formats that this crate does not read, and names of keys, were secrets once.
#[test]
fn what_names_a_key_is_an_error_until_it_is_called_a_secret() {
    let file = vectors(include_str!("vectors/grip-sig.json"));
    let ed25519 = file["keys"]["ed_pem"].as_str().unwrap();
    let body: String = ed25519.lines().filter(|line| !line.starts_with('-')).collect();
    let hex: String =
        STANDARD.decode(&body).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIENw3lUo9tYrcG+NPXAPhFkf8VXYBHO6KS3iAnnGW2wz a";
    for (key, like) in [
        (body.as_str(), "a DER key"),
        (&format!("base64:{body}"), "a DER key"),
        (&hex, "a DER key"),
        (&STANDARD.encode(ed25519), "an encoded PEM"),
        (ssh, "an OpenSSH key"),
        (&format!("base64:{}", STANDARD.encode(ssh)), "an OpenSSH key"),
        ("https://example.com/key", "a URL"),
        ("file:///etc/key", "a path"),
        ("/etc/key.pem", "a path"),
    ] {
        let url = |key: &str| {
            let encoded = percent_encoding::utf8_percent_encode(key, ALL);
            format!("http://localhost/?verify-key={encoded}").parse::<Config>()
        };
        let starts = |parameter: &str| format!("grip: {parameter} looks like {like}");
        for (error, parameter) in [
            (url(key).unwrap_err(), "verify-key"),
            (local().verify_key(key).unwrap_err(), "verify-key"),
            (local().key(key).unwrap_err(), "key"),
        ] {
            let shown = error.to_string();
            assert!(shown.starts_with(&starts(parameter)), "{key:?}: {shown}");
            assert!(!shown.contains(key), "{key:?}: {shown}");
        }
        let signed = [r#"{"alg":"HS256"}"#, r#"{"exp":4102444800}"#];
        let signed = signed.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let mac = URL_SAFE_NO_PAD.encode(hmac_sha256::HMAC::mac(&signed, key));
        let token = format!("{signed}.{mac}");
        let config = url(&format!("secret:{key}")).unwrap();
        assert_eq!(config.proxied(&headers(&[&token])).ok(), Some(Proxied::Signed), "{key:?}");
    }
}

const ALL: &percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC;

#[test]
fn no_secret_is_shown() {
    let secrets = ["s3cret", "czNjcmV0", "115, 51, 99", "0x73"];
    let urls = [
        "http://localhost/?iss=realm&key=s3cret",
        "http://localhost/?key=s3cret&verify-key=s3cret2",
        "http://s3cret:s3cret@localhost/path?token=s3cret",
        "http://localhost/?verify-iss=pushpin&verify-key=base64:czNjcmV0",
    ];
    for url in urls {
        let config: Config = url.parse().unwrap();
        for shown in
            [format!("{config:?}"), format!("{config:#?}"), format!("{:?}", config.endpoints())]
        {
            for secret in secrets {
                assert!(!shown.contains(secret), "{shown} contains {secret}");
            }
            assert!(shown.contains("http://localhost/"), "{shown}");
        }
    }
    let bad = [
        "http://localhost/?iss=&key=s3cret",
        "http://example.com/?key=s3cret",
        "http://s3cret@loc alhost/",
        "ftp://s3cret:s3cret@localhost/",
        "http://localhost/?key=s3cret%0a",
        "http://localhost/?key=s3%20cret",
        "http://localhost/?Key=s3cret",
        "http://localhost/?verify-key=base64:s3cret!",
        "http://localhost/?verify-key=%7Bs3cret",
        "s3cret",
    ];
    for url in bad {
        match url.parse::<Config>() {
            Ok(config) => assert!(!format!("{config:?}").contains("s3"), "{config:?}"),
            Err(error) => assert!(!format!("{error} {error:?}").contains("s3"), "{error:?}"),
        }
    }
    for endpoint in [
        local().iss("realm").key("s3cret").unwrap(),
        local().bearer("s3cret"),
        local().basic("s3cret", "x"),
    ] {
        assert!(!format!("{endpoint:?}").contains("s3cret"), "{endpoint:?}");
    }
}

/// A key of any length signs and verifies: Pushpin's sample key has 8 bytes.
#[test]
fn the_symmetric_key_verifies_as_well() {
    let signed = [r#"{"typ":"JWT","alg":"HS256"}"#, r#"{"exp":4102444800,"iss":"realm"}"#]
        .map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = signed.join(".");
    for key in ["k", "changeme", &"long".repeat(100)] {
        let mac = URL_SAFE_NO_PAD.encode(hmac_sha256::HMAC::mac(&signed, key));
        let token = format!("{signed}.{mac}");
        for (query, decision) in [
            (format!("iss=a&key={key}"), Some(Proxied::Signed)),
            (format!("iss=a&key=x&verify-key={key}"), Some(Proxied::Signed)),
            (format!("iss=a&key={key}&verify-iss=other"), None),
        ] {
            let config: Config = format!("http://localhost/?{query}").parse().unwrap();
            assert_eq!(config.proxied(&headers(&[&token])).ok(), decision, "{query}");
        }
    }
}

/// A hold's headers as Pushpin's parser reads them.
#[derive(Debug, Default, PartialEq)]
struct Understood {
    channels: Vec<(String, Option<String>)>,
    keep_alive: Option<(Vec<u8>, u64)>,
    meta: Vec<(String, String)>,
    links: Vec<(String, String, Option<u64>)>,
}

/// A value's name and its parameters.
type Parameters = Vec<(String, Option<String>)>;

/// Splits at commas that are not inside quotes.
fn split(value: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' if quoted => part.extend([Some(char), chars.next()].into_iter().flatten()),
            ',' if !quoted => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => part.push(char),
        }
        quoted ^= char == '"';
    }
    parts.push(part);
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|_| !value.is_empty()).collect()
}

/// `name=value` pairs up to each `;`; a value in quotes ends with them.
fn parameters(text: &str) -> Parameters {
    let (mut found, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let at = rest.find(['=', ';']).unwrap_or(rest.len());
        let name = rest[..at].trim().to_owned();
        let Some(value) = rest[at..].strip_prefix('=') else {
            found.push((name, None));
            rest = rest.get(at + 1..).unwrap_or_default();
            continue;
        };
        let Some(quoted) = value.strip_prefix('"') else {
            let (value, after) = value.split_once(';').unwrap_or((value, ""));
            found.push((name, Some(value.trim().to_owned())));
            rest = after;
            continue;
        };
        let (mut value, mut chars) = (String::new(), quoted.chars());
        loop {
            match chars.next().expect("quotes are closed") {
                '"' => break,
                '\\' => value.push(chars.next().expect("an escape is whole")),
                char => value.push(char),
            }
        }
        found.push((name, Some(value)));
        rest = chars.as_str().split_once(';').map_or("", |(_, after)| after);
    }
    found
}

/// The first `;` ends the name, quotes or not.
fn named(text: &str) -> (String, Parameters) {
    let (name, rest) = text.split_once(';').unwrap_or((text, ""));
    (name.trim().to_owned(), parameters(rest))
}

fn parameter<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_deref())
}

fn unescape(value: &str) -> Vec<u8> {
    let (mut out, mut bytes) = (Vec::new(), value.bytes());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next().expect("no single backslash at the end") {
            b'\\' => out.push(b'\\'),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b'x' => {
                let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap() as u8;
                out.push(digit() << 4 | digit());
            }
            // Any other escape is dropped with its backslash.
            _ => {}
        }
    }
    out
}

fn understood(headers: &HeaderMap) -> Understood {
    let all = |name: &str| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().expect("visible ASCII").to_owned())
            .collect()
    };
    assert_eq!(all("grip-hold"), ["stream"]);
    let channel = |text: &String| {
        let (name, parameters) = named(text);
        (name, parameter(&parameters, "prev-id").map(str::to_owned))
    };
    let link = |text: &String| {
        let (uri, parameters) = named(text);
        let uri =
            uri.strip_prefix('<').and_then(|uri| uri.strip_suffix('>')).expect("<uri>").to_owned();
        let timeout =
            parameter(&parameters, "timeout").map(|seconds| seconds.parse::<i32>().unwrap() as u64);
        (uri, parameter(&parameters, "rel").unwrap().to_owned(), timeout)
    };
    let keep_alive = all("grip-keep-alive");
    assert!(keep_alive.len() <= 1, "{keep_alive:?}");
    Understood {
        channels: all("grip-channel")
            .iter()
            .flat_map(|value| split(value))
            .map(|text| channel(&text))
            .collect(),
        keep_alive: keep_alive.first().map(|value| {
            let (value, parameters) = named(value);
            assert!(!value.is_empty(), "Pushpin refuses an empty keep-alive");
            let content = match parameter(&parameters, "format") {
                Some("cstring") => unescape(&value),
                Some("base64") => STANDARD.decode(value).unwrap(),
                other => panic!("the format of a keep-alive is {other:?}"),
            };
            (content, parameter(&parameters, "timeout").unwrap().parse::<i32>().unwrap() as u64)
        }),
        meta: all("grip-set-meta")
            .iter()
            .flat_map(|value| split(value))
            .map(|text| parameters(&text).swap_remove(0))
            .map(|(name, value)| (name, value.unwrap()))
            .collect(),
        links: all("grip-link")
            .iter()
            .flat_map(|value| split(value))
            .map(|text| link(&text))
            .collect(),
    }
}

/// The hold of a case, and what it means.
fn hold(name: &str, input: &Value) -> (Hold, Understood) {
    let channels: Vec<(String, Option<String>)> = input["channels"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|channel| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            match channel {
                Value::Array(pair) => (text(&pair[0]).unwrap(), text(&pair[1])),
                name => (text(name).unwrap(), None),
            }
        })
        .collect();
    let mut hold = Hold::stream(channels.iter().map(|(name, _)| name));
    for (name, prev_id) in &channels {
        hold = prev_id.iter().fold(hold, |hold, id| hold.prev_id(name, id));
    }
    // The case "all" gives no time for the keep-alive, so the reference's default was recorded; its
    // link has a time of its own.
    let timeout = match name {
        "all" => Duration::from_secs(15),
        _ => Duration::from_secs_f64(input["timeout"].as_f64().unwrap_or(0.0)),
    };
    let mut meant = Understood { channels, ..Understood::default() };
    let content = input["keep_alive"].as_str().or(input["keep_alive"]["bytes_hex"].as_str());
    if let Some(content) = content {
        hold = hold.keep_alive(content, timeout);
        meant.keep_alive = Some((content.as_bytes().to_vec(), timeout.as_secs()))
            .filter(|(content, seconds)| !content.is_empty() && *seconds > 0);
    }
    let link = match &input["link"] {
        Value::Array(pair) => {
            pair[0].as_str().map(|uri| (uri, Duration::from_secs(pair[1].as_u64().unwrap())))
        }
        _ => input["next_link"].as_str().map(|uri| (uri, timeout)),
    };
    if let Some((uri, timeout)) = link {
        hold = hold.next_link(uri, timeout);
        meant.links.push((uri.to_owned(), "next".into(), Some(timeout.as_secs())));
    }
    for (key, value) in input["meta"].as_object().into_iter().flatten() {
        hold = hold.meta(key, value.as_str().unwrap());
        meant.meta.push((key.clone(), value.as_str().unwrap().to_owned()));
    }
    (hold, meant)
}

/// The headers with their channel names and URIs decoded, as they are meant.
fn decoded(headers: &HeaderMap) -> Understood {
    let mut read = understood(headers);
    let names = read.channels.iter_mut().map(|(name, _)| name);
    for text in names.chain(read.links.iter_mut().map(|(uri, ..)| uri)) {
        *text = percent_decode(text.as_bytes()).decode_utf8().unwrap().into_owned();
    }
    read
}

#[test]
fn holds_say_what_the_reference_means_to_say() {
    let file = vectors(include_str!("vectors/hold-headers.json"));
    let (mut run, mut listed, mut out_of_scope) = (0, 0, 0);
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        if let Some((_, why)) = OTHER_RESPONSES.iter().find(|(other, _)| *other == name) {
            println!("{name}: {why}");
            out_of_scope += 1;
            continue;
        }
        let (hold, meant) = hold(name, &case["input"]);
        let headers = hold.headers();
        assert_eq!(decoded(&headers), meant, "{name}");

        let mut right: BTreeMap<String, String> =
            serde_json::from_value(case["expect"]["headers"].clone()).unwrap();
        let mut rows = LISTED_HOLDS.iter();
        if let Some((_, why, header, instead)) = rows.find(|(listed, ..)| *listed == name) {
            println!("{name}: {why}");
            let recorded = match instead {
                Some(value) => right.insert((*header).into(), (*value).into()),
                None => right.remove(*header),
            };
            assert_ne!(recorded.as_deref(), *instead, "{name} need not be listed");
            listed += 1;
        }
        for (header, value) in &right {
            let sent = headers.get(header).map(HeaderValue::as_bytes);
            let sent = sent.map(String::from_utf8_lossy);
            assert_eq!(sent.as_deref(), Some(&**value), "{name}: {header}");
        }
        assert_eq!(headers.len(), right.len(), "{name}: {headers:?}");
        run += 1;
    }
    println!("hold-headers.json: {run} run, of them {listed} listed; {out_of_scope} out of scope");
    let expected = (21, LISTED_HOLDS.len(), OTHER_RESPONSES.len());
    assert_eq!((run, listed, out_of_scope), expected);
}

/// `tests/grip_publishing.rs` publishes these items.
#[test]
fn items_are_the_recorded_ones() {
    let file = vectors(include_str!("vectors/publish-requests.json"));
    let (mut run, mut listed, mut out_of_scope) = (0, 0, 0);
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        if let Some((_, why)) = OTHER_PUBLICATIONS.iter().find(|(other, _)| *other == name) {
            println!("{name}: {why}");
            out_of_scope += 1;
            continue;
        }
        let item = ITEMS.iter().find(|(published, _)| *published == name);
        let item = item.map_or_else(|| Item::new("chan", "x"), |(_, item)| item());
        let item = serde_json::to_value(item).unwrap();
        let row = LISTED_ITEMS.iter().find(|(listed, ..)| *listed == name);
        if let Some((_, why, ..)) = row {
            println!("{name}: {why}");
            listed += 1;
        }
        for request in case["expect"]["requests"].as_array().unwrap() {
            let mut body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
            let right = &mut body["items"][0];
            if let Some((_, _, field, instead)) = row {
                let fields = match *field {
                    "content" => &mut right["formats"]["http-stream"],
                    _ => &mut *right,
                };
                let fields = fields.as_object_mut().unwrap();
                let instead = instead.map(Value::from);
                let recorded = match instead.clone() {
                    Some(value) => fields.insert((*field).into(), value),
                    None => fields.remove(*field),
                };
                assert_ne!(recorded, instead, "{name} need not be listed");
            }
            assert_eq!(item, *right, "{name}");
        }
        run += 1;
    }
    println!(
        "publish-requests.json, items: {run} run, of them {listed} listed; \
         {out_of_scope} out of scope"
    );
    let expected = (38, LISTED_ITEMS.len(), OTHER_PUBLICATIONS.len());
    assert_eq!((run, listed, out_of_scope), expected);
}

#[test]
fn what_a_hold_names_is_what_an_item_names() {
    for name in [
        "a,b",
        "a;b",
        "q\"x, y",
        " edge ",
        "\u{fc}\u{2713}",
        "a\r\nGrip-Channel: x",
        "%41",
        "",
        "\\",
    ] {
        let held = understood(&Hold::stream([name]).headers()).channels;
        let item = serde_json::to_value(Item::hint(name)).unwrap();
        match name {
            "" => assert_eq!(held, [], "an empty name"),
            _ => {
                assert_eq!(held, [(item["channel"].as_str().unwrap().to_owned(), None)], "{name:?}")
            }
        }
    }
}

#[test]
fn values_are_send_and_sync() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Config>();
    shared::<Endpoint>();
    shared::<Hold>();
    shared::<Item>();
    shared::<InvalidConfig>();
    shared::<InvalidSignature>();
}

/// Texts with many of the characters that have a meaning to a parser.
fn nasty() -> impl Strategy<Value = String> {
    prop_oneof![r#"[a=;,"\\ \r\n\t%<>x0\x00\x7fé✓]{0,12}"#, any::<String>()]
}

fn printable(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hold_is_read_back_as_it_was_meant(
        channels in prop::collection::vec((nasty(), prop::option::of(nasty())), 0..5),
        content in prop_oneof![nasty().prop_map(String::into_bytes), any::<Vec<u8>>()],
        every in any::<Duration>(),
        (next, gone) in (nasty(), nasty()),
        timeout in any::<Duration>(),
        meta in prop::collection::vec((nasty(), nasty()), 0..3),
    ) {
        let mut hold = Hold::stream(channels.iter().map(|(name, _)| name))
            .keep_alive(&content, every)
            .next_link(&next, timeout)
            .gone_link(&gone);
        for (name, prev_id) in &channels {
            hold = prev_id.iter().fold(hold, |hold, id| hold.prev_id(name, id));
        }
        hold = meta.iter().fold(hold, |hold, (name, value)| hold.meta(name, value));
        let read = understood(&hold.headers());
        let decode = |text: &str| {
            percent_decode(text.as_bytes()).decode_utf8().unwrap().into_owned()
        };

        let names: Vec<_> =
            channels.iter().map(|(name, _)| name.clone()).filter(|name| !name.is_empty()).collect();
        let read_names: Vec<_> = read.channels.iter().map(|(name, _)| decode(name)).collect();
        prop_assert_eq!(read_names, names);
        for (name, read) in &read.channels {
            // The last id that was given for a name counts.
            let mut given = channels.iter().rev().filter(|(given, _)| *given == decode(name));
            let given = given.find_map(|(_, id)| id.as_ref());
            match given.filter(|id| !id.is_empty()) {
                Some(id) if printable(id) => prop_assert_eq!(read.as_ref(), Some(id)),
                Some(_) => prop_assert!(read.as_ref().is_some_and(|id| printable(id))),
                None => prop_assert_eq!(read, &None),
            }
        }
        let seconds = every.as_secs().clamp(1, 2_147_483);
        let kept = Some((content.clone(), seconds));
        let kept = kept.filter(|_| !content.is_empty() && !every.is_zero());
        prop_assert_eq!(read.keep_alive, kept);

        let uris = [(&next, "next"), (&gone, "gone")];
        let uris = uris.into_iter().filter(|(uri, _)| !uri.is_empty());
        prop_assert_eq!(read.links.len(), uris.clone().count());
        for ((uri, rel, _), (meant, meant_rel)) in read.links.iter().zip(uris) {
            prop_assert_eq!(rel, meant_rel);
            prop_assert!(uri.is_ascii() && !uri.contains([',', ';', ' ', '"', '<', '>']));
            prop_assert_eq!(
                percent_decode(uri.as_bytes()).collect::<Vec<_>>(),
                percent_decode(meant.as_bytes()).collect::<Vec<_>>()
            );
        }
        let meant = meta.iter().filter(|(name, _)| !name.is_empty());
        prop_assert_eq!(read.meta.len(), meant.clone().count());
        for ((name, value), (meant_name, meant)) in read.meta.iter().zip(meant) {
            prop_assert_eq!(&decode(name), meant_name);
            if printable(meant) {
                prop_assert_eq!(value, meant);
            }
        }
    }

    /// What `openssl rand` prints is a secret, whatever it begins with. Its length keeps it from
    /// being DER, and its padding from being a path.
    #[test]
    fn random_secrets_are_taken(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 32),
            prop::collection::vec(any::<u8>(), 31).prop_map(|rest| [vec![0xff], rest].concat()),
        ],
    ) {
        prop_assume!(!bytes.starts_with(&[0x30, 30]));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = STANDARD.encode(&bytes);
        for key in [hex, format!("base64:{text}"), text, URL_SAFE_NO_PAD.encode(&bytes)] {
            prop_assert!(local().key(&key).is_ok(), "{}", key);
            prop_assert!(local().verify_key(&key).is_ok(), "{}", key);
        }
    }

    #[test]
    fn no_header_and_no_url_panics(
        token in any::<Vec<u8>>(),
        text in nasty(),
        parts in prop::array::uniform3(nasty()),
    ) {
        let keyed: Config = "http://localhost/?verify-key=k".parse().unwrap();
        let three_parts = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signatures = [token, text.clone().into_bytes(), three_parts.into_bytes()];
        for token in signatures {
            if let Ok(value) = HeaderValue::from_bytes(&token) {
                let headers = HeaderMap::from_iter([("grip-sig".parse().unwrap(), value)]);
                prop_assert_eq!(keyed.proxied(&headers).ok(), None);
            }
        }
        for start in ["", "http://", "http://h/", "http://h?"] {
            let url = format!("{start}{text}");
            drop(url.parse::<Config>());
        }
        drop(local().verify_key(&text));
        drop(local().verify_key(format!("base64:{}", STANDARD.encode(&text))));
        let item = serde_json::to_value(Item::new(&text, text.clone()).id(&text)).unwrap();
        prop_assert_eq!(item["formats"]["http-stream"]["content"].as_str(), Some(text.as_str()));
    }
}
