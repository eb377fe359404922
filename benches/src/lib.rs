//! What both commands share: the contenders, the load they carry, and the report.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml [-- --quick]` measures time, memory and
//! allocations; with `--bin instructions` it counts instructions under valgrind. Only ratios within
//! one run are meaningful.

pub mod contenders;
pub mod load;
pub mod message;
pub mod meter;
pub mod report;
pub mod samples;
