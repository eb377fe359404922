//! The run: every contender with every crowd, by turns.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use eventstream_benches::report::Report;
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use crate::accounts::Accounts;
use crate::contender::{own, Contender, Kind, Server};
use crate::figures::{Figures, Row};
use crate::load::{Answer, Command, Outcome};
use crate::order::{LARGE, SMALL};
use crate::process::{Cpu, Ending, Process};

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Effort {
    pub(crate) turns: usize,
    pub(crate) crowds: Vec<usize>,
    /// Nanoseconds of server CPU that a phase should take.
    pub(crate) phase: f64,
}

/// Files that a process needs besides its connections.
const SPARE: u64 = 200;
/// Events of a burst.
const BURST: u64 = 100;
/// Rounds of publishing to a single subscriber.
const PUBLISHES: u64 = 50;

/// What a run finds.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) figures: Figures,
    pub(crate) accounts: BTreeMap<String, Accounts>,
    /// What was left out, and why.
    pub(crate) skipped: Vec<String>,
}

pub(crate) fn run(effort: &Effort, contenders: &[&Contender], report: &Report) -> Findings {
    let mut findings = Findings::default();
    let present: Vec<_> =
        contenders.iter().copied().filter(|contender| findings.admits(contender)).collect();
    let ceiling = raise_file_limit().saturating_sub(SPARE) as usize;
    let mut crowds: Vec<_> = effort.crowds.iter().map(|crowd| *crowd.min(&ceiling)).collect();
    if crowds != effort.crowds {
        findings.skip(format!("crowds of more than {ceiling}: the limit of open files"));
        crowds.dedup();
    }
    for turn in 0..effort.turns {
        for &crowd in &crowds {
            let largest = crowds.last() == Some(&crowd);
            for place in 0..present.len() {
                // Every other turn goes backwards, so that none always runs after the same one.
                let contender =
                    present[if turn % 2 == 0 { place } else { present.len() - 1 - place }];
                report.progress(&format!(
                    "turn {} of {}, N={crowd}, {}",
                    turn + 1,
                    effort.turns,
                    contender.label
                ));
                let mut pass =
                    Pass { contender, crowd, turn, phase: effort.phase, findings: &mut findings };
                let mut outcome = pass.measure(largest);
                if outcome.is_ok() && largest && contender.many_channels {
                    outcome = pass.measure_channels();
                }
                if let Err(error) = outcome {
                    findings.skip(format!(
                        "{}, N={crowd}, turn {}: {error}",
                        contender.label,
                        turn + 1
                    ));
                }
            }
        }
    }
    findings
}

impl Findings {
    fn admits(&mut self, contender: &Contender) -> bool {
        match contender.obstacle() {
            Some(obstacle) => {
                self.skip(format!("{}: {obstacle}", contender.label));
                false
            }
            None => true,
        }
    }

    fn skip(&mut self, what: String) {
        eprintln!("skipped {what}");
        self.skipped.push(what);
    }
}

/// One contender, one crowd, one turn.
struct Pass<'a> {
    contender: &'a Contender,
    crowd: usize,
    turn: usize,
    phase: f64,
    findings: &'a mut Findings,
}

