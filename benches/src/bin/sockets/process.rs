//! Child processes, and what they cost.
//!
//! CPU is the sum of what the scheduler accounts to each thread, in nanoseconds
//! (`/proc/PID/task/*/schedstat`); only its division into user and system comes from clock ticks
//! (`/proc/PID/stat`), which the kernel samples.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A process that is ended by closing its standard input, and is then killed or waited for.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    Kill,
    /// The process has child processes to end, and is waited for.
    Wait,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// Nanoseconds.
    pub(crate) total: f64,
    /// Ticks.
    user: f64,
    system: f64,
}

impl Process {
    pub(crate) fn start(mut command: Command, ending: Ending) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        Ok(Self { child, stdin: Some(stdin), stdout: BufReader::new(stdout), ending })
    }

    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{line}"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(crate) fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the process has ended"));
        }
        Ok(line.trim_end().to_owned())
    }

    /// What the process and its children have used so far.
    pub(crate) fn cpu(&self) -> Cpu {
        let mut cpu = Cpu::default();
        for pid in self.family() {
            for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten()
            {
                let ran = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                cpu.total += ran.split(' ').next().and_then(|ran| ran.parse().ok()).unwrap_or(0.0);
            }
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // The name may contain anything, so fields are counted from its end: user and system
            // are the 14th and 15th.
            let fields = stat.rsplit(") ").next().unwrap_or_default();
            let mut ticks = fields.split(' ').skip(11).map(|ticks| ticks.parse().unwrap_or(0.0));
            cpu.user += ticks.next().unwrap_or(0.0);
            cpu.system += ticks.next().unwrap_or(0.0);
        }
        cpu
    }

    /// Bytes of memory; shared pages count in proportion.
    pub(crate) fn pss(&self) -> f64 {
        let kilobytes = |pid| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().strip_suffix(" kB")?.parse::<f64>().ok()
        };
        self.family().into_iter().filter_map(kilobytes).sum::<f64>() * 1024.0
    }

    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let mut asked = 0;
        while let Some(pid) = family.get(asked) {
            let children =
                fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            asked += 1;
        }
        family
    }
}

impl Cpu {
    /// What was used since then, and the user-mode part of it.
    pub(crate) fn since(self, before: Self) -> (f64, f64) {
        let total = self.total - before.total;
        let (user, system) = (self.user - before.user, self.system - before.system);
        (total, total * user / (user + system).max(1.0))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        if self.ending == Ending::Kill {
            // This fails only if the process has ended.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
