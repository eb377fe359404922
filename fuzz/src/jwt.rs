//! Tokens and credentials that the crate under test did not make.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

pub(crate) fn mac(signed: &[u8], key: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(signed);
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn signed(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".");
    let mac = BASE64URL_NOPAD.encode(&mac(signed.as_bytes(), key));
    format!("{signed}.{mac}")
}

/// A time that has not come, however long the fuzzer runs.
pub(crate) const NEVER: u64 = 1 << 40;
