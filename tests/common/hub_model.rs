//! A model of the hub that is too simple to be wrong: a `Vec` of all events ever published, what
//! each channel still keeps of them, when the hub looks for what is too old, and where each
//! subscription is. `Pair` does everything to the hub and to the model, and compares what they say.
//!
//! `tests/hub_model.rs` and the fuzz target `hub` share it.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use eventstream::test_util::ManualTimer;
use eventstream::{
    Body, ChannelPublisher, ChannelSink, Event, EventStream, History, Limits, PublishError, Stats,
    SubscribeError, Subscription,
};
use futures::executor::block_on;
use futures::{SinkExt, StreamExt};

pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];
/// So few that events share them.
pub(crate) const GIVEN: [&str; 2] = ["x", "y"];

pub(crate) type Name = &'static str;
/// What differs, in words.
pub(crate) type Check = Result<(), String>;

fn same<T: PartialEq + fmt::Debug>(hub: T, model: T, what: impl fmt::Display) -> Check {
    if hub == model {
        return Ok(());
    }
    Err(format!("{what}: the hub says {hub:?}, the model {model:?}"))
}

fn ensure(holds: bool, what: impl fmt::Display) -> Check {
    if holds {
        return Ok(());
    }
    Err(what.to_string())
}

#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) replay: bool,
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    /// In milliseconds, like all times here.
    pub(crate) age: u64,
    pub(crate) item: usize,
    pub(crate) channels: usize,
    pub(crate) subscriptions: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Publish(Name, Draft, Via),
    PublishAll(Name, Vec<Draft>, Via),
    /// Publishes an event whose name has a line break.
    PublishInvalid(Name, Via),
    Subscribe(Vec<Name>, Option<Id>, Form),
    /// From here to `Reconnect`, the number picks one of the subscriptions, if there are any.
    PollOne(usize),
    PollAll(usize),
    Drop(usize),
    Reconnect(usize),
    /// In seconds.
    Advance(u64),
    Stats,
    CloseChannel(Name),
    Close,
}

/// By which method an event is published. All are kept from the start, so that they meet channels
/// that were collected or closed since.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Via {
    Stream,
    Try,
    Publisher,
    TryPublisher,
    /// It cannot send a batch at once, so a batch goes through the publisher.
    Sink,
}

/// By which method a client subscribes, and what it reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Plain,
    Try,
    Body,
}