impl Pass<'_> {
    fn measure(&mut self, largest: bool) -> io::Result<()> {
        let silent = self.contender.kind == Kind::Silent;
        let mut stage = Stage::start(self.contender)?;
        // Everything that is allocated once is there before memory is measured.
        stage.open(1, 1)?;
        if !silent {
            stage.warm_up()?;
        }
        stage.close()?;
        let empty = stage.server.process.pss();
        stage.open(self.crowd, 1)?;
        let idle = stage.server.process.pss();
        self.add(Row::Idle, (idle - empty) / self.crowd as f64);
        if silent {
            return Ok(());
        }
        stage.warm_up()?;

        let outcome = self.phase(&mut stage, Row::Single, 1, false)?;
        self.add(Row::LatencyMedian, outcome.latency_median);
        self.add(Row::Latency99, outcome.latency_99);
        let spared = self.contender.slow && self.crowd > 1_000;
        if !spared {
            self.phase(&mut stage, Row::Burst, BURST, false)?;
        }
        if self.contender.batches {
            self.phase(&mut stage, Row::Batch, BURST, true)?;
        }
        let largest = largest || (self.contender.slow && self.crowd == 1_000);
        if !spared && largest && self.contender.kind != Kind::Bound {
            let outcome = stage.publish(2, BURST, LARGE, false)?.0;
            self.account(&outcome);
            let after = stage.server.process.pss();
            if outcome.accounts.missing == 0 {
                self.add(Row::AfterBursts, (after - idle) / self.crowd as f64);
            }
        }
        Ok(())
    }

    /// Measures with as many channels as connections.
    fn measure_channels(&mut self) -> io::Result<()> {
        let channels = self.crowd;
        let mut stage = Stage::start(self.contender)?;
        stage.open(1, 1)?;
        stage.warm_up()?;
        let alone = self.publishes(&mut stage)?;
        stage.close()?;
        let empty = stage.server.process.pss();
        stage.open(channels, channels)?;
        let idle = stage.server.process.pss();
        self.add(Row::IdleApart, (idle - empty) / channels as f64);
        stage.warm_up()?;
        let among = self.publishes(&mut stage)?;
        if let (Some(alone), Some(among)) = (alone, among) {
            self.add(Row::PublishAlone, alone);
            self.add(Row::PublishAmong, among);
        }
        Ok(())
    }

    fn publishes(&mut self, stage: &mut Stage) -> io::Result<Option<f64>> {
        let outcome = stage.publish(PUBLISHES, BURST, SMALL, false)?.0;
        self.account(&outcome);
        Ok(outcome.publish)
    }

    /// Runs as many rounds as the time of a phase allows.
    fn phase(
        &mut self,
        stage: &mut Stage,
        row: Row,
        events: u64,
        as_batch: bool,
    ) -> io::Result<Outcome> {
        let (outcome, trial, _) = stage.publish(1, events.min(10), SMALL, as_batch)?;
        self.account(&outcome);
        let each = trial * if as_batch { 1.0 } else { (events / events.min(10)) as f64 };
        let rounds = (self.phase / each.max(1.0)).clamp(1.0, 2_000.0) as u64;
        // Longer, because the user-mode part of the time is sampled.
        let rounds = if row == Row::Single { (rounds * 2).max(5) } else { rounds };
        let (outcome, total, user) = stage.publish(rounds, events, SMALL, as_batch)?;
        self.account(&outcome);
        if outcome.accounts.missing == 0 {
            let deliveries = outcome.accounts.deliveries as f64 * 1e3;
            self.add(row, total / deliveries);
            if row == Row::Single {
                self.add(Row::SingleUser, user / deliveries);
            }
        }
        Ok(outcome)
    }

    fn add(&mut self, row: Row, figure: f64) {
        self.findings.figures.add(self.contender.name, row, self.crowd, self.turn, figure);
    }

    fn account(&mut self, outcome: &Outcome) {
        *self.findings.accounts.entry(self.contender.name.to_owned()).or_default() +=
            outcome.accounts;
    }
}

/// A server and its own load generator.
struct Stage {
    server: Server,
    load: Process,
}

impl Stage {
    fn start(contender: &Contender) -> io::Result<Self> {
        Ok(Self {
            server: contender.start()?,
            load: Process::start(own(&["load"])?, Ending::Kill)?,
        })
    }

    fn open(&mut self, connections: usize, channels: usize) -> io::Result<()> {
        let to: SocketAddr = self.server.address;
        let command = Command::Open { to, connections, channels, dialect: self.server.dialect };
        match self.command(&command)? {
            Answer::Opened { because: None, .. } => Ok(()),
            Answer::Opened { connections, because: Some(because) } => {
                Err(io::Error::other(format!("no more than {connections} connections: {because}")))
            }
            answer => Err(io::Error::other(format!("{answer:?}"))),
        }
    }

    fn warm_up(&mut self) -> io::Result<()> {
        let outcome = self.published(&Command::WarmUp)?;
        match outcome.accounts.missing {
            0 => Ok(()),
            missing => {
                Err(io::Error::other(format!("{missing} events never arrived while warming up")))
            }
        }
    }

    /// The outcome, and the server's CPU meanwhile in nanoseconds: the total, and the user-mode
    /// part.
    fn publish(
        &mut self,
        rounds: u64,
        events: u64,
        size: usize,
        as_batch: bool,
    ) -> io::Result<(Outcome, f64, f64)> {
        let before: Cpu = self.server.process.cpu();
        let outcome = self.published(&Command::Publish { rounds, events, size, as_batch })?;
        let (total, user) = self.server.process.cpu().since(before);
        Ok((outcome, total, user))
    }

    fn published(&mut self, command: &Command) -> io::Result<Outcome> {
        match self.command(command)? {
            Answer::Published(outcome) => Ok(outcome),
            answer => Err(io::Error::other(format!("{answer:?}"))),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        self.command(&Command::Close).map(drop)
    }

    fn command(&mut self, command: &Command) -> io::Result<Answer> {
        self.load.say(&serde_json::to_string(command)?)?;
        let line = self
            .load
            .hear()
            .map_err(|error| io::Error::new(error.kind(), format!("load generator: {error}")))?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// Raises the limit of open files as far as it goes; children inherit it.
fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.unwrap_or(u64::MAX)
}
