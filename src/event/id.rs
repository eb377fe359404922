//! Ids of events: `<epoch>-<seq>`, which the stream gives, and those that publishers give.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use super::{forbidden, InvalidEvent, Mistake};

const MAX_GIVEN: usize = 1024;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The id of an event, as a client sees it and sends it back in `Last-Event-ID`.
///
/// It is either `<epoch>-<seq>`, given by the stream, or an id that the publisher gave
/// ([`Event::id`]). The epoch is 13 characters of base 36, different for each [`EventStream`] ever
/// made; the seq is a number that rises by one with each of the stream's events.
///
/// [`EventStream`]: crate::EventStream
/// [`Event::id`]: crate::Event::id
#[derive(Clone)]
pub struct EventId(Repr);

#[derive(Clone)]
enum Repr {
    Own { text: [u8; OWN_ID_MAX], len: u8 },
    Given(Arc<str>),
}

impl EventId {
    pub(crate) fn own(epoch: Epoch, seq: u64) -> Self {
        let mut text = [0; OWN_ID_MAX];
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(seq).as_bytes();
        let len = EPOCH_LEN + 1 + digits.len();
        text[..EPOCH_LEN].copy_from_slice(&epoch.0);
        text[EPOCH_LEN] = b'-';
        text[EPOCH_LEN + 1..len].copy_from_slice(digits);
        Self(Repr::Own { text, len: len as u8 })
    }

    pub(crate) fn given(id: Arc<str>) -> Self {
        Self(Repr::Given(id))
    }
}

impl AsRef<str> for EventId {
    fn as_ref(&self) -> &str {
        match &self.0 {
            // It is ASCII, so this never falls back.
            Repr::Own { text, len } => {
                std::str::from_utf8(&text[..usize::from(*len)]).unwrap_or_default()
            }
            Repr::Given(id) => id,
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_ref())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventId").field(&self.as_ref()).finish()
    }
}

impl PartialEq for EventId {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for EventId {}

impl Hash for EventId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl FromStr for EventId {
    type Err = InvalidEvent;

    /// Reads an id of either kind.
    ///
    /// # Errors
    ///
    /// If the text neither has the form of a stream's ids nor is an id that a publisher may give
    /// ([`Event::id`](crate::Event::id)).
    fn from_str(text: &str) -> Result<Self, InvalidEvent> {
        match refusal(text) {
            Some(why) if Epoch::split(text).is_none() => {
                Err(Mistake::Id { id: text.to_owned(), why }.into())
            }
            _ => Ok(Self::given(text.into())),
        }
    }
}

/// Why a publisher may not give this id. An id comes back in a header (RFC 9110, section 5.5), in
/// which a client may have joined several with commas.
pub(super) fn refusal(id: &str) -> Option<&'static str> {
    let trimmed = [' ', '\t'];
    let mut parts = id.split(',').map(|part| part.trim_matches(' '));
    if id.is_empty() {
        Some("is empty")
    } else if id.len() > MAX_GIVEN {
        Some("is over 1024 bytes")
    } else if forbidden(id).is_some() {
        Some("contains a line break or a NUL")
    } else if id.starts_with(trimmed) || id.ends_with(trimmed) {
        Some("starts or ends with a space or tab, which HTTP would trim")
    } else if !id.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        Some("contains a character that is neither visible ASCII nor a space: no header carries it")
    } else if parts.clone().any(|part| part == "error") {
        Some("is reserved: a client that sends it back is refused")
    } else if parts.clone().any(|part| part == "earliest") {
        Some("is reserved: it asks for the oldest event kept")
    } else if parts.any(|part| Epoch::split(part).is_some()) {
        Some("has the form of the stream's own ids")
    } else {
        None
    }
}

/// Which life of an `EventStream` drew a seq: restarts and replicas never share an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch([u8; EPOCH_LEN]);

impl Epoch {
    /// Writes 64 bits of randomness in base 36.
    pub(crate) fn new(entropy: u64) -> Self {
        let (mut text, mut bits) = ([0; EPOCH_LEN], entropy);
        for digit in text.iter_mut().rev() {
            *digit = DIGITS[(bits % 36) as usize];
            bits /= 36;
        }
        Self(text)
    }

    /// Takes apart an id of the form that streams give: its epoch, and its seq if that is spelt as
    /// streams spell it. `None` if the id has another form.
    pub(crate) fn split(id: &str) -> Option<(Self, Option<u64>)> {
        let (epoch, rest) = id.as_bytes().split_first_chunk::<EPOCH_LEN>()?;
        let [b'-', digits @ ..] = rest else { return None };
        let own = !digits.is_empty()
            && digits.iter().all(u8::is_ascii_digit)
            && epoch.iter().all(|byte| DIGITS.contains(byte));
        own.then(|| {
            // One spelling only, so that ids compare by their bytes.
            let canonical = digits == b"0" || digits[0] != b'0';
            let seq = id[EPOCH_LEN + 1..].parse().ok().filter(|_| canonical);
            (Self(*epoch), seq)
        })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The longest id that a stream gives: a u64 has at most 20 digits.
pub(crate) const OWN_ID_MAX: usize = EPOCH_LEN + "-".len() + 20;
pub(super) const EPOCH_LEN: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_taken_apart_and_others_are_not() {
        let epoch = Epoch::new(1 << 63);
        for seq in [0, 1, 42, u64::MAX] {
            let id = EventId::own(epoch, seq);
            assert_eq!(Epoch::split(id.as_ref()), Some((epoch, Some(seq))));
            assert_eq!(id.as_ref().parse::<EventId>().unwrap(), id);
        }
        let text = EventId::own(epoch, 7).to_string();
        for odd in ["-07", "-00", "-99999999999999999999999"] {
            assert_eq!(Epoch::split(&text.replace("-7", odd)), Some((epoch, None)), "{odd}");
        }
        for other in ["", "-1", &text[1..], &text[..14], &text.to_uppercase(), &format!("{text}x")]
        {
            assert_eq!(Epoch::split(other), None, "{other:?}");
        }
    }

    #[test]
    fn ids_that_no_client_could_send_back_are_refused() {
        let own = EventId::own(Epoch::new(7), 1).to_string();
        for bad in ["", "error", " a", "a\t", "a\nb", "a\rb", "a\0b", &own, &"x".repeat(1025)] {
            assert!(refusal(bad).is_some(), "{bad:?}");
        }
        for bad in
            ["a\u{1}b", "\u{7f}", "é", "\u{2713}", "a\tb", "earliest", "a, error", "earliest,a"]
        {
            assert!(refusal(bad).is_some(), "{bad:?}");
        }
        assert!(refusal(&format!("a,{own}")).is_some());
        for good in ["1", "a b", "a, b", "~", "errors", &own[1..], &"x".repeat(1024)] {
            assert!(refusal(good).is_none(), "{good:?}");
        }
    }
}
