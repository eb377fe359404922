//! Answers that are longer than a type's page has room for.

/// The few lines that put an endpoint into each framework.
///
#[doc = include_str!("wiring.md")]
// The frameworks are not dependencies of this crate, so the package tests/interop runs these
// examples.
#[cfg(not(doctest))]
pub mod wiring {}

/// How many clients a process holds, and when to put a proxy in front.
///
#[doc = include_str!("scale.md")]
pub mod scale {}
