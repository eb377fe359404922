//! The crate in other people's hands: here the guide's frameworks, in `tests/` real clients.

/// The guide's examples are run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../src/guide/wiring.md")]
struct Wiring;
