//! The results, kept in a file and printed as a table.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::accounts::Accounts;
use crate::contender::{Kind, CONTENDERS};
use crate::figures::{Figures, Row, Spread};
use crate::machine::Machine;

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) turns: usize,
    pub(crate) figures: Figures,
    pub(crate) accounts: BTreeMap<String, Accounts>,
    pub(crate) skipped: Vec<String>,
}

/// Where results and pictures are kept.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

impl Results {
    pub(crate) fn load(from: &Path) -> io::Result<Self> {
        Ok(serde_json::from_str(&fs::read_to_string(from)?)?)
    }

    pub(crate) fn save(&self, to: &Path) -> io::Result<()> {
        fs::write(to, serde_json::to_string_pretty(self)? + "\n")
    }

    /// What became of the events of all eventstream servers.
    pub(crate) fn our_accounts(&self) -> Accounts {
        let ours = CONTENDERS.iter().filter(|contender| contender.kind == Kind::Ours);
        let mut sum = Accounts::default();
        ours.filter_map(|contender| self.accounts.get(contender.name)).for_each(|one| sum += *one);
        sum
    }

    pub(crate) fn print(&self) {
        println!("{}\n{}", self.machine.caption(), self.machine.versions.join(", "));
        println!(
            "Medians of {} turns, (least to most). nchan's CPU includes a POST for each event;",
            self.turns
        );
        println!(
            "eventstream's keep-alive is on, the peers have their defaults. \
             Latencies include the load generator's share of the cores."
        );
        for (row, title) in Row::ALL {
            let crowds = self.figures.crowds(row);
            if crowds.is_empty() {
                continue;
            }
            println!("\n{title}");
            print!("  {:<32}", "");
            crowds.iter().for_each(|crowd| print!("{:>28}", format!("N={crowd}")));
            println!();
            for contender in &CONTENDERS {
                let cells: Vec<_> = crowds
                    .iter()
                    .map(|crowd| self.figures.of(contender.name, row, *crowd))
                    .collect();
                if cells.iter().any(Option::is_some) {
                    print!("  {:<32}", contender.label);
                    cells
                        .into_iter()
                        .for_each(|cell| print!("{:>28}", cell.map_or("-".to_owned(), text)));
                    println!();
                }
            }
        }
        println!(
            "\n{:<34}{:>12}{:>9}{:>11}{:>13}{:>9}{:>7}",
            "what became of the events",
            "delivered",
            "missing",
            "duplicate",
            "out of order",
            "foreign",
            "ended"
        );
        for contender in &CONTENDERS {
            if let Some(of) = self.accounts.get(contender.name) {
                println!(
                    "  {:<32}{:>12}{:>9}{:>11}{:>13}{:>9}{:>7}",
                    contender.label,
                    of.deliveries,
                    of.missing,
                    of.duplicates,
                    of.out_of_order,
                    of.foreign,
                    of.ended
                );
            }
        }
        self.skipped.iter().for_each(|skipped| println!("skipped {skipped}"));
    }
}

fn text(spread: Spread) -> String {
    format!("{} ({} to {})", short(spread.median), short(spread.least), short(spread.most))
}

/// Three digits, or whole numbers.
pub(crate) fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}
