//! The one door to GRIP: how a stream stands behind proxies.
//!
//! Without the feature `grip` there is a [`Proxy`] in name only. No value of it can exist, so the
//! code that holds an `Option<Proxy>` needs no `cfg`, and the compiler removes the branches.

#[cfg(feature = "grip")]
mod answer;
#[cfg(feature = "grip")]
mod outcome;
#[cfg(feature = "grip")]
mod present;
#[cfg(feature = "grip")]
mod setup;
#[cfg(feature = "grip")]
mod sink_turn;
#[cfg(feature = "grip")]
mod tap;

#[cfg(feature = "grip")]
pub(crate) use {
    answer::Via,
    outcome::Outcome,
    present::Proxy,
    setup::{Setup, Source},
    sink_turn::SinkTurn,
    tap::ProxyTap,
};

#[cfg(not(feature = "grip"))]
mod absent;

#[cfg(not(feature = "grip"))]
pub(crate) use absent::{Outcome, Proxy, ProxyTap, Setup, SinkTurn, Via};
