//! Longer answers than a type's page has room for.

/// Into each framework, in a few lines.
///
#[doc = include_str!("wiring.md")]
// The frameworks are no dependencies of this crate, so these examples are run by the package
// tests/interop.
#[cfg(not(doctest))]
pub mod wiring {}

/// How many clients, on how many machines, and when a proxy.
///
#[doc = include_str!("scale.md")]
pub mod scale {}
