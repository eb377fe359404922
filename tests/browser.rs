//! The demo in a real Chromium, whose own `EventSource` reads the stream and reconnects.

#[path = "common/process.rs"]
mod process;

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use process::Process;
use serde_json::{json, Value};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn demo(listen: &str) -> (Process, String) {
    Process::example("demo", &[("LISTEN", listen)])
}

/// A page in Chromium, driven through WebDriver.
struct Page {
    session: String,
    _driver: Process,
}

impl Page {
    /// `None` where there is no browser, which is only allowed on a user's machine.
    fn open(url: &str) -> Option<Self> {
        let on_path =
            |name: &str| env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|p| p.exists());
        let (Some(chromium), Some(driver)) = (on_path("chromium"), on_path("chromedriver")) else {
            assert!(env::var_os("CI").is_none(), "chromium and chromedriver must be installed");
            println!("skipped: chromium or chromedriver not installed");
            return None;
        };
        let (driver, port) = Process::start(Command::new(driver).arg("--port=0"), |line| {
            line.split_once("started successfully on port ").map(|(_, port)| port.trim_end_matches('.').to_owned())
        });
        let driver_url = format!("http://127.0.0.1:{port}/session");
        let session = call(&driver_url, &json!({ "capabilities": capabilities(&chromium) }));
        let session = format!("{driver_url}/{}", session["sessionId"].as_str().unwrap());
        let page = Self { session, _driver: driver };
        call(&format!("{}/url", page.session), &json!({ "url": url }));
        Some(page)
    }

    /// Runs the body of a function in the page.
    fn run(&self, script: &str) -> Value {
        call(&format!("{}/execute/sync", self.session), &json!({ "script": script, "args": [] }))
    }

    /// Runs a script until it returns something.
    fn wait_for(&self, script: &str) -> Value {
        let start = Instant::now();
        loop {
            match self.run(&format!("return {script}")) {
                Value::Null | Value::Bool(false) if start.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(50))
                }
                Value::Null | Value::Bool(false) => {
                    panic!("no {script} in a page that says: {}", self.run("return document.body.innerText"))
                }
                value => return value,
            }
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // Ends the browser; the driver is ended with its process.
        let _ = ureq::delete(&self.session).call();
    }
}

fn capabilities(chromium: &PathBuf) -> Value {
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ];
    json!({ "alwaysMatch": { "goog:chromeOptions": { "binary": chromium, "args": arguments } } })
}

fn call(url: &str, body: &Value) -> Value {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer: Value = agent.post(url).send_json(body).unwrap().body_mut().read_json().unwrap();
    assert!(answer["value"]["error"].is_null(), "{answer}");
    answer["value"].take()
}

fn publish(server: &str, query: &str, data: &str) -> String {
    ureq::post(format!("{server}/publish/lobby?{query}")).send(data).unwrap().body_mut().read_json().unwrap()
}

#[test]
fn a_page_sees_named_events_and_comes_back_after_the_server_was_killed() {
    let (server, url) = demo("127.0.0.1:0");
    let Some(page) = Page::open(&format!("{url}/?channel=lobby")) else { return };
    let live = "document.documentElement.dataset.state === 'live'";
    page.wait_for(live);

    // The browser's EventSource, by itself: names and ids arrive as published.
    page.run(
        "window.witnessed = []; window.witness = new EventSource('/events/lobby');
         for (const name of ['message', 'greeting', 'hello', 'stream-open', 'stream-reset'])
             witness.addEventListener(name, e => witnessed.push([e.type, e.data, e.lastEventId]));",
    );
    page.wait_for("witnessed.length === 1 && witnessed[0][0] === 'stream-open'");
    let named = publish(&url, "event=greeting", r#"{"a":"\u2028é"}"#);
    let own = publish(&url, "id=my%20own", "[1,\n2]");
    let seen = page.wait_for("witnessed.length === 3 && witnessed.slice(1)");
    assert_eq!(seen, json!([["greeting", r#"{"a":"\u2028é"}"#, named], ["message", "[1,\n2]", "my own"]]));
    assert_eq!(own, "my own");

    // The page: publishes what a person types, and shows it.
    page.run(
        "const set = (id, value) => { document.getElementById(id).value = value; };
         set('pub-channel', 'lobby'); set('pub-event', 'hello'); set('pub-data', '{\"typed\":true}');
         document.getElementById('pub-send').click();",
    );
    let row = "document.querySelector('#events [data-event=hello]')";
    let shown = page.wait_for(&format!("{row} && [{row}.dataset.text, {row}.dataset.id]"));
    assert_eq!(shown[0], r#"{"typed":true}"#);
    assert_eq!(shown[1], page.wait_for("document.getElementById('last-id').textContent"));

    // Killed and started again: the browser comes back by itself, is told that its place is unknown, and goes on.
    drop(server);
    page.wait_for("document.documentElement.dataset.state === 'reconnecting'");
    let (_server, url) = demo(url.strip_prefix("http://").unwrap());
    page.wait_for(live);
    page.wait_for("document.querySelector('#events [data-kind=reset]')");
    let reset = page.wait_for("witnessed.find(event => event[0] === 'stream-reset')");
    assert_eq!(reset[1], r#"{"channels":["lobby"],"reason":"unknown"}"#);
    let after = publish(&url, "event=hello", "2");
    assert_eq!(
        page.wait_for(&format!("witnessed.find(event => event[2] === '{after}')")),
        json!(["hello", "2", after])
    );
    page.wait_for(&format!("document.querySelector('#events [data-id=\"{after}\"]')"));
}
