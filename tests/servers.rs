//! Every example server keeps the same promises, over real sockets and in a separate process.

#[path = "common/http1.rs"]
mod http1;
#[path = "common/process.rs"]
mod process;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use http1::{field, request, Client, Stream, KEEP_ALIVE, PATIENCE};
use process::Process;

/// These facts, for this server.
macro_rules! facts {
    ($server:ident: $($fact:ident)*) => {
        mod $server {
            $(#[test]
            fn $fact() {
                super::$fact(stringify!($server));
            })*
        }
    };
}

/// Every fact, for each of these servers.
macro_rules! servers {
    ($($server:ident)*) => {
        $(facts! { $server:
            a_stream_has_these_headers_and_frames_and_no_others
            a_client_of_http_1_0_gets_no_chunks
            head_gets_the_headers_and_an_end
            a_wrong_method_is_answered_with_the_right_ones
            accept_decides_whether_there_is_a_stream
            what_is_not_there_is_404_and_what_is_wrong_is_400
            what_cannot_be_published_is_refused_with_the_reason
            a_client_that_waits_for_100_continue_is_told_to_go_on
            a_client_that_comes_back_gets_what_it_missed_and_no_more
            a_client_that_missed_too_much_gets_a_reset
            a_silent_stream_is_kept_alive
            ten_thousand_events_arrive_in_order
            a_hundred_publishers_at_once_lose_and_repeat_nothing
            a_slow_reader_delays_nobody_and_gets_a_reset_for_what_it_missed
            clients_that_reset_leave_nothing_behind
            ctrl_c_ends_a_hundred_streams_properly
            a_stuck_reader_delays_the_end_until_it_is_overdue_or_ctrl_c_comes_again
        })*
    };
}

servers! { demo smol async_std tokio axum bare }

/// All servers at once, because they wait for it.
#[test]
fn a_client_that_does_not_finish_the_head_of_a_request_is_let_go_after_ten_seconds() {
    let servers = ["demo", "smol", "async_std", "tokio", "axum", "bare"];
    let servers: Vec<_> = servers.map(|name| (name, Server::start(name, &[]))).into();
    let heads = ["", "GET /stats HTTP/1.1\r\nHost: ", "PRI * HTTP/2.0\r\n"];
    // Opened first, so that their ten seconds are over too.
    let streams: Vec<_> =
        servers.iter().map(|(_, server)| Stream::open(server.at, "/events/a").0).collect();
    let mut clients = Vec::new();
    for ((name, server), head) in servers.iter().flat_map(|server| heads.map(|head| (server, head)))
    {
        let mut socket = TcpStream::connect(server.at).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        clients.push((name, head, Instant::now(), socket));
    }
    for (name, head, since, mut socket) in clients {
        let mut answer = String::new();
        let ended = socket.read_to_string(&mut answer);
        ended.unwrap_or_else(|error| panic!("{name} after {head:?}: {error}"));
        assert!(!answer.contains(" 200 "), "{name} after {head:?}: {answer}");
        if !head.starts_with("PRI") {
            // One that speaks only HTTP/1 refuses that one at once.
            assert!(since.elapsed() > Duration::from_secs(9), "{name}: {:?}", since.elapsed());
        }
    }
    // Those that have asked for something stay.
    for ((_, server), mut stream) in servers.into_iter().zip(streams) {
        let id = server.client().publish("a", "1");
        assert_eq!(stream.next(), Some(format!("id: {id}\ndata: 1\n\n")));
        server.end();
    }
}

struct Server {
    process: Process,
    at: SocketAddr,
}

impl Server {
    fn start(name: &'static str, environment: &[(&str, &str)]) -> Self {
        let (process, url) = Process::example(name, environment);
        let at = url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { process, at }
    }

    fn client(&self) -> Client {
        Client::new(self.at)
    }

    /// Ends the server as a person would, and asserts that nothing went wrong in it.
    fn end(self) {
        if cfg!(unix) {
            self.process.signal("INT");
            self.ended();
        }
    }

    fn ended(self) {
        let (status, errors) = self.process.ended();
        assert_eq!(errors, "");
        assert_eq!(status.code(), Some(0));
    }
}

/// What comes before the hyphen in an id that the server made: 13 characters.
fn epoch(id: &str) -> &str {
    let (epoch, _) = id.split_once('-').unwrap();
    assert_eq!(epoch.len(), 13, "{id}");
    let digit = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    assert!(epoch.bytes().all(digit), "{id}");
    epoch
}

