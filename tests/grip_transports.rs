//! Every transport under every runtime, on real sockets. The control port is a stand-in: a real
//! Pushpin closes each connection after its answer and cannot be made to cut one, to hang, or to
//! speak TLS.
#![cfg(feature = "hyper")]

mod common;
#[path = "common/control_port.rs"]
mod control_port;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use control_port::{Act, ControlPort, CUT_IN_HEAD, CUT_SHORT, PUBLISHED, PUBLISHED_CLOSE};
use eventstream::grip::{Transport, TransportError};
use eventstream::runtime::{Background, Executor};
use eventstream::{Event, EventStream};
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{join, select, BoxFuture, Either};
use http::{Request, Response};

type Task = BoxFuture<'static, ()>;

/// `run` drives a future to its end; `spawn` runs one in the background.
#[derive(Clone, Copy)]
struct Runtime {
    name: &'static str,
    run: fn(Task),
    spawn: fn(Task),
}

const RUNTIMES: [Runtime; 5] = [
    Runtime {
        name: "bare block_on",
        run: |task| block_on(task),
        spawn: |task| Background.spawn(task),
    },
    Runtime {
        name: "smol",
        run: |task| smol::block_on(smol::spawn(task)),
        spawn: |task| smol::spawn(task).detach(),
    },
    Runtime {
        name: "async-std",
        run: |task| async_std::task::block_on(async_std::task::spawn(task)),
        spawn: |task| drop(async_std::task::spawn(task)),
    },
    Runtime {
        name: "tokio with threads",
        run: |task| on_tokio(tokio::runtime::Builder::new_multi_thread().worker_threads(2), task),
        spawn: |task| drop(tokio::spawn(task)),
    },
    Runtime {
        name: "tokio on one thread",
        run: |task| on_tokio(&mut tokio::runtime::Builder::new_current_thread(), task),
        spawn: |task| drop(tokio::spawn(task)),
    },
];

fn on_tokio(runtime: &mut tokio::runtime::Builder, task: Task) {
    // Without tokio's drivers: the transports bring their own sockets and clocks.
    runtime.build().unwrap().block_on(async { tokio::spawn(task).await.unwrap() });
}

impl Executor for Runtime {
    fn spawn(&self, task: Task) {
        (self.spawn)(task);
    }
}

/// A transport, and whether it notices on its own that an idle connection has become stale.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    make: fn() -> Arc<dyn Transport>,
    heals: bool,
}

const KINDS: &[Kind] = &[
    Kind { name: "Hyper", make: || Arc::new(hyper()), heals: true },
    Kind { name: "a closure", make: || Arc::new(closure(Arc::new(hyper()))), heals: true },
    #[cfg(feature = "surf")]
    Kind {
        name: "Surf",
        make: || Arc::new(eventstream::grip::transport::Surf::new().unwrap()),
        heals: false,
    },
];

fn hyper() -> eventstream::grip::transport::Hyper {
    eventstream::grip::transport::Hyper::new()
}

/// A transport such as a program makes from its own client.
fn closure(
    client: Arc<dyn Transport>,
) -> impl Fn(Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, TransportError>> {
    move |req| {
        let client = client.clone();
        Box::pin(async move { client.send(req).await })
    }
}

/// Checks a fact about every transport under every runtime.
fn everywhere<F: Future<Output = ()> + Send + 'static>(fact: fn(Kind, Runtime) -> F) {
    for kind in KINDS {
        for runtime in RUNTIMES {
            // Shown if the test fails.
            println!("{} under {}", kind.name, runtime.name);
            (runtime.run)(Box::pin(fact(*kind, runtime)));
        }
    }
}

