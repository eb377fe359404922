//! What the clients connect to: the example servers, and a network that fails on demand.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::HashMap;
use std::io::{copy, BufRead, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use serde_json::Value;

use crate::process::Process;

/// The examples that serve the same routes.
pub(crate) const SERVERS: [&str; 6] = ["demo", "smol", "async_std", "tokio", "axum", "bare"];

/// An example server.
pub(crate) struct Server {
    process: Process,
    /// `host:port`
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(name: &str) -> Self {
        println!("{name}");
        let mut command = Command::new(&examples()[name]);
        for setting in ["KEEP_ALIVE", "HISTORY", "GRIP_URL", "GRIP_VERIFY_KEY"] {
            command.env_remove(setting);
        }
        let (process, address) = Process::start(command.env("LISTEN", "127.0.0.1:0"), |line| {
            line.strip_prefix("listening on http://").map(str::to_owned)
        });
        Self { process, address }
    }

    /// Publishes JSON, and returns the id of the event.
    pub(crate) fn publish(&self, channel: &str, query: &str, json: &str) -> String {
        let url = format!("http://{}/publish/{channel}?{query}", self.address);
        ureq::post(url).send(json).unwrap().body_mut().read_json().unwrap()
    }

    /// Ends the server with Ctrl-C, and asserts that it ends cleanly.
    pub(crate) fn stop(self) {
        self.process.signal("INT");
        let (status, errors) = self.process.ended();
        assert!(status.success(), "{errors}");
    }
}

/// Builds the examples, and returns where each of them is.
fn examples() -> &'static HashMap<String, PathBuf> {
    static EXAMPLES: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--locked",
            "--examples",
            "--features",
            "async-std",
            "--message-format=json-render-diagnostics",
        ]);
        build.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")]);
        let mut build = build.stdout(Stdio::piped()).spawn().unwrap();
        let messages = BufReader::new(build.stdout.take().unwrap()).lines();
        let built = messages.filter_map(|line| {
            let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, message["executable"].as_str()?.into()))
        });
        let built = built.collect();
        assert!(build.wait().unwrap().success());
        built
    })
}

/// A relay between clients and a server, whose connections can be cut.
pub(crate) struct Relay {
    /// `http://host:port`
    pub(crate) url: String,
    line: Arc<Mutex<Line>>,
}

#[derive(Default)]
struct Line {
    /// `None` while the line is cut.
    to: Option<String>,
    sockets: Vec<TcpStream>,
}

impl Relay {
    pub(crate) fn to(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            line: Arc::default(),
        };
        relay.mend(address);
        let line = relay.line.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                // A connection that cannot be passed on is closed.
                let _ = line.lock().unwrap().connect(client.unwrap());
            }
        });
        relay
    }

    /// Breaks all connections, and lets none through until `mend`.
    pub(crate) fn cut(&self) {
        let line = std::mem::take(&mut *self.line.lock().unwrap());
        for socket in &line.sockets {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self, address: &str) {
        self.line.lock().unwrap().to = Some(address.to_owned());
    }
}

impl Line {
    fn connect(&mut self, client: TcpStream) -> Option<()> {
        let server = TcpStream::connect(self.to.as_ref()?).ok()?;
        for (from, to) in [(&client, &server), (&server, &client)] {
            to.set_nodelay(true).ok()?;
            let (mut from, mut to) = (from.try_clone().ok()?, to.try_clone().ok()?);
            thread::spawn(move || {
                let _ = copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        self.sockets.extend([client, server]);
        Some(())
    }
}
