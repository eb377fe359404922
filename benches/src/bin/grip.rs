//! How fast events go out through a real Pushpin: one POST per event against batches, and batches
//! beside a dead endpoint.

#[path = "../../../tests/common/pushpin.rs"]
mod pushpin;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use eventstream::grip::Endpoint;
use eventstream::{Event, EventStream, Limits};
use futures::executor::block_on;
use futures::future::join_all;
use pushpin::{free_port, Pushpin, Setup};

const SINGLY: usize = 1_000;
const TOGETHER: usize = 20_000;
const TURNS: usize = 5;
/// The channel on which the proxy holds every client.
const CHANNEL: &str = "bench";

fn main() -> ExitCode {
    let origin = origin();
    let setup = Setup {
        origin,
        front: free_port(),
        control: free_port(),
        sig_iss: "pushpin",
        sig_key: "changeme",
    };
    let Some(proxy) = Pushpin::start(&setup) else { return ExitCode::FAILURE };
    let live = Endpoint::new(format!("http://{}/", setup.control)).expect("a control URI");
    let dead = Endpoint::new(format!("http://{}/", free_port())).expect("a control URI");

    let (mut batching, mut beside_dead) = (Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        eprintln!("turn {turn} of {TURNS}");
        let singly = rate(proxy.front, vec![live.clone()], SINGLY, true);
        let together = rate(proxy.front, vec![live.clone()], TOGETHER, false);
        let with_dead = rate(proxy.front, vec![live.clone(), dead.clone()], TOGETHER, false);
        println!(
            "one POST an event {singly:.0}/s, without waiting {together:.0}/s, \
             beside a dead endpoint {with_dead:.0}/s"
        );
        batching.push(together / singly);
        beside_dead.push(with_dead / together);
    }
    let (batching, beside_dead) = (median(batching), median(beside_dead));
    let met = [
        verdict("without waiting / one POST an event", batching, 15.0),
        verdict("beside a dead endpoint / without it", beside_dead, 0.9),
    ];
    if met == [true, true] {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn verdict(what: &str, ratio: f64, at_least: f64) -> bool {
    let met = ratio >= at_least;
    println!(
        "{what:<40} {ratio:>6.2}   at least {at_least:>5.2}   {}",
        if met { "pass" } else { "miss" }
    );
    met
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Events per second from the first call until the first endpoint has accepted all. Asserts that a
/// client behind the proxy gets them all, in order.
fn rate(front: SocketAddr, endpoints: Vec<Endpoint>, events: usize, wait_for_each: bool) -> f64 {
    let limits = Limits::default().grip_queue(events);
    let stream = EventStream::builder().grip(endpoints).limits(limits).build().expect("a stream");
    let client = client(front, events);
    let start = Instant::now();
    if wait_for_each {
        for n in 0..events {
            block_on(stream.publish(CHANNEL, Event::new("n").json(&n))).expect("published");
        }
    } else {
        let publishing: Vec<_> =
            (0..events).map(|n| stream.publish(CHANNEL, Event::new("n").json(&n))).collect();
        while stream.stats().grip[0].accepted < events as u64 {
            thread::sleep(Duration::from_millis(1));
        }
        let elapsed = start.elapsed();
        client.join().expect("all arrived in order");
        // A dead endpoint takes its time to fail, so it is not waited for.
        if stream.stats().grip.len() == 1 {
            assert!(block_on(join_all(publishing)).iter().all(Result::is_ok));
        }
        return events as f64 / elapsed.as_secs_f64();
    }
    let elapsed = start.elapsed();
    client.join().expect("all arrived in order");
    events as f64 / elapsed.as_secs_f64()
}

/// Reads until all events have come, and asserts that they come in order.
fn client(front: SocketAddr, events: usize) -> JoinHandle<()> {
    let answer = ureq::get(format!("http://{front}/events")).call().expect("an answer");
    let lines =
        BufReader::new(answer.into_body().into_reader()).lines().map(|line| line.expect("text"));
    // The proxy begins to hold a client only a moment after it has answered it.
    thread::sleep(Duration::from_millis(200));
    thread::spawn(move || {
        let mut data = lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        for n in 0..events {
            assert_eq!(data.next(), Some(n.to_string()));
        }
    })
}

/// An origin that answers every request with a hold.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { continue };
            thread::spawn(move || {
                while socket.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    let hold = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                         Grip-Hold: stream\r\nGrip-Channel: events-{CHANNEL}\r\n\
                         Content-Length: 0\r\n\r\n"
                    );
                    if socket.write_all(hold.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    at
}