fn request(to: SocketAddr) -> Request<Bytes> {
    let body = Bytes::from_static(br#"{"items":[]}"#);
    let request =
        Request::post(format!("http://{to}/publish/")).header("content-length", body.len());
    request.header("content-type", "application/json").body(body).unwrap()
}

/// A stream whose worker runs on this runtime.
fn stream(to: SocketAddr, kind: Kind, runtime: Runtime) -> EventStream {
    let builder = EventStream::builder().transport((kind.make)()).executor(runtime);
    builder.grip(format!("http://{to}/base/")).build().unwrap()
}

#[test]
fn interim_responses_without_end_keep_no_other_task_from_running() {
    everywhere(|kind, _| async move {
        let port = ControlPort::start(|_| Act::Flood("HTTP/1.1 103 Early Hints\r\n\r\n"));
        let transport = (kind.make)();
        // Both are polled by one task.
        let timeout = futures_timer::Delay::new(std::time::Duration::from_millis(100));
        match select(transport.send(request(port.at)), timeout).await {
            Either::Left((answer, _)) => assert!(answer.is_err() || !kind.heals, "{answer:?}"),
            Either::Right(_) => {}
        }
        drop(transport);
        port.closed();
    });
}

#[test]
fn a_publication_is_one_http_1_1_post_with_host_and_length_on_a_connection_that_is_used_again() {
    everywhere(|kind, runtime| async move {
        let port = ControlPort::start(|_| Act::Answer(PUBLISHED));
        let stream = stream(port.at, kind, runtime);
        // One body is larger than any buffer on the way.
        for data in ["1".to_owned(), "x".repeat(800_000), "3".to_owned()] {
            let id = stream.publish("c", Event::default().data(&data)).await.unwrap();
            let request = port.request();
            assert_eq!(request.connection, 0, "one connection");
            assert!(
                request.head.starts_with("POST /base/publish/ HTTP/1.1\r\n"),
                "{}",
                request.head
            );
            assert_eq!(request.header("host"), [port.at.to_string()]);
            assert_eq!(request.header("content-length"), [request.body.len().to_string()]);
            assert_eq!(request.header("content-type"), ["application/json"]);
            assert!(request.header("transfer-encoding").is_empty());
            assert!(request.header("expect").is_empty());
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let content = format!("id: {id}\ndata: {data}\n\n");
            assert!(body["items"][0]["formats"]["http-stream"]["content"] == content);
        }
        let stats = stream.stats().grip.remove(0);
        assert_eq!(stats.accepted, 3);
        assert_eq!(stats.failed, 0);
        assert_eq!(stats.retried, 0);
        assert!(port.rest().is_empty());
        stream.close().await;
    });
}

#[test]
fn a_stale_connection_costs_no_publication() {
    /// Closes after each answer, and announces it.
    const SAYS_SO: fn(usize) -> Act = |_| Act::AnswerAndClose(PUBLISHED_CLOSE);
    /// Closes after each answer without announcing it.
    const IDLE: fn(usize) -> Act = |_| Act::AnswerAndClose(PUBLISHED);
    /// Closes when the next request has arrived, so the client cannot notice before it sends.
    const IN_USE: fn(usize) -> Act =
        |number| if number % 2 == 0 { Act::Answer(PUBLISHED) } else { Act::Close };
    everywhere(|kind, runtime| async move {
        for (closes, act) in [("says so", SAYS_SO), ("idle", IDLE), ("in use", IN_USE)] {
            println!("closes: {closes}");
            let port = ControlPort::start(act);
            let stream = stream(port.at, kind, runtime);
            for number in 1..=4 {
                stream.publish("c", Event::default().data(format!("{number}"))).await.unwrap();
                if closes != "in use" {
                    port.closed();
                }
            }
            let stats = stream.stats().grip.remove(0);
            assert_eq!(stats.accepted, 4);
            assert_eq!(stats.failed, 0);
            if kind.heals {
                assert_eq!(stats.retried, 0, "{closes}: noticed without a second POST");
            }
        }
    });
}

#[test]
fn no_connection_and_an_answer_that_is_cut_are_errors() {
    everywhere(|kind, _| async move {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!((kind.make)().send(request(nobody)).await.is_err(), "refused");
        let cuts = [Act::AnswerAndClose(CUT_SHORT), Act::AnswerAndClose(CUT_IN_HEAD), Act::Close];
        for cut in cuts.into_iter().chain([Act::AnswerAndClose("rubbish\r\n\r\n")]) {
            let what = format!("{cut:?}");
            let port = ControlPort::start(move |_| cut.clone());
            let outcome = (kind.make)().send(request(port.at)).await;
            assert!(outcome.is_err(), "{what}: {outcome:?}");
        }
    });
}

#[test]
fn an_answer_is_returned_whatever_it_says_and_a_redirect_is_not_followed() {
    let answers = [
        (200, "Published\n", PUBLISHED),
        (204, "", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            200,
            "ab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
        ),
        (400, "bad", "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad"),
        (429, "", "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n"),
        (503, "", "HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n"),
        (301, "", "HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
        (302, "", "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
        (307, "", "HTTP/1.1 307 Elsewhere\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
        (308, "", "HTTP/1.1 308 Elsewhere\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
    ];
    static ANSWERS: std::sync::OnceLock<Vec<(u16, &str, &str)>> = std::sync::OnceLock::new();
    ANSWERS.get_or_init(|| answers.to_vec());
    everywhere(|kind, _| async move {
        let answers = ANSWERS.get().unwrap();
        let port = ControlPort::start(|number| Act::Answer(ANSWERS.get().unwrap()[number].2));
        let transport = (kind.make)();
        for (status, body, _) in answers {
            let answer = transport.send(request(port.at)).await.unwrap();
            assert_eq!((answer.status().as_u16(), &answer.body()[..]), (*status, body.as_bytes()));
            if (300..400).contains(status) {
                assert_eq!(answer.headers()["location"], "/elsewhere");
            }
        }
        let requests = port.rest();
        assert!(requests.iter().all(|request| request.head.starts_with("POST /publish/ ")));
        assert_eq!(requests.len(), answers.len());
    });
}

#[test]
fn a_hung_answer_is_ended_by_dropping_the_future_and_the_next_request_gets_its_own() {
    everywhere(|kind, _| async move {
        let port = ControlPort::start(
            |number| if number == 0 { Act::Hang } else { Act::Answer(PUBLISHED) },
        );
        let (to, transport) = (port.at, (kind.make)());
        let (arrived, arrival) = oneshot::channel();
        thread::spawn(move || {
            port.request();
            let _ = arrived.send(port);
        });
        let port = match select(transport.send(request(to)), arrival).await {
            Either::Left((answer, _)) => panic!("{answer:?}"),
            // The request is dropped here.
            Either::Right((port, _)) => port.unwrap(),
        };
        assert_eq!(port.closed(), 0, "the connection is closed");
        assert_eq!(transport.send(request(to)).await.unwrap().status(), 200);
        assert_eq!(port.request().connection, 1);
    });
}

#[test]
fn requests_at_the_same_time_each_get_an_answer() {
    everywhere(|kind, _| async move {
        let port = ControlPort::start(|_| Act::Answer(PUBLISHED));
        let transport = (kind.make)();
        let (one, two) =
            join(transport.send(request(port.at)), transport.send(request(port.at))).await;
        assert!(one.is_ok(), "{one:?}");
        assert!(two.is_ok(), "{two:?}");
    });
}

#[test]
fn an_answer_without_an_end_in_sight_is_an_error() {
    let port = ControlPort::start(|_| {
        Act::AnswerAndClose(Box::leak(
            format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000)).into_boxed_str(),
        ))
    });
    assert!(block_on(hyper().send(request(port.at))).is_err());
}

#[test]
fn a_request_without_a_host_is_an_error() {
    for uri in ["/publish/", "*"] {
        let request = Request::post(uri).body(Bytes::new()).unwrap();
        assert!(block_on(hyper().send(request)).unwrap_err().to_string().contains("host"));
    }
}

#[cfg(not(feature = "rustls"))]
#[test]
fn https_without_the_feature_is_an_error_that_names_it() {
    let port = ControlPort::start(|_| Act::Answer(PUBLISHED));
    let request =
        Request::post(format!("https://{}/publish/", port.at)).body(Bytes::new()).unwrap();
    assert!(block_on(hyper().send(request)).unwrap_err().to_string().contains("rustls"));
}

#[cfg(feature = "rustls")]
mod tls {
    use std::net::TcpStream;

    use futures_rustls::rustls::crypto::ring;
    use futures_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use futures_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    /// A private certificate authority.
    struct Authority {
        pem: String,
        issuer: Issuer<'static, KeyPair>,
    }

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::new([]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
        }

        /// A control port whose certificate has these names and expires at the start of this year.
        fn port(&self, names: &[&str], year: i32) -> ControlPort {
            let mut params =
                CertificateParams::new(names.iter().copied().map(String::from).collect::<Vec<_>>())
                    .unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &self.issuer).unwrap();
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
                .unwrap();
            let config = Arc::new(config);
            let wrap = move |mut socket: TcpStream| -> Option<Box<dyn control_port::Stream>> {
                let mut connection = ServerConnection::new(config.clone()).ok()?;
                connection.complete_io(&mut socket).ok()?;
                Some(Box::new(StreamOwned::new(connection, socket)))
            };
            ControlPort::start_over(|_| Act::Answer(PUBLISHED), wrap)
        }
    }

    #[test]
    fn a_private_root_makes_https_work_under_every_runtime() {
        let authority = Authority::new();
        for runtime in RUNTIMES {
            let port = authority.port(&["localhost", "127.0.0.1"], 4000);
            for (connection, host) in ["localhost", "127.0.0.1"].into_iter().enumerate() {
                let transport = hyper().add_root(authority.pem.as_bytes()).unwrap();
                let builder = EventStream::builder().transport(transport).executor(runtime);
                let url = format!("https://{host}:{}/?key=token", port.at.port());
                (runtime.run)(Box::pin(async move {
                    let stream = builder.grip(url).build().unwrap();
                    for number in 0..3 {
                        stream
                            .publish("c", Event::default().data(format!("{number}")))
                            .await
                            .unwrap();
                    }
                    assert_eq!(stream.stats().grip[0].retried, 0);
                }));
                let requests = port.rest();
                assert_eq!(requests.len(), 3, "{}", runtime.name);
                assert!(
                    requests.iter().all(|request| request.connection == connection),
                    "one connection"
                );
                assert_eq!(requests[0].header("host"), [format!("{host}:{}", port.at.port())]);
                assert_eq!(requests[0].header("authorization"), ["Bearer token"]);
            }
        }
    }

    #[test]
    fn a_server_that_is_not_who_it_should_be_gets_no_request() {
        let (authority, other) = (Authority::new(), Authority::new());
        // The authority that is trusted, the name in the certificate, the year when it expires, and
        // whether it is good for `localhost`.
        let table = [
            (Some(&authority), "localhost", 4000, true),
            (None, "localhost", 4000, false),
            (Some(&other), "localhost", 4000, false),
            (Some(&authority), "example.com", 4000, false),
            (Some(&authority), "127.0.0.1", 4000, false),
            (Some(&authority), "localhost", 2001, false),
        ];
        for (index, (root, name, year, good)) in table.into_iter().enumerate() {
            let port = authority.port(&[name], year);
            let transport =
                root.map_or_else(hyper, |root| hyper().add_root(root.pem.as_bytes()).unwrap());
            let uri = format!("https://localhost:{}/publish/", port.at.port());
            let request =
                Request::post(uri).header("content-length", 0).body(Bytes::new()).unwrap();
            let outcome = block_on(transport.send(request));
            assert_eq!(outcome.is_ok(), good, "case {index}: {outcome:?}");
            assert_eq!(port.rest().len(), usize::from(good), "case {index}");
        }
    }

    #[test]
    fn several_roots_may_be_added_at_once_and_one_by_one() {
        let (one, two) = (Authority::new(), Authority::new());
        let both = hyper().add_root(format!("{}\n{}", one.pem, two.pem).as_bytes()).unwrap();
        let each = hyper()
            .add_root(one.pem.as_bytes())
            .and_then(|hyper| hyper.add_root(two.pem.as_bytes()))
            .unwrap();
        for transport in [both, each] {
            for authority in [&one, &two] {
                let port = authority.port(&["localhost"], 4000);
                let uri = format!("https://localhost:{}/publish/", port.at.port());
                let request =
                    Request::post(uri).header("content-length", 0).body(Bytes::new()).unwrap();
                assert_eq!(block_on(transport.send(request)).unwrap().status(), 200);
            }
        }
    }

    #[test]
    fn an_invalid_root_is_an_error() {
        let good = Authority::new().pem;
        let key = KeyPair::generate().unwrap().serialize_pem();
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let half = &good[..good.len() / 2];
        for pem in ["", "rubbish", &key, garbage, half, &format!("{good}{garbage}")] {
            assert!(hyper().add_root(pem.as_bytes()).is_err(), "{pem}");
        }
        assert!(hyper().add_root(b"\xff\xfe").is_err());
    }
}
