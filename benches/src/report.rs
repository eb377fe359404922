//! Rows on standard output as they are measured, the targets at the end, progress on standard
//! error.

use std::time::Instant;

#[derive(Debug)]
pub struct Report {
    started: Instant,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    what: String,
    value: f64,
    at_most: f64,
}

impl Target {
    fn is_met(&self) -> bool {
        self.value <= self.at_most
    }
}

impl Default for Report {
    fn default() -> Self {
        Self { started: Instant::now(), targets: Vec::new() }
    }
}

impl Report {
    pub fn progress(&self, doing: &str) {
        eprintln!("{:5.0} s  {doing}", self.started.elapsed().as_secs_f64());
    }

    pub fn section(&self, title: &str) {
        println!("\n{title}");
    }

    pub fn row(&self, what: &str, figures: &[(&'static str, f64)]) {
        let figures: Vec<_> =
            figures.iter().map(|(name, figure)| format!("{name} {:<8}", short(*figure))).collect();
        println!("  {what:<55} {}", figures.join(" ").trim_end());
    }

    pub fn target(&mut self, what: impl Into<String>, value: f64, at_most: f64) {
        self.targets.push(Target { what: what.into(), value, at_most });
    }

    /// Prints the targets and what was measured; true if all targets are met.
    pub fn verdict(&self) -> bool {
        println!("\n{:<64} {:>9} {:>9}", "targets", "measured", "at most");
        for target in &self.targets {
            let verdict = if target.is_met() { "pass" } else { "miss" };
            println!(
                "  {:<62} {:>9} {:>9}  {verdict}",
                target.what,
                short(target.value),
                short(target.at_most)
            );
        }
        let met = self.targets.iter().filter(|target| target.is_met()).count();
        println!("{met} of {} targets met", self.targets.len());
        met == self.targets.len()
    }
}

/// Three digits or more.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}
