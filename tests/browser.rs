//! A real Chromium: its own `EventSource` reads the demo's streams and reconnects, and its `fetch`
//! sends a body along.

#[path = "common/process.rs"]
mod process;
#[path = "common/webdriver.rs"]
mod webdriver;

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use axum::response::Html;
use axum::routing::get;
use axum::Router;
use eventstream::{Event, EventStream};
use process::Process;
use serde_json::json;
use webdriver::Page;

fn demo(listen: &str) -> (Process, String) {
    Process::example("demo", &[("LISTEN", listen)])
}

fn publish(server: &str, query: &str, data: &str) -> String {
    ureq::post(format!("{server}/publish/lobby?{query}"))
        .send(data)
        .unwrap()
        .body_mut()
        .read_json()
        .unwrap()
}

#[test]
fn a_page_sees_named_events_and_comes_back_after_the_server_was_killed() {
    let (server, url) = demo("127.0.0.1:0");
    let Some(page) = Page::open(&format!("{url}/?channel=lobby")) else { return };
    let live = "document.documentElement.dataset.state === 'live'";
    page.wait_for(live);

    // The browser's EventSource without the page's code: names and ids arrive as published.
    page.run(
        "window.witnessed = []; window.witness = new EventSource('/events/lobby');
         for (const name of ['message', 'greeting', 'hello', 'stream-open', 'stream-reset'])
             witness.addEventListener(name, e => witnessed.push([e.type, e.data, e.lastEventId]));",
    );
    page.wait_for("witnessed.length === 1 && witnessed[0][0] === 'stream-open'");
    let named = publish(&url, "event=greeting", r#"{"a":"\u2028é"}"#);
    let own = publish(&url, "id=my%20own", "[1,\n2]");
    let seen = page.wait_for("witnessed.length === 3 && witnessed.slice(1)");
    assert_eq!(
        seen,
        json!([["greeting", r#"{"a":"\u2028é"}"#, named], ["message", "[1,\n2]", "my own"]])
    );
    assert_eq!(own, "my own");

    // The page publishes what a user types, and shows the event.
    page.run(
        "const set = (id, value) => { document.getElementById(id).value = value; };
         set('pub-channel', 'lobby');
         set('pub-event', 'hello');
         set('pub-data', '{\"typed\":true}');
         document.getElementById('pub-send').click();",
    );
    let row = "document.querySelector('#events [data-event=hello]')";
    let shown = page.wait_for(&format!("{row} && [{row}.dataset.text, {row}.dataset.id]"));
    assert_eq!(shown[0], r#"{"typed":true}"#);
    assert_eq!(shown[1], page.wait_for("document.getElementById('last-id').textContent"));

    // The server is killed and started again: the browser reconnects on its own, gets a
    // `stream-reset` because its position is unknown, and reads on.
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

/// While the body was unread, the server did not see the page leave. With 16 MB, more than the
/// sockets hold, the answer never came.
#[test]
fn a_page_that_posts_900_kb_gets_its_stream_and_the_server_sees_it_leave() {
    let stream = EventStream::new();
    let app = Router::new()
        .route("/", get(|| async { Html("<!doctype html>") }))
        .route_service("/events", stream.handler("lobby").draining());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await
        })
    });
    let Some(page) = Page::open(&url) else { return };
    page.run(
        "window.heard = '';
         window.leave = new AbortController();
         const ask = { method: 'POST', body: 'x'.repeat(900000), signal: leave.signal };
         fetch('/events', ask).then(async answer => {
             window.answer = [answer.status, answer.headers.get('content-type')];
             const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
             for (;;) heard += (await reader.read()).value;
         }).catch(error => { window.left = error.name; });",
    );
    assert_eq!(page.wait_for("window.answer"), json!([200, "text/event-stream"]));
    page.wait_for(r"heard.endsWith('\nevent: stream-open\ndata: \n\n')");
    let id = stream.try_publish("lobby", Event::new("hello")).unwrap();
    page.wait_for(&format!(r"heard.endsWith('\n\nid: {id}\nevent: hello\ndata: \n\n')"));
    assert_eq!(stream.stats().subscriptions, 1);
    page.run("leave.abort()");
    assert_eq!(page.wait_for("window.left"), "AbortError");
    let start = Instant::now();
    while stream.stats().subscriptions > 0 {
        assert!(start.elapsed() < Duration::from_secs(15), "before the first keep-alive");
        thread::sleep(Duration::from_millis(1));
    }
}
