//! How many subscribers there are, where the events go, and the rounds of a pass: publish, wait
//! until all have it, repeat.

use std::future::Future;
use std::sync::Arc;

use crate::contenders::{Contender, CAPACITY};
use crate::meter::{Count, Meter};

/// Rounds that are not measured.
pub const WARM_UP: usize = 3;

#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub subscribers: usize,
    /// Each subscriber reads all of them.
    pub channels: usize,
    /// Events in a round.
    pub burst: usize,
    pub spread: Spread,
}

/// Where the events of a round go.
#[derive(Clone, Copy, Debug)]
pub enum Spread {
    /// All into one channel; those of the next round into the next channel.
    One,
    /// Into one channel after the other.
    Each,
}

impl Load {
    pub const fn one_channel(subscribers: usize, burst: usize) -> Self {
        Self { subscribers, channels: 1, burst, spread: Spread::One }
    }

    pub fn deliveries(&self, rounds: usize) -> usize {
        rounds * self.burst * self.subscribers
    }

    fn channel(&self, round: usize, event: usize) -> usize {
        match self.spread {
            Spread::One => round % self.channels,
            Spread::Each => event % self.channels,
        }
    }
}

/// A contender whose subscribers are yet to be polled.
pub struct Crowd<C> {
    pub contender: C,
    pub meter: Arc<Meter>,
    load: Load,
}

impl<C: Contender> Crowd<C> {
    /// Fills the history of the contender once before anyone subscribes.
    pub fn gather(load: Load) -> (Self, Vec<impl Future<Output = ()> + Send + 'static + use<C>>) {
        let contender = C::new(load.channels);
        let meter = Arc::new(Meter::default());
        let events = load.channels * (CAPACITY + 76);
        (0..events).for_each(|event| contender.publish(event % load.channels));
        meter.skip(events as u64);
        let channels: Vec<_> = (0..load.channels).collect();
        let subscribers = (0..load.subscribers)
            .map(|_| contender.subscribe(&channels, Count::new(&meter)))
            .collect::<Vec<_>>();
        (Self { contender, meter, load }, subscribers)
    }

    pub async fn rounds(&self, rounds: usize) {
        for round in 0..rounds {
            self.meter.expect(self.load.burst as u64, self.load.subscribers);
            for event in 0..self.load.burst {
                self.contender.publish(self.load.channel(round, event));
            }
            self.meter.done().await;
        }
    }
}
