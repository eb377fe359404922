//! What goes to `tracing`: under which targets, and without secrets.
#![cfg(feature = "grip")]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use eventstream::test_util::{Client, RecordingTransport};
use eventstream::{Event, EventStream, History};
use futures::executor::block_on;
use http::{Request, Response, StatusCode};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event as Traced, Metadata, Subscriber};

/// Records a line for each span and event, with its level, its target and its fields.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

impl Notes {
    fn add(&self, what: &str, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line)) {
        let mut line = Line(format!("{what} {} {}", metadata.level(), metadata.target()));
        record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("eventstream")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.add("span", attributes.metadata(), |line| attributes.record(line));
        Id::from_u64(1)
    }

    fn event(&self, event: &Traced<'_>) {
        self.add("event", event.metadata(), |line| event.record(line));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn get(uri: &str) -> Request<()> {
    Request::builder().uri(uri).body(()).unwrap()
}

#[test]
fn a_streams_life_is_traced_under_a_target_for_each_part() {
    let notes = Notes::default();
    tracing::subscriber::with_default(notes.clone(), || {
        let stream = EventStream::builder().history(History::default().events(1)).build().unwrap();
        let mut client = Client::from(
            block_on(stream.run(&get("/a?token=secret"), Response::new(()), ["a"])).into_body(),
        );
        assert_eq!(
            notes.take(),
            [
                r#"span DEBUG eventstream::connect method=GET path="/a""#,
                concat!(
                    "event DEBUG eventstream::connect message=connected ",
                    r#"channels=["a"] last_event_id=None"#,
                ),
            ]
        );
        client.ready();
        stream.try_publish("a", Event::new("secret").data("secret")).unwrap();
        stream.try_publish("a", Event::default()).unwrap();
        assert_eq!(
            notes.take(),
            [r#"event TRACE eventstream::publish message=published channel="a" events=1"#; 2]
        );
        client.ready();
        assert_eq!(
            notes.take(),
            [r#"event DEBUG eventstream::reset message=reset channels=["a"] reason="lagged""#]
        );
        let last_event_id = client.stop();
        assert_eq!(
            notes.take(),
            [format!(
                "event DEBUG eventstream::close message=subscription ended at={last_event_id}"
            )]
        );
        drop(block_on(stream.run(&get("/"), Response::new(()), [""; 0])));
        stream.close_channel("a");
        drop(stream.close());
        assert_eq!(
            notes.take(),
            [
                r#"span DEBUG eventstream::connect method=GET path="/""#,
                "event DEBUG eventstream::connect \
                 message=refused: No specified channels. status=400",
                r#"event DEBUG eventstream::close message=channel closed channel="a""#,
                "event DEBUG eventstream::close message=closed",
            ]
        );
    });
}

/// Nothing runs on other threads here, because `with_default` applies to this thread only.
#[test]
fn what_goes_to_a_proxy_is_traced_without_keys_and_tokens() {
    const GRIP_URL: &str = "http://127.0.0.1:5561/?iss=realm&key=secret";
    let (notes, transport) = (Notes::default(), RecordingTransport::new());
    tracing::subscriber::with_default(notes.clone(), || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let runtime = eventstream::runtime::Tokio::current();
            let stream = EventStream::builder()
                .grip(GRIP_URL)
                .transport(transport.clone())
                .runtime(runtime)
                .build()
                .unwrap();
            stream.publish("a", Event::new("secret").data("secret")).await.unwrap();
            let authorization = transport.requests()[0].headers()["authorization"].clone();
            let bearer = authorization.to_str().unwrap();
            assert_eq!(
                notes.take(),
                [
                    r#"event TRACE eventstream::publish message=published channel="a" events=1"#,
                    r#"span DEBUG eventstream::grip endpoint="http://127.0.0.1:5561/" items=1"#,
                    "event DEBUG eventstream::grip message=accepted tries=1",
                ]
            );
            transport.answer(StatusCode::SERVICE_UNAVAILABLE);
            stream.publish("a", Event::default()).await.unwrap_err();
            transport.answer(StatusCode::OK);
            let of_proxy = notes.take();
            let retry = "message=answered 503 Service Unavailable, trying again";
            let retries = of_proxy.iter().filter(|line| line.contains(retry)).count();
            assert!(retries > 10, "{of_proxy:#?}");
            let failed = "event WARN eventstream::grip message=failed: ";
            assert!(of_proxy.last().unwrap().starts_with(failed), "{of_proxy:#?}");

            let mut forged = get("/");
            forged.headers_mut().insert("grip-sig", "a.secret.b".parse().unwrap());
            drop(stream.run(&forged, Response::new(()), "a").await);
            let mut signed = get("/");
            let token = bearer.strip_prefix("Bearer ").unwrap();
            signed.headers_mut().insert("grip-sig", token.parse().unwrap());
            drop(stream.run(&signed, Response::new(()), "a").await);
            let of_requests = notes.take();
            assert_eq!(
                of_requests,
                [
                    r#"span DEBUG eventstream::connect method=GET path="/""#,
                    "event DEBUG eventstream::connect message=Grip-Sig does not verify",
                    "event DEBUG eventstream::connect \
                     message=refused: GRIP Signature Invalid. status=403",
                    r#"span DEBUG eventstream::connect method=GET path="/""#,
                    concat!(
                        "event DEBUG eventstream::hold message=held by the proxy ",
                        r#"channels=["a"] last_event_id=None"#,
                    ),
                ]
            );
            stream.close().await;
            for line in of_proxy.iter().chain(&of_requests).chain(&notes.take()) {
                assert!(!line.contains("secret"), "{line}");
                assert!(!line.contains(&bearer[20..]), "{line}");
            }
        });
    });
}
