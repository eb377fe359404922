//! Recognizes what is not meant as a secret: a public key in any format, or the name of a file that
//! contains one.

use base64::alphabet;
use base64::engine::{Engine, GeneralPurpose};
use serde_json::Value;

use super::{trim, Reason};
use crate::grip::token::LENIENT;

/// Appends what to write if the text is a secret after all.
macro_rules! unless_secret {
    ($mistake:literal) => {
        concat!($mistake, "; if it is a secret, write it as text after `secret:`")
    };
}
pub(super) use unless_secret;

pub(super) const DER: Reason = unless_secret!("looks like a DER key: give a PEM or a JWK");
/// These bytes cannot follow `secret:`, because they are not text.
pub(super) const DER_BYTES: Reason =
    "looks like a DER key: give a PEM or a JWK (an `oct` JWK for a secret)";
pub(super) const SSH: Reason = unless_secret!("looks like an OpenSSH key: give a PEM or a JWK");
pub(super) const ENCODED: Reason = unless_secret!(
    "looks like an encoded PEM or JWK: give its text, or its base64 after `base64:`"
);
pub(super) const URL: Reason =
    unless_secret!("looks like a URL: give the key itself, a secret, PEM or JWK");
pub(super) const PATH: Reason = unless_secret!("looks like a path: give what the file contains");

/// Tolerates bits at the end that encode nothing: a truncated key is still not a secret.
const CUT_OFF: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, LENIENT.with_decode_allow_trailing_bits(true));

/// How the names of the types of OpenSSH keys begin.
const SSH_TYPES: [&str; 4] = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];

/// How paths begin, except absolute ones and drive letters.
const PATH_STARTS: [&str; 9] =
    ["./", "../", "~/", ".\\", "..\\", "~\\", "\\\\", "$HOME/", "${HOME}/"];

/// How the names of files with keys and certificates end.
const KEY_FILES: [&str; 11] =
    ["asc", "cer", "crt", "der", "json", "jwk", "jwks", "key", "p8", "pem", "pub"];

/// Says what a text without a prefix looks like if it does not look like a secret.
pub(super) fn of_text(text: &str) -> Option<Reason> {
    let text = bare(text);
    of_name(text).or_else(|| of_encoded(text))
}

/// Says what bytes look like if they do not look like a secret.
pub(super) fn of_bytes(bytes: &[u8]) -> Option<Reason> {
    if is_der(bytes) {
        return Some(DER_BYTES);
    }
    if is_ssh_blob(bytes) {
        return Some(SSH);
    }
    of_text(std::str::from_utf8(bytes).ok()?)
}

/// Whether a text looks like a PEM or JSON rather than a secret or a token.
pub(in crate::grip) fn looks_formatted(text: &str) -> bool {
    is_pem(text) || is_json(text)
}

pub(super) fn is_pem(text: &str) -> bool {
    text.starts_with("-----") || text.contains("-----BEGIN") || text.contains("-----END")
}

pub(super) fn is_json(text: &str) -> bool {
    text.starts_with(['{', '[']) || text.contains("\"kty\"")
}

/// Removes white space around a text, and the quotes that some shells and files with settings leave
/// in place.
fn bare(text: &str) -> &str {
    trim(trim(text).trim_matches(['"', '\'']))
}

fn of_name(text: &str) -> Option<Reason> {
    let has_scheme = |scheme: &str| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    if is_ssh(text) {
        Some(SSH)
    } else if text.contains(char::is_control) {
        None
    } else if has_scheme("file:") || is_path(text) {
        Some(PATH)
    } else if has_scheme("data:") || is_url(text) {
        Some(URL)
    } else {
        None
    }
}

/// Judges what a text contains in hex or base64.
fn of_encoded(text: &str) -> Option<Reason> {
    let text = text.strip_prefix("base64:").unwrap_or(text);
    // A file with settings on one line has the line breaks of a key as `\n`.
    let text = text.replace("\\n", "").replace("\\r", "");
    let text: String = text.split_whitespace().collect();
    let raw = Some(text.as_bytes().to_vec());
    [raw, unhex(&text), unbase64(&text)].iter().flatten().find_map(|bytes| {
        if is_der(bytes) {
            return Some(DER);
        }
        if is_ssh_blob(bytes) {
            return Some(SSH);
        }
        let text = bare(std::str::from_utf8(bytes).ok()?);
        // Many a short secret decodes to a brace and something else, so this must be whole.
        let json = serde_json::from_str::<Value>(text);
        let json = json.is_ok_and(|json| json.is_object() || json.is_array());
        (json || is_pem(text)).then_some(ENCODED).or_else(|| of_name(text))
    })
}

