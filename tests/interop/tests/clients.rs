//! Real clients of each example server.

#[path = "../../common/process.rs"]
mod process;
mod stage;
#[path = "../../common/webdriver.rs"]
mod webdriver;

use std::env;
use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::thread;
use std::time::Duration;

use eventsource_client::{Client as _, ClientBuilder, ReconnectOptions, SSE};
use futures::StreamExt;
use launchdarkly_sdk_transport::HyperTransport;
use process::{installed, Process};
use serde_json::{from_str, from_value, json};
use stage::{Relay, Server, SERVERS};
use webdriver::Page;

/// Far longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The names that clients listen for.
const NAMES: [&str; 5] = ["stream-open", "stream-reset", "message", "greeting", "grüße"];

/// An event as a client reports it: name, data, last event id.
type Seen = [String; 3];

fn seen(name: &str, data: &str, id: &str) -> Seen {
    [name, data, id].map(str::to_owned)
}

/// A client that reconnects on its own.
trait Client {
    fn next(&mut self) -> Seen;
}

impl Client for Receiver<Seen> {
    fn next(&mut self) -> Seen {
        self.recv_timeout(PATIENCE).unwrap()
    }
}

/// A client sees all that is published, comes back when its connection breaks, and gets what it
/// missed or, where that is not known, a reset.
fn follows<C: Client>(name: &str, listen: impl FnOnce(&Relay, &str) -> Option<C>) {
    let server = Server::start(name);
    let relay = Relay::to(&server.address);
    let Some(mut client) = listen(&relay, "/events?channel=lobby&channel=b%C3%BChne") else {
        return;
    };
    let open = client.next();
    assert_eq!(open, seen("stream-open", "", &open[2]));

    // An event with a name, one without, and one with a name and an id; two channels in one order;
    // several lines; text that is not ASCII.
    let text = "{\"text\":\"\u{2028}é ☃ 😀\"}";
    let greeting = server.publish("lobby", "event=greeting&retry=50", text);
    assert_eq!(client.next(), seen("greeting", text, &greeting));
    let lines = server.publish("b%C3%BChne", "", "[1,\r\n 2,\n\n3]");
    assert_eq!(client.next(), seen("message", "[1,\n 2,\n\n3]", &lines));
    assert_eq!(server.publish("lobby", "event=gr%C3%BC%C3%9Fe&id=my%20own", "3"), "my own");
    assert_eq!(client.next(), seen("grüße", "3", "my own"));

    // The connection breaks twice: after an id that the publisher gave, which the server repeats,
    // and after an id that the server made.
    let comes_back = |client: &mut C| {
        relay.cut();
        let missed = ["b%C3%BChne", "lobby"]
            .map(|channel| server.publish(channel, "event=greeting", "\"missed\""));
        relay.mend(&server.address);
        let [name, _, place] = client.next();
        assert_eq!(name, "stream-open");
        for id in missed {
            assert_eq!(client.next(), seen("greeting", "\"missed\"", &id));
        }
        place
    };
    assert_eq!(comes_back(&mut client), "my own");
    let last = server.publish("lobby", "", "4");
    assert_eq!(client.next(), seen("message", "4", &last));
    assert_eq!(comes_back(&mut client), last);

    // The server is started again, and cannot know what the client missed.
    server.stop();
    let server = Server::start(name);
    relay.mend(&server.address);
    assert_eq!(client.next()[0], "stream-open");
    let reset = client.next();
    assert_eq!(
        reset,
        seen("stream-reset", r#"{"channels":["lobby","bühne"],"reason":"unknown"}"#, &reset[2])
    );
    let after = server.publish("lobby", "", "5");
    assert_eq!(client.next(), seen("message", "5", &after));
}

struct Npm(Process);

impl Client for Npm {
    fn next(&mut self) -> Seen {
        from_str(&self.0.says(|line| Some(line.to_owned()))).unwrap()
    }
}

#[test]
fn npm_eventsource_follows_each_server() {
    let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
    let Some(node) = installed("node") else { return };
    if !Path::new(clients).join("node_modules/eventsource").exists() {
        assert!(env::var_os("CI").is_none(), "npm ci --prefix tests/interop/clients must have run");
        println!("skipped: npm ci --prefix tests/interop/clients has not run");
        return;
    }
    for name in SERVERS {
        follows(name, |relay, path| {
            let script = format!("{clients}/eventsource.mjs");
            let url = format!("{}{path}", relay.url);
            let mut command = Command::new(&node);
            command.arg(script).arg(url).args(NAMES);
            Some(Npm(Process::start(&mut command, |line| (line == "ready").then(String::new)).0))
        });
    }
}

#[test]
fn rust_eventsource_client_follows_each_server() {
    for name in SERVERS {
        follows(name, |relay, path| {
            let at_once = ReconnectOptions::reconnect(true)
                .delay(Duration::from_millis(50))
                .backoff_factor(1)
                .build();
            let client =
                ClientBuilder::for_url(&format!("{}{path}", relay.url)).unwrap().reconnect(at_once);
            let client = client.build_with_transport(HyperTransport::new().unwrap());
            let (sender, events) = channel();
            thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let mut stream = client.stream();
                    // Errors are lost connections, after which the client tries again.
                    while let Some(item) = stream.next().await {
                        let Ok(SSE::Event(event)) = item else { continue };
                        if sender
                            .send([event.event_type, event.data, event.id.unwrap_or_default()])
                            .is_err()
                        {
                            break;
                        }
                    }
                });
            });
            Some(events)
        });
    }
}

