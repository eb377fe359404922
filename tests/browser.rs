//! The demo in a real Chromium, whose own `EventSource` reads the stream and reconnects.

#[path = "common/process.rs"]
mod process;
#[path = "common/webdriver.rs"]
mod webdriver;

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
