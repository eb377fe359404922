//! The targets, checked against the figures of a run.

use eventstream_benches::report::Report;

use crate::accounts::Accounts;
use crate::figures::{Figures, Row};

/// Targets whose figures were not measured are left out.
pub(crate) fn targets(figures: &Figures, accounts: &Accounts, report: &mut Report) {
    let mut ratio = |what: &str, row, connections, ours, theirs, at_most| {
        if let Some(ratio) =
            figures.paired((ours, row), (theirs, row), connections, |ours, theirs| ours / theirs)
        {
            report.target(format!("{what}, N={connections}"), ratio, at_most);
        }
    };
    ratio("one event at a time / axum's", Row::Single, 1_000, "tokio", "axum", 0.85);
    ratio("one event at a time / send(2) alone", Row::Single, 1_000, "tokio", "limit", 1.45);
    ratio("one event at a time, user CPU / axum's", Row::SingleUser, 1_000, "tokio", "axum", 0.52);
    ratio("one event at a time / axum's", Row::Single, 10_000, "tokio", "axum", 0.92);
    ratio("one event at a time / send(2) alone", Row::Single, 10_000, "tokio", "limit", 1.35);
    ratio("100 publishes / axum's", Row::Burst, 1_000, "tokio", "axum", 0.42);
    ratio("100 publishes / axum's", Row::Burst, 10_000, "tokio", "axum", 0.25);
    ratio("100 in one call / one send(2) for all", Row::Batch, 1_000, "tokio", "limit", 2.0);
    ratio("100 in one call / one send(2) for all", Row::Batch, 10_000, "tokio", "limit", 1.6);
    for connections in [1_000, 10_000] {
        ratio(
            "in axum, one event at a time / axum's",
            Row::Single,
            connections,
            "ours-in-axum",
            "axum",
            0.95,
        );
        ratio(
            "in axum, 100 publishes / axum's",
            Row::Burst,
            connections,
            "ours-in-axum",
            "axum",
            0.50,
        );
    }

    // Memory is counted in pages, so only a large crowd shows single bytes.
    let Some(crowd) = figures.crowds(Row::Idle).pop() else { return };
    let more = |ours: f64, theirs: f64| ours - theirs;
    if let Some(bytes) = figures.paired(("tokio", Row::Idle), ("hyper", Row::Idle), crowd, more) {
        report.target(
            format!("idle bytes per connection over silent hyper, N={crowd}"),
            bytes,
            512.0,
        );
    }
    if let Some(spread) = figures.of("tokio", Row::AfterBursts, crowd) {
        report.target(
            format!("bytes per connection left by bursts of 100 x 1 kB, N={crowd}"),
            spread.median,
            2048.0,
        );
    }
    for channels in figures.crowds(Row::IdleApart) {
        let name = (channels - 1).to_string().len() + 1;
        if let Some(bytes) =
            figures.paired(("tokio", Row::IdleApart), ("tokio", Row::Idle), channels, more)
        {
            report.target(
                format!("bytes per channel with one subscriber, {channels} channels"),
                bytes,
                640.0 + name as f64,
            );
        }
        let slower = |among: f64, alone: f64| among / alone;
        let (among, alone) = (("tokio", Row::PublishAmong), ("tokio", Row::PublishAlone));
        if let Some(ratio) = figures.paired(among, alone, channels, slower) {
            report.target(format!("a publish among {channels} channels / without"), ratio, 1.25);
        }
    }
    report.target("missing, duplicate, out of order, foreign", accounts.wrong() as f64, 0.0);
}
