//! Measures time, memory and allocations against the peers, which all take turns in one run.

mod by_hand;
mod delivery;
mod memory;
mod publishing;

use std::env;
use std::process::ExitCode;

use eventstream_benches::contenders::LEGEND;
use eventstream_benches::report::Report;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Passes of each contender in each row.
    turns: usize,
    /// Deliveries in a pass.
    deliveries: usize,
    largest_crowd: usize,
}

const FULL: Effort = Effort { turns: 7, deliveries: 400_000, largest_crowd: 100_000 };
const QUICK: Effort = Effort { turns: 5, deliveries: 60_000, largest_crowd: 10_000 };

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let effort = match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => FULL,
        ["--quick"] => QUICK,
        _ => {
            eprintln!("usage: eventstream-benches [--quick]");
            return ExitCode::FAILURE;
        }
    };
    let mut report = Report::default();
    println!(
        "{LEGEND}\nMedians of {} passes by turns; a ratio is the median of the turns' ratios.",
        effort.turns
    );
    delivery::measure(&mut report, effort);
    by_hand::measure(&mut report, effort);
    publishing::measure(&mut report, effort);
    memory::measure(&mut report);
    report.verdict();
    ExitCode::SUCCESS
}
