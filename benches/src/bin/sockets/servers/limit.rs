//! The bounds: only send(2) of ready bytes, once per socket for each event, or once for a whole
//! batch. On one thread: a second one made no difference to CPU per delivery.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use crate::order::{subscribed, Order, TOOK};

/// All clients are on one channel.
type Clients = Arc<Mutex<Vec<TcpStream>>>;

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    let clients = Clients::default();
    for socket in listener.incoming() {
        let mut socket = socket?;
        socket.set_nodelay(true)?;
        // A client that leaves before its request is of no interest.
        let Ok(target) = target(&mut socket) else { continue };
        if subscribed(&target).is_some() {
            // Locked before the answer: a client that has an answer receives all that comes.
            let mut clients = clients.lock().expect("nobody panics here");
            socket.write_all(HEAD)?;
            clients.push(socket);
        } else {
            let clients = clients.clone();
            thread::spawn(move || control(socket, target, &clients));
        }
    }
    Ok(())
}

fn control(mut socket: TcpStream, mut target: String, clients: &Clients) -> io::Result<()> {
    loop {
        let order = Order::parse(&target).ok_or(io::ErrorKind::InvalidInput)?;
        let mut clients = clients.lock().expect("nobody panics here");
        let start = Instant::now();
        if order.as_batch {
            send(&mut clients, &order.events().map(frame).collect::<String>());
        } else {
            order.events().for_each(|event| send(&mut clients, &frame(event)));
        }
        let took = start.elapsed().as_nanos();
        drop(clients);
        write!(socket, "HTTP/1.1 204 No Content\r\n{TOOK}: {took}\r\n\r\n")?;
        target = self::target(&mut socket)?;
    }
}

/// Sends to all clients, and drops those that are gone.
fn send(clients: &mut Vec<TcpStream>, frames: &str) {
    let chunk = format!("{:X}\r\n{frames}\r\n", frames.len());
    clients.retain_mut(|client| client.write_all(chunk.as_bytes()).is_ok());
}

fn frame((seq, data): (u64, String)) -> String {
    format!("id: 0123456789abc-{seq}\nevent: message\ndata: {data}\n\n")
}

/// Reads a head; requests have no bodies here.
fn target(socket: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}