#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) given: Option<&'static str>,
    /// How many bytes to add to the shortest data.
    pub(crate) more: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Id {
    /// This many seqs before the newest.
    Back(u64),
    /// Two of these, as a client sends them that adds a new id to one that it had saved.
    Both(u64, u64),
    BeyondTheClock,
    OtherEpoch,
    Given(&'static str),
}

struct Model {
    setup: Setup,
    epoch: String,
    now: u64,
    /// All events ever published: the seq is the index plus one.
    events: Vec<Published>,
    /// All lives of all channels: when a channel is closed, its next life begins. Collecting a
    /// channel changes nothing here.
    lives: Vec<Life>,
    /// When the hub looks at a channel for what is too old. `None` is one that is gone by now.
    queue: Vec<(u64, Option<usize>)>,
    closed: bool,
    subscriptions: u64,
    delivered: u64,
    resets: u64,
}

struct Published {
    at: u64,
    given: Option<&'static str>,
    frame: String,
}

struct Life {
    name: Name,
    kept: Vec<u64>,
    /// The newest seq that was kept and no longer is.
    gone: u64,
    readers: usize,
    /// The clock when the channel was closed.
    end: Option<u64>,
}

struct Reader {
    legs: Vec<Leg>,
    at: u64,
    unknown: bool,
    /// The id with which a body opens.
    open: Option<String>,
    opened: bool,
    polled: bool,
    ended: bool,
}

struct Leg {
    life: usize,
    /// What `gone` was at the last reset.
    announced: u64,
    /// Events were gone already when the reader came, and no reset has said so yet.
    came_late: bool,
}

impl Life {
    fn new(name: Name, gone: u64) -> Self {
        Self { name, kept: Vec::new(), gone, readers: 0, end: None }
    }

    fn newest(&self) -> u64 {
        self.kept.last().copied().unwrap_or(self.gone)
    }

    /// Whether the hub has the channel.
    fn is_there(&self) -> bool {
        self.readers > 0 || !self.kept.is_empty()
    }

    fn lose_oldest(&mut self) {
        self.gone = self.kept.remove(0);
    }
}

impl Model {
    fn new(setup: Setup, epoch: String) -> Self {
        let lives = NAMES.map(|name| Life::new(name, 0)).into();
        Self {
            setup,
            epoch,
            now: 0,
            events: Vec::new(),
            lives,
            queue: Vec::new(),
            closed: false,
            subscriptions: 0,
            delivered: 0,
            resets: 0,
        }
    }

    fn clock(&self) -> u64 {
        self.events.len() as u64
    }

    fn event(&self, seq: u64) -> &Published {
        &self.events[seq as usize - 1]
    }

    fn id(&self, seq: u64) -> String {
        format!("{}-{seq}", self.epoch)
    }

    /// The seq of an id that the stream has given.
    fn own(&self, id: &str) -> Option<u64> {
        let seq = id.strip_prefix(&self.epoch)?.strip_prefix('-')?.parse().ok()?;
        (seq <= self.clock() && self.id(seq) == id).then_some(seq)
    }

    /// The current life of a channel.
    fn life(&self, name: Name) -> usize {
        self.lives.iter().rposition(|life| life.name == name).unwrap()
    }

    fn bytes(&self, seqs: &[u64]) -> usize {
        seqs.iter().map(|&seq| self.event(seq).frame.len()).sum()
    }

    fn expire(&mut self, life: usize) {
        while self.lives[life]
            .kept
            .first()
            .is_some_and(|&seq| self.event(seq).at + self.setup.age <= self.now)
        {
            self.lives[life].lose_oldest();
        }
    }

    /// The hub looks at two channels at most, each when what was its newest event at the last look
    /// is too old.
    fn sweep(&mut self) {
        for _ in 0..2 {
            let due = (0..self.queue.len()).filter(|&at| self.queue[at].0 <= self.now);
            let Some(first) = due.min_by_key(|&at| self.queue[at].0) else { return };
            if let (_, Some(life)) = self.queue.swap_remove(first) {
                self.expire(life);
                self.enqueue(life);
            }
        }
    }

    fn enqueue(&mut self, life: usize) {
        if self.queue.iter().any(|&(_, queued)| queued == Some(life)) {
            return;
        }
        if let Some(&newest) = self.lives[life].kept.last() {
            self.queue.push((self.event(newest).at + self.setup.age, Some(life)));
        }
    }

    /// Whether there is room for this many new channels, after evicting as many as need be.
    fn make_room(&mut self, more: usize) -> bool {
        let lives = NAMES.map(|name| self.life(name));
        let there = lives.iter().filter(|&&life| self.lives[life].is_there()).count();
        let mut idle: Vec<usize> = lives.into();
        idle.retain(|&life| self.lives[life].is_there() && self.lives[life].readers == 0);
        idle.sort_by_key(|&life| self.lives[life].newest());
        let over = (there + more).saturating_sub(self.setup.channels);
        if over > idle.len() {
            return false;
        }
        idle[..over].iter().for_each(|&life| self.lose_all(life));
        true
    }

    fn lose_all(&mut self, life: usize) {
        self.lives[life].gone = self.lives[life].newest();
        self.lives[life].kept.clear();
        self.collect(life);
    }

    /// The hub forgets a channel with neither readers nor events; a new one may come.
    fn collect(&mut self, life: usize) {
        if !self.lives[life].is_there() {
            self.unqueue(life);
        }
    }

    fn unqueue(&mut self, life: usize) {
        let queued = self.queue.iter_mut().filter(|(_, queued)| *queued == Some(life));
        queued.for_each(|(_, queued)| *queued = None);
    }

    fn publish(&mut self, name: Name, event: Published) {
        self.events.push(event);
        let (life, seq) = (self.life(name), self.clock());
        if self.setup.replay && !self.lives[life].is_there() && !self.make_room(1) {
            self.lives[life].gone = seq;
            return;
        }
        self.lives[life].kept.push(seq);
        self.expire(life);
        while self.lives[life].kept.len() > 1
            && (self.lives[life].kept.len() > self.setup.events
                || self.bytes(&self.lives[life].kept) > self.setup.bytes)
        {
            self.lives[life].lose_oldest();
        }
        self.keep_for_someone(life);
        self.enqueue(life);
    }

    /// Without replay, a channel without readers keeps nothing.
    fn keep_for_someone(&mut self, life: usize) {
        if !self.setup.replay && self.lives[life].readers == 0 {
            self.lose_all(life);
        }
        self.collect(life);
    }

    fn subscribe(&mut self, names: &[Name], after: Option<&str>) -> Reader {
        let mut reader = Reader {
            legs: Vec::new(),
            at: self.clock(),
            unknown: false,
            open: None,
            opened: false,
            polled: false,
            ended: self.closed,
        };
        if self.closed {
            return reader;
        }
        self.sweep();
        if self.subscriptions >= self.setup.subscriptions as u64 {
            reader.ended = true;
            return reader;
        }
        let lives: Vec<usize> = names.iter().map(|name| self.life(name)).collect();
        let (known, missing): (Vec<usize>, Vec<usize>) =
            lives.iter().partition(|&&life| self.lives[life].is_there());
        for &life in &known {
            self.lives[life].readers += 1;
            self.expire(life);
        }
        if !self.make_room(missing.len()) {
            for life in known {
                self.lives[life].readers -= 1;
                self.collect(life);
            }
            reader.ended = true;
            return reader;
        }
        self.subscriptions += 1;
        missing.into_iter().for_each(|life| self.lives[life].readers += 1);
        reader.open = self.setup.replay.then(|| self.id(reader.at));
        if let Some(id) = after.filter(|_| self.setup.replay) {
            let own = id.split(", ").filter_map(|id| self.own(id)).max();
            let kept = lives.iter().flat_map(|&life| &self.lives[life].kept);
            let given: Vec<u64> =
                kept.copied().filter(|&seq| self.event(seq).given == Some(id)).collect();
            reader.open = Some(id.to_owned());
            match (own, &given[..]) {
                (Some(seq), _) => (reader.at, reader.open) = (seq, Some(self.id(seq))),
                (None, &[seq]) => reader.at = seq,
                _ => (reader.unknown, reader.open) = (true, None),
            }
        }
        for life in lives {
            let came_late = self.lives[life].gone > reader.at;
            reader.legs.push(Leg { life, announced: 0, came_late });
        }
        reader
    }

    fn leave(&mut self, reader: &mut Reader) {
        if !reader.ended {
            reader.ended = true;
            self.subscriptions -= 1;
            for leg in &reader.legs {
                self.lives[leg.life].readers -= 1;
                self.keep_for_someone(leg.life);
            }
        }
    }

    fn reset(&mut self, at: u64, names: &[Name], reason: &str) -> String {
        self.resets += 1;
        let id = if self.setup.replay { format!("id: {}\n", self.id(at)) } else { String::new() };
        let names = names.join("\",\"");
        let data = format!("{{\"channels\":[\"{names}\"],\"reason\":\"{reason}\"}}");
        format!("{id}event: stream-reset\ndata: {data}\n\n")
    }

    fn open(&self, reader: &Reader) -> String {
        let id = reader.open.iter().map(|id| format!("id: {id}\n"));
        id.chain(["event: stream-open\ndata: \n\n".to_owned()]).collect()
    }

    fn poll(&mut self, reader: &mut Reader) -> Poll<Option<String>> {
        if reader.ended {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut reader.unknown) {
            let names: Vec<Name> =
                reader.legs.iter().map(|leg| self.lives[leg.life].name).collect();
            return Poll::Ready(Some(self.reset(reader.at, &names, "unknown")));
        }
        let end = reader.legs.iter().filter_map(|leg| self.lives[leg.life].end).min();
        let closing = self.closed || end.is_some();
        let end = end.unwrap_or(u64::MAX);
        let news = reader.legs.iter().any(|leg| self.lives[leg.life].newest() > reader.at);
        let mut item = String::new();

        for (reason, came_late) in [("evicted", true), ("lagged", false)] {
            let mut names = Vec::new();
            for leg in &mut reader.legs {
                let life = &self.lives[leg.life];
                let gap = reader.at < end && reader.at.max(leg.announced) < life.gone;
                if gap && leg.came_late == came_late {
                    (leg.announced, leg.came_late) = (life.gone, false);
                    names.push(life.name);
                }
            }
            if !names.is_empty() {
                item += &self.reset(reader.at, &names, reason);
            }
        }

        let kept = reader.legs.iter().flat_map(|leg| &self.lives[leg.life].kept);
        let mut due: Vec<u64> =
            kept.copied().filter(|&seq| reader.at < seq && seq <= end).collect();
        due.sort();
        let mut fits = due.len().min(1);
        while fits < due.len() && self.bytes(&due[..=fits]) <= self.setup.item {
            fits += 1;
        }
        due[..fits].iter().for_each(|&seq| item += &self.event(seq).frame);
        self.delivered += fits as u64;

        if fits < due.len() || reader.legs.len() == 1 {
            reader.at = due[..fits].last().copied().unwrap_or(reader.at);
        } else if news || closing || !reader.polled {
            // The reader has read all that several channels have: its position moves up to the
            // hub's clock, but never past the end of a closed channel.
            reader.at = reader.at.max(self.clock().min(end));
        }
        reader.polled = true;

        match item.is_empty() {
            false => Poll::Ready(Some(item)),
            true if closing => {
                self.leave(reader);
                Poll::Ready(None)
            }
            true => Poll::Pending,
        }
    }

    fn close_channel(&mut self, name: Name) {
        let (life, clock) = (self.life(name), self.clock());
        self.unqueue(life);
        self.lives[life].end = Some(clock);
        self.lives.push(Life::new(name, self.lives[life].newest()));
    }

    fn stats(&mut self) -> Stats {
        let mut stats = Stats::default();
        (stats.published, stats.subscriptions) = (self.clock(), self.subscriptions);
        (stats.delivered, stats.resets) = (self.delivered, self.resets);
        if self.closed {
            // What is left belongs to the remaining readers, whatever its age, and is not counted.
            return stats;
        }
        while self.queue.iter().any(|&(due, _)| due <= self.now) {
            self.sweep();
        }
        for life in NAMES.map(|name| self.life(name)) {
            self.expire(life);
            stats.channels += u64::from(self.lives[life].is_there());
            stats.retained_bytes += self.bytes(&self.lives[life].kept) as u64;
        }
        stats
    }
}

/// The hub and the model side by side.
pub(crate) struct Pair {
    stream: EventStream,
    publishers: [ChannelPublisher; NAMES.len()],
    sinks: [ChannelSink; NAMES.len()],
    timer: ManualTimer,
    model: Model,
    clients: Vec<Client>,
}

struct Client {
    names: Vec<Name>,
    source: Source,
    reader: Reader,
    woken: Arc<Woken>,
    asleep: bool,
}

/// What a client reads.
enum Source {
    Subscription(Subscription),
    Body(Body),
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let sure = |item: Result<Bytes, _>| item.unwrap_or_else(|never| match never {});
        match self {
            Self::Subscription(subscription) => subscription.poll_next_unpin(cx),
            Self::Body(body) => body.poll_next_unpin(cx).map(|item| item.map(sure)),
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Pair {
    pub(crate) fn new(setup: Setup) -> Self {
        let timer = ManualTimer::new();
        let history = if setup.replay { History::default() } else { History::none() };
        let history =
            history.events(setup.events).bytes(setup.bytes).age(Duration::from_millis(setup.age));
        let limits = Limits::default().item(setup.item).hub_channels(setup.channels);
        let stream = EventStream::builder()
            .history(history)
            .limits(limits.subscriptions(setup.subscriptions))
            .timer(timer.clone())
            // It comes a little early, at random.
            .keep_alive(Duration::ZERO)
            .build()
            .unwrap();
        let start = stream.subscribe("a").last_event_id().to_string();
        let model = Model::new(setup, start.strip_suffix("-0").unwrap().to_owned());
        let publishers = NAMES.map(|name| stream.publisher(name));
        let sinks = NAMES.map(|name| stream.sink(name));
        Self { stream, publishers, sinks, timer, model, clients: Vec::new() }
    }

    /// Does all of this, and then reads to the end what every client is owed.
    pub(crate) fn apply_all<'a>(&mut self, ops: impl IntoIterator<Item = &'a Op>) -> Check {
        ops.into_iter().try_for_each(|op| self.apply(op))?;
        for last in [Op::Stats, Op::Close, Op::Stats] {
            self.apply(&last)?;
            (0..self.clients.len()).try_for_each(|at| self.poll_all(at))?;
        }
        Ok(())
    }

    /// Time goes on a little each time, so that no two channels fall due together.
    fn apply(&mut self, op: &Op) -> Check {
        self.advance(1);
        match op {
            Op::Publish(name, draft, via) => self.publish(name, std::slice::from_ref(draft), *via),
            Op::PublishAll(name, drafts, via) => self.publish_all(name, drafts, *via),
            Op::PublishInvalid(name, via) => match self.send(name, Event::new("a\nb"), *via) {
                Err(PublishError::Invalid(_)) => Ok(()),
                Err(PublishError::Closed) if self.model.closed => Ok(()),
                other => Err(format!("publishing an invalid event returns {other:?}")),
            },
            Op::Subscribe(names, id, form) => {
                let model = &self.model;
                let back = |count: &u64| model.id(model.clock().saturating_sub(*count));
                let id = id.as_ref().map(|id| match id {
                    Id::Back(count) => back(count),
                    Id::Both(one, other) => format!("{}, {}", back(one), back(other)),
                    Id::BeyondTheClock => model.id(model.clock() + 1),
                    Id::OtherEpoch => "0000000000000-0".to_owned(),
                    Id::Given(id) => (*id).to_owned(),
                });
                self.subscribe(names, id.as_deref(), *form)
            }
            Op::PollOne(which) => self.one_of(*which, |pair, at| pair.poll(at).map(drop)),
            Op::PollAll(which) => self.one_of(*which, Self::poll_all),
            Op::Drop(which) => self.one_of(*which, |pair, at| {
                pair.drop_client(at);
                Ok(())
            }),
            Op::Reconnect(which) => self.one_of(*which, |pair, at| {
                let form = match pair.clients[at].source {
                    Source::Subscription(_) => Form::Plain,
                    Source::Body(_) => Form::Body,
                };
                let (names, id) = pair.drop_client(at);
                pair.subscribe(&names, Some(&id), form)
            }),
            Op::Advance(seconds) => {
                self.advance(1000 * seconds);
                Ok(())
            }
            Op::Stats => same(self.stream.stats(), self.model.stats(), "stats"),
            Op::CloseChannel(name) => {
                self.stream.close_channel(name);
                self.model.close_channel(name);
                Ok(())
            }
            Op::Close => {
                block_on(self.stream.close());
                self.model.closed = true;
                self.model.queue.clear();
                Ok(())
            }
        }
    }

    fn advance(&mut self, milliseconds: u64) {
        self.timer.advance(Duration::from_millis(milliseconds));
        self.model.now += milliseconds;
    }

    /// Publishes one event. A sink does not say which id it got.
    fn send(
        &mut self,
        name: Name,
        event: Event,
        via: Via,
    ) -> Result<Option<Vec<String>>, PublishError> {
        let at = NAMES.iter().position(|known| *known == name).unwrap();
        let id = match via {
            Via::Stream => block_on(self.stream.publish(name, event)),
            Via::Try => self.stream.try_publish(name, event),
            Via::Publisher => block_on(self.publishers[at].publish(event)),
            Via::TryPublisher => self.publishers[at].try_publish(event),
            Via::Sink => {
                let sink = &mut self.sinks[at];
                block_on(std::future::poll_fn(|cx| sink.poll_ready_unpin(cx)))?;
                return Pin::new(sink).start_send_unpin(event).map(|()| None);
            }
        };
        id.map(|id| Some(vec![id.to_string()]))
    }

    fn publish(&mut self, name: Name, drafts: &[Draft], via: Via) -> Check {
        let (mut events, ids, published) = self.drafted(drafts);
        let sent = self.send(name, events.remove(0), via);
        self.published(name, sent, ids, published)
    }

    fn publish_all(&mut self, name: Name, drafts: &[Draft], via: Via) -> Check {
        let (events, ids, published) = self.drafted(drafts);
        let at = NAMES.iter().position(|known| *known == name).unwrap();
        let sent = match via {
            Via::Stream | Via::Try => block_on(self.stream.publish_all(name, events)),
            _ => block_on(self.publishers[at].publish_all(events)),
        };
        let sent = sent.map(|ids| Some(ids.iter().map(|id| id.to_string()).collect()));
        self.published(name, sent, ids, published)
    }

    /// The events that are published next, their ids, and what the model knows of them.
    fn drafted(&self, drafts: &[Draft]) -> (Vec<Event>, Vec<String>, Vec<Published>) {
        let model = &self.model;
        let (mut events, mut ids, mut published) = (Vec::new(), Vec::new(), Vec::new());
        for (draft, seq) in drafts.iter().zip(model.clock() + 1..) {
            let data = format!("{seq}{}", "-".repeat(draft.more));
            let event = Event::new("e").data(&data);
            let (event, id) = match draft.given {
                Some(id) => (event.id(id), id.to_owned()),
                None => (event, model.id(seq)),
            };
            events.push(event);
            let has_id = model.setup.replay || draft.given.is_some();
            let id_line = if has_id { format!("id: {id}\n") } else { String::new() };
            let frame = format!("{id_line}event: e\ndata: {data}\n\n");
            published.push(Published { at: model.now, given: draft.given, frame });
            ids.push(id);
        }
        (events, ids, published)
    }

    fn published(
        &mut self,
        name: Name,
        sent: Result<Option<Vec<String>>, PublishError>,
        ids: Vec<String>,
        published: Vec<Published>,
    ) -> Check {
        let model = &mut self.model;
        // A batch is measured before its seqs are drawn, as if they had the most digits: close to
        // the limit either outcome is right.
        let bytes: usize = published.iter().map(|event| event.frame.len()).sum();
        let kept = |bytes| {
            ids.len() < 2 || (ids.len() <= model.setup.events && bytes <= model.setup.bytes)
        };
        match sent {
            Ok(given) => {
                ensure(!model.closed, "accepted after the close")?;
                ensure(kept(bytes), format_args!("{bytes} bytes accepted"))?;
                same(given.unwrap_or_else(|| ids.clone()), ids, "ids")?;
                model.sweep();
                published.into_iter().for_each(|event| model.publish(name, event));
                Ok(())
            }
            Err(PublishError::Closed) => ensure(model.closed, "refused as closed"),
            Err(error) => {
                let widest_id = format!("id: {}\n", model.id(u64::MAX));
                ensure(!kept(bytes + ids.len() * widest_id.len()), error)
            }
        }
    }

    fn subscribe(&mut self, names: &[Name], after: Option<&str>, form: Form) -> Check {
        let subscription = match (form, after) {
            (Form::Try, _) => self.stream.try_subscribe(names, after),
            (_, None) => Ok(self.stream.subscribe(names)),
            (_, Some(id)) => Ok(self.stream.subscribe_after(names, id)),
        };
        let (names, reader) = (names.to_vec(), self.model.subscribe(names, after));
        let source = match (subscription, form) {
            (Err(SubscribeError::Closed), _) => {
                return ensure(self.model.closed, "refused as closed")
            }
            (Err(error), _) => {
                return ensure(reader.ended && error == SubscribeError::Full, error);
            }
            (Ok(_), Form::Try) if reader.ended => return Err("not refused".to_owned()),
            (Ok(subscription), Form::Body) => Source::Body(subscription.into_body()),
            (Ok(subscription), _) => Source::Subscription(subscription),
        };
        self.clients.push(Client { names, source, reader, woken: Arc::default(), asleep: false });
        self.check_position(self.clients.len() - 1)
    }

    fn one_of(&mut self, which: usize, f: impl FnOnce(&mut Self, usize) -> Check) -> Check {
        which.checked_rem(self.clients.len()).map_or(Ok(()), |at| f(self, at))
    }

    /// Returns what the client needs to come back.
    fn drop_client(&mut self, at: usize) -> (Vec<Name>, String) {
        let mut client = self.clients.remove(at);
        self.model.leave(&mut client.reader);
        (client.names, self.model.id(client.reader.at))
    }

    fn poll(&mut self, at: usize) -> Result<Poll<bool>, String> {
        let client = &mut self.clients[at];
        let reader = &mut client.reader;
        let expected = match client.source {
            Source::Body(_) if !reader.ended && !std::mem::replace(&mut reader.opened, true) => {
                Poll::Ready(Some(self.model.open(reader)))
            }
            _ => self.model.poll(reader),
        };
        if client.asleep && expected.is_ready() {
            let woken = client.woken.0.load(Relaxed);
            ensure(woken, format_args!("client {at} was not woken for {expected:?}"))?;
        }
        client.woken.0.store(false, Relaxed);
        let waker = Waker::from(client.woken.clone());
        let polled = client.source.poll(&mut Context::from_waker(&waker));
        client.asleep = polled.is_pending();
        same(&polled.map(|item| item.map(as_text)), &expected, format_args!("client {at}"))?;
        self.check_position(at)?;
        Ok(expected.map(|item| item.is_some()))
    }

    fn poll_all(&mut self, at: usize) -> Check {
        while self.poll(at)? == Poll::Ready(true) {}
        Ok(())
    }

    fn check_position(&self, at: usize) -> Check {
        let Client { source: Source::Subscription(subscription), reader, .. } = &self.clients[at]
        else {
            return Ok(());
        };
        let position = subscription.last_event_id().to_string();
        same(position, self.model.id(reader.at), format_args!("position of client {at}"))
    }
}

pub(crate) fn as_text(item: Bytes) -> String {
    String::from_utf8(item.into()).unwrap()
}
