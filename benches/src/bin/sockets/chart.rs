//! Results as pictures, legible on light and on dark pages. A scale is logarithmic only where
//! figures lie far apart.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use crate::contender::{Kind, CONTENDERS};
use crate::figures::{Figures, Row, Spread};
use crate::results::{short, Results};

/// All measures are in pixels.
const WIDTH: f64 = 960.0;
const MARGIN: f64 = 32.0;
const LABELS: f64 = 222.0;
const GUTTER: f64 = 28.0;
/// The width of a digit, and of the space around a figure, right of a bar.
const DIGIT: f64 = 7.6;
const AROUND: f64 = 14.0;
const LINE: f64 = 26.0;
const BAR: f64 = 15.0;
/// The ratio from which on a linear scale would hide the smaller figures.
const FAR_APART: f64 = 25.0;

const SPREAD: &str = "thin lines go from the least to the most";

const STYLE: &str = "
    svg { color-scheme: light dark; font-family: system-ui, -apple-system, 'Segoe UI', Roboto, \
    'Helvetica Neue', Arial, sans-serif; }
    .card { fill: #ffffff; stroke: #d8dee4; }
    text { fill: #1f2328; font-size: 13px; }
    .title { font-size: 19px; font-weight: 650; }
    .section { font-size: 14px; font-weight: 650; }
    .muted { fill: #59636e; font-size: 12px; }
    .tick { fill: #6e7781; font-size: 11px; }
    .ours { font-weight: 650; fill: #0a6b63; }
    .figure { font-variant-numeric: tabular-nums; }
    .grid { stroke: #e4e8ec; }
    .bar-ours { fill: #0f8f84; }
    .bar-peer { fill: #b4bec9; }
    .bar-bound { fill: #eef1f4; stroke: #8c959f; stroke-dasharray: 3 2; }
    .spread { stroke: #424a53; stroke-width: 1.25; }
    @media (prefers-color-scheme: dark) {
      .card { fill: #0d1117; stroke: #30363d; }
      text { fill: #e6edf3; }
      .muted { fill: #9198a1; }
      .tick { fill: #848d97; }
      .ours { fill: #3fd0c0; }
      .grid { stroke: #21262d; }
      .bar-ours { fill: #2bb5a7; }
      .bar-peer { fill: #4d5661; }
      .bar-bound { fill: #161b22; stroke: #7d8590; }
      .spread { stroke: #c9d1d9; }
    }
";

/// A block of bars whose labels serve all its columns.
struct Section {
    title: &'static str,
    columns: Vec<Column>,
}

struct Column {
    title: String,
    unit: &'static str,
    bars: Vec<Bar>,
}

#[derive(Clone)]
struct Bar {
    label: &'static str,
    kind: Kind,
    spread: Spread,
    figure: String,
}

impl Bar {
    fn new(label: &'static str, kind: Kind, spread: Spread) -> Self {
        Self { label, kind, spread, figure: short(spread.median) }
    }
}

pub(crate) fn draw(results: &Results, into: &Path) -> io::Result<()> {
    let figures = &results.figures;
    let crowds: Vec<_> = figures.crowds(Row::Single).into_iter().rev().take(2).rev().collect();
    let columns = |row, unit, more: &[(Row, &'static str, &'static str)]| {
        let column = |crowd: &usize| {
            let mut bars = bars(figures, row, *crowd);
            for (row, contender, label) in more {
                let of = CONTENDERS.iter().find(|known| known.name == *contender);
                bars.extend(of.and_then(|of| {
                    Some(Bar::new(label, of.kind, figures.of(contender, *row, *crowd)?))
                }));
            }
            Column { title: format!("{} connections", grouped(*crowd)), unit, bars }
        };
        crowds.iter().map(column).collect::<Vec<_>>()
    };
    let single = Section { title: "One event at a time", columns: columns(Row::Single, "us", &[]) };
    let at_once = [
        (Row::Batch, "limit", "send(2) alone, all in one"),
        (Row::Batch, "tokio", "eventstream on tokio, one call"),
    ];
    let burst = Section {
        title: "100 events, one right after the other",
        columns: columns(Row::Burst, "us", &at_once),
    };
    let cpu = picture(
        results,
        "Server CPU per delivered event",
        "microseconds, less is better",
        SPREAD,
        &[single, burst],
    );
    fs::write(into.join("sockets-cpu.svg"), cpu)?;

    let latency = crowds.iter().map(|crowd| Column {
        title: format!("{} connections", grouped(*crowd)),
        unit: "ms",
        bars: latencies(figures, *crowd),
    });
    let latency = Section { title: "One event at a time", columns: latency.collect() };
    let what = "milliseconds on a machine that the load generator shares, less is better";
    fs::write(
        into.join("sockets-latency.svg"),
        picture(
            results,
            "From publishing to arrival",
            what,
            "the line goes from the median to 99 of 100",
            &[latency],
        ),
    )?;

    let Some(crowd) = figures.crowds(Row::Idle).pop() else { return Ok(()) };
    let memory = |title: &str, row| {
        let mut bars = bars(figures, row, crowd);
        // The bound keeps no state of a connection, and would stretch the scale.
        bars.retain(|bar| bar.kind != Kind::Bound);
        for bar in &mut bars {
            *bar = Bar::new(bar.label, bar.kind, bar.spread.map(|bytes| bytes / 1024.0));
        }
        Column { title: title.to_owned(), unit: "KiB", bars }
    };
    let columns = vec![
        memory("idle", Row::Idle),
        memory("left behind by bursts of 100 x 1 kB", Row::AfterBursts),
    ];
    let title = "Server memory per connection";
    let what = format!("KiB at {} connections, less is better", grouped(crowd));
    let memory = picture(results, title, &what, SPREAD, &[Section { title: "", columns }]);
    fs::write(into.join("sockets-memory.svg"), memory)
}

fn bars(figures: &Figures, row: Row, crowd: usize) -> Vec<Bar> {
    let bar = |contender: &'static crate::contender::Contender| {
        let spread = figures.of(contender.name, row, crowd)?;
        Some(Bar::new(contender.label, contender.kind, spread))
    };
    CONTENDERS.iter().filter_map(bar).collect()
}

/// Bars whose line goes from the median to the 99th percentile.
fn latencies(figures: &Figures, crowd: usize) -> Vec<Bar> {
    let mut bars = bars(figures, Row::LatencyMedian, crowd);
    let most = self::bars(figures, Row::Latency99, crowd);
    for (bar, most) in bars.iter_mut().zip(most) {
        let median = bar.spread.median;
        bar.spread = Spread { median, least: median, most: most.spread.median }
            .map(|micros| micros / 1000.0);
        bar.figure = format!("{} \u{2013} {}", short(bar.spread.median), short(bar.spread.most));
    }
    bars
}

fn picture(
    results: &Results,
    title: &str,
    what: &str,
    lines: &str,
    sections: &[Section],
) -> String {
    let mut body = String::new();
    let mut y = MARGIN + 18.0;
    text(&mut body, MARGIN, y, "title", title);
    y += 22.0;
    text(&mut body, MARGIN, y, "muted", what);
    y += 14.0;
    for section in sections {
        y = draw_section(&mut body, section, y);
    }
    y += 26.0;
    let note = format!(
        "{}. Medians of {} alternated turns; {lines}.",
        results.machine.caption(),
        results.turns
    );
    text(&mut body, MARGIN, y, "muted", &note);
    y += 18.0;
    text(
        &mut body,
        MARGIN,
        y,
        "muted",
        "Only the ratios mean anything. Dashed: no server, a bound.",
    );
    let height = y + MARGIN - 8.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
         {body}</svg>\n",
        escaped(title),
        WIDTH - 1.0,
        height - 1.0
    )
}

/// Draws a section, and returns where the next one begins.
fn draw_section(body: &mut String, section: &Section, mut y: f64) -> f64 {
    if !section.title.is_empty() {
        y += 28.0;
        text(body, MARGIN, y, "section", section.title);
    }
    y += 24.0;
    let count = section.columns.len() as f64;
    let width = (WIDTH - 2.0 * MARGIN - LABELS - (count - 1.0) * GUTTER) / count;
    let labels = labels(section);
    let height = labels.len() as f64 * LINE;
    for (index, column) in section.columns.iter().enumerate() {
        let x = MARGIN + LABELS + index as f64 * (width + GUTTER);
        let figure =
            column.bars.iter().map(|bar| bar.figure.chars().count() + 1 + column.unit.len()).max();
        let scale = Scale::over(&column.bars, width - AROUND - DIGIT * figure.unwrap_or(0) as f64);
        let how = if scale.logarithmic { ", logarithmic scale" } else { "" };
        text(body, x, y, "muted", &format!("{}{how}", column.title));
        for tick in scale.ticks() {
            let at = x + scale.at(tick);
            let (top, bottom) = (y + 10.0, y + 14.0 + height);
            let _ = writeln!(
                body,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" \
                 y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"
            );
            let label = if tick == 0.0 { "0".to_owned() } else { plain(tick) };
            let _ = writeln!(
                body,
                "<text class=\"tick\" text-anchor=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">\
                 {label}</text>",
                bottom + 13.0
            );
        }
        for (line, (label, _)) in labels.iter().enumerate() {
            let middle = y + 12.0 + (line as f64 + 0.5) * LINE;
            match column.bars.iter().find(|bar| bar.label == *label) {
                Some(bar) => draw_bar(body, bar, &scale, column.unit, x, middle),
                None => text(body, x + 4.0, middle + 4.0, "tick", "not measured"),
            }
        }
    }
    for (line, (label, kind)) in labels.iter().enumerate() {
        let baseline = y + 12.0 + (line as f64 + 0.5) * LINE + 4.5;
        let class = if *kind == Kind::Ours { "ours" } else { "peer" };
        let _ = writeln!(
            body,
            "<text class=\"{class}\" text-anchor=\"end\" x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>",
            MARGIN + LABELS - 14.0,
            escaped(label)
        );
    }
    y + height + 32.0
}

fn draw_bar(body: &mut String, bar: &Bar, scale: &Scale, unit: &str, x: f64, middle: f64) {
    let class = match bar.kind {
        Kind::Ours => "bar-ours",
        Kind::Peer => "bar-peer",
        Kind::Bound | Kind::Silent => "bar-bound",
    };
    let Spread { median, least, most } = bar.spread;
    let (top, length) = (middle - BAR / 2.0, scale.at(median).max(1.5));
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" \
         height=\"{BAR}\" rx=\"2.5\"/>"
    );
    let (from, to) = (x + scale.at(least), x + scale.at(most));
    if to - from > 1.0 {
        let _ = writeln!(
            body,
            "<line class=\"spread\" x1=\"{from:.1}\" x2=\"{to:.1}\" \
             y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>"
        );
    }
    let class = if bar.kind == Kind::Ours { "figure ours" } else { "figure" };
    text(
        body,
        x + length.max(to - x) + 7.0,
        middle + 4.5,
        class,
        &format!("{} {unit}", bar.figure),
    );
}

/// All labels of the columns: bounds first, then by figure in the last column that has one.
fn labels(section: &Section) -> Vec<(&'static str, Kind)> {
    let mut labels: Vec<(bool, f64, &'static str, Kind)> = Vec::new();
    for bar in section.columns.iter().rev().flat_map(|column| &column.bars) {
        if !labels.iter().any(|(_, _, label, _)| *label == bar.label) {
            let served = matches!(bar.kind, Kind::Ours | Kind::Peer);
            labels.push((served, bar.spread.median, bar.label, bar.kind));
        }
    }
    labels.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    labels.into_iter().map(|(_, _, label, kind)| (label, kind)).collect()
}

struct Scale {
    from: f64,
    to: f64,
    logarithmic: bool,
    width: f64,
}

impl Scale {
    fn over(bars: &[Bar], width: f64) -> Self {
        let to = bars.iter().map(|bar| bar.spread.most).fold(0.0, f64::max).max(1e-6);
        // Figures that are next to nothing must not stretch a logarithmic scale.
        let smallest =
            bars.iter().map(|bar| bar.spread.median).filter(|figure| *figure > to * 1e-4);
        let smallest = smallest.fold(to, f64::min);
        if to / smallest > FAR_APART {
            let from = 10f64.powf((smallest * 0.7).log10().floor());
            Self { from, to, logarithmic: true, width }
        } else {
            Self { from: 0.0, to, logarithmic: false, width }
        }
    }

    fn at(&self, figure: f64) -> f64 {
        let share = if self.logarithmic {
            (figure.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            figure / self.to
        };
        share * self.width
    }

    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let decades = (self.to / self.from).log10().floor() as i32;
            return (0..=decades).map(|decade| self.from * 10f64.powi(decade)).collect();
        }
        let rough = self.to / 4.0;
        let decade = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * decade).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        (0..=(self.to / step) as usize).map(|tick| tick as f64 * step).collect()
    }
}

fn text(body: &mut String, x: f64, y: f64, class: &str, content: &str) {
    let _ = writeln!(
        body,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        escaped(content)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace(" us", " \u{b5}s")
        .replace(" x ", " \u{d7} ")
}

/// Without trailing zeros.
fn plain(figure: f64) -> String {
    let text = format!("{figure:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join("\u{2009}")
}
