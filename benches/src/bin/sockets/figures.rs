//! The figures, by contender, row and size of the crowd, one for each turn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Row {
    /// Server CPU per delivery, microseconds; then the user-mode part of it.
    Single,
    SingleUser,
    /// From the timestamp of an event to its arrival, microseconds.
    LatencyMedian,
    Latency99,
    /// Server CPU per delivery, microseconds: 100 events published one after the other; in one
    /// call.
    Burst,
    Batch,
    /// Bytes per connection: idle; what bursts leave behind; idle on a channel of its own.
    Idle,
    AfterBursts,
    IdleApart,
    /// Nanoseconds per publish to one subscriber: without other channels, and among many.
    PublishAlone,
    PublishAmong,
}

impl Row {
    pub(crate) const ALL: [(Self, &'static str); 11] = [
        (Self::Single, "one event at a time, server CPU per delivery, us"),
        (Self::SingleUser, "the user's part of it, us"),
        (Self::LatencyMedian, "from publishing to arrival, median, us"),
        (Self::Latency99, "from publishing to arrival, 99 of 100, us"),
        (Self::Burst, "100 events one after the other, server CPU per delivery, us"),
        (Self::Batch, "100 events in one call, server CPU per delivery, us"),
        (Self::Idle, "idle memory per connection, bytes"),
        (Self::AfterBursts, "what bursts of 1 kB leave behind per connection, bytes"),
        (Self::IdleApart, "idle memory per connection on a channel of its own, bytes"),
        (Self::PublishAlone, "a publish to one subscriber, no other channels, ns"),
        (Self::PublishAmong, "a publish to one subscriber among other channels, ns"),
    ];
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Figures(Vec<Series>);

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Series {
    contender: String,
    row: Row,
    connections: usize,
    median: f64,
    least: f64,
    most: f64,
    /// By turn.
    samples: BTreeMap<usize, f64>,
}

/// The median, and the range of the samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { median: f(self.median), least: f(self.least), most: f(self.most) }
    }
}

impl Figures {
    pub(crate) fn add(
        &mut self,
        contender: &str,
        row: Row,
        connections: usize,
        turn: usize,
        figure: f64,
    ) {
        let is_it = |series: &&mut Series| series.is(contender, row, connections);
        let series = match self.0.iter_mut().find(is_it) {
            Some(series) => series,
            None => {
                let (contender, samples) = (contender.to_owned(), BTreeMap::new());
                self.0.push(Series {
                    contender,
                    row,
                    connections,
                    median: 0.0,
                    least: 0.0,
                    most: 0.0,
                    samples,
                });
                self.0.last_mut().expect("just pushed")
            }
        };
        series.samples.insert(turn, figure);
        let samples: Vec<_> = series.samples.values().copied().collect();
        series.least = samples.iter().copied().fold(f64::INFINITY, f64::min);
        series.most = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        series.median = median(samples).expect("one at least");
    }

    pub(crate) fn of(&self, contender: &str, row: Row, connections: usize) -> Option<Spread> {
        let series = self.series(contender, row, connections)?;
        Some(Spread { median: series.median, least: series.least, most: series.most })
    }

    /// The median of what `join` makes of two series, turn by turn.
    pub(crate) fn paired(
        &self,
        (one, its_row): (&str, Row),
        (other, other_row): (&str, Row),
        connections: usize,
        join: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let one = self.series(one, its_row, connections)?;
        let other = self.series(other, other_row, connections)?;
        let joined =
            one.samples.iter().filter_map(|(turn, a)| Some(join(*a, *other.samples.get(turn)?)));
        median(joined.collect())
    }

    /// The sizes of the crowds that have figures, in ascending order.
    pub(crate) fn crowds(&self, row: Row) -> Vec<usize> {
        let mut crowds: Vec<_> = self
            .0
            .iter()
            .filter(|series| series.row == row)
            .map(|series| series.connections)
            .collect();
        crowds.sort_unstable();
        crowds.dedup();
        crowds
    }

    fn series(&self, contender: &str, row: Row, connections: usize) -> Option<&Series> {
        self.0.iter().find(|series| series.is(contender, row, connections))
    }
}

impl Series {
    fn is(&self, contender: &str, row: Row, connections: usize) -> bool {
        self.contender == contender && self.row == row && self.connections == connections
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(figures[middle]),
        _ => Some((figures[middle - 1] + figures[middle]) / 2.0),
    }
}
