//! The crate together with third-party code: the guide's frameworks here, real clients in `tests/`.

/// The guide's examples are run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../src/guide/wiring.md")]
struct Wiring;
