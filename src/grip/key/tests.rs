//! What a text is taken for: a secret, a public key, or a mistake.

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::shape::{DER, DER_BYTES, ENCODED, PATH, SSH, URL};
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

/// An Ed25519 key as SPKI.
const ED25519: &str = "MCowBQYDK2VwAyEAEB9GrsEZDPNfK1/tCH5mhagWegx768wgBLBcQxDUVP4=";
/// The same algorithm as OpenSSH writes it.
const ED25519_SSH: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIENw3lUo9tYrcG+NPXAPhFkf8VXYBHO6KS3iAnnGW2wz";
const P256_SSH: &str = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBJtayylukEmmNiTQBpuuNeHcoYq6UCP3kpQlujQeWNtRZ8LH0obJZP8LrTVnh8K+fG7CMXzoOm1/mOU8SQs+dwM=";

fn base64(bytes: impl AsRef<[u8]>) -> String {
    format!("base64:{}", STANDARD.encode(bytes))
}

fn hex(bytes: &[u8], between: &str) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between)
}

/// A sequence in DER with the given bytes for its length, and so many bytes of content.
fn der(length: &[u8], content: usize) -> Vec<u8> {
    [&[0x30], length, &vec![0xff; content]].concat()
}

/// Asserts that a text is refused for this reason, whichever kind of key is asked for.
fn assert_refused(text: &str, reason: Reason) {
    assert_eq!(VerifyKey::parse(text).err(), Some(reason), "{text:?}");
    assert_eq!(Secret::parse(text).err(), Some(reason), "{text:?}");
}

