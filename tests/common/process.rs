//! Child processes that do not outlive a test: the examples, and the programs that drive them.
#![allow(dead_code, reason = "each test uses a part")]

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Once;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Far longer than a start or an end takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts a process and waits for a line of its output for which `find` returns something.
    pub(crate) fn start(
        command: &mut Command,
        find: impl Fn(&str) -> Option<String>,
    ) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        // Both pipes are read to the end, so that the process never blocks on a full one.
        let (sender, lines) = channel();
        thread::spawn(move || {
            output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        let errors = Some(thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        }));
        let process = Self { child, lines, errors };
        let found = process.says(find);
        (process, found)
    }

    /// Starts an example server, and returns its URL.
    pub(crate) fn example(name: &str, environment: &[(&str, &str)]) -> (Self, String) {
        static BUILD: Once = Once::new();
        let tests = env::current_exe().unwrap();
        let profile = tests.ancestors().nth(2).unwrap();
        // `cargo test` builds the examples too, but `cargo test --test` does not.
        BUILD.call_once(|| {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--quiet", "--examples"]);
            build.args(profile.ends_with("release").then_some("--release"));
            // Cargo sets these for a test. A build script would see them as changed, and run again.
            for (name, _) in env::vars_os() {
                if name.to_str().is_some_and(|name| {
                    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
                }) {
                    build.env_remove(name);
                }
            }
            assert!(build.status().unwrap().success());
        });
        let mut command = Command::new(profile.join("examples").join(name));
        for setting in ["LISTEN", "KEEP_ALIVE", "HISTORY", "GRIP_URL", "GRIP_VERIFY_KEY"] {
            command.env_remove(setting);
        }
        command.env("LISTEN", "127.0.0.1:0").envs(environment.iter().copied());
        Self::start(&mut command, |line| line.strip_prefix("listening on ").map(str::to_owned))
    }

    /// Waits for a line of the process's output for which `find` returns something.
    pub(crate) fn says(&self, find: impl Fn(&str) -> Option<String>) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("the line did not come");
            if let Some(found) = find(&line) {
                return found;
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        // The shell's built-in `kill`: not every machine has the program.
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.id())]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits until the process has ended, and returns its status and all that it wrote to stderr.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > PATIENCE => panic!("the process did not end"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        (status, self.errors.take().unwrap().join().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of a program that the tests drive. `None` if it is not installed, which is an error in
/// CI.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let found = env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| path.exists());
    if found.is_none() {
        assert!(env::var_os("CI").is_none(), "{name} must be installed");
        println!("skipped: {name} is not installed");
    }
    found
}
