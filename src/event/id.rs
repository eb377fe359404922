//! Ids: the stream's own `<epoch>-<seq>`, and the publishers'.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;

use super::{forbidden, InvalidEvent, Mistake};

const EPOCH_LEN: usize = 13;
const MAX_GIVEN: usize = 1024;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The id of an event, as a client sees it and sends it back in `Last-Event-ID`.
///
/// Either `<epoch>-<seq>`, given by the stream (13 characters of base 36 that differ for each
/// [`EventStream`] ever made, and a number that rises by one with each of its events), or the
/// publisher's own ([`Event::id`]).
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
            // Ours is ASCII, so this never falls back.
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
    /// What is neither of the stream's form nor a publisher's valid id
    /// ([`Event::id`](crate::Event::id)).
    fn from_str(text: &str) -> Result<Self, InvalidEvent> {
        match refusal(text) {
            Some(why) if !is_own_form(text) => Err(Mistake::Id { id: text.to_owned(), why }.into()),
            _ => Ok(Self::given(text.into())),
        }
    }
}

/// Why a publisher may not give this id.
pub(super) fn refusal(id: &str) -> Option<&'static str> {
    let blank = |c: char| c == ' ' || c == '\t';
    if id.is_empty() {
        Some("is empty")
    } else if id == "error" {
        Some("is reserved: a client that sends it is refused")
    } else if id.len() > MAX_GIVEN {
        Some("is over 1024 bytes")
    } else if forbidden(id).is_some() {
        Some("contains a line break or a NUL")
    } else if id.starts_with(blank) || id.ends_with(blank) {
        Some("has a blank at an edge, which HTTP would trim")
    } else if is_own_form(id) {
        Some("has the form of the stream's own ids")
    } else {
        None
    }
}

fn is_own_form(id: &str) -> bool {
    match id.as_bytes().split_at_checked(EPOCH_LEN) {
        Some((epoch, [b'-', digits @ ..])) => {
            epoch.iter().all(|byte| DIGITS.contains(byte))
                && !digits.is_empty()
                && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

/// Which life of an `EventStream` drew a seq: restarts and replicas never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch([u8; EPOCH_LEN]);

/// What a client's last event id says about where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// Behind this seq of our own clock.
    Seq(u64),
    /// An id of our form that names no place: another epoch, or not as we write it.
    Foreign,
    /// Perhaps the id of a publisher.
    Given(&'a str),
}

impl Epoch {
    /// Adds the line `id: <epoch>-<seq>`.
    pub(crate) fn write_line(self, seq: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(&self.0);
        out.push(b'-');
        out.extend_from_slice(seq.as_bytes());
        out.push(b'\n');
    }

    /// Length of that line.
    pub(crate) fn line_len(seq: &str) -> usize {
        "id: ".len() + EPOCH_LEN + "-".len() + seq.len() + "\n".len()
    }

    /// 64 bits from the system's randomness, by way of the seeds of the standard library's hash
    /// maps.
    pub(crate) fn random() -> Self {
        let mut bits = RandomState::new().build_hasher().finish();
        let mut text = [0; EPOCH_LEN];
        for place in text.iter_mut().rev() {
            *place = DIGITS[(bits % 36) as usize];
            bits /= 36;
        }
        Self(text)
    }

    pub(crate) fn place(self, id: &str) -> Place<'_> {
        if !is_own_form(id) {
            return Place::Given(id);
        }
        let (epoch, digits) = (&id.as_bytes()[..EPOCH_LEN], &id[EPOCH_LEN + 1..]);
        match digits.parse() {
            // One spelling only, so that an id compares by its bytes.
            Ok(seq) if epoch == self.0 && (digits == "0" || !digits.starts_with('0')) => {
                Place::Seq(seq)
            }
            _ => Place::Foreign,
        }
    }
}

/// The longest id of ours: a u64 has at most 20 digits.
pub(crate) const OWN_ID_MAX: usize = EPOCH_LEN + "-".len() + 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_read_back_and_foreign_ones_told_apart() {
        let (epoch, other) = (Epoch::random(), Epoch::random());
        assert_ne!(epoch, other);
        for seq in [0, 1, 42, u64::MAX] {
            let id = EventId::own(epoch, seq);
            assert_eq!(epoch.place(id.as_ref()), Place::Seq(seq));
            assert_eq!(other.place(id.as_ref()), Place::Foreign);
            assert_eq!(id.as_ref().parse::<EventId>().unwrap(), id);
        }
        let text = EventId::own(epoch, 7).to_string();
        assert_eq!(epoch.place(&text.replace("-7", "-07")), Place::Foreign);
        assert_eq!(epoch.place(&text.replace("-7", "-99999999999999999999999")), Place::Foreign);
        assert_eq!(epoch.place(&text.to_uppercase()), Place::Given(&text.to_uppercase()));
    }

    #[test]
    fn ids_that_no_client_could_send_back_are_refused() {
        let own = EventId::own(Epoch::random(), 1).to_string();
        for bad in ["", "error", " a", "a\t", "a\nb", "a\rb", "a\0b", &own, &"x".repeat(1025)] {
            assert!(refusal(bad).is_some(), "{bad:?}");
        }
        for good in ["1", "a b", "é", "errors", &own[1..], &"x".repeat(1024)] {
            assert!(refusal(good).is_none(), "{good:?}");
        }
    }
}
