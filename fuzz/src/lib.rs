//! What each target checks. `fuzz_targets/` has only the entry points, so that this code is free of
//! `unsafe`, and so that `cargo test` can run the seeds without a fuzzer.
#![forbid(unsafe_code)]

pub mod accept;
pub mod event;
pub mod grip_sig;
pub mod grip_url;
pub mod hold;
pub mod hub;
#[path = "../../tests/common/hub_model.rs"]
mod hub_model;
mod input;
mod jwt;
pub mod last_event_id;
mod parsers;
mod probe;
pub mod template;
