//! What was recorded of the reference's GRIP libraries, case by case. Where it is wrong, the right
//! thing is asserted and the reason given; what is out of scope is listed by name. See also the
//! vectors' tests in `src/grip`, for what has no public face: addresses, authorization, the clock.
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

fn vectors(file: &str) -> Value {
    serde_json::from_str(file).unwrap()
}

fn report(file: &str, run: usize, listed: &[String]) {
    println!("{file}: {run} run, {} listed", listed.len());
    listed.iter().for_each(|case| println!("  {case}"));
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

/// How this program reads a key, or why it does not.
fn refusal(key: &str) -> Option<&'static str> {
    Some(match key {
        "empty" => "is empty",
        "ec_priv_jwk" => "is a private key",
        "rsa_pkcs1_pem" if PUBLIC_KEYS => "is a PKCS1 PEM",
        "ec384_pem" | "ed_pem" if PUBLIC_KEYS => "neither a P-256 nor an RSA",
        "jwks" => "is a set of JWKs",
        "bad_json" => "looks like JSON",
        _ if !PUBLIC_KEYS && (key.starts_with("ec") || key.starts_with("rsa"))
            || key == "ed_pem" =>
        {
            ""
        }
        _ => return None,
    })
}

/// The right outcome where the recorded one is not, and why.
fn correction(token: &str, key: &str, recorded: bool) -> Option<(bool, &'static str)> {
    let (right, why) = match (token, key) {
        ("hs384" | "hs512" | "rs384" | "rs512" | "ps256", _) => {
            (false, "algorithms are pinned to the key")
        }
        ("hs256_no_exp", _) => (false, "`exp` is required"),
        ("hs256_exp_null", _) => (false, "`exp` is a number"),
        ("es256", "ec_pem_lead_space" | "ec_jwk_lead_space") => {
            (true, "white space around a key is trimmed")
        }
        ("hs256" | "hs256_no_typ", "oct_jwk") => (true, "an oct JWK is a secret"),
        _ => return None,
    };
    (right != recorded).then_some((right, why))
}

#[test]
fn signatures_verify_as_recorded_or_as_is_right() {
    let file = vectors(include_str!("vectors/grip-sig.json"));
    let (mut run, mut corrected, mut refused) = (0, BTreeMap::<_, Vec<String>>::new(), 0);
    for case in file["cases"].as_array().unwrap() {
        let text = |name: &str| case["input"][name].as_str();
        let (token, key) = (text("token").unwrap(), text("key").unwrap());
        let made = local().verify_key(file["keys"][key].as_str().unwrap());
        run += 1;
        if let Some(why) = refusal(key) {
            let error = made.expect_err(key).to_string();
            assert!(
                error.starts_with("grip: verify-key ") && error.contains(why),
                "{key}: {error}"
            );
            refused += 1;
            continue;
        }
        let mut endpoint = made.unwrap_or_else(|error| panic!("{key}: {error}"));
        if let Some(iss) = text("iss") {
            endpoint = endpoint.verify_iss(iss);
        }
        let recorded = case["expect"].as_bool().unwrap();
        let right = match correction(token, key, recorded) {
            Some((right, why)) => {
                corrected.entry(why).or_default().push(format!("{token} / {key}: {right}"));
                right
            }
            None => recorded,
        };
        let expected = if right { Ok(Proxied::Signed) } else { Err(InvalidSignature) };
        let signature = file["tokens"][token].as_str().unwrap();
        assert_eq!(
            Config::from(endpoint).proxied(&headers(&[signature])),
            expected,
            "{token} / {key} {:?}",
            text("iss")
        );
    }
    report("grip-sig.json, cases", run, &[]);
    println!(
        "  {refused} of them with keys that are refused; the reference is wrong in: {corrected:#?}"
    );
    assert_eq!(run, 269);
}

