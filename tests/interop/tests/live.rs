//! Frameworks that write a body to a socket do it as it comes: each event is sent before the next
//! is published.

use std::future::ready;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use actix_web::{web, App, HttpResponse, HttpServer};
use eventstream::{Event, EventStream};
use warp::Filter;

/// Connects, and publishes each event when the one before it has arrived.
fn follow(stream: &EventStream, address: SocketAddr) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").unwrap();
    let mut heard = String::new();
    for next in ["first", "second", "third"] {
        while !heard.ends_with("\ndata: \n\n\r\n") {
            let mut bytes = [0; 1024];
            let len = socket.read(&mut bytes).unwrap();
            assert!(len > 0, "{heard}");
            heard.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
        }
        heard.clear();
        stream.try_publish("lobby", Event::new(next)).unwrap();
    }
}

#[test]
fn actix_web_sends_each_event_at_once() {
    let stream = EventStream::new();
    let body = stream.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let server = HttpServer::new(move || {
            let body = body.clone();
            App::new().route(
                "/",
                web::to(move || {
                    ready(HttpResponse::Ok().streaming(body.subscribe("lobby").into_body()))
                }),
            )
        });
        let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
        actix_web::rt::System::new().block_on(server)
    });
    follow(&stream, address);
}

#[test]
fn warp_sends_each_event_at_once() {
    let stream = EventStream::new();
    let body = stream.clone();
    let events = warp::any().map(move || warp::reply::stream(body.subscribe("lobby").into_body()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            warp::serve(events)
                .incoming(tokio::net::TcpListener::from_std(listener).unwrap())
                .run()
                .await;
        });
    });
    follow(&stream, address);
}

#[test]
fn tide_sends_each_event_at_once() {
    let stream = EventStream::new();
    let mut app = tide::with_state(stream.clone());
    app.at("/").get(|req: tide::Request<EventStream>| async move {
        let body = req.state().subscribe("lobby").into_body();
        Ok(tide::Response::builder(200)
            .body(tide::Body::from_reader(body.into_async_read(), None))
            .build())
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || futures::executor::block_on(app.listen(listener)));
    follow(&stream, address);
}
