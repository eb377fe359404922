//! Child processes that do not outlive a test: the examples, and what drives them.
#![allow(dead_code, reason = "each test takes a part")]

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Once;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Far more than a start or an end takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts it and waits for a line of its output from which `find` gets something.
    pub(crate) fn start(
        command: &mut Command,
        find: impl Fn(&str) -> Option<String>,
    ) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        // Both pipes are read to their ends, so that nothing waits for room in them.
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

    /// Starts an example that serves, and gives its URL.
    pub(crate) fn example(name: &str, environment: &[(&str, &str)]) -> (Self, String) {
        static BUILD: Once = Once::new();
        let tests = env::current_exe().unwrap();
        let profile = tests.ancestors().nth(2).unwrap();
        // `cargo test` builds the examples beside the tests; with `--test` it does not, so this
        // makes sure.
        BUILD.call_once(|| {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--quiet", "--examples"]);
            build.args(profile.ends_with("release").then_some("--release"));
            // What cargo tells a test of its package, a build script takes for a change, and builds
            // anew.
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

    /// Waits for a line of its output from which `find` gets something.
    pub(crate) fn says(&self, find: impl Fn(&str) -> Option<String>) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("the line comes");
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
        // The shell's own `kill`: not every machine has another.
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.id())]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits until it has ended; gives its status and all that it wrote to its error output.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > PATIENCE => panic!("the process does not end"),
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

/// Where a program is that the tests drive but do not bring. `None` where it is not installed,
/// which is only allowed on a user's machine.
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
