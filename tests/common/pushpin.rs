//! A real Pushpin with its own folder and ports.
#![allow(dead_code, reason = "each test uses a part")]

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than a start or a stop takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a test is run again because Pushpin canceled a stream.
const AGAIN: usize = 9;

thread_local! {
    /// Whether a proxy that this thread started logged that it canceled a stream.
    static CANCELED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test, and runs it again if it fails and its proxy's log says that a stream was canceled
/// because of a message out of sequence. That is a race in Pushpin itself (seen in 1.36): if its
/// connection manager sends a keep-alive while a new stream is handed over to its handler, Pushpin
/// disconnects the client. On a busy machine this hits one stream in several hundred.
pub(crate) fn behind_pushpin(test: impl Fn()) {
    for _ in 0..AGAIN {
        CANCELED.set(false);
        match catch_unwind(AssertUnwindSafe(&test)) {
            Ok(()) => return,
            Err(_) if CANCELED.get() => {
                println!("again: pushpin canceled a stream that it had just opened")
            }
            Err(failure) => resume_unwind(failure),
        }
    }
    test();
}

/// How a proxy is set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// Where the origin listens. It must answer, or `start` never sees the proxy as ready.
    pub(crate) origin: SocketAddr,
    /// Where clients connect.
    pub(crate) front: SocketAddr,
    /// Where the origin publishes.
    pub(crate) control: SocketAddr,
    pub(crate) sig_iss: &'a str,
    /// As in `pushpin.conf`: a secret, or `file:` and the path of a private key.
    pub(crate) sig_key: &'a str,
}

pub(crate) struct Pushpin {
    process: Child,
    dir: PathBuf,
    pub(crate) front: SocketAddr,
}

impl Pushpin {
    /// Starts a Pushpin. `None` if it is not installed, which is an error in CI.
    pub(crate) fn start(setup: &Setup<'_>) -> Option<Self> {
        let Setup { front, control, .. } = *setup;
        let internal = Path::new("/usr/lib/pushpin/internal.conf");
        if !internal.exists() {
            assert!(std::env::var_os("CI").is_none(), "pushpin must be installed");
            println!("skipped: pushpin is not installed");
            return None;
        }
        // Short, because the path of a Unix socket must be.
        let dir = PathBuf::from(format!("/tmp/pp{}", front.port()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("run")).unwrap();
        fs::create_dir_all(dir.join("log")).unwrap();
        let dir_name = dir.display().to_string();
        // The packaged file expects zurl to run as a separate service.
        let internal = fs::read_to_string(internal).unwrap();
        let internal =
            internal.replace("ipc:///var/run/zurl/zurl-", "ipc://{rundir}/{ipc_prefix}zurl-");
        fs::write(dir.join("internal.conf"), internal).unwrap();
        fs::write(dir.join("routes"), format!("* {}\n", setup.origin)).unwrap();
        let config = format!(
            "[global]\ninclude={dir_name}/internal.conf\nrundir={dir_name}/run\nipc_prefix=p-\n\
             [runner]\nservices=condure,zurl,pushpin-proxy,pushpin-handler\nhttp_port={front}\n\
             logdir={dir_name}/log\nclient_maxconn=1000\ncondure_bin=condure\nzurl_bin=zurl\n\
             [proxy]\nroutesfile=routes\ndebug=true\nsig_iss={}\nsig_key={}\nupdates_check=off\n\
             [handler]\npush_in_spec=ipc://{dir_name}/run/in\n\
             push_in_sub_specs=ipc://{dir_name}/run/sub\n\
             command_spec=ipc://{dir_name}/run/command\nstats_spec=ipc://{dir_name}/run/stats\n\
             push_in_http_addr={}\npush_in_http_port={}\n\
             message_rate=-1\nmessage_hwm=-1\nmessage_wait=5000\nid_cache_ttl=60\n",
            setup.sig_iss,
            setup.sig_key,
            control.ip(),
            control.port(),
        );
        fs::write(dir.join("pushpin.conf"), config).unwrap();
        let process = Command::new("pushpin")
            .arg(format!("--config={dir_name}/pushpin.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { process, dir, front };
        let start = Instant::now();
        // A request that arrives before the proxy has subscribed is lost, so this keeps asking. The
        // second probe is a hold, which needs Pushpin's handler too.
        while !(answers(control, "/") && answers(front, "/events/probe")) {
            assert!(start.elapsed() < PATIENCE, "pushpin did not start: {}", this.logs());
            thread::sleep(Duration::from_millis(50));
        }
        Some(this)
    }

    fn logs(&self) -> String {
        let names = ["condure", "zurl", "pushpin-proxy", "pushpin-handler"];
        let log =
            |name| fs::read_to_string(self.dir.join(format!("log/{name}.log"))).unwrap_or_default();
        names.map(log).concat()
    }
}

/// Whether a 200 comes back within a second.
fn answers(at: SocketAddr, path: &str) -> bool {
    let Ok(mut socket) = TcpStream::connect(at) else { return false };
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let probe = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    let mut head = [0; 12];
    socket.write_all(probe.as_bytes()).is_ok()
        && socket.read_exact(&mut head).is_ok()
        && head.ends_with(b"200")
}

impl Drop for Pushpin {
    fn drop(&mut self) {
        // The runner stops its services when it gets a SIGTERM, but not when it is killed.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let start = Instant::now();
        while self.process.try_wait().is_ok_and(|status| status.is_none()) {
            if start.elapsed() > PATIENCE {
                let _ = self.process.kill();
            }
            thread::sleep(Duration::from_millis(20));
        }
        if self.logs().contains("received message out of sequence, canceling") {
            CANCELED.set(true);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A port that was free a moment ago. It is below the ephemeral ports, so no outgoing connection
/// takes it before the proxy listens.
pub(crate) fn free_port() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let at = process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
            % 12_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 20_000 + at as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
