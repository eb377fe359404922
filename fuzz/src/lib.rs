//! What each target checks. `fuzz_targets/` has only the entry points, so that this code is free of
//! `unsafe`, and so that `cargo test` can run the seeds without a fuzzer.
#![forbid(unsafe_code)]

pub mod accept;
#[path = "../../tests/common/control_port.rs"]
mod control_port;
pub mod decoder;
pub mod event;
pub mod grip_sig;
pub mod grip_url;
pub mod hold;
pub mod hub;
#[path = "../../tests/common/hub_model.rs"]
mod hub_model;
mod input;
mod jwt;
#[path = "../../src/test_util/decoder.rs"]
#[allow(dead_code, unreachable_pub, reason = "the crate's own client uses the rest")]
mod kit;
pub mod last_event_id;
mod parsers;
mod probe;
pub mod publisher;
pub mod request;
pub mod template;
