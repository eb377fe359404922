//! Runs a program that has children of its own, and ends it in order when standard input is closed.

use std::io::{self, BufRead, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};

/// Until a program listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the address that the program will listen on, and writes a line when it does.
pub(crate) fn run(program: &str, args: &[&str]) -> io::Result<()> {
    let mut child = Command::new(program).args(args).stdin(Stdio::null()).spawn()?;
    let pid = Pid::from_child(&child);
    let mut input = io::stdin().lock();
    let outcome = (|| {
        let mut address = String::new();
        input.read_line(&mut address)?;
        wait_for(address.trim().parse().map_err(io::Error::other)?)?;
        println!("ready");
        input.read_to_end(&mut Vec::new())
    })();
    // It fails only where the program has ended.
    let _ = kill_process(pid, Signal::TERM);
    child.wait()?;
    outcome.map(drop)
}

/// A program that does not say when it listens has to be asked again and again.
fn wait_for(address: SocketAddr) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Err(_) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(10)),
            outcome => return outcome.map(drop),
        }
    }
}