/// Every recorded token with every recorded key: these pairs verify, and no other.
#[test]
fn exactly_the_right_pairs_verify() {
    let file = vectors(include_str!("vectors/grip-sig.json"));
    let changeme = [
        "hs256",
        "hs256_no_typ",
        "hs256_no_iss",
        "hs256_other_iss",
        "hs256_iat_future",
        "hs256_exp_float",
        "hs256_iss_array",
        "hs256_aud",
        "hs256_padded",
        "hs256_trailing_space",
        "fanout_com_style",
    ];
    let mut found = BTreeMap::<&str, Vec<&str>>::new();
    for (key, text) in file["keys"].as_object().unwrap() {
        let Ok(endpoint) = local().verify_key(text.as_str().unwrap()) else { continue };
        let config = Config::from(endpoint);
        let verifies = |token: &Value| config.proxied(&headers(&[token.as_str().unwrap()])).is_ok();
        let tokens =
            file["tokens"].as_object().unwrap().iter().filter(|(_, token)| verifies(token));
        found.insert(key, tokens.map(|(name, _)| name.as_str()).collect());
    }
    let mut right = BTreeMap::<&str, Vec<&str>>::new();
    right.extend(["raw_changeme", "b64_changeme", "oct_jwk"].map(|key| (key, changeme.to_vec())));
    right.extend(["b64url_bin", "b64_bin"].map(|key| (key, vec!["hs256_bin_key"])));
    right.insert("b64_hello", vec!["hs256_hello"]);
    right.insert("text_aGVsbG8", vec!["hs256_b64text_key"]);
    if PUBLIC_KEYS {
        let pem = [
            "ec_pem",
            "ec_pem_notrail",
            "ec_pem_crlf",
            "ec_pem_oneline",
            "ec_pem_lead_space",
            "ec_pem_b64",
        ];
        let jwk = ["ec_jwk", "ec_jwk_b64", "ec_jwk_alg", "ec_jwk_lead_space"];
        right.extend(
            pem.into_iter().chain(jwk).map(|key| (key, vec!["es256", "es256_fastly_like"])),
        );
        right.extend(["rsa_pem", "rsa_jwk"].map(|key| (key, vec!["rs256"])));
    }
    right.values_mut().for_each(|tokens| tokens.sort_unstable());
    assert_eq!(found, right);
}

#[test]
fn the_decision_fails_closed() {
    let file = vectors(include_str!("vectors/grip-sig.json"));
    let mut run = 0;
    for case in file["publisher_validateGripSig"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let endpoint = |client: &Value| {
            let text = |name: &str| client[name].as_str();
            // A literal token needs this machine or https, so the recorded host is not used.
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
        let config = Config::from(
            case["input"]["clients"].as_array().unwrap().iter().map(endpoint).collect::<Vec<_>>(),
        );
        let token = case["input"]["token"].as_str();
        let signatures: Vec<_> =
            token.iter().map(|token| file["tokens"][token].as_str().unwrap()).collect();
        let recorded =
            ["isProxied", "isSigned"].map(|flag| case["expect"][flag].as_bool().unwrap());
        let (clients, _) = name.split_once(" / ").unwrap();
        let right = match (clients, token) {
            (_, None) | ("none", _) => Ok(Proxied::No),
            // A key that one endpoint lacks does not open the door of the others.
            ("key_then_nokey" | "nokey_then_key", Some("hs256")) => Ok(Proxied::Signed),
            ("key_then_nokey" | "nokey_then_key", _) => Err(InvalidSignature),
            // Not direct, but refused.
            ("iss_key_default", Some("hs256_wrong_key")) => Err(InvalidSignature),
            // An error when the stream is built; until then nobody gets in.
            ("verify_iss_only", _) => Err(InvalidSignature),
            _ => match recorded {
                [true, true] => Ok(Proxied::Signed),
                [true, false] => Ok(Proxied::Unsigned),
                [false, _] => Ok(Proxied::No),
            },
        };
        assert_eq!(config.proxied(&headers(&signatures)), right, "{name}");
        run += 1;
    }
    report("grip-sig.json, publisher_validateGripSig", run, &[]);
    assert_eq!(run, 20);

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
        assert_eq!(keyed.proxied(&headers(bad)), Err(InvalidSignature), "{bad:?}");
    }
    let keyless: Config = "http://localhost/".parse().unwrap();
    assert_eq!(keyless.proxied(&headers(&two)), Ok(Proxied::Unsigned));
    // Each endpoint's issuer goes with its own key.
    let mixed = vec![
        local().verify_key("changeme").unwrap().verify_iss("x"),
        local().verify_key("other").unwrap().verify_iss("pushpin"),
    ];
    assert_eq!(Config::from(mixed).proxied(&headers(&[token("hs256")])), Err(InvalidSignature));
}