#[test]
fn a_secret_is_visible_text_or_any_bytes() {
    assert_eq!(secret("x"), b"x");
    let visible: String = ('!'..='~').collect();
    assert_eq!(secret(&format!(" \t{visible}\r\n")), visible.as_bytes());
    assert_eq!(secret(&"x".repeat(512)).len(), 512);
    for form in ["base64:++//AA==", "base64:  //AA", "base64:--__AA", "base64:++//AA"] {
        assert_eq!(secret(form), b"\xfb\xef\xff\x00", "{form}");
    }
    // The decoded bytes are the key: white space is not trimmed, and a brace in binary data
    // does not make it JSON.
    assert_eq!(secret("base64:IAo="), b" \n");
    assert_eq!(secret("base64:e/8"), b"{\xff");
    assert_eq!(secret(&base64([0xff; 2000])), [0xff; 2000]);
    assert_eq!(secret(r#"{"kty":"oct","k":"Y2hhbmdlbWU","alg":"HS256","use":"sig"}"#), b"changeme");
}

#[test]
fn a_text_that_is_not_visible_ascii_says_how_to_write_it() {
    for text in ["a b", "a\tb", "pass\nword", "a\u{a0}b"] {
        assert_refused(text, WHITE_SPACE);
    }
    for text in ["ch\u{e4}ngeme", "a\0b", "\u{7f}", "\u{2713}"] {
        assert_refused(text, NOT_VISIBLE);
    }
    assert_refused(&"x".repeat(513), TOO_LONG);
}

#[test]
fn after_the_prefix_secret_every_text_is_one() {
    let body: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let long = "\u{2713}".repeat(1000);
    for text in [
        PEM,
        &body,
        r#"{"kty":"EC"}"#,
        "{bad",
        "ssh-ed25519 AAAA",
        "https://example.com/",
        "file:key",
        "/etc/key.pem",
        "base64:AAAA",
        "secret:",
        "ch\u{e4}nge me",
        " \n ",
        "\u{feff}",
        &long,
    ] {
        for prefix in ["secret:", " \n\u{feff}secret:"] {
            let key = format!("{prefix}{text}");
            assert_eq!(secret(&key), text.as_bytes(), "{key:?}");
            assert_eq!(&*Secret::parse(&key).unwrap().0, text.as_bytes(), "{key:?}");
        }
    }
    // Its case is part of the prefix, and inside `base64:` it is none.
    assert_eq!(secret("Secret:x"), b"Secret:x");
    assert_eq!(secret(&base64("secret:x")), b"secret:x");
}

#[test]
fn nothing_empty_is_a_key() {
    let empty = ["", "  \n", "\u{feff}", "base64:", "secret:", " secret:"];
    for empty in empty.into_iter().chain([r#"{"kty":"oct","k":""}"#]) {
        assert_refused(empty, EMPTY);
    }
}

/// Each of these was a secret once, although it is public.
#[test]
fn an_openssh_key_is_never_a_secret() {
    let lines = [
        format!("ssh-ed25519 {ED25519_SSH} me@host"),
        format!("ssh-ed25519 {ED25519_SSH}"),
        format!("ecdsa-sha2-nistp256 {P256_SSH} me@host\n"),
        format!("sk-ssh-ed25519@openssh.com {ED25519_SSH}"),
        format!("sk-ecdsa-sha2-nistp256@openssh.com {P256_SSH}"),
        format!("ssh-rsa-cert-v01@openssh.com {P256_SSH}"),
        format!("command=\"a b\",no-pty ssh-ed25519 {ED25519_SSH} me@host"),
        format!("example.com,192.0.2.1 ecdsa-sha2-nistp256 {P256_SSH}"),
        format!("---- BEGIN SSH2 PUBLIC KEY ----\n{ED25519_SSH}\n---- END SSH2 PUBLIC KEY ----\n"),
        format!("\"ssh-ed25519 {ED25519_SSH} me@host\""),
        "ssh-ed25519".to_owned(),
    ];
    for line in &lines {
        for text in [line.clone(), base64(line), STANDARD.encode(line), hex(line.as_bytes(), "")] {
            assert_refused(&text, SSH);
        }
    }
    for blob in [ED25519_SSH, P256_SSH] {
        let bytes = STANDARD.decode(blob).unwrap();
        let forms = [blob.to_owned(), base64(blob), base64(&bytes), hex(&bytes, ":")];
        for text in forms.iter().chain([&URL_SAFE_NO_PAD.encode(&bytes)]) {
            assert_refused(text, SSH);
        }
    }
    assert_refused(&base64(b"openssh-key-v1\0\0\0\0\x04none"), SSH);
}

/// Each of these but RSA and EC in base64 was a secret once, although it is public.
#[test]
fn der_is_never_a_secret() {
    let body: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let long = [&[0x82, 0x02, 0x00][..], &[0x81, 0xff], &[0x83, 0, 0, 1], &[0x84, 0, 0, 0, 1]];
    let long = long.into_iter().zip([512, 255, 1, 1]).map(|(length, size)| der(length, size));
    let keys = [body, ED25519.to_owned()].map(|key| STANDARD.decode(key).unwrap());
    for bytes in long.chain(keys).chain([der(&[0], 0), der(&[0x7f], 127)]) {
        let text = STANDARD.encode(&bytes);
        let lines: Vec<_> =
            text.as_bytes().chunks(16).map(|line| std::str::from_utf8(line).unwrap()).collect();
        for text in [
            text.clone(),
            STANDARD_NO_PAD.encode(&bytes),
            URL_SAFE_NO_PAD.encode(&bytes),
            lines.join("\r\n"),
            lines.join(r"\n"),
            format!("'{text}'"),
            hex(&bytes, ""),
            hex(&bytes, "").to_uppercase(),
            hex(&bytes, ":"),
            hex(&bytes, " "),
            format!("0x{}", hex(&bytes, "")),
        ] {
            assert_refused(&text, DER);
            assert_refused(&base64(&text), DER);
        }
        assert_refused(&base64(&bytes), DER_BYTES);
    }
    // The length decides; a key that was cut off is recognized by its algorithm.
    for (length, size) in [(&[3][..], 2), (&[3], 4), (&[0x80], 0), (&[0x81], 0), (&[0x82, 1], 1)] {
        let bytes = der(length, size);
        assert_eq!(secret(&base64(&bytes)), bytes);
        assert_eq!(secret(&hex(&bytes, "")), hex(&bytes, "").as_bytes());
    }
    for end in 12..ED25519.len() - 1 {
        assert_refused(&ED25519[..end], DER);
    }
}

#[test]
fn an_encoded_pem_or_jwk_without_its_prefix_is_never_a_secret() {
    for key in [PEM, r#" {"kty":"RSA"}"#, r#"[{"a":1}]"#, "-----BEGIN X-----"] {
        for text in [STANDARD.encode(key), URL_SAFE_NO_PAD.encode(key), hex(key.as_bytes(), "")] {
            assert_refused(&text, ENCODED);
            assert_refused(&base64(text), ENCODED);
        }
    }
    // Base64 of a brace and of something that is no JSON.
    assert_eq!(secret("ezEyMzQ1Njc4"), b"ezEyMzQ1Njc4");
}

#[test]
fn a_url_is_never_a_secret() {
    for text in [
        "https://example.com/key.pem",
        "HTTP://localhost",
        "op://vault/item",
        "s3+x.y-z://",
        "data:application/x-pem-file;base64,AAAA",
    ] {
        assert_eq!(refused(text), if text.ends_with(".pem") { PATH } else { URL }, "{text}");
        assert!([PATH, URL].contains(&refused(&base64(text))), "{text}");
        assert!([PATH, URL].contains(&refused(&STANDARD.encode(text))), "{text}");
    }
    for text in ["a:b", "ab:/c", "://x", "1a://x", "a_b://x", "database"] {
        assert_eq!(secret(text), text.as_bytes());
    }
}

#[test]
fn a_path_is_never_a_secret() {
    for text in [
        "file:key",
        "File:///etc/key",
        "/etc/key.pem",
        "/etc/key",
        "/key",
        "/run/secrets/gripkey",
        "/run/secrets/grip_verify_key",
        "/Users/Ada/Keys/GripKey1",
        "/home/ada/c++/gripkey1",
        "/MyService/keys/gripkey1",
        "/KEYS/GRIPKEY1",
        "/home/ada lovelace/key",
        "/",
        "./key",
        "../key",
        "~/key",
        r".\key",
        r"..\key",
        r"C:\key",
        "c:/key",
        r"\\server\share\key",
        "$HOME/key",
        "${HOME}/key",
        "key.pem",
        "keys/grip.PUB",
        "\"/etc/key\"",
    ] {
        for text in [text.to_owned(), base64(text)] {
            assert_refused(&text, PATH);
        }
    }
    for text in [
        // 32, 16 and 24 random bytes.
        "/x3kQb0Zr5nqv7uTtGm1cWJ8yLh2dSfAoEiNpXKUBwM=",
        "/x3kQb0Zr5nqv7uTtGm1cQ==",
        "/x3kQb0Zr5nqv7uT/Gm1cWJ8yLh2dSfA",
        // A slash elsewhere says nothing.
        "x/3kQb0Zr5nqv7uT/Gm1cWJ8yLh2dSfA",
        "a/b",
        "key",
        "v1.2",
        "..",
        "~key",
        "C:key",
        "pem",
        r"\key",
    ] {
        assert_eq!(secret(text), text.as_bytes());
    }
}

#[test]
fn a_mistake_says_what_to_write_and_does_not_quote_the_key() {
    for (key, mistake, instead) in [
        (format!("ssh-ed25519 {ED25519_SSH}"), "looks like an OpenSSH key", "`secret:`"),
        (ED25519.to_owned(), "looks like a DER key", "`secret:`"),
        (format!("base64:{ED25519}"), "looks like a DER key", "`oct`"),
        ("{S3cret".to_owned(), "looks like JSON", "`secret:`"),
        ("-----S3cret".to_owned(), "looks like a PEM", "`secret:`"),
        ("https://S3cret".to_owned(), "looks like a URL", "`secret:`"),
        ("./S3cret".to_owned(), "looks like a path", "`secret:`"),
        ("S3cret two".to_owned(), "contains white space", "`secret:`"),
        ("S3cr\u{e9}t".to_owned(), "other than visible ASCII", "`secret:`"),
        ("S3cret".repeat(100), "more than 512 characters", "`secret:`"),
    ] {
        let said = refused(&key);
        assert!(said.contains(mistake) && said.contains(instead), "{key:?}: {said}");
        assert!(!said.contains("S3cr") && !said.contains("AAAA"), "{key:?}: {said}");
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
    assert_eq!(refused(&format!("base64:{body}")), DER_BYTES);
    assert_eq!(refused("base64:!!!!"), "is not valid base64");
    assert_eq!(secret("MII-but-no-key"), b"MII-but-no-key");
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