fn wait_until(what: &str, within: Duration, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn a_stream_has_these_headers_and_frames_and_no_others(name: &'static str) {
    let server = Server::start(name, &[]);
    for target in ["/events/lobby", "/events?channel=lobby&channel=b"] {
        let (mut stream, position) = Stream::open(server.at, target);
        let epoch = epoch(&position);
        let mut headers = stream.head.headers.clone();
        headers.retain(|(name, _)| name != "date");
        let mut expected = vec![
            ("cache-control", "no-cache, no-transform"),
            ("content-type", "text/event-stream"),
            ("transfer-encoding", "chunked"),
            ("vary", "Accept"),
            ("x-accel-buffering", "no"),
        ];
        if name == "bare" {
            // It serves one request per connection, and has to say so.
            expected.insert(1, ("connection", "close"));
        }
        let expected: Vec<_> =
            expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!((stream.head.status, headers), (200, expected));

        let first: u64 = position.split_once('-').unwrap().1.parse().unwrap();
        let mut client = server.client();
        let named = client.publish("lobby?event=greeting&retry=1500", r#"{"hello":"world"}"#);
        let plain = client.publish("lobby", "[1,\n2]");
        let own = client.publish("lobby?id=my%20own", "\"\u{e9}\"");
        assert_eq!(
            [named, plain, own],
            [format!("{epoch}-{}", first + 1), format!("{epoch}-{}", first + 2), "my own".into()]
        );
        assert_eq!(
            stream.take(3),
            format!(
                "id: {epoch}-{}\nevent: greeting\nretry: 1500\ndata: {{\"hello\":\"world\"}}\n\n\
                 id: {epoch}-{}\ndata: [1,\ndata: 2]\n\n\
                 id: my own\ndata: \"\u{e9}\"\n\n",
                first + 1,
                first + 2,
            )
        );
    }
    server.end();
}

fn a_client_of_http_1_0_gets_no_chunks(name: &'static str) {
    let server = Server::start(name, &[]);
    let mut stream = Stream::send(server.at, b"GET /events/a HTTP/1.0\r\n\r\n");
    assert_eq!(stream.head.header("transfer-encoding"), None);
    assert_eq!(stream.head.header("content-length"), None);
    let open = stream.next().unwrap();
    assert!(open.ends_with("\nevent: stream-open\ndata: \n\n"), "{open:?}");
    let id = server.client().publish("a", "1");
    assert_eq!(stream.next(), Some(format!("id: {id}\ndata: 1\n\n")));
    server.process.signal("INT");
    assert_eq!(stream.next(), None);
    server.ended();
}

fn head_gets_the_headers_and_an_end(name: &'static str) {
    let server = Server::start(name, &[]);
    let mut client = server.client();
    let without_framing = |head: &http1::Head| {
        let mut headers = head.headers.clone();
        headers.retain(|(name, _)| !matches!(&**name, "date" | "transfer-encoding"));
        (head.status, headers)
    };
    for target in ["/events/a", "/events?channel=a"] {
        let (head, _) = client.call("HEAD", target, &[], b"");
        let (stream, _) = Stream::open(server.at, target);
        assert_eq!(without_framing(&head), without_framing(&stream.head));
    }
    for target in ["/", "/stats", "/nowhere", "/events/a/b", "/events"] {
        let (head, _) = client.call("HEAD", target, &[], b"");
        assert_eq!(without_framing(&head), without_framing(&client.get(target).0));
    }
    wait_until("no subscription is left", PATIENCE, || client.stats()["subscriptions"] == 0);
    server.end();
}

fn a_wrong_method_is_answered_with_the_right_ones(name: &'static str) {
    let server = Server::start(name, &[]);
    let mut client = server.client();
    for (target, methods, allowed) in [
        ("/events/a", ["POST", "PUT", "OPTIONS"], "GET, HEAD"),
        ("/events?channel=a", ["POST", "DELETE", "OPTIONS"], "GET, HEAD"),
        ("/", ["POST", "PATCH", "OPTIONS"], "GET, HEAD"),
        ("/stats", ["POST", "PUT", "DELETE"], "GET, HEAD"),
        ("/publish/a", ["GET", "PUT", "OPTIONS"], "POST"),
    ] {
        for method in methods {
            let (head, text) = client.call(method, target, &[], b"");
            assert_eq!(
                (head.status, head.header("allow")),
                (405, Some(allowed)),
                "{method} {target}"
            );
            assert_eq!(head.header("content-length"), Some("20"));
            assert_eq!(text, "Method Not Allowed.\n");
        }
    }
    // The server refuses this before it has read the body, and the answer still arrives.
    let (head, text) = server.client().call("POST", "/events/a", &[], &[b' '; 100_000]);
    assert_eq!((head.status, &*text), (405, "Method Not Allowed.\n"));
    server.end();
}

fn accept_decides_whether_there_is_a_stream(name: &'static str) {
    let server = Server::start(name, &[]);
    let mut client = server.client();
    for accept in [
        "",
        "text/event-stream",
        "*/*",
        "text/*;q=0.1",
        "text/html, text/event-stream; charset=utf-8",
    ] {
        let stream = Stream::get(server.at, "/events/a", &[("Accept", accept)]);
        assert_eq!(stream.head.status, 200, "{accept:?}");
    }
    for target in ["/events/a", "/events?channel=a"] {
        for accept in ["application/json", "text/event-stream;q=0", "*/*, text/event-stream;q=0"] {
            let (head, text) = client.call("GET", target, &[("Accept", accept)], b"");
            assert_eq!((head.status, &*text), (406, "Not Acceptable.\n"), "{accept:?}");
            assert_eq!(head.header("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!(head.header("content-length"), Some("16"));
            assert_eq!(head.header("vary"), Some("Accept"));
        }
    }
    server.end();
}

fn what_is_not_there_is_404_and_what_is_wrong_is_400(name: &'static str) {
    let server = Server::start(name, &[]);
    let mut client = server.client();
    for target in ["/nowhere", "/events/", "/events/a/b", "/publish/", "/publish/a/b", "/stats/"] {
        let (head, text) = client.get(target);
        assert_eq!((head.status, &*text), (404, "Not Found.\n"), "{target}");
    }
    let many: String =
        (0..101).fold("/events?".into(), |query, number| query + &format!("channel={number}&"));
    for (target, why) in [
        ("/events", "No specified channels.\n"),
        ("/events?channel=%20", "No specified channels.\n"),
        ("/events/%FF", "\"channel\""),
        ("/events/a?lastEventId=error", "last-event-id header may not be 'error'.\n"),
        (&many, "limit of 100"),
    ] {
        let (head, text) = client.get(target);
        assert_eq!(head.status, 400, "{target}: {text}");
        assert!(text.contains(why), "{target}: {text}");
        assert_eq!(head.header("content-length"), Some(&*text.len().to_string()));
    }
    server.end();
}

fn what_cannot_be_published_is_refused_with_the_reason(name: &'static str) {
    let server = Server::start(name, &[]);
    let mut client = server.client();
    let (mut stream, _) = Stream::open(server.at, "/events/a");
    let (json, ndjson) = (&[][..], &[("Content-Type", "application/x-ndjson")][..]);
    let full = "0".repeat((1 << 20) - 2);
    let over = format!("\"{full}0\"");
    let lines = "1\n".repeat(8 << 20);
    for (target, headers, body, status, why) in [
        ("a", json, "{", 400, "The body is not JSON: "),
        ("a", json, "", 400, "The body is not JSON: "),
        ("a?retry=soon", json, "1", 400, "Parameter \"retry\" "),
        ("a?event=a%0Ab", json, "1", 400, "line feed"),
        ("a?id=error", json, "1", 400, "Not published: "),
        ("a?id=%FF", json, "1", 400, "Parameter \"id\" is not UTF-8."),
        ("%FF", json, "1", 400, "not UTF-8"),
        ("%20", json, "1", 400, "Not published: "),
        ("a?id=b", ndjson, "1\n2\n", 400, "Parameter \"id\" "),
        ("a", ndjson, "1\n{\n3\n", 400, "Line 2 is not JSON: "),
        ("a", json, &over, 413, "limit"),
        ("a", ndjson, &over, 413, "limit"),
        ("a", ndjson, &lines, 413, "batch exceeds the 1024 events that a channel keeps"),
        ("a", ndjson, &(lines.clone() + "\n"), 413, "limit of 16777216 bytes"),
    ] {
        let (head, text) =
            client.call("POST", &format!("/publish/{target}"), headers, body.as_bytes());
        assert_eq!(head.status, status, "{target} {why}: {text}");
        assert!(text.contains(why), "{target} {why}: {text}");
    }
    // None of these was published, and data just within the limit is.
    let id = client.publish("a", format!("\"{full}\""));
    assert_eq!(stream.next(), Some(format!("id: {id}\ndata: \"{full}\"\n\n")));
    server.end();
}

fn a_client_that_waits_for_100_continue_is_told_to_go_on(name: &'static str) {
    let server = Server::start(name, &[]);
    let mut socket = TcpStream::connect(server.at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head =
        "POST /publish/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut answer = [0; 25];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, go_on);
    socket.write_all(b"1").unwrap();
    socket.read_exact(&mut answer[..15]).unwrap();
    assert_eq!(&answer[..15], b"HTTP/1.1 200 OK");
    server.end();
}

fn a_client_that_comes_back_gets_what_it_missed_and_no_more(name: &'static str) {
    let server = Server::start(name, &[]);
    let mut client = server.client();
    let (stream, position) = Stream::open(server.at, "/events?channel=a&channel=b");
    drop(stream);
    let published: Vec<_> = ["a", "b", "c", "a", "b"]
        .iter()
        .zip(1..)
        .map(|(channel, n)| (client.publish(channel, n.to_string()), n))
        .collect();
    let frames = |numbers: &[usize]| -> String {
        numbers
            .iter()
            .map(|&n| format!("id: {}\ndata: {}\n\n", published[n - 1].0, published[n - 1].1))
            .collect()
    };
    let open = |id: &str| format!("id: {id}\nevent: stream-open\ndata: \n\n");
    let mut came_back = Vec::new();
    for (target, after, missed) in [
        ("/events?channel=a&channel=b", &position, &[1, 2, 4, 5][..]),
        ("/events?channel=b&channel=a", &published[1].0, &[4, 5]),
        ("/events/a", &published[0].0, &[4]),
        ("/events/a", &published[4].0, &[]),
        // The id of an event on another channel is a known position too.
        ("/events/b", &published[2].0, &[5]),
    ] {
        let by_header = Stream::get(server.at, target, &[("Last-Event-ID", after)]);
        let query = if target.contains('?') { '&' } else { '?' };
        let by_query = Stream::get(server.at, &format!("{target}{query}lastEventId={after}"), &[]);
        for mut stream in [by_header, by_query] {
            assert_eq!(
                stream.take(1 + missed.len()),
                open(after) + &frames(missed),
                "{target} after {after}"
            );
            came_back.push(stream);
        }
    }
    let live = ["a", "b"].map(|channel| {
        let id = client.publish(&format!("{channel}?event=live"), "0");
        format!("id: {id}\nevent: live\ndata: 0\n\n")
    });
    for (mut stream, sees) in
        came_back.into_iter().zip([&live[..], &live, &live, &live, &live[..1], &live[..1]])
    {
        assert_eq!(stream.take(sees.len()), sees.concat());
    }
    server.end();
}

fn a_client_that_missed_too_much_gets_a_reset(name: &'static str) {
    let server = Server::start(name, &[("HISTORY", "2")]);
    let mut client = server.client();
    let ids: Vec<_> = (1..=5).map(|number| client.publish("a", number.to_string())).collect();
    let back = |id: &[u8]| {
        let request =
            [b"GET /events/a HTTP/1.1\r\nHost: a\r\nLast-Event-ID: ", id, b"\r\n\r\n"].concat();
        Stream::send(server.at, &request)
    };
    let reset = |id: &str, reason: &str| {
        let data = format!("{{\"channels\":[\"a\"],\"reason\":\"{reason}\"}}");
        format!("id: {id}\nevent: stream-reset\ndata: {data}\n\n")
    };
    let frames = format!("id: {}\ndata: 4\n\nid: {}\ndata: 5\n\n", ids[3], ids[4]);

    let open = format!("id: {}\nevent: stream-open\ndata: \n\n", ids[1]);
    assert_eq!(back(ids[1].as_bytes()).take(4), open + &reset(&ids[1], "evicted") + &frames);
    // This client has missed only events that are still kept.
    let open = format!("id: {}\nevent: stream-open\ndata: \n\n", ids[2]);
    assert_eq!(back(ids[2].as_bytes()).take(3), open + &frames);

    let beyond = format!("{}-6", epoch(&ids[0]));
    let unknown: [&[u8]; 5] = [
        b"0000000000000-1",
        b"somebody's own",
        beyond.as_bytes(),
        b"\xff\xfe",
        "\u{e9}".as_bytes(),
    ];
    for id in unknown {
        let mut stream = back(id);
        let expected = "event: stream-open\ndata: \n\n".to_owned() + &reset(&ids[4], "unknown");
        assert_eq!(stream.take(2), expected, "{:?}", id.escape_ascii().to_string());
    }
    let mut stream = back(b"unknown");
    stream.take(2);
    let live = client.publish("a", "6");
    assert_eq!(stream.next(), Some(format!("id: {live}\ndata: 6\n\n")));
    server.end();
}

fn a_silent_stream_is_kept_alive(name: &'static str) {
    let server = Server::start(name, &[("KEEP_ALIVE", "1")]);
    let start = Instant::now();
    let (mut stream, _) = Stream::open(server.at, "/events/a");
    for count in 1..=2 {
        assert_eq!(stream.next_of_all().as_deref(), Some(KEEP_ALIVE));
        // It may come a tenth early, so that a crowd spreads out.
        assert!(
            start.elapsed() >= count * Duration::from_millis(900),
            "{count} after {:?}",
            start.elapsed()
        );
    }
    server.end();
}

fn ten_thousand_events_arrive_in_order(name: &'static str) {
    let server = Server::start(name, &[("HISTORY", "10000")]);
    let (mut stream, _) = Stream::open(server.at, "/events/a");
    let mut client = server.client();
    let publishing = thread::spawn(move || {
        let mut ids = Vec::new();
        while ids.len() < 10_000 {
            let mut lines = String::new();
            for number in ids.len()..ids.len() + 90 {
                writeln!(lines, "{number}").unwrap();
            }
            ids.extend(client.publish_all("a", &lines));
            for number in ids.len()..ids.len() + 10 {
                ids.push(client.publish("a", number.to_string()));
            }
        }
        ids
    });
    let received: Vec<_> = (0..10_000).map(|_| stream.next().unwrap()).collect();
    let ids = publishing.join().unwrap();
    for (number, (frame, id)) in received.iter().zip(&ids).enumerate() {
        assert_eq!(*frame, format!("id: {id}\ndata: {number}\n\n"));
    }
    server.end();
}

fn a_hundred_publishers_at_once_lose_and_repeat_nothing(name: &'static str) {
    const EACH: usize = 20;
    let server = Server::start(name, &[("HISTORY", "2000")]);
    let (mut stream, _) = Stream::open(server.at, "/events/a");
    let publishers: Vec<_> = (0..100)
        .map(|publisher| {
            let mut client = server.client();
            thread::spawn(move || {
                (0..EACH)
                    .map(|n| client.publish("a", format!("[{publisher},{n}]")))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let received: Vec<_> = (0..100 * EACH).map(|_| stream.next().unwrap()).collect();
    let mut next = [0; 100];
    let mut by_publisher: Vec<Vec<String>> = vec![Vec::new(); 100];
    for frame in &received {
        let [publisher, number]: [usize; 2] =
            serde_json::from_str(field(frame, "data").unwrap()).unwrap();
        assert_eq!(number, next[publisher], "publisher {publisher}");
        next[publisher] += 1;
        by_publisher[publisher].push(field(frame, "id").unwrap().to_owned());
    }
    let ids: HashSet<_> = by_publisher.iter().flatten().collect();
    assert_eq!(ids.len(), 100 * EACH);
    for (publisher, received) in publishers.into_iter().zip(&by_publisher) {
        assert_eq!(publisher.join().unwrap(), *received);
    }
    server.end();
}

/// Publishes until another client of the channel, which does not read, has missed events. Returns
/// how many were published. This function's own reader keeps up.
fn leave_behind(server: &Server, channel: &str) -> u64 {
    const EVENTS_PER_LOOK: u64 = 10;
    let mut client = server.client();
    let (mut reader, _) = Stream::open(server.at, &format!("/events/{channel}"));
    let filler = "x".repeat(100_000);
    let before = client.stats()["delivered"].as_u64().unwrap();
    let mut published = 0;
    loop {
        for _ in 0..EVENTS_PER_LOOK {
            published += 1;
            let data = format!("[{published},\"{filler}\"]");
            let id = client.publish(channel, &data);
            assert_eq!(
                reader.next(),
                Some(format!("id: {id}\ndata: {data}\n\n")),
                "a client that reads gets it at once"
            );
        }
        // What the other client has not been given is now more than the megabyte that is kept.
        let delivered = client.stats()["delivered"].as_u64().unwrap() - before;
        if 2 * published - delivered > 4 * EVENTS_PER_LOOK {
            return published;
        }
        assert!(published < 5000, "the stream has been given more than any socket holds");
    }
}

fn a_slow_reader_delays_nobody_and_gets_a_reset_for_what_it_missed(name: &'static str) {
    let server = Server::start(name, &[]);
    let (mut slow, _) = Stream::open(server.at, "/events?channel=a&channel=b");
    let published = leave_behind(&server, "a");
    let mut last = 0;
    let mut last_id = String::new();
    let mut resets = 0;
    let mut after_reset = false;
    while last < published {
        let frame = slow.next().unwrap();
        let id = field(&frame, "id").unwrap();
        if field(&frame, "event") == Some("stream-reset") {
            let data = r#"{"channels":["a"],"reason":"lagged"}"#;
            assert_eq!(frame, format!("id: {last_id}\nevent: stream-reset\ndata: {data}\n\n"));
            after_reset = true;
            resets += 1;
            continue;
        }
        let number =
            field(&frame, "data").unwrap()[1..].split(',').next().unwrap().parse().unwrap();
        assert!(
            if after_reset { number > last + 1 } else { number == last + 1 },
            "{number} after {last}, after a reset: {after_reset}"
        );
        (last, last_id, after_reset) = (number, id.to_owned(), false);
    }
    assert!(resets > 0);
    let id = server.client().publish("b", "1");
    assert_eq!(slow.next(), Some(format!("id: {id}\ndata: 1\n\n")));
    server.end();
}

fn clients_that_reset_leave_nothing_behind(name: &'static str) {
    const RESETS: usize = 5000;
    /// Fewer than fit in a listener's backlog: a client that finds it full tries again after a
    /// second.
    const AT_ONCE: usize = 100;
    if !cfg!(target_os = "linux") {
        println!("skipped: this system has no /proc");
        return;
    }
    let server = Server::start(name, &[("KEEP_ALIVE", "1")]);
    let mut client = server.client();
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    };
    let open_files = || fs::read_dir(format!("/proc/{}/fd", server.process.id())).unwrap().count();
    let resets = || {
        for _ in 0..RESETS / AT_ONCE {
            let clients: Vec<_> = (0..AT_ONCE).map(|_| vanishing(server.at)).collect();
            for client in &clients {
                assert!(client.peek(&mut [0]).unwrap() > 0);
            }
        }
        let mut client = server.client();
        // Ten times what it may take, in case the machine is busy.
        wait_until("no subscription is left", Duration::from_secs(20), || {
            client.stats()["subscriptions"] == 0
        });
    };
    client.stats();
    let files = open_files();
    resets();
    let before = resident();
    resets();
    wait_until("no socket is left", PATIENCE, || open_files() <= files);
    let grown = resident().saturating_sub(before);
    println!("{name}: {grown} bytes more after {RESETS} resets");
    assert!(grown < RESETS * 512, "{grown} bytes more after {RESETS} resets");
    server.end();
}

/// A client that asks for a stream and never reads. When it is dropped, its unread data makes the
/// socket send a reset.
fn vanishing(at: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&request("GET", "/events/a", &[], b"")).unwrap();
    socket
}

fn ctrl_c_ends_a_hundred_streams_properly(name: &'static str) {
    if !cfg!(unix) {
        println!("skipped: this system has no signals");
        return;
    }
    let server = Server::start(name, &[]);
    let mut client = server.client();
    let streams: Vec<_> = (0..100).map(|_| Stream::open(server.at, "/events/a").0).collect();
    // A connection without a request does not delay the end.
    let _silent = TcpStream::connect(server.at).unwrap();
    client.get("/stats");
    let at = server.at;
    let id = client.publish("a", "1");
    let start = Instant::now();
    server.process.signal("INT");
    for mut stream in streams {
        assert_eq!(stream.next(), Some(format!("id: {id}\ndata: 1\n\n")));
        assert_eq!(stream.next(), None);
    }
    server.ended();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(TcpStream::connect(at).is_err());
}

fn a_stuck_reader_delays_the_end_until_it_is_overdue_or_ctrl_c_comes_again(name: &'static str) {
    if !cfg!(unix) {
        println!("skipped: this system has no signals");
        return;
    }
    for again in [false, true] {
        let server = Server::start(name, &[]);
        let (_stuck, _) = Stream::open(server.at, "/events/a");
        leave_behind(&server, "a");
        let start = Instant::now();
        server.process.signal(if again { "TERM" } else { "INT" });
        server.process.says(|line| (line == "closing").then(String::new));
        if again {
            server.process.signal("INT");
            assert_eq!(server.process.ended().0.code(), Some(130));
        } else {
            server.ended();
            assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
        }
    }
}