#[test]
fn a_public_key_is_never_a_secret() {
    let file = vectors(include_str!("vectors/grip-sig.json"));
    let cases = file["key_confusion"].as_array().unwrap();
    for case in cases {
        let text = |name: &str| case["input"][name].as_str().unwrap();
        match local().verify_key(text("key")) {
            Ok(endpoint) => {
                assert_eq!(
                    Config::from(endpoint).proxied(&headers(&[text("token")])),
                    Err(InvalidSignature)
                );
            }
            Err(error) => {
                assert!(!PUBLIC_KEYS && error.to_string().contains("`jwt-simple`"), "{error}")
            }
        }
    }
    report("grip-sig.json, key_confusion", cases.len(), &[]);
    assert_eq!(cases.len(), 2);

    // Each was a secret to the reference: a token by the public text itself verified.
    let pem = file["keys"]["ec_pem"].as_str().unwrap();
    let pkcs1 = file["keys"]["rsa_pkcs1_pem"].as_str().unwrap();
    let jwks = file["keys"]["jwks"].as_str().unwrap();
    let truncated = &pem[..pem.len() / 2];
    for key in
        ["", " ", truncated, &pem[10..], pkcs1, jwks, "{bad", &pem.replace("PUBLIC", "PRIVATE")]
    {
        for key in [key.to_owned(), format!("base64:{}", STANDARD.encode(key.trim()))] {
            let url = format!(
                "http://localhost/?verify-key={}",
                percent_encoding::utf8_percent_encode(&key, ALL)
            );
            for error in [local().verify_key(&key).unwrap_err(), url.parse::<Config>().unwrap_err()]
            {
                assert!(error.to_string().starts_with("grip: verify-key "), "{error}");
                let secret = key
                    .trim_start_matches("base64:")
                    .lines()
                    .max_by_key(|line| line.len())
                    .unwrap_or_default();
                assert!(secret.trim().is_empty() || !error.to_string().contains(secret), "{error}");
                assert_eq!(BuildError::from(error.clone()).to_string(), error.to_string());
            }
            assert!(local().key(&key).unwrap_err().to_string().starts_with("grip: key "));
        }
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
            assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{shown}");
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
            Ok(config) => assert!(!format!("{config:?}").contains("s3")),
            Err(error) => assert!(!format!("{error} {error:?}").contains("s3"), "{error:?}"),
        }
    }
    for endpoint in [
        local().iss("realm").key("s3cret").unwrap(),
        local().bearer("s3cret"),
        local().basic("s3cret", "x"),
    ] {
        assert!(!format!("{endpoint:?}").contains("s3cret"));
    }
}

/// A token by a key of any length: Pushpin's sample key has 8 bytes.
#[test]
fn the_symmetric_key_verifies_as_well() {
    let signed = [r#"{"typ":"JWT","alg":"HS256"}"#, r#"{"exp":4102444800,"iss":"realm"}"#]
        .map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = signed.join(".");
    for key in ["k", "changeme", &"long".repeat(100)] {
        let token =
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac_sha256::HMAC::mac(&signed, key)));
        let config: Config = format!("http://localhost/?iss=a&key={key}").parse().unwrap();
        assert_eq!(config.proxied(&headers(&[&token])), Ok(Proxied::Signed));
        let config: Config =
            format!("http://localhost/?iss=a&key=x&verify-key={key}").parse().unwrap();
        assert_eq!(config.proxied(&headers(&[&token])), Ok(Proxied::Signed));
        let config: Config =
            format!("http://localhost/?iss=a&key={key}&verify-iss=other").parse().unwrap();
        assert_eq!(config.proxied(&headers(&[&token])), Err(InvalidSignature));
    }
}

