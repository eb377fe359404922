//! The date and the machine of a run, without names.

use std::fs;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::contender::{peers, version};

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cores: usize,
    pub(crate) memory_gb: u64,
    pub(crate) kernel: String,
    /// The versions of the contenders, as far as they can be found out.
    pub(crate) versions: Vec<String>,
}

impl Machine {
    pub(crate) fn now() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let memory = read("/proc/meminfo");
        let kilobytes = memory
            .split_whitespace()
            .nth(1)
            .and_then(|total| total.parse::<f64>().ok())
            .unwrap_or(0.0);
        // What a distribution appends to the numbers is of no interest here.
        let kernel = read("/proc/sys/kernel/osrelease");
        let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
        Self {
            date: today(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_gb: (kilobytes / 1024.0 / 1024.0).round() as u64,
            kernel,
            versions: versions(),
        }
    }

    /// One line under a table or a picture.
    pub(crate) fn caption(&self) -> String {
        format!("{}, {} cores, {} GB, Linux {}", self.date, self.cores, self.memory_gb, self.kernel)
    }
}

fn versions() -> Vec<String> {
    let lock = include_str!("../../../Cargo.lock");
    let locked = ["axum", "actix-web", "actix-web-lab", "hyper", "tokio", "smol", "async-std"]
        .into_iter()
        .filter_map(|name| {
            let package = lock
                .split("[[package]]")
                .find(|package| package.contains(&format!("name = \"{name}\"\n")))?;
            Some(format!("{name} {}", package.split('"').nth(3)?))
        });
    let node = ["@fanoutio/eventstream", "better-sse"].into_iter().filter_map(|name| {
        let package =
            fs::read_to_string(peers().join("node_modules").join(name).join("package.json"))
                .ok()?;
        let package: serde_json::Value = serde_json::from_str(&package).ok()?;
        Some(format!("{name} {}", package["version"].as_str()?))
    });
    let programs =
        [("node", "--version"), ("nginx", "-v")].into_iter().filter_map(|(program, flag)| {
            let said = version(program, flag).ok()?;
            let number = said.trim_start_matches("nginx version: nginx/").trim_start_matches('v');
            Some(format!("{program} {number}"))
        });
    locked.chain(node).chain(programs).collect()
}

fn today() -> String {
    let days =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    let mut year = 1970;
    let mut day = days;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, day + 1)
}
