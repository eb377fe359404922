//! Measures servers over sockets: eventstream on each runtime and inside axum, the peers, and the
//! bounds, which all take turns in one run.
//!
//! ```text
//! benches/peers/setup.sh                                  # once: the peers that are not Rust
//! cargo run --release --manifest-path benches/Cargo.toml --features sockets --bin sockets \
//!     [-- OPTIONS]
//! cargo run --release --manifest-path benches/Cargo.toml --features sockets --bin sockets -- draw
//! ```
//!
//! Each server and the load generator run in separate processes. The generator opens N connections,
//! has the server publish one event or a hundred, waits until every connection has received all of
//! them, and accounts for each delivery by its number. Meanwhile the run reads what the server
//! uses: CPU, all threads and children included, and memory. A figure is a median over the turns,
//! and a ratio is the median of the turns' ratios: **only ratios within one run are meaningful**.
//!
//! A full run takes a quarter of an hour, prints a table and the targets, and writes
//! `results/sockets.json` and pictures beside it. With `--quick` (three minutes), `--only
//! NAME,...`, or `--crowds N,...` less is measured, and written to the target directory instead;
//! `--turns N` sets the number of turns. `draw` draws the pictures of the kept results again. A
//! peer that is missing is skipped, and the output says so. The program fails if an event of
//! eventstream was lost.

mod accounts;
mod chart;
mod contender;
mod figures;
mod guard;
mod load;
mod machine;
mod order;
mod process;
mod results;
mod run;
mod servers;
mod targets;

use std::env;
use std::fs;
use std::io;
use std::process::ExitCode;

use eventstream_benches::report::Report;

use self::contender::{Contender, CONTENDERS};
use self::machine::Machine;
use self::results::{directory, Results};
use self::run::{Effort, Findings};

const USAGE: &str =
    "usage: sockets [--quick] [--only NAME,...] [--crowds N,...] [--turns N] | draw";

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        ["serve", name] => servers::run(name),
        ["load"] => load::run(),
        ["guard", program, ..] => guard::run(program, &args[2..]),
        ["draw"] => Results::load(&directory().join("sockets.json"))
            .and_then(|results| chart::draw(&results, &directory())),
        _ => match Options::parse(&args) {
            Ok(options) => options.run(),
            Err(error) => Err(io::Error::other(format!("{error}\n{USAGE}"))),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    quick: bool,
    turns: Option<usize>,
    crowds: Option<Vec<usize>>,
    contenders: Vec<&'static Contender>,
}

impl Options {
    fn parse(args: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            quick: false,
            turns: None,
            crowds: None,
            contenders: CONTENDERS.iter().collect(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--quick" => options.quick = true,
                "--turns" => {
                    let turns =
                        args.next().and_then(|turns| turns.parse().ok()).filter(|turns| *turns > 0);
                    options.turns = Some(turns.ok_or("--turns takes a number")?);
                }
                "--crowds" => {
                    let crowds = args.next().ok_or("--crowds takes numbers")?.split(',');
                    options.crowds =
                        crowds.map(|crowd| crowd.parse().ok().filter(|crowd| *crowd > 0)).collect();
                    options.crowds.as_ref().ok_or("--crowds takes numbers")?;
                }
                "--only" => options.contenders = only(args.next().ok_or("--only takes names")?)?,
                _ => return Err(format!("{arg:?} is not an option")),
            }
        }
        Ok(options)
    }

    fn run(self) -> io::Result<()> {
        let (crowds, turns, phase) = if self.quick {
            (vec![100, 1_000], 3, 0.2e9)
        } else {
            (vec![100, 1_000, 10_000], 5, 0.8e9)
        };
        let whole =
            !self.quick && self.crowds.is_none() && self.contenders.len() == CONTENDERS.len();
        let to =
            if whole { directory() } else { env::current_exe()?.with_file_name("sockets-partial") };
        let crowds = self.crowds.unwrap_or(crowds);
        let effort = Effort { turns: self.turns.unwrap_or(turns), crowds, phase };
        let mut report = Report::default();
        let Findings { figures, accounts, skipped } = run::run(&effort, &self.contenders, &report);
        let results =
            Results { machine: Machine::now(), turns: effort.turns, figures, accounts, skipped };
        results.print();
        let accounts = results.our_accounts();
        targets::targets(&results.figures, &accounts, &mut report);
        report.verdict();
        fs::create_dir_all(&to)?;
        results.save(&to.join("sockets.json"))?;
        chart::draw(&results, &to)?;
        eprintln!("written to {}", to.display());
        match accounts.wrong() {
            0 => Ok(()),
            wrong => Err(io::Error::other(format!("{wrong} events of eventstream went wrong"))),
        }
    }
}

fn only(names: &str) -> Result<Vec<&'static Contender>, String> {
    let find = |name: &str| {
        let known = || CONTENDERS.map(|contender| contender.name).join(", ");
        CONTENDERS
            .iter()
            .find(|known| known.name == name)
            .ok_or_else(|| format!("{name:?} is not one of {}", known()))
    };
    names.split(',').map(find).collect()
}
