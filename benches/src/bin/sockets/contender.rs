//! The contenders: eventstream, its peers, and the bounds between which a server can be.

use std::env;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::load::Dialect;
use crate::process::{Ending, Process};

#[derive(Debug)]
pub(crate) struct Contender {
    /// The name on the command line and in the results.
    pub(crate) name: &'static str,
    /// The name in tables and pictures.
    pub(crate) label: &'static str,
    pub(crate) kind: Kind,
    program: Program,
    /// Has a way to publish many events at once.
    pub(crate) batches: bool,
    /// Has any number of channels, and is measured with many.
    pub(crate) many_channels: bool,
    /// Takes so long that the bursts to the largest crowd are left out.
    pub(crate) slow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Ours,
    Peer,
    /// Not a server that anyone would use.
    Bound,
    /// Subscribes nobody: only its memory is of interest.
    Silent,
}

#[derive(Clone, Copy, Debug)]
enum Program {
    Own,
    Node(&'static str),
    Nginx,
}

const BASE: Contender = Contender {
    name: "",
    label: "",
    kind: Kind::Peer,
    program: Program::Own,
    batches: false,
    many_channels: false,
    slow: false,
};
const OURS: Contender = Contender { kind: Kind::Ours, batches: true, ..BASE };

pub(crate) const CONTENDERS: [Contender; 11] = [
    Contender { name: "limit", label: "send(2) alone", kind: Kind::Bound, batches: true, ..BASE },
    Contender { name: "tokio", label: "eventstream on tokio", many_channels: true, ..OURS },
    Contender { name: "axum", label: "axum Sse + broadcast", many_channels: true, ..BASE },
    Contender { name: "ours-in-axum", label: "eventstream in axum", ..OURS },
    Contender { name: "smol", label: "eventstream on smol", ..OURS },
    Contender { name: "async-std", label: "eventstream on async-std", ..OURS },
    Contender { name: "actix", label: "actix-web-lab + broadcast", ..BASE },
    Contender { name: "nchan", label: "nginx + nchan", program: Program::Nginx, ..BASE },
    Contender {
        name: "eventstream-js",
        label: "@fanoutio/eventstream",
        program: Program::Node("eventstream.js"),
        many_channels: true,
        slow: true,
        ..BASE
    },
    Contender {
        name: "better-sse",
        label: "better-sse",
        program: Program::Node("better-sse.js"),
        slow: true,
        ..BASE
    },
    Contender { name: "hyper", label: "bare hyper, silent", kind: Kind::Silent, ..BASE },
];

/// A contender that listens.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) dialect: Dialect,
}

impl Contender {
    pub(crate) fn start(&self) -> io::Result<Server> {
        let (command, ending) = match self.program {
            Program::Own => (own(&["serve", self.name])?, Ending::Kill),
            Program::Node(file) => (node(file)?, Ending::Kill),
            Program::Nginx => return nginx(),
        };
        let mut process = Process::start(command, ending)?;
        let port: u16 = process.hear()?.parse().map_err(io::Error::other)?;
        Ok(Server { process, address: local(port), dialect: Dialect::Order })
    }

    /// Why it cannot take part on this machine, if it cannot.
    pub(crate) fn obstacle(&self) -> Option<String> {
        match self.program {
            Program::Own => None,
            Program::Node(_) if !peers().join("node_modules").exists() => {
                Some("benches/peers/node_modules is missing, see benches/peers/setup.sh".to_owned())
            }
            Program::Node(_) => version("node", "--version").err(),
            Program::Nginx if !Path::new(NCHAN).exists() => Some(format!("{NCHAN} is missing")),
            Program::Nginx => version("nginx", "-v").err(),
        }
    }
}

/// This program with other arguments.
pub(crate) fn own(args: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(args).env("ASYNC_STD_THREAD_COUNT", "2");
    Ok(command)
}

/// What a program prints about its version.
pub(crate) fn version(program: &str, flag: &str) -> Result<String, String> {
    let output =
        Command::new(program).arg(flag).output().map_err(|error| format!("{program}: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

/// The directory with the files of the peers that are not Rust.
pub(crate) fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

fn node(file: &str) -> io::Result<Command> {
    let mut command = Command::new("node");
    command.arg(peers().join(file)).env("NODE_ENV", "production");
    Ok(command)
}

const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// nginx cannot choose a free port and report it, so one is chosen here.
fn nginx() -> io::Result<Server> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    // Beside this program, where the next run finds it again.
    let files = env::current_exe()?.with_file_name("sockets-nginx");
    fs::create_dir_all(&files)?;
    let template = fs::read_to_string(peers().join("nginx.conf"))?;
    let config = template.replace("MODULE", NCHAN).replace("PORT", &port.to_string());
    let config_file = files.join("nginx.conf");
    fs::write(&config_file, config.replace("FILES", &files.display().to_string()))?;
    let mut command = own(&["guard", "nginx", "-e"])?;
    command.arg(files.join("error.log")).arg("-c").arg(config_file).arg("-p").arg(&files);
    let mut process = Process::start(command, Ending::Wait)?;
    let address = local(port);
    // The guard answers when nginx does.
    process.say(&address.to_string())?;
    process.hear()?;
    Ok(Server { process, address, dialect: Dialect::Post })
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
