//! A page in a real Chromium.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::process::{installed, Process};

/// Far longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page in Chromium, driven through WebDriver.
pub(crate) struct Page {
    session: String,
    _driver: Process,
}

impl Page {
    /// `None` if no browser is installed, which is an error in CI.
    pub(crate) fn open(url: &str) -> Option<Self> {
        let (chromium, driver) = (installed("chromium")?, installed("chromedriver")?);
        let (driver, port) = Process::start(Command::new(driver).arg("--port=0"), |line| {
            line.split_once("started successfully on port ")
                .map(|(_, port)| port.trim_end_matches('.').to_owned())
        });
        let driver_url = format!("http://127.0.0.1:{port}/session");
        let session = call(&driver_url, &json!({ "capabilities": capabilities(&chromium) }));
        let session = format!("{driver_url}/{}", session["sessionId"].as_str().unwrap());
        let page = Self { session, _driver: driver };
        call(&format!("{}/url", page.session), &json!({ "url": url }));
        Some(page)
    }

    /// Runs a script in the page, as the body of a function.
    pub(crate) fn run(&self, script: &str) -> Value {
        call(&format!("{}/execute/sync", self.session), &json!({ "script": script, "args": [] }))
    }

    /// Evaluates an expression until it is neither null nor false.
    pub(crate) fn wait_for(&self, script: &str) -> Value {
        let start = Instant::now();
        loop {
            match self.run(&format!("return {script}")) {
                Value::Null | Value::Bool(false) if start.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(50))
                }
                Value::Null | Value::Bool(false) => {
                    panic!(
                        "{script} stayed false on a page that shows: {}",
                        self.run("return document.body.innerText")
                    )
                }
                value => return value,
            }
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // Ends the browser. The driver ends when its process is dropped.
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
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer: Value =
        agent.post(url).send_json(body).unwrap().body_mut().read_json().unwrap();
    assert!(answer["value"]["error"].is_null(), "{answer}");
    answer["value"].take()
}
