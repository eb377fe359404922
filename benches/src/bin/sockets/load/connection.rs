//! One client, and what it has received.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::decoder::{Decoder, Part};
use super::latency::Latencies;
use crate::order::{now, AT, SEQ};

/// Connections from one address: fewer than an address has ports.
const PER_ADDRESS: usize = 4000;

/// What all connections of a phase have received together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Deliveries still to come.
    pub(super) left: u64,
    /// Answers with status 200 so far.
    pub(super) answered: usize,
    pub(super) duplicates: u64,
    pub(super) out_of_order: u64,
    /// Data of another channel, or data that was never published.
    pub(super) foreign: u64,
    /// Connections that ended or were refused.
    pub(super) ended: u64,
    pub(super) latencies: Latencies,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    decoder: Decoder,
    received: Received,
}

#[derive(Debug)]
struct Received {
    /// Whether the connection is on the channel that events are published on.
    concerned: bool,
    /// The seq that comes next.
    next: u64,
    /// Seqs that were passed over.
    gaps: Vec<Range<u64>>,
}

impl Connection {
    /// Connects and asks for the events of channel `channel`.
    pub(super) fn open(to: SocketAddr, index: usize, channel: usize) -> io::Result<Self> {
        let socket = connect(to, index)?;
        let mut socket = TcpStream::from_std(socket);
        let request = format!(
            "GET /events/c{channel} HTTP/1.1\r\nHost: localhost\r\n\
             Accept: text/event-stream\r\n\r\n"
        );
        // A new socket has room for the request.
        socket.write_all(request.as_bytes())?;
        let received = Received { concerned: channel == 0, next: 0, gaps: Vec::new() };
        Ok(Self { socket, decoder: Decoder::default(), received })
    }

    /// Begins a phase whose first event is `from`; true if this connection will receive it.
    pub(super) fn expect(&mut self, from: u64) -> bool {
        self.received.next = from;
        self.received.gaps.clear();
        self.received.concerned
    }

    /// Reads all there is.
    pub(super) fn read(&mut self, buffer: &mut [u8], tally: &mut Tally) {
        let Self { socket, decoder, received } = self;
        loop {
            match socket.read(buffer) {
                Ok(0) => {
                    tally.ended += 1;
                    return;
                }
                Ok(read) => {
                    let now = now();
                    decoder.feed(&buffer[..read], |part| match part {
                        Part::Head(head) if head.status == 200 => tally.answered += 1,
                        Part::Head(_) => tally.ended += 1,
                        Part::Line(line) => {
                            if let Some(data) = line.strip_prefix(b"data:") {
                                received.data(data.trim_ascii(), now, tally);
                            }
                        }
                    });
                    // A short read has emptied the socket: epoll reports when more comes.
                    if read < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    tally.ended += 1;
                    return;
                }
            }
        }
    }
}

impl Received {
    fn data(&mut self, data: &[u8], now: u64, tally: &mut Tally) {
        // It is a greeting or a keep-alive.
        if data.is_empty() {
            return;
        }
        let Some((seq, at)) = parse(data).filter(|_| self.concerned) else {
            tally.foreign += 1;
            return;
        };
        if seq == self.next {
            self.next += 1;
        } else if seq > self.next {
            self.gaps.push(self.next..seq);
            self.next = seq + 1;
        } else if self.fill(seq) {
            tally.out_of_order += 1;
        } else {
            tally.duplicates += 1;
            return;
        }
        tally.left = tally.left.saturating_sub(1);
        tally.latencies.add(now.saturating_sub(at));
    }

    /// True if this seq was passed over before.
    fn fill(&mut self, seq: u64) -> bool {
        let Some(index) = self.gaps.iter().position(|gap| gap.contains(&seq)) else { return false };
        let gap = self.gaps.swap_remove(index);
        self.gaps
            .extend([gap.start..seq, seq + 1..gap.end].into_iter().filter(|gap| !gap.is_empty()));
        true
    }
}

fn parse(data: &[u8]) -> Option<(u64, u64)> {
    let (seq, rest) = number(data.strip_prefix(SEQ.as_bytes())?);
    let (at, _) = number(rest.strip_prefix(AT.as_bytes())?);
    Some((seq, at))
}

fn number(digits: &[u8]) -> (u64, &[u8]) {
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    (digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')), rest)
}

/// Connects from one of several addresses, because one has too few ports. The socket closes by
/// reset, because otherwise its port could not be used again for a while.
fn connect(to: SocketAddr, index: usize) -> io::Result<std::net::TcpStream> {
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2 + (index / PER_ADDRESS) as u8), 0));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(10))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
