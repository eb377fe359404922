//! What became of all that was published.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Accounts {
    pub(crate) deliveries: u64,
    pub(crate) missing: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
    /// Data of another channel, or data that was never published.
    pub(crate) foreign: u64,
    /// Connections that ended on their own.
    pub(crate) ended: u64,
}

impl Accounts {
    /// Events that did not reach a client exactly once and in order.
    pub(crate) fn wrong(&self) -> u64 {
        self.missing + self.duplicates + self.out_of_order + self.foreign
    }
}

impl AddAssign for Accounts {
    fn add_assign(&mut self, more: Self) {
        self.deliveries += more.deliveries;
        self.missing += more.missing;
        self.duplicates += more.duplicates;
        self.out_of_order += more.out_of_order;
        self.foreign += more.foreign;
        self.ended += more.ended;
    }
}
