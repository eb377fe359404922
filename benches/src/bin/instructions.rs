//! Counts instructions per delivery under valgrind: exact to a few per mille, whatever else the
//! machine does.
//!
//! The program starts itself under callgrind, twice for each figure, with different numbers of
//! rounds. The difference is the cost of the additional rounds; everything before and after them
//! cancels out.
//!
//! To see where instructions go: `valgrind --tool=callgrind <this program> <row> <contender>
//! <rounds>`.

use std::env;
use std::process::{Command, ExitCode};

use eventstream_benches::contenders::{
    AsyncBroadcast, AxumSse, ByName, Contender, EncodedBroadcast, ExecutorAndReArm, ExecutorOnly,
    Log, ReceiveLoop, StructBroadcast, LEGEND,
};
use eventstream_benches::load::{Crowd, Load, Spread, WARM_UP};
use eventstream_benches::report::Report;
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;

const SUBSCRIBERS: usize = 500;

struct Row {
    name: &'static str,
    load: Load,
    /// How many more rounds the longer of the two runs has.
    rounds: usize,
    contenders: &'static [Runner],
    /// Other contenders, and the largest allowed ratio of LOG's instructions to theirs.
    targets: &'static [(&'static str, f64)],
}

type Runner = (&'static str, fn(Load, usize));

const fn runner<C: Contender>() -> Runner {
    (C::NAME, run::<C>)
}

const ONE_CHANNEL: &[Runner] = &[
    runner::<Log>(),
    runner::<ByName>(),
    runner::<EncodedBroadcast>(),
    runner::<ReceiveLoop>(),
    runner::<AsyncBroadcast>(),
    runner::<StructBroadcast>(),
    runner::<AxumSse>(),
    runner::<ExecutorOnly>(),
    runner::<ExecutorAndReArm>(),
];
const CHANNELS: &[Runner] =
    &[runner::<Log>(), runner::<EncodedBroadcast>(), runner::<StructBroadcast>()];

const fn channels(channels: usize, burst: usize, spread: Spread) -> Load {
    Load { subscribers: SUBSCRIBERS, channels, burst, spread }
}

const ROWS: &[Row] = &[
    Row {
        name: "single events",
        load: Load::one_channel(SUBSCRIBERS, 1),
        rounds: 64,
        contenders: ONE_CHANNEL,
        targets: &[("D1", 0.55), ("D0", 0.28)],
    },
    Row {
        name: "bursts of 16",
        load: Load::one_channel(SUBSCRIBERS, 16),
        rounds: 16,
        contenders: ONE_CHANNEL,
        targets: &[("D1", 0.09), ("D0", 0.03)],
    },
    Row {
        name: "3 channels, 1 event in each",
        load: channels(3, 3, Spread::Each),
        rounds: 32,
        contenders: CHANNELS,
        targets: &[("D1", 0.70)],
    },
    Row {
        name: "3 channels, 16 in one",
        load: channels(3, 16, Spread::One),
        rounds: 15,
        contenders: CHANNELS,
        targets: &[],
    },
    Row {
        name: "50 channels, 1 event in one",
        load: channels(50, 1, Spread::One),
        // Many, because the hash map's random seed makes the set-up differ from run to run.
        rounds: 200,
        contenders: &[runner::<Log>(), runner::<EncodedBroadcast>()],
        targets: &[],
    },
];

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    if let [row, contender, rounds] = &args[..] {
        let row = ROWS.iter().find(|known| known.name == row).expect("a row");
        let (_, run) = row
            .contenders
            .iter()
            .find(|(name, _)| name == contender)
            .expect("a contender of the row");
        run(row.load, rounds.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!(
            "valgrind, which counts the instructions, is not installed \
             (on Debian: apt-get install valgrind)"
        );
        return ExitCode::FAILURE;
    }
    let mut report = Report::default();
    println!("{LEGEND}");
    report.section(&format!("instructions per delivery (LocalPool, N={SUBSCRIBERS})"));
    for row in ROWS {
        let figures: Vec<_> =
            row.contenders.iter().map(|(name, _)| (*name, measure(&report, row, name))).collect();
        report.row(row.name, &figures);
        let of =
            |wanted: &str| figures.iter().find(|(name, _)| *name == wanted).expect("in the row").1;
        for &(peer, at_most) in row.targets {
            report.target(
                format!("instructions, {}, LOG / {peer}", row.name),
                of(Log::NAME) / of(peer),
                at_most,
            );
        }
    }
    if report.verdict() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The measured part, on one thread: it runs under valgrind.
fn run<C: Contender>(load: Load, rounds: usize) {
    let (crowd, subscribers) = Crowd::<C>::gather(load);
    let mut pool = LocalPool::new();
    for subscriber in subscribers {
        pool.spawner().spawn_local(subscriber).expect("the pool is there");
    }
    pool.run_until_stalled();
    pool.run_until(crowd.rounds(WARM_UP + rounds));
    crowd.contender.check();
}

fn measure(report: &Report, row: &Row, contender: &str) -> f64 {
    report.progress(&format!("{}, {contender}", row.name));
    let count = |rounds| instructions(row.name, contender, rounds);
    // The shorter run has rounds too, so that both are in the same state where they differ.
    let more = count(2 * row.rounds) - count(row.rounds);
    more as f64 / row.load.deliveries(row.rounds) as f64
}

fn instructions(row: &str, contender: &str, rounds: usize) -> i64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().expect("the program has a path"))
        .args([row, contender, &rounds.to_string()])
        .output()
        .expect("valgrind starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{row}, {contender}: {errors}");
    let count = errors
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .map(|(_, count)| count.trim());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in: {errors}"))
}
