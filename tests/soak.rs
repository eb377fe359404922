//! A soak: every example server with clients that come, stall, break off and come back, while each
//! event is checked by its number. It takes `SOAK_SECONDS` (default 30) and runs only when asked:
//! `cargo test --test soak -- --ignored --nocapture`.
#![cfg(target_os = "linux")]

#[path = "common/http1.rs"]
mod http1;
#[path = "common/process.rs"]
mod process;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http1::{field, Client, Stream, PATIENCE};
use process::Process;
use serde_json::Value;

const SERVERS: [&str; 6] = ["demo", "smol", "async_std", "tokio", "axum", "bare"];
const CHANNELS: usize = 4;
const READERS: u64 = 8;
/// Few events are kept, so that a client that stalls misses some.
const HISTORY: &str = "256";
/// The number of the last event of each channel.
const END: u64 = u64::MAX;

/// What the readers of a round saw.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    events: u64,
    resets: u64,
    missed: u64,
    reconnects: u64,
    stalls: u64,
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.resets += other.resets;
        self.missed += other.missed;
        self.reconnects += other.reconnects;
        self.stalls += other.stalls;
    }
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % sides
    }
}

/// Publishes numbered events on all channels until `over`, then the last one on each until all
/// `readers` have it. Returns how many there are on each channel.
fn publish(at: SocketAddr, over: &AtomicBool, readers: &AtomicU64) -> [u64; CHANNELS] {
    let (mut client, mut dice) = (Client::new(at), Dice(7));
    let mut next = [0; CHANNELS];
    while !over.load(Ordering::Relaxed) {
        let channel = dice.roll(CHANNELS as u64) as usize;
        let burst = if dice.roll(4) == 0 { 1 + dice.roll(100) } else { 1 };
        let mut lines = String::new();
        for number in next[channel]..next[channel] + burst {
            writeln!(lines, r#"{{"c":{channel},"n":{number}}}"#).unwrap();
        }
        next[channel] += burst;
        let ids = client.publish_all(&format!("c{channel}"), &lines);
        assert_eq!(ids.len() as u64, burst);
        if dice.roll(8) == 0 {
            thread::sleep(Duration::from_millis(dice.roll(5)));
        }
    }
    // More than once, for readers that were about to come back as new clients.
    while readers.load(Ordering::Relaxed) > 0 {
        for channel in 0..CHANNELS {
            client.publish(&format!("c{channel}"), format!(r#"{{"c":{channel},"n":{END}}}"#));
        }
        thread::sleep(Duration::from_millis(20));
    }
    next
}

/// A client with a mind of its own. It knows for each channel which number must come next.
struct Reader {
    at: SocketAddr,
    dice: Dice,
    channels: Vec<usize>,
    next: [Option<u64>; CHANNELS],
    /// A reset has said that events are missing.
    told: [bool; CHANNELS],
    ended: [bool; CHANNELS],
    last_id: Option<String>,
    sum: Sum,
}

impl Reader {
    fn new(at: SocketAddr, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let first = dice.roll(CHANNELS as u64) as usize;
        let channels = match seed % 2 {
            0 => vec![first],
            _ => (0..CHANNELS).filter(|channel| *channel != first).collect(),
        };
        Self {
            at,
            dice,
            channels,
            next: Default::default(),
            told: Default::default(),
            ended: Default::default(),
            last_id: None,
            sum: Sum::default(),
        }
    }

    /// Reads until each channel has ended, over any number of connections.
    fn read(mut self) -> Self {
        let query: Vec<_> = self.channels.iter().map(|it| format!("channel=c{it}")).collect();
        let target = format!("/events?{}", query.join("&"));
        loop {
            let id = self.last_id.clone();
            let headers: Vec<_> = id.iter().map(|id| ("Last-Event-ID", &**id)).collect();
            let mut stream = Stream::get(self.at, &target, &headers);
            assert_eq!(stream.head.status, 200);
            let frames = self.dice.roll(3000);
            for _ in 0..frames {
                self.frame(&stream.next().expect("a stream has no end"));
                if self.channels.iter().all(|channel| self.ended[*channel]) {
                    return self;
                }
            }
            if self.dice.roll(3) == 0 {
                self.sum.stalls += 1;
                thread::sleep(Duration::from_millis(self.dice.roll(400)));
                // What comes then has waited in the sockets.
                (0..200).for_each(|_| self.frame_unless_over(&mut stream));
            }
            self.sum.reconnects += 1;
            drop(stream);
            if self.dice.roll(10) == 0 && !self.ended.contains(&true) {
                // As a new client: what came in between is not for it.
                self.last_id = None;
                self.next = Default::default();
                self.told = Default::default();
            }
        }
    }

    fn frame_unless_over(&mut self, stream: &mut Stream) {
        if !self.channels.iter().all(|channel| self.ended[*channel]) {
            self.frame(&stream.next().expect("a stream has no end"));
        }
    }

    fn frame(&mut self, frame: &str) {
        if let Some(id) = field(frame, "id") {
            self.last_id = Some(id.to_owned());
        }
        match field(frame, "event") {
            Some("stream-open") => return,
            Some("stream-reset") => {
                self.sum.resets += 1;
                let data: Value = serde_json::from_str(field(frame, "data").unwrap()).unwrap();
                assert_ne!(data["reason"], "unknown", "{frame}");
                for name in data["channels"].as_array().unwrap() {
                    let channel: usize = name.as_str().unwrap()[1..].parse().unwrap();
                    self.told[channel] = true;
                }
                return;
            }
            Some(other) => panic!("{other}"),
            None => {}
        }
        let data: Value = serde_json::from_str(field(frame, "data").unwrap()).unwrap();
        let (channel, number) = (data["c"].as_u64().unwrap() as usize, data["n"].as_u64().unwrap());
        assert!(self.channels.contains(&channel), "{frame}");
        if number == END {
            self.ended[channel] = true;
            return;
        }
        if let Some(next) = self.next[channel] {
            let told = self.told[channel];
            assert!(number == next || (number > next && told), "c{channel}: {next}, {frame}");
            self.sum.missed += number - next;
        }
        (self.next[channel], self.told[channel]) = (Some(number + 1), false);
        self.sum.events += 1;
    }

    /// Nothing may be missing at the end either.
    fn check(self, published: &[u64; CHANNELS]) -> Sum {
        for channel in self.channels {
            let whole = self.next[channel].is_none_or(|next| next == published[channel]);
            assert!(whole || self.told[channel], "c{channel} ended at {:?}", self.next[channel]);
        }
        self.sum
    }
}

/// One reader less.
struct Done<'a>(&'a AtomicU64);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets readers and a publisher work for so long.
fn round(at: SocketAddr, time: Duration) -> Sum {
    let (over, left) = (AtomicBool::new(false), AtomicU64::new(READERS));
    let (over, left) = (&over, &left);
    thread::scope(|scope| {
        let read = move |seed| {
            // Also if it panics, or the publisher would go on for ever.
            let _done = Done(left);
            Reader::new(at, seed).read()
        };
        let readers: Vec<_> = (0..READERS).map(|seed| scope.spawn(move || read(seed))).collect();
        // The first events come when all are there, so that each reader gets an end.
        let mut client = Client::new(at);
        let start = Instant::now();
        while client.stats()["subscriptions"].as_u64() < Some(READERS) {
            assert!(start.elapsed() < PATIENCE, "the readers did not come");
            thread::sleep(Duration::from_millis(10));
        }
        let publisher = scope.spawn(move || publish(at, over, left));
        thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        let published = publisher.join().unwrap();
        let mut sum = Sum::default();
        readers.into_iter().for_each(|reader| sum += reader.join().unwrap().check(&published));
        sum
    })
}

/// Resident memory in KiB and open file descriptors, once all clients are gone.
fn costs(server: &Process, at: SocketAddr) -> (u64, usize) {
    let mut client = Client::new(at);
    let start = Instant::now();
    while client.stats()["subscriptions"] != 0 {
        assert!(start.elapsed() < PATIENCE, "subscriptions stay");
        // A channel that moves shows the server which clients have gone.
        (0..CHANNELS).for_each(|channel| drop(client.publish(&format!("c{channel}"), "0")));
        thread::sleep(Duration::from_millis(50));
    }
    drop(client);
    // A connection that has ended is closed a moment later.
    thread::sleep(Duration::from_millis(500));
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let memory = memory.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    (memory, fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count())
}

#[test]
#[ignore = "takes SOAK_SECONDS"]
fn nothing_is_lost_in_silence_and_nothing_stays_behind() {
    let seconds = env::var("SOAK_SECONDS").map_or(30, |text| text.parse().unwrap());
    let soak = |name: &'static str| {
        let (server, url) = Process::example(name, &[("HISTORY", HISTORY), ("KEEP_ALIVE", "1")]);
        let at = url.strip_prefix("http://").unwrap().parse().unwrap();
        round(at, Duration::from_secs(2));
        let before = costs(&server, at);
        let sum = round(at, Duration::from_secs(seconds));
        let after = costs(&server, at);
        println!("{name}: {sum:?}, KiB and descriptors before {before:?}, after {after:?}");
        assert!(sum.resets > 0 && sum.missed > 0 && sum.stalls > 0, "{name}: too calm: {sum:?}");
        assert_eq!(after.1, before.1, "{name}: file descriptors");
        assert!(after.0 < before.0 + before.0 / 4 + 4096, "{name}: memory");
        sum
    };
    let mut sum = Sum::default();
    thread::scope(|scope| {
        let servers = SERVERS.map(|name| scope.spawn(move || soak(name)));
        servers.into_iter().for_each(|server| sum += server.join().unwrap());
    });
    println!("all: {sum:?}, silent losses: 0");
}
