//! How control URIs are read and publications authorized, as recorded of the reference's libraries.

use std::collections::BTreeMap;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac_sha256::HMAC;
use serde_json::Value;

use super::*;

const NOW: u64 = 1_700_000_000;
const NOT_BASE64: &str = "not base64, which the reference notices only when it publishes";
const NOT_HTTP: &str = "grip: control URI is not an http or https URI";

/// URLs that the reference takes and this crate refuses: why, and the error.
const REFUSED: &[(&str, &str, &str)] = &[
    ("iss_key_base64", NOT_BASE64, "grip: key is not valid base64"),
    ("base64_invalid", NOT_BASE64, "grip: key is not valid base64"),
    (
        "plus_in_key",
        "a plus in a query is a space, so the secret is seldom the one that was meant",
        "grip: key contains white space, which a plain secret cannot have: write `%2B` for a plus \
         in a URL, or write the secret as text after `secret:`",
    ),
    ("empty_iss_key", "the reference signs with an empty secret", "grip: key is empty"),
    ("zmq", "the control port is HTTP, not ZeroMQ", NOT_HTTP),
    ("no_scheme", "`localhost` is read as the scheme", NOT_HTTP),
    #[cfg(not(feature = "jwt-simple"))]
    (
        "fastly_full",
        "a public key needs the feature `jwt-simple`",
        "grip: verify-key is a JWK of a public key, which needs the feature `jwt-simple`",
    ),
];

/// URLs whose endpoint differs from the recorded one: why, and what takes the place of the recorded
/// values.
const LISTED: [(&str, &str, &str); 5] = [
    (
        "fragment",
        "a fragment is never sent",
        r#"{
            "config": { "control_uri": "http://localhost:5561/" },
            "publish_uri": "http://localhost:5561/publish/"
        }"#,
    ),
    (
        "userpass_encoded",
        "the reference does not decode user and password: these are `us@er` and `pa:ss`",
        r#"{ "auth_header": "Basic dXNAZXI6cGE6c3M=" }"#,
    ),
    (
        "extra_params",
        "the reference encodes the space of the query in another way",
        r#"{ "publish_uri": "http://localhost:5561/publish/?foo=bar&baz=q%20x" }"#,
    ),
    (
        "additional_merge",
        "only the configuration is recorded",
        r#"{
            "publish_uri": "http://localhost:5561/publish/",
            "auth": "jwt",
            "auth_claim": { "iss": "i" },
            "auth_key_hex": "6b6b",
            "verify_key": { "secret_hex": "6b31" }
        }"#,
    ),
    (
        "additional_override",
        "only the configuration is recorded",
        r#"{
            "publish_uri": "http://localhost:5561/publish/",
            "auth": "none",
            "verify_key": { "secret_hex": "6e6577" }
        }"#,
    ),
];

const BUILDERS: &str = "the configuration is the stream builder's";
const NOT_RECORDED: &str = "the key is not recorded; `only_a_secret_signs` tests a PEM as `key`";

/// Publications whose configuration is not a URL, and why.
const OUT_OF_SCOPE: [(&str, &str); 9] = [
    ("iss_rsa_pem_private", NOT_RECORDED),
    ("iss_ec_pem_private", NOT_RECORDED),
    ("servegrip_prefix", BUILDERS),
    ("servegrip_publisher_given_prefix_ignored_on_publish", BUILDERS),
    ("eventstream_default_prefix", BUILDERS),
    ("eventstream_empty_prefix", BUILDERS),
    ("eventstream_no_event", BUILDERS),
    ("eventstream_data_undefined", BUILDERS),
    ("eventstream_publish_fails", BUILDERS),
];

/// Publications that are authorized in another way than recorded: why, and the `Authorization` or
/// the error that there is instead.
const LISTED_PUBLICATIONS: [(&str, &str, Result<&str, &str>); 2] = [
    (
        "iss_only_empty_key",
        "the reference signs with an empty secret",
        Err("grip: iss is given without `key`"),
    ),
    (
        "basic_from_url",
        "the reference does not decode user and password: these are `u@` and `p:`",
        Ok("Basic dUA6cDo="),
    ),
];

fn cases(file: &str) -> Vec<Value> {
    serde_json::from_str::<Value>(file).unwrap()["cases"].as_array().unwrap().clone()
}

fn error(uri: &str) -> String {
    let made = Endpoint::new(uri).and_then(|endpoint| endpoint.check().map(|()| endpoint));
    made.expect_err(uri).to_string()
}

fn authorized(endpoint: &Endpoint) -> Option<String> {
    let value = endpoint.authorization(UNIX_EPOCH + Duration::from_secs(NOW))?;
    assert!(value.is_sensitive(), "{endpoint:?}");
    Some(value.to_str().unwrap().to_owned())
}

