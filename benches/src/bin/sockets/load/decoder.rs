//! Decodes the bytes of HTTP answers into the lines of their bodies.

use memchr::memchr;

/// Reads one answer after the other; no piece is copied unless it is cut in two.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
    /// A head or a line of which only the beginning has come.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Head,
    /// Up to the end of the connection.
    Plain,
    /// A body of known length.
    Sized(usize),
    ChunkSize(usize),
    Chunk(usize),
    /// The line break after a chunk.
    ChunkEnd,
}

/// What the decoder yields.
#[derive(Debug)]
pub(super) enum Part<'a> {
    Head(Head),
    Line(&'a [u8]),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// From a header: how long publishing took, in nanoseconds.
    pub(super) took: Option<u64>,
}

impl Decoder {
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut part: impl FnMut(Part<'_>)) {
        while !bytes.is_empty() {
            match self.state {
                State::Head => bytes = self.head(bytes, &mut part),
                State::Plain => {
                    self.lines(bytes, &mut part);
                    bytes = &[];
                }
                State::Sized(left) => {
                    let (_, rest) = bytes.split_at(left.min(bytes.len()));
                    let left = left - (bytes.len() - rest.len());
                    self.state = if left == 0 { State::Head } else { State::Sized(left) };
                    bytes = rest;
                }
                State::ChunkSize(size) => {
                    self.state = match bytes[0] {
                        b'\n' => State::Chunk(size),
                        digit => match (digit as char).to_digit(16) {
                            Some(digit) => State::ChunkSize(size * 16 + digit as usize),
                            None => State::ChunkSize(size),
                        },
                    };
                    bytes = &bytes[1..];
                }
                State::Chunk(left) => {
                    let (chunk, rest) = bytes.split_at(left.min(bytes.len()));
                    self.lines(chunk, &mut part);
                    self.state = match left - chunk.len() {
                        0 => State::ChunkEnd,
                        left => State::Chunk(left),
                    };
                    bytes = rest;
                }
                State::ChunkEnd => {
                    if bytes[0] == b'\n' {
                        self.state = State::ChunkSize(0);
                    }
                    bytes = &bytes[1..];
                }
            }
        }
    }

    fn head<'a>(&mut self, bytes: &'a [u8], part: &mut impl FnMut(Part<'_>)) -> &'a [u8] {
        for (index, byte) in bytes.iter().enumerate() {
            self.partial.push(*byte);
            if self.partial.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.partial).to_ascii_lowercase();
                let header = |name: &str| {
                    let line = head.split("\r\n").find_map(|line| line.strip_prefix(name))?;
                    line.strip_prefix(':').map(str::trim)
                };
                let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
                self.state =
                    match header("content-length").map(|length| length.parse().unwrap_or(0)) {
                        _ if header("transfer-encoding") == Some("chunked") => State::ChunkSize(0),
                        Some(0) => State::Head,
                        Some(length) => State::Sized(length),
                        None if status == 204 => State::Head,
                        None => State::Plain,
                    };
                let took = header(crate::order::TOOK).and_then(|took| took.parse().ok());
                self.partial = Vec::new();
                part(Part::Head(Head { status, took }));
                return &bytes[index + 1..];
            }
        }
        &[]
    }

    fn lines(&mut self, mut bytes: &[u8], part: &mut impl FnMut(Part<'_>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.partial.is_empty() {
                part(Part::Line(line));
            } else {
                self.partial.extend_from_slice(line);
                part(Part::Line(&self.partial));
                self.partial.clear();
            }
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
    }
}
