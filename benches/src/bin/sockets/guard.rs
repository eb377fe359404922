//! Runs a program that has child processes, and ends it properly when standard input is closed.

use std::io::{self, BufRead, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};

/// How long a program may take until it listens.
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
    // This fails only if the program has ended.
    let _ = kill_process(pid, Signal::TERM);
    child.wait()?;
    outcome.map(drop)
}

/// The program does not report when it listens, so this keeps trying to connect.
fn wait_for(address: SocketAddr) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Err(_) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(10)),
            outcome => return outcome.map(drop),
        }
    }
}