fn unhex(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A token that the code under test did not make.
fn jwt(header: &str, payload: &str, key: &[u8]) -> String {
    let signed = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(HMAC::mac(&signed, key)))
}

fn token(iss: &Value, key: &Value) -> String {
    let payload = format!(r#"{{"iss":{iss},"exp":{}}}"#, NOW + 600);
    format!("Bearer {}", jwt(r#"{"alg":"HS256"}"#, &payload, &unhex(key)))
}

/// Asserts that the endpoint publishes to the recorded URI, with the recorded authorization, and
/// verifies with the recorded key.
fn assert_recorded(name: &str, endpoint: &Endpoint, expect: &Value) {
    assert_eq!(endpoint.check(), Ok(()), "{name}");
    let publish_uri = expect["publish_uri"].as_str().unwrap();
    assert_eq!(endpoint.publish_uri().to_string(), publish_uri, "{name}");
    let control_uri = expect["config"]["control_uri"].as_str().unwrap();
    let reachable = cfg!(feature = "rustls") || !control_uri.starts_with("https");
    assert_eq!(endpoint.check_tls().is_ok(), reachable, "{name}");
    let without_query = control_uri.split('?').next().unwrap();
    assert_eq!(endpoint.display_name(), without_query, "{name}");
    let authorization = match expect["auth"].as_str().unwrap() {
        "none" => None,
        "basic" => Some(expect["auth_header"].as_str().unwrap().to_owned()),
        "bearer" => Some(format!("Bearer {}", expect["auth_token"].as_str().unwrap())),
        "jwt" => Some(token(&expect["auth_claim"]["iss"], &expect["auth_key_hex"])),
        other => panic!("{name}: {other}"),
    };
    assert_eq!(authorized(endpoint), authorization, "{name}");

    let verify_iss = expect["verify_iss"].as_str();
    assert_eq!(endpoint.verify_iss.as_deref(), verify_iss, "{name}");
    let verify_key = &expect["verify_key"];
    assert_eq!(endpoint.demands_signature(), !verify_key.is_null(), "{name}");
    if let Some(secret) = verify_key.get("secret_hex") {
        let iss = verify_iss.unwrap_or("anyone");
        let payload = format!(r#"{{"exp":{},"iss":"{iss}"}}"#, NOW + 1);
        let verifies = |key: &[u8]| {
            let token = jwt(r#"{"typ":"JWT","alg":"HS256"}"#, &payload, key);
            endpoint.verifies(&Token::parse(token.as_bytes()).unwrap(), NOW as f64)
        };
        assert!(verifies(&unhex(secret)), "{name}: a token signed with the verify-key");
        assert!(!verifies(b"another"), "{name}: a token signed with another key");
    } else if !verify_key.is_null() {
        assert_eq!(verify_key["jwk"]["crv"], "P-256", "{name}");
        assert_eq!(endpoint.verify_key.as_ref().unwrap().alg(), "ES256", "{name}");
    }
}

#[cfg(feature = "fastly")]
fn assert_fastly_is_recorded(expect: &Value) {
    let ours = Endpoint::fastly("SVC", "TOK+/=");
    let theirs = Endpoint::new(expect["url"].as_str().unwrap()).unwrap();
    assert_eq!(ours.check(), Ok(()));
    assert_eq!(theirs.check(), Ok(()));
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    assert_eq!(authorized(&ours).unwrap(), "Bearer TOK+/=");
    assert_eq!(authorized(&ours), authorized(&theirs));
    assert_eq!(ours.publish_uri(), theirs.publish_uri());
}

#[test]
fn grip_urls_are_read_as_the_reference_reads_them() {
    let (mut run, mut refused, mut listed) = (0, 0, 0);
    for case in cases(include_str!("../../../tests/vectors/grip-url.json")) {
        let name = case["name"].as_str().unwrap();
        let mut expect = case["expect"].clone();
        let Some(url) = case["input"].as_str() else {
            assert_eq!(name, "buildFanoutGripUrl", "the only case without a URL");
            #[cfg(feature = "fastly")]
            {
                assert_fastly_is_recorded(&expect);
                run += 1;
            }
            continue;
        };
        run += 1;
        if let Some((_, why, expected)) = REFUSED.iter().find(|(refused, ..)| *refused == name) {
            println!("{name}: {why}");
            assert_eq!(error(url), *expected, "{name}");
            assert_eq!(expect["ok"], true, "{name} need not be listed");
            refused += 1;
            continue;
        }
        if expect["ok"] == false {
            assert_eq!(error(url), NOT_HTTP, "{name}");
            continue;
        }
        if let Some((_, why, instead)) = LISTED.iter().find(|(listed, ..)| *listed == name) {
            println!("{name}: {why}");
            let instead: BTreeMap<String, Value> = serde_json::from_str(instead).unwrap();
            for (field, value) in instead {
                assert_ne!(expect[&field], value, "{name}: {field} need not be listed");
                expect[&field] = value;
            }
            listed += 1;
        }
        let mut endpoint = Endpoint::new(url).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (parameter, value) in case["additional"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap();
            endpoint = match parameter.as_str() {
                "iss" => endpoint.iss(value),
                "key" => endpoint.key(value).unwrap(),
                "verify-key" => endpoint.verify_key(value).unwrap(),
                other => panic!("{name}: {other}"),
            };
        }
        assert_recorded(name, &endpoint, &expect);
    }
    println!("grip-url.json: {run} run, of them {refused} refused and {listed} listed");
    let expected = if cfg!(feature = "fastly") { 34 } else { 33 };
    assert_eq!((run, refused, listed), (expected, REFUSED.len(), LISTED.len()));
}

#[test]
fn publications_are_addressed_and_authorized_as_by_the_reference() {
    let (mut run, mut listed, mut out_of_scope) = (0, 0, 0);
    for case in cases(include_str!("../../../tests/vectors/publish-requests.json")) {
        let name = case["name"].as_str().unwrap();
        if let Some((_, why)) = OUT_OF_SCOPE.iter().find(|(listed, _)| *listed == name) {
            println!("{name}: {why}");
            assert!(!case["input"]["config"].is_string(), "{name} need not be listed");
            out_of_scope += 1;
            continue;
        }
        run += 1;
        let instead = LISTED_PUBLICATIONS.iter().find(|(listed, ..)| *listed == name);
        if let Some((_, why, _)) = instead {
            println!("{name}: {why}");
            listed += 1;
        }
        let config = &case["input"]["config"];
        let urls = config.as_array().map_or(std::slice::from_ref(config), Vec::as_slice);
        for (at, url) in urls.iter().enumerate() {
            // The recorder replaced its own addresses with these names.
            let url = url.as_str().unwrap_or_else(|| panic!("{name}: {url} is not a URL"));
            let url =
                url.replace("A.test:PORT", "127.0.0.1:5561").replace("B.test:PORT", "[::1]:5562");
            let request = &case["expect"]["requests"][at];
            let mut headers = request["headers"].as_array().unwrap().iter();
            let recorded = headers.find(|header| header[0] == "Authorization");
            let recorded = recorded.map(|header| header[1].as_str().unwrap());
            if let Some((.., Err(expected))) = instead {
                assert_eq!(error(&url), *expected, "{name}");
                assert_eq!(recorded, Some("Bearer <jwt>"), "{name} need not be listed");
                continue;
            }
            let endpoint = Endpoint::new(&url).unwrap();
            assert_eq!(endpoint.check(), Ok(()), "{name}");
            assert_eq!(endpoint.publish_uri().path(), request["path"], "{name}");
            let authorization = match (instead, request.get("jwt")) {
                (Some((.., Ok(instead))), _) => {
                    assert_ne!(recorded, Some(*instead), "{name} need not be listed");
                    Some((*instead).to_owned())
                }
                (_, Some(jwt)) => Some(token(&jwt["iss"], &jwt["hmac_key_hex"])),
                (_, None) => recorded.map(str::to_owned),
            };
            assert_eq!(authorized(&endpoint), authorization, "{name}");
        }
    }
    println!(
        "publish-requests.json (address, authorization): {run} run, of them {listed} listed; \
         {out_of_scope} out of scope"
    );
    let expected = (33, LISTED_PUBLICATIONS.len(), OUT_OF_SCOPE.len());
    assert_eq!((run, listed, out_of_scope), expected);
}

#[test]
fn urls_that_cannot_be_meant_are_errors() {
    for (url, expected) in [
        ("http://localhost/?iss=a", "grip: iss is given without `key`"),
        ("http://localhost/?iss=&key=k", "grip: iss is empty"),
        ("http://localhost/?iss=a&key=", "grip: key is empty"),
        ("http://localhost/?key=", "grip: key is empty"),
        ("http://localhost/?verify-iss=a", "grip: verify-iss is given without `verify-key`"),
        ("http://localhost/?key=k&verify-iss=a", "grip: verify-iss is given without `verify-key`"),
        ("http://localhost/?verify-iss=&verify-key=k", "grip: verify-iss is empty"),
        ("http://localhost/?verify-key", "grip: verify-key is empty"),
        ("http://localhost/?verify-key=base64:", "grip: verify-key is empty"),
        ("http://localhost/?verify-key=%ff", "grip: verify-key is not UTF-8"),
        (
            "http://localhost/?verify_key=k",
            r#"grip: verify-key is misspelt as "verify_key" in the GRIP_URL"#,
        ),
        (
            "http://localhost/?VERIFYKEY=k",
            r#"grip: verify-key is misspelt as "VERIFYKEY" in the GRIP_URL"#,
        ),
        ("http://localhost/?Iss=k", r#"grip: iss is misspelt as "Iss" in the GRIP_URL"#),
        ("http://localhost/?%4bey=k", r#"grip: key is misspelt as "Key" in the GRIP_URL"#),
        ("http://u%3Av:p@localhost/", "grip: user must not contain a colon"),
        ("http://u:%ff@localhost/", "grip: user or password is not UTF-8"),
        ("http:///path", "grip: control URI has an invalid host"),
        ("http://:80/", "grip: control URI has an invalid host"),
        ("http://a b/", "grip: control URI has an invalid host"),
        ("http://\u{fc}.example/", "grip: control URI has an invalid host"),
        ("http://localhost:99999/", "grip: control URI has an invalid host"),
        ("http://localhost:x/", "grip: control URI has an invalid host"),
        ("http://local\nhost/", "grip: control URI contains control characters"),
        ("ftp://localhost/", NOT_HTTP),
    ] {
        assert!(error(url).starts_with(expected), "{url}: {}", error(url));
    }
    let long = format!("http://localhost/{}", "x".repeat(70_000));
    assert_eq!(error(&long), "grip: control URI has an invalid path or query");
}

#[test]
fn a_literal_token_travels_in_secret() {
    for host in
        ["localhost", "LOCALHOST:5561", "127.0.0.1", "127.9.9.9:80", "[::1]", "u:p@[::1]:5561"]
    {
        let endpoint = Endpoint::new(format!("http://{host}/?key=token")).unwrap();
        assert_eq!(endpoint.check(), Ok(()), "{host}");
    }
    assert_eq!(Endpoint::new("https://example.com/?key=token").unwrap().check(), Ok(()));
    for host in [
        "example.com",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "10.0.0.1",
        "[::2]",
        "localhost@x",
    ] {
        let error = error(&format!("http://{host}/?key=t0ken"));
        assert!(error.contains("in the clear"), "{host}: {error}");
        assert!(!error.contains("t0ken"), "{host}: {error}");
    }
    // With an issuer the key signs and is not sent.
    assert_eq!(Endpoint::new("http://example.com/?iss=a&key=token").unwrap().check(), Ok(()));
}

#[test]
fn setters_report_their_first_mistake() {
    let endpoint = || Endpoint::new("http://localhost:5561").unwrap();
    let check = |endpoint: Endpoint| endpoint.check().unwrap_err().to_string();
    for (endpoint, expected) in [
        (endpoint().timeout(Duration::ZERO).bearer(""), "grip: timeout must not be zero"),
        (endpoint().bearer(" \n"), "grip: bearer is empty"),
    ] {
        assert_eq!(check(endpoint), expected);
    }
    for (endpoint, part) in [
        (endpoint().bearer("a\nb"), "characters that a token cannot have"),
        (endpoint().bearer(r#"{"kty":"EC"}"#), "a PEM or a JWK"),
        (endpoint().key("k").unwrap(), "`iss`"),
        (endpoint().basic("a:b", "c"), "colon"),
    ] {
        let error = check(endpoint);
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    assert_eq!(endpoint().key("").unwrap_err().to_string(), "grip: key is empty");
    assert_eq!(endpoint().post_timeout(), Duration::from_secs(10));
    assert_eq!(authorized(&endpoint().basic("u", "p").bearer("t")).unwrap(), "Bearer t");
    let signed = endpoint().basic("u", "p").bearer("t").iss("i").key("k").unwrap();
    assert_eq!(authorized(&signed), Some(token(&"i".into(), &"6b".into())));
}

#[cfg(feature = "fastly")]
#[test]
fn fastly_needs_its_issuer_and_a_plain_id() {
    let endpoint = Endpoint::fastly("FlkPHgUXeNX2oNBRGHG0Ls", "t0ken");
    assert_eq!(endpoint.check().and(endpoint.check_tls()), Ok(()));
    assert_eq!(endpoint.verify_iss.as_deref(), Some("fastly:FlkPHgUXeNX2oNBRGHG0Ls"));
    assert_eq!(
        endpoint.publish_uri(),
        "https://api.fastly.com/service/FlkPHgUXeNX2oNBRGHG0Ls/publish/"
    );
    for id in ["", "a/b", "a?b", "\u{e9}"] {
        let error = Endpoint::fastly(id, "t0ken").check().unwrap_err().to_string();
        assert!(error.contains("service id"), "{id:?}: {error}");
    }
    assert_eq!(Endpoint::fastly("a", "").check().unwrap_err().to_string(), "grip: token is empty");
}
