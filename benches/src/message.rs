//! The event that all contenders deliver: 138 bytes on the wire if its number has five digits.

use bytes::Bytes;
use eventstream::Event;

/// As long as the epoch in eventstream's ids, so that all frames have the same length.
const EPOCH: &str = "0123456789abc";
const NAME: &str = "message";
const DATA: &str = concat!(
    r#"{"match":"4711","score":[2,1],"minute":57,"#,
    r#""scorer":"Anna Example","assist":"Berta Example"}"#,
);

/// eventstream's event, built as a program would build it.
pub fn event() -> Event {
    Event::new(NAME).data(DATA)
}

/// The peers' event, built in the same way.
#[derive(Clone, Debug)]
pub struct Message {
    seq: u64,
    name: String,
    data: String,
}

impl Message {
    pub fn new(seq: u64) -> Self {
        Self { seq, name: NAME.into(), data: DATA.into() }
    }

    pub fn id(&self) -> String {
        let mut digits = itoa::Buffer::new();
        [EPOCH, "-", digits.format(self.seq)].concat()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn data(&self) -> &str {
        &self.data
    }

    /// The frame, with one allocation.
    pub fn encode(&self) -> Bytes {
        let mut digits = itoa::Buffer::new();
        let parts = [
            "id: ",
            EPOCH,
            "-",
            digits.format(self.seq),
            "\nevent: ",
            &self.name,
            "\ndata: ",
            &self.data,
            "\n\n",
        ];
        parts.concat().into()
    }
}

/// Bytes of the event with this number.
pub fn wire_len(seq: u64) -> u64 {
    const FIXED: usize = "id: ".len()
        + EPOCH.len()
        + "-\nevent: ".len()
        + NAME.len()
        + "\ndata: ".len()
        + DATA.len()
        + "\n\n".len();
    (FIXED + itoa::Buffer::new().format(seq).len()) as u64
}
