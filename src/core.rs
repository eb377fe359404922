//! What all handles of one stream share: the hub, the clock and the proxy.

use std::sync::Arc;

use crate::error::PublishError;
use crate::event::{Event, EventId};
use crate::hub::{Accepted, Cursor, Hub, Refused, Start, SubscribeError, Target};
use crate::proxy::{Outcome, Proxy, ProxyTap, SinkTurn};
use crate::publishing::Publishing;
use crate::serve::{BodySettings, Channels};

pub(crate) struct Core {
    hub: Arc<Hub>,
    bodies: Arc<BodySettings>,
    proxy: Option<Proxy>,
}

impl Core {
    pub(crate) fn new(hub: Arc<Hub>, bodies: BodySettings, proxy: Option<Proxy>) -> Self {
        Self { hub, bodies: Arc::new(bodies), proxy }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn bodies(&self) -> &Arc<BodySettings> {
        &self.bodies
    }

    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    pub(crate) fn now(&self) -> u64 {
        self.bodies.clock.now()
    }

    pub(crate) fn publish(&self, to: Target<'_>, event: &Event) -> Publishing<EventId> {
        let (tap, outcome) = self.follow(to, |id: &EventId, _| id.clone());
        let accepted = self.hub.publish(to, event, self.now(), tap);
        let id = |accepted: Accepted| (self.hub.id_of(event, accepted.first), accepted.give_way);
        Publishing::new(accepted.map(id), outcome)
    }

    pub(crate) fn publish_all(
        &self,
        to: Target<'_>,
        events: impl IntoIterator<Item = Event>,
    ) -> Publishing<Vec<EventId>> {
        let (tap, outcome) = self.follow(to, |_: &Vec<_>, id| EventId::given(id.into()));
        let accepted = self.hub.publish_all(to, events, self.now(), tap);
        Publishing::new(accepted.map(|(accepted, ids)| (ids, accepted.give_way)), outcome)
    }

    pub(crate) fn try_publish(
        &self,
        to: Target<'_>,
        event: &Event,
    ) -> Result<EventId, PublishError> {
        let tap = self.proxy.as_ref().map(|proxy| proxy.tap(to.name(), None));
        let accepted = self.hub.publish(to, event, self.now(), tap)?;
        Ok(self.hub.id_of(event, accepted.first))
    }

    /// Publishes an event of a sink, which a proxy's full queue accepts if the sink has waited for
    /// room.
    pub(crate) fn publish_in_turn(
        &self,
        to: Target<'_>,
        event: &Event,
        turn: Option<&mut SinkTurn>,
    ) -> Result<Accepted, Refused> {
        let both = self.proxy.as_ref().zip(turn);
        let tap = both.map(|(proxy, turn)| turn.tap(proxy, to.name()));
        self.hub.publish(to, event, self.now(), tap)
    }

    /// A tap into the proxy's queues and what the proxy reports in the end, if there is a proxy.
    fn follow<T>(
        &self,
        to: Target<'_>,
        failed: fn(&T, &str) -> EventId,
    ) -> (Option<ProxyTap<'_>>, Option<Outcome<T>>) {
        self.proxy.as_ref().map(|proxy| proxy.follow(to.name(), failed)).unzip()
    }

    /// A cursor, and the settings of the body that may be made of it.
    pub(crate) fn subscribe(
        &self,
        channels: &Channels,
        start: Start<'_>,
    ) -> Result<(Cursor, Arc<BodySettings>), SubscribeError> {
        let (cursor, given) = self.hub.subscribe(channels.as_slice(), start, self.now())?;
        let bodies = match given {
            Some(id) => Arc::new(self.bodies.opening_with(id, cursor.last_event_id())),
            None => self.bodies.clone(),
        };
        Ok((cursor, bodies))
    }

    /// As [`subscribe`](Self::subscribe), but a cursor that has ended instead of an error.
    pub(crate) fn subscribe_or_end(
        &self,
        channels: &Channels,
        start: Start<'_>,
    ) -> (Cursor, Arc<BodySettings>) {
        let ended = |_| (self.hub.ended(), self.bodies.clone());
        self.subscribe(channels, start).unwrap_or_else(ended)
    }

    pub(crate) fn close_channel(&self, channel: &str) {
        self.hub.close_channel(channel);
        if let Some(proxy) = &self.proxy {
            proxy.close_channel(channel);
        }
    }

    /// Closes the hub now; the future resolves when the proxy's queues are flushed.
    pub(crate) fn close(&self) -> impl std::future::Future<Output = ()> + Send + 'static {
        self.hub.close();
        let flushed = self.proxy.as_ref().map(Proxy::close);
        async move {
            if let Some(flushed) = flushed {
                flushed.await;
            }
        }
    }
}
