//! Percent-decoding, as in paths and in forms.

use percent_encoding::percent_decode_str;

/// A value that is there but is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

/// Decodes part of a path.
pub(crate) fn decode(text: &str) -> Result<String, NotUtf8> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| NotUtf8)
}

/// Decodes a name or value of a form or a query, where `+` is a space.
pub(crate) fn decode_form(text: &str) -> Result<String, NotUtf8> {
    decode(&text.replace('+', " "))
}