/// Whether the bytes are a DER sequence as a whole, as all keys are, or the beginning of a key's.
fn is_der(bytes: &[u8]) -> bool {
    /// The object identifiers of EC, RSA, and the curves 25519 and 448.
    const ALGORITHMS: [&[u8]; 3] = [
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
        b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01",
        b"\x06\x03\x2b\x65",
    ];
    let Some(rest) = bytes.strip_prefix(b"\x30") else { return false };
    is_length_and_content(rest)
        || ALGORITHMS.iter().any(|oid| rest.windows(oid.len()).any(|at| at == *oid))
}

/// Whether the bytes are a length of X.690, 8.1.3, and exactly so many bytes.
fn is_length_and_content(bytes: &[u8]) -> bool {
    let Some((&first, rest)) = bytes.split_first() else { return false };
    let digits = match first {
        0x00..=0x7f => return rest.len() == usize::from(first),
        0x81..=0x84 => usize::from(first & 0x7f),
        _ => return false,
    };
    rest.split_at_checked(digits).is_some_and(|(length, content)| {
        let length = length.iter().fold(0, |sum, &digit| sum << 8 | u64::from(digit));
        u64::try_from(content.len()) == Ok(length)
    })
}

/// Whether a text is a line of `id_*.pub`, `authorized_keys` or `known_hosts`, where options or
/// names can precede the type, or a key in the format of RFC 4716.
fn is_ssh(text: &str) -> bool {
    let is_type = |word: &str| SSH_TYPES.iter().any(|start| word.starts_with(start));
    let words: Vec<_> = text.split_whitespace().collect();
    is_type(text)
        || words.windows(2).any(|pair| is_type(pair[0]) && pair[1].starts_with("AAAA"))
        || text.starts_with("---- BEGIN SSH2")
}

/// Whether the bytes are what the base64 of an OpenSSH key contains (RFC 4253, 6.6): the length of
/// the type's name, then that name. A private key has a name of its own.
fn is_ssh_blob(bytes: &[u8]) -> bool {
    let is_type = |name: &[u8]| SSH_TYPES.iter().any(|start| name.starts_with(start.as_bytes()));
    bytes.starts_with(b"openssh-key-v1\0")
        || bytes.strip_prefix(b"\0\0\0").and_then(|rest| rest.get(1..)).is_some_and(is_type)
}

/// Whether a text begins with a scheme (RFC 3986, 3.1) and `://`.
fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|char: char| char.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// Whether a text is a path, absolute or marked as relative, or ends like a file with a key.
fn is_path(text: &str) -> bool {
    let drive = matches!(text.as_bytes(), [letter, b':', b'\\' | b'/', ..]
        if letter.is_ascii_alphabetic());
    let extension = text.rsplit_once('.').map(|(_, extension)| extension);
    drive
        || PATH_STARTS.iter().any(|start| text.starts_with(start))
        || extension.is_some_and(|it| KEY_FILES.iter().any(|file| it.eq_ignore_ascii_case(file)))
        || (text.starts_with('/') && !is_base64_secret(text))
}

/// Whether a text with a slash in front is the base64 of random bytes rather than a path, whose
/// characters can all be base64 too (`/run/secrets/gripkey`).
///
/// Padding at the end decides for base64. Without it, the text must encode 12 bytes or more, and
/// none of the parts between the slashes may be a word: three or more letters and digits in one
/// case, with a capital in front at most. Nearly every path has such a part, and about one in a
/// hundred such random texts, which then needs `secret:`.
fn is_base64_secret(text: &str) -> bool {
    let is_word = |part: &str| {
        let mut rest = part.bytes().skip(1);
        part.len() >= 3
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && (!rest.any(|byte| byte.is_ascii_uppercase())
                || !part.bytes().any(|byte| byte.is_ascii_lowercase()))
    };
    super::BASE64.decode(text).is_ok_and(|bytes| {
        text.ends_with('=') || (bytes.len() >= 12 && !text.split('/').any(is_word))
    })
}

/// Decodes hex, also with `0x` in front or colons between the bytes.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).replace(':', "");
    let digits: Option<Vec<_>> = digits.chars().map(|char| char.to_digit(16)).collect();
    let bytes = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(bytes.chunks(2).filter_map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect())
}

/// Decodes base64 in either alphabet as far as it goes.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    // A single character encodes less than a byte.
    let whole = if text.len() % 4 == 1 { text.len() - 1 } else { text.len() };
    CUT_OFF.decode(text.get(..whole)?).ok()
}
