//! The load generator: a process that opens connections, has events published, and accounts for
//! each delivery.
//!
//! It obeys commands on its standard input and answers each with a line; see [`Command`] and
//! [`Answer`].

mod connection;
mod decoder;
mod latency;

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use self::connection::{Connection, Tally};
use self::decoder::{Decoder, Part};
use crate::accounts::Accounts;
use crate::order::{data, SMALL};

#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Command {
    /// Closes the connections that are open, and opens others, spread evenly over channels. All
    /// events go to the first channel.
    Open { to: SocketAddr, connections: usize, channels: usize, dialect: Dialect },
    /// Publishes until every connection has received an event, and then some more.
    WarmUp,
    /// Has events published in rounds; each begins when all events of the round before have reached
    /// every connection.
    Publish { rounds: u64, events: u64, size: usize, as_batch: bool },
    /// Closes all connections by reset.
    Close,
}

/// How a server is told to publish.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Dialect {
    /// By an [`Order`](crate::order::Order).
    Order,
    /// By one POST for each event, whose body is the data.
    Post,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Answer {
    /// `because` says why there are fewer connections than were asked for.
    Opened {
        connections: usize,
        because: Option<String>,
    },
    Published(Outcome),
    Closed,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) accounts: Accounts,
    /// From the timestamp of an event to its arrival, microseconds.
    pub(crate) latency_median: f64,
    pub(crate) latency_99: f64,
    /// Nanoseconds that a publish took in the server, if it reports them: the median of the rounds.
    pub(crate) publish: Option<f64>,
}

/// How many connections are opened before their answers are awaited: fewer than a listener's
/// backlog.
const AT_ONCE: usize = 100;
/// After this time without any progress, deliveries that have not come are missing.
const PATIENCE: Duration = Duration::from_secs(10);
const CONTROL: Token = Token(usize::MAX);