impl Client for Page {
    fn next(&mut self) -> Seen {
        from_value(self.wait_for("witnessed.shift() || null")).unwrap()
    }
}

#[test]
fn chromium_follows_each_server() {
    for name in SERVERS {
        follows(name, |relay, path| {
            let page = Page::open(&relay.url)?;
            page.run(&format!(
                "window.witnessed = []; window.witness = new EventSource('{path}');
                 const note = e => witnessed.push([e.type, e.data, e.lastEventId]);
                 for (const name of {names}) witness.addEventListener(name, note);",
                names = json!(NAMES),
            ));
            Some(page)
        });
    }
}

/// curl, and the output that has not been read yet.
struct Curl {
    child: Child,
    output: ChildStdout,
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Curl {
    /// `None` if curl is not installed.
    fn get(server: &Server, path: &str, args: &[&str]) -> Option<Self> {
        let url = format!("http://{}{path}", server.address);
        let mut command = Command::new(installed("curl")?);
        command.args(["--silent", "--no-buffer", "--max-time", "60", &url]).args(args);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        Some(Self { child, output })
    }

    fn prints(&mut self, expected: &str) {
        let mut printed = vec![0; expected.len()];
        self.output.read_exact(&mut printed).unwrap();
        assert_eq!(String::from_utf8_lossy(&printed), expected);
    }

    /// What curl prints up to an empty line, which is left out.
    fn block(&mut self) -> String {
        let mut printed = String::new();
        while !printed.replace("\r\n", "\n").ends_with("\n\n") {
            let mut byte = [0];
            self.output.read_exact(&mut byte).unwrap();
            printed.push(byte[0].into());
        }
        printed.trim_end().to_owned()
    }

    /// The rest of the output; asserts that the answer ended properly.
    fn rest(mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

#[test]
fn curl_gets_the_same_bytes_from_each_server() {
    for name in SERVERS {
        let server = Server::start(name);
        // curl offers to decompress.
        let Some(mut curl) = Curl::get(&server, "/events/lobby", &["--compressed"]) else { return };
        let open = curl.block();
        let first =
            open.strip_prefix("id: ").unwrap().strip_suffix("\nevent: stream-open\ndata:").unwrap();
        let greeting = server.publish("lobby", "event=greeting", "\"é\"");
        curl.prints(&format!("id: {greeting}\nevent: greeting\ndata: \"é\"\n\n"));
        server.publish("lobby", "id=my%20own&retry=50", "[1,\n2]");
        let own = "id: my own\nretry: 50\ndata: [1,\ndata: 2]\n\n";
        curl.prints(own);

        // Clients that come back after the first event, by header and by query.
        let header = format!("Last-Event-ID: {greeting}");
        let query = format!("/events?channel=lobby&lastEventId={greeting}");
        for (path, args) in [("/events/lobby", &["-H", &header][..]), (&query, &[])] {
            let mut back = Curl::get(&server, path, args).unwrap();
            back.prints(&format!("id: {greeting}\nevent: stream-open\ndata: \n\n{own}"));
        }
        let mut back =
            Curl::get(&server, "/events/lobby", &["-H", "Last-Event-ID: \u{fffd}"]).unwrap();
        assert_eq!(back.block(), "event: stream-open\ndata:");
        let reset =
            "\nevent: stream-reset\ndata: {\"channels\":[\"lobby\"],\"reason\":\"unknown\"}";
        assert!(back.block().ends_with(reset));

        // The answer to HEAD ends at once. A stream ends properly when the server does.
        let head = Curl::get(&server, "/events/lobby", &["--head"]).unwrap().rest();
        assert!(
            head.to_ascii_lowercase().contains("content-type: text/event-stream\r\n"),
            "{head}"
        );
        assert!(!first.is_empty());
        server.stop();
        assert_eq!(curl.rest(), "");
    }
}

#[test]
fn curl_follows_over_http_2_where_the_server_speaks_it() {
    for name in ["tokio", "axum"] {
        let server = Server::start(name);
        let args = ["--http2-prior-knowledge", "--include"];
        let Some(mut curl) = Curl::get(&server, "/events/lobby", &args) else { return };
        let head = curl.block();
        assert!(head.starts_with("HTTP/2 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert!(!head.contains("connection:"), "{head}");
        assert!(curl.block().ends_with("event: stream-open\ndata:"));
        let greeting = server.publish("lobby", "event=greeting", "\"é\"");
        curl.prints(&format!("id: {greeting}\nevent: greeting\ndata: \"é\"\n\n"));
        server.stop();
        assert_eq!(curl.rest(), "");
    }
}