/// What Pushpin makes of a hold's headers, by the rules of its own parser.
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
    assert!(keep_alive.len() <= 1);
    Understood {
        channels: all("grip-channel")
            .iter()
            .flat_map(|value| split(value))
            .map(|text| channel(&text))
            .collect(),
        keep_alive: keep_alive.first().map(|value| {
            let (value, parameters) = named(value);
            assert!(!value.is_empty(), "an empty one is an error");
            let content = match parameter(&parameters, "format") {
                Some("cstring") => unescape(&value),
                Some("base64") => STANDARD.decode(value).unwrap(),
                other => panic!("{other:?}"),
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

/// Why a case is not about stream holds.
fn not_ours(name: &str) -> Option<&'static str> {
    Some(match name {
        "no_hold_channel_only" | "keepalive_no_hold_dropped" => "headers without a hold do nothing",
        "link_no_hold" => "pages without a hold are out of scope",
        "hold_response_timeout" | "hold_response_timeout_fraction" | "status" => {
            "response holds are out of scope"
        }
        "link_neg" => "no `Duration` is negative",
        _ => return None,
    })
}

/// Where our text is not the recorded one, and why; what is meant is the same, or what the
/// reference meant to say.
fn differs(name: &str) -> Option<&'static str> {
    Some(match name {
        "several_channels" => "names are percent-encoded",
        "keepalive_crlf_tab" => "Pushpin reads `\\t` as the letter",
        "keepalive_semicolon" => "`;` ends the value",
        "keepalive_del" => "a header must not have DEL",
        "keepalive_c1" => "what is not ASCII goes as base64 of its UTF-8",
        "keepalive_empty" | "keepalive_bytes_empty" => "an empty one makes Pushpin answer 502",
        "keepalive_timeout0" => "0 is never",
        "link_unicode" => "URIs are ASCII",
        "all" => "a status is the response's own",
        _ => return None,
    })
}

#[test]
fn holds_say_what_the_reference_means_to_say() {
    let file = vectors(include_str!("vectors/hold-headers.json"));
    let (mut run, mut listed, mut different) = (0, Vec::new(), Vec::new());
    for case in file["cases"].as_array().unwrap() {
        let (name, input) = (case["name"].as_str().unwrap(), &case["input"]);
        if let Some(why) = not_ours(name) {
            listed.push(format!("{name}: {why}"));
            continue;
        }
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
        // What the recorder's case "all" left to it: 15 s for the keep-alive, and the link's own
        // time.
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
        let ours = hold.headers();
        let mut read = understood(&ours);
        let decode = |text: &mut String| {
            *text = percent_decode(text.as_bytes()).decode_utf8().unwrap().into_owned()
        };
        read.channels.iter_mut().for_each(|(name, _)| decode(name));
        read.links.iter_mut().for_each(|(uri, ..)| decode(uri));
        assert_eq!(read, meant, "{name}");

        let recorded = case["expect"]["headers"].as_object().unwrap();
        let same = recorded.len() == ours.len()
            && recorded.iter().all(|(name, value)| {
                ours.get(name)
                    .is_some_and(|ours| ours.as_bytes() == value.as_str().unwrap().as_bytes())
            });
        match differs(name) {
            Some(why) => {
                assert!(!same, "{name}");
                different.push(format!("{name}: {why}"));
            }
            None => assert!(same, "{name}: {ours:?}"),
        }
        run += 1;
    }
    report("hold-headers.json", run, &listed);
    println!("  {} of them in other words: {different:#?}", different.len());
    assert_eq!((run, listed.len()), (21, 7));
}

#[test]
fn items_are_the_recorded_ones() {
    let file = vectors(include_str!("vectors/publish-requests.json"));
    let (mut run, mut listed, mut wire) = (0, Vec::new(), Vec::new());
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let out_of_scope = match name {
            "http_response" | "http_response_full" => Some("response holds are out of scope"),
            "no_endpoints" => Some("no request; a stream without endpoints is a direct one"),
            "iss_ec_pem_private" => Some("no request; only secrets sign"),
            _ => None,
        };
        if let Some(why) = out_of_scope {
            listed.push(format!("{name}: {why}"));
            continue;
        }
        let event = |event: Event| event.encode().unwrap();
        let message = json!({ "a": 1 });
        let item = match name {
            "no_auth_http_stream" => Item::new("chan", "hello\n"),
            "ids" => Item::new("chan", "x").id("2").prev_id("1"),
            "prev_only" => Item::new("chan", "x").prev_id("1"),
            "bytes_content" => Item::new("chan", b"\xff\0\n"),
            "close" | "close_with_content" => Item::close("chan"),
            "empty_content" => Item::new("chan", ""),
            "unicode" => Item::new("ch\u{e4}n \u{2603}", "data: \u{2713} \u{1f600}\u{2028}\n\n"),
            "servegrip_prefix" => Item::new("sg-chan", "x"),
            "eventstream_default_prefix" => {
                Item::new("events-chan", event(Event::new("message").json(&message)))
            }
            "eventstream_empty_prefix" => Item::new("chan", event(Event::new("m").json(&()))),
            "eventstream_no_event" => {
                Item::new("events-chan", event(Event::new("").json(&json!({ "x": 1 }))))
            }
            "eventstream_data_undefined" => Item::new("events-chan", event(Event::new("e"))),
            "eventstream_publish_fails" => {
                Item::new("events-chan", event(Event::new("m").json(&1)))
            }
            _ => Item::new("chan", "x"),
        };
        if !case["expect"]["error"].is_null()
            || name.starts_with("status_")
            || name.starts_with("redirect_")
        {
            wire.push(name);
        }
        for request in case["expect"]["requests"].as_array().unwrap() {
            let mut body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
            let recorded = &mut body["items"][0];
            let stream = &mut recorded["formats"]["http-stream"];
            match name {
                // The content of a close is ignored.
                "close" | "close_with_content" => {
                    drop(stream.as_object_mut().unwrap().remove("content"))
                }
                // Pushpin takes a header's UTF-8 for Latin-1, so held names are ASCII, and
                // published ones like them.
                "unicode" => recorded["channel"] = "ch%C3%A4n%20%E2%98%83".into(),
                // Nobody is called `undefined`, and nothing has it to say.
                "eventstream_no_event" => stream["content"] = "data: {\"x\":1}\n\n".into(),
                "eventstream_data_undefined" => stream["content"] = "event: e\ndata: \n\n".into(),
                _ => {}
            }
            assert_eq!(serde_json::to_value(&item).unwrap(), *recorded, "{name}");
        }
        run += 1;
    }
    report("publish-requests.json, items", run, &listed);
    println!(
        "  {} of them have more to say on the wire, see tests/grip_publishing.rs: {wire:?}",
        wire.len()
    );
    assert_eq!((run, listed.len()), (38, 4));
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
            "" => assert_eq!(held, []),
            _ => assert_eq!(held, [(item["channel"].as_str().unwrap().to_owned(), None)]),
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

/// Texts with much of what steers a parser.
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
        let decode = |text: &str| percent_decode(text.as_bytes()).decode_utf8().unwrap().into_owned();

        let names: Vec<_> = channels.iter().map(|(name, _)| name.clone()).filter(|name| !name.is_empty()).collect();
        prop_assert_eq!(read.channels.iter().map(|(name, _)| decode(name)).collect::<Vec<_>>(), names);
        for (name, read) in &read.channels {
            // The last one given for a name holds.
            let given = channels.iter().rev().find_map(|(given, id)| id.as_ref().filter(|_| *given == decode(name)));
            match given.filter(|id| !id.is_empty()) {
                Some(id) if printable(id) => prop_assert_eq!(read.as_ref(), Some(id)),
                Some(_) => prop_assert!(read.as_ref().is_some_and(|id| printable(id))),
                None => prop_assert_eq!(read, &None),
            }
        }
        let seconds = every.as_secs().clamp(1, 2_147_483);
        let kept = Some((content.clone(), seconds)).filter(|_| !content.is_empty() && !every.is_zero());
        prop_assert_eq!(read.keep_alive, kept);

        let uris = [(&next, "next"), (&gone, "gone")].into_iter().filter(|(uri, _)| !uri.is_empty());
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

    #[test]
    fn no_header_and_no_url_panics(token in any::<Vec<u8>>(), text in nasty(), parts in prop::array::uniform3(nasty())) {
        let keyed: Config = "http://localhost/?verify-key=k".parse().unwrap();
        let signatures = [token, text.clone().into_bytes(), parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".").into_bytes()];
        for token in signatures {
            if let Ok(value) = HeaderValue::from_bytes(&token) {
                let headers = HeaderMap::from_iter([("grip-sig".parse().unwrap(), value)]);
                prop_assert_eq!(keyed.proxied(&headers), Err(InvalidSignature));
            }
        }
        for url in [text.clone(), format!("http://{text}"), format!("http://h/{text}"), format!("http://h?{text}")] {
            drop(url.parse::<Config>());
        }
        drop(local().verify_key(&text));
        let item = serde_json::to_value(Item::new(&text, text.clone()).id(&text)).unwrap();
        prop_assert_eq!(item["formats"]["http-stream"]["content"].as_str(), Some(text.as_str()));
    }
}