pub(crate) fn run() -> io::Result<()> {
    let mut load = Load::new()?;
    for line in io::stdin().lock().lines() {
        let command = serde_json::from_str(&line?)?;
        let answer = match command {
            Command::Open { to, connections, channels, dialect } => {
                load.open(to, connections, channels, dialect)?
            }
            Command::WarmUp => Answer::Published(load.warm_up()?),
            Command::Publish { rounds, events, size, as_batch } => {
                Answer::Published(load.publish(rounds, events, size, as_batch, PATIENCE)?)
            }
            Command::Close => {
                load.close();
                Answer::Closed
            }
        };
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

struct Load {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    connections: Vec<Connection>,
    control: Option<Control>,
    tally: Tally,
    /// The first seq that was never published.
    next: u64,
}

impl Load {
    fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; 256 * 1024],
            connections: Vec::new(),
            control: None,
            tally: Tally::default(),
            next: 1,
        })
    }

    fn open(
        &mut self,
        to: SocketAddr,
        connections: usize,
        channels: usize,
        dialect: Dialect,
    ) -> io::Result<Answer> {
        self.close();
        self.tally = Tally::default();
        let mut because = None;
        while self.connections.len() < connections && because.is_none() {
            for index in self.connections.len()..connections.min(self.connections.len() + AT_ONCE) {
                match Connection::open(to, index, index % channels) {
                    Ok(mut connection) => {
                        self.poll.registry().register(
                            &mut connection.socket,
                            Token(index),
                            Interest::READABLE,
                        )?;
                        self.connections.push(connection);
                    }
                    Err(error) => {
                        because = Some(error.to_string());
                        break;
                    }
                }
            }
            let all = self.connections.len();
            if !self.pump(PATIENCE, |tally, _| tally.answered == all)? {
                because = Some(format!("{} of {all} were answered", self.tally.answered));
            }
        }
        self.control = Some(Control::open(to, dialect, &self.poll)?);
        Ok(Answer::Opened { connections: self.connections.len(), because })
    }

    /// Some servers answer a request before they have subscribed the client: if one missed the
    /// event, another is published. Then come enough events for a just-in-time compiler.
    fn warm_up(&mut self) -> io::Result<Outcome> {
        const ENOUGH: u64 = 20_000;
        for _ in 0..5 {
            let patience = Duration::from_secs(2);
            if self.publish(1, 1, SMALL, false, patience)?.accounts.missing == 0 {
                break;
            }
        }
        let rounds = (ENOUGH / self.connections.len().max(1) as u64).clamp(2, 200);
        self.publish(rounds, 1, SMALL, false, PATIENCE)
    }

    fn publish(
        &mut self,
        rounds: u64,
        events: u64,
        size: usize,
        as_batch: bool,
        patience: Duration,
    ) -> io::Result<Outcome> {
        let from = self.next;
        self.next += rounds * events;
        let crowd = self
            .connections
            .iter_mut()
            .filter_map(|connection| connection.expect(from).then_some(()))
            .count();
        let each_round = crowd as u64 * events;
        self.tally = Tally::default();
        let mut publishing = Vec::new();
        let mut missing = 0;
        for round in 0..rounds {
            self.tally.left += each_round;
            let Some(control) = &mut self.control else { break };
            control.publish(from + round * events, events, size, as_batch)?;
            if !self.pump(patience, |tally, control| tally.left == 0 && control.is_idle())? {
                missing = self.tally.left + (rounds - round - 1) * each_round;
                break;
            }
            publishing.extend(
                self.control
                    .as_ref()
                    .and_then(|control| control.took)
                    .map(|took| took / events as f64),
            );
        }
        publishing.sort_by(f64::total_cmp);
        Ok(Outcome {
            accounts: Accounts {
                deliveries: rounds * each_round - missing,
                missing,
                duplicates: self.tally.duplicates,
                out_of_order: self.tally.out_of_order,
                foreign: self.tally.foreign,
                ended: self.tally.ended,
            },
            latency_median: self.tally.latencies.quantile(0.5),
            latency_99: self.tally.latencies.quantile(0.99),
            publish: publishing.get(publishing.len() / 2).copied(),
        })
    }

    fn close(&mut self) {
        self.connections.clear();
        self.control = None;
    }

    /// Reads what arrives until it is enough; false if nothing more arrives.
    fn pump(
        &mut self,
        patience: Duration,
        enough: impl Fn(&Tally, &Control) -> bool,
    ) -> io::Result<bool> {
        let nobody = Control::default();
        let mut last = Instant::now();
        while !enough(&self.tally, self.control.as_ref().unwrap_or(&nobody)) {
            match self.poll.poll(&mut self.events, Some(Duration::from_millis(200))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let before = (self.tally.left, self.tally.answered);
            let mut control_came = false;
            for event in &self.events {
                if event.token() == CONTROL {
                    control_came = true;
                    if let Some(control) = &mut self.control {
                        control.read(&mut self.buffer)?;
                    }
                } else if let Some(connection) = self.connections.get_mut(event.token().0) {
                    connection.read(&mut self.buffer, &mut self.tally);
                }
            }
            if control_came || before != (self.tally.left, self.tally.answered) {
                last = Instant::now();
            } else if last.elapsed() > patience {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The connection over which the server is asked to publish.
#[derive(Default)]
struct Control {
    socket: Option<TcpStream>,
    dialect: Option<Dialect>,
    decoder: Decoder,
    /// Whether an answer is still to come.
    waiting: bool,
    /// Seqs still to be posted, and the size of their data.
    to_post: std::ops::Range<u64>,
    size: usize,
    /// How long the last publishing took, once it is answered.
    took: Option<f64>,
}

impl Control {
    fn open(to: SocketAddr, dialect: Dialect, poll: &Poll) -> io::Result<Self> {
        let socket = std::net::TcpStream::connect(to)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        poll.registry().register(&mut socket, CONTROL, Interest::READABLE)?;
        Ok(Self { socket: Some(socket), dialect: Some(dialect), ..Self::default() })
    }

    fn is_idle(&self) -> bool {
        !self.waiting
    }

    fn publish(&mut self, from: u64, events: u64, size: usize, as_batch: bool) -> io::Result<()> {
        self.took = None;
        match self.dialect {
            Some(Dialect::Post) => {
                self.to_post = from..from + events;
                self.size = size;
                self.post()
            }
            _ => {
                let way = if as_batch { "batch" } else { "singly" };
                let target =
                    format!("/publish/c0?from={from}&events={events}&size={size}&way={way}");
                self.send(&target, "")
            }
        }
    }

    fn post(&mut self) -> io::Result<()> {
        match self.to_post.next() {
            Some(seq) => self.send("/publish/c0", &data(seq, self.size)),
            None => Ok(()),
        }
    }

    fn send(&mut self, target: &str, body: &str) -> io::Result<()> {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let socket = self.socket.as_mut().ok_or(ErrorKind::NotConnected)?;
        self.waiting = true;
        // The last request was answered, so the socket has room.
        socket.write_all(request.as_bytes())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            let Some(socket) = &mut self.socket else { return Ok(()) };
            match socket.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    let mut answer = None;
                    self.decoder.feed(&buffer[..read], |part| {
                        if let Part::Head(head) = part {
                            answer = Some(head);
                        }
                    });
                    let Some(head) = answer else { continue };
                    if !(200..300).contains(&head.status) {
                        return Err(io::Error::other(format!(
                            "publishing was answered with {}",
                            head.status
                        )));
                    }
                    self.took = head.took.map(|took| took as f64);
                    self.waiting = false;
                    self.post()?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
