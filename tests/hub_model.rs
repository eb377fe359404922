//! The hub against a model too simple to be wrong: a `Vec` of all events ever published, what each
//! channel still keeps of them, when the hub looks for what is too old, and where each subscription
//! is. Whatever is done, every poll returns what the model says, byte for byte.

mod common;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use common::ready;
use eventstream::test_util::ManualTimer;
use eventstream::{Event, EventStream, History, Limits, PublishError, Stats, Subscription};
use futures::executor::block_on;
use futures::StreamExt;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// So few that events share them.
const GIVEN: [&str; 2] = ["x", "y"];

type Name = &'static str;
type Check = Result<(), TestCaseError>;

#[derive(Clone, Debug)]
struct Setup {
    replay: bool,
    events: usize,
    bytes: usize,
    /// In milliseconds, like all times here.
    age: u64,
    item: usize,
    channels: usize,
}

#[derive(Clone, Debug)]
enum Op {
    Publish(Name, Draft),
    PublishAll(Name, Vec<Draft>),
    Subscribe(Vec<Name>),
    SubscribeAfter(Vec<Name>, Id),
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

#[derive(Clone, Debug)]
struct Draft {
    given: Option<&'static str>,
    /// How many bytes to add to the shortest data.
    more: usize,
}

#[derive(Clone, Debug)]
enum Id {
    /// This many seqs before the newest.
    Back(u64),
    BeyondTheClock,
    OtherEpoch,
    Given(&'static str),
}

/// Shown on one line, so that a failing sequence can be read from top to bottom.
#[derive(Clone)]
struct Line(Op);

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        prop::bool::weighted(0.9),
        1..=6usize,
        prop_oneof![2 => Just(1 << 20), 1 => 1..400usize],
        prop_oneof![1 => Just(300), 1 => 1..=4u64],
        prop_oneof![1 => Just(64 << 10), 1 => 1..300usize],
        prop_oneof![2 => Just(usize::MAX), 1 => 1..=3usize],
    )
        .prop_map(|(replay, events, bytes, seconds, item, channels)| Setup {
            replay,
            events,
            bytes,
            age: 1000 * seconds,
            item,
            channels,
        })
}

fn line() -> impl Strategy<Value = Line> {
    let name = || prop::sample::select(&NAMES[..]);
    let names = || prop::sample::subsequence(&NAMES[..], 1..=3).prop_shuffle();
    let draft = || {
        let given =
            prop_oneof![4 => Just(None), 1 => prop::sample::select(&GIVEN[..]).prop_map(Some)];
        let more = prop_oneof![3 => Just(0), 1 => 0..120usize];
        (given, more).prop_map(|(given, more)| Draft { given, more })
    };
    let id = prop_oneof![
        8 => (0..15u64).prop_map(Id::Back),
        1 => Just(Id::BeyondTheClock),
        1 => Just(Id::OtherEpoch),
        3 => prop::sample::select(&GIVEN[..]).prop_map(Id::Given),
    ];
    let which = || 0..6usize;
    prop_oneof![
        30 => (name(), draft()).prop_map(|(name, draft)| Op::Publish(name, draft)),
        8 => (name(), prop::collection::vec(draft(), 0..6))
            .prop_map(|(name, drafts)| Op::PublishAll(name, drafts)),
        8 => names().prop_map(Op::Subscribe),
        8 => (names(), id).prop_map(|(names, id)| Op::SubscribeAfter(names, id)),
        20 => which().prop_map(Op::PollOne),
        10 => which().prop_map(Op::PollAll),
        4 => which().prop_map(Op::Drop),
        5 => which().prop_map(Op::Reconnect),
        5 => (1..=4u64).prop_map(Op::Advance),
        3 => Just(Op::Stats),
        3 => name().prop_map(Op::CloseChannel),
        1 => Just(Op::Close),
    ]
    .prop_map(Line)
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
            polled: false,
            ended: self.closed,
        };
        if self.closed {
            return reader;
        }
        self.sweep();
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
        if let Some(id) = after.filter(|_| self.setup.replay) {
            let own = (0..=self.clock()).find(|&seq| self.id(seq) == id);
            let kept = lives.iter().flat_map(|&life| &self.lives[life].kept);
            let given: Vec<u64> =
                kept.copied().filter(|&seq| self.event(seq).given == Some(id)).collect();
            match (own, &given[..]) {
                (Some(seq), _) | (None, &[seq]) => reader.at = seq,
                _ => reader.unknown = true,
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
struct Pair {
    stream: EventStream,
    timer: ManualTimer,
    model: Model,
    clients: Vec<Client>,
}

struct Client {
    names: Vec<Name>,
    subscription: Subscription,
    reader: Reader,
    woken: Arc<Woken>,
    asleep: bool,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Pair {
    fn new(setup: Setup) -> Self {
        let timer = ManualTimer::new();
        let history = if setup.replay { History::default() } else { History::none() };
        let history =
            history.events(setup.events).bytes(setup.bytes).age(Duration::from_millis(setup.age));
        let limits = Limits::default().item(setup.item).hub_channels(setup.channels);
        let stream = EventStream::builder()
            .history(history)
            .limits(limits)
            .timer(timer.clone())
            .build()
            .unwrap();
        let start = stream.subscribe("a").last_event_id().to_string();
        let model = Model::new(setup, start.strip_suffix("-0").unwrap().to_owned());
        Self { stream, timer, model, clients: Vec::new() }
    }

    /// Time goes on a little each time, so that no two channels fall due together.
    fn apply(&mut self, op: &Op) -> Check {
        self.advance(1);
        match op {
            Op::Publish(name, draft) => {
                self.publish(name, std::slice::from_ref(draft), |stream, mut events| {
                    block_on(stream.publish(name, events.remove(0))).map(|id| vec![id.to_string()])
                })
            }
            Op::PublishAll(name, drafts) => self.publish(name, drafts, |stream, events| {
                let ids = block_on(stream.publish_all(name, events))?;
                Ok(ids.iter().map(|id| id.to_string()).collect())
            }),
            Op::Subscribe(names) => self.subscribe(names, None),
            Op::SubscribeAfter(names, id) => {
                let id = match id {
                    Id::Back(count) => self.model.id(self.model.clock().saturating_sub(*count)),
                    Id::BeyondTheClock => self.model.id(self.model.clock() + 1),
                    Id::OtherEpoch => "0000000000000-0".to_owned(),
                    Id::Given(id) => (*id).to_owned(),
                };
                self.subscribe(names, Some(&id))
            }
            Op::PollOne(which) => self.one_of(*which, |pair, at| pair.poll(at).map(drop)),
            Op::PollAll(which) => self.one_of(*which, Self::poll_all),
            Op::Drop(which) => self.one_of(*which, |pair, at| {
                pair.drop_client(at);
                Ok(())
            }),
            Op::Reconnect(which) => self.one_of(*which, |pair, at| {
                let (names, id) = pair.drop_client(at);
                pair.subscribe(&names, Some(&id))
            }),
            Op::Advance(seconds) => {
                self.advance(1000 * seconds);
                Ok(())
            }
            Op::Stats => {
                prop_assert_eq!(self.stream.stats(), self.model.stats());
                Ok(())
            }
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

    fn publish(
        &mut self,
        name: Name,
        drafts: &[Draft],
        publish: impl FnOnce(&EventStream, Vec<Event>) -> Result<Vec<String>, PublishError>,
    ) -> Check {
        let model = &mut self.model;
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
        // A batch is measured before its seqs are drawn, as if they had the most digits: close to
        // the limit either outcome is right.
        let bytes: usize = published.iter().map(|event| event.frame.len()).sum();
        let kept = |bytes| {
            drafts.len() < 2 || (drafts.len() <= model.setup.events && bytes <= model.setup.bytes)
        };
        match publish(&self.stream, events) {
            Ok(given) => {
                prop_assert!(!model.closed, "accepted after the close");
                prop_assert!(kept(bytes), "{} bytes accepted", bytes);
                prop_assert_eq!(given, ids);
                model.sweep();
                published.into_iter().for_each(|event| model.publish(name, event));
            }
            Err(PublishError::Closed) => prop_assert!(model.closed),
            Err(error) => {
                let widest_id = format!("id: {}\n", model.id(u64::MAX));
                prop_assert!(!kept(bytes + drafts.len() * widest_id.len()), "{error}")
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, names: &[Name], after: Option<&str>) -> Check {
        let subscription = match after {
            None => self.stream.subscribe(names),
            Some(id) => self.stream.subscribe_after(names, id),
        };
        let (names, reader) = (names.to_vec(), self.model.subscribe(names, after));
        self.clients.push(Client {
            names,
            subscription,
            reader,
            woken: Arc::default(),
            asleep: false,
        });
        self.check_position(self.clients.len() - 1)
    }

    fn one_of(&mut self, which: usize, f: impl FnOnce(&mut Self, usize) -> Check) -> Check {
        which.checked_rem(self.clients.len()).map_or(Ok(()), |at| f(self, at))
    }

    /// Returns what the client needs to come back.
    fn drop_client(&mut self, at: usize) -> (Vec<Name>, String) {
        let mut client = self.clients.remove(at);
        self.model.leave(&mut client.reader);
        (client.names, client.subscription.last_event_id().to_string())
    }

    fn poll(&mut self, at: usize) -> Result<Poll<bool>, TestCaseError> {
        let client = &mut self.clients[at];
        let expected = self.model.poll(&mut client.reader);
        if client.asleep && expected.is_ready() {
            prop_assert!(
                client.woken.0.load(Relaxed),
                "client {} was not woken for {:?}",
                at,
                expected
            );
        }
        client.woken.0.store(false, Relaxed);
        let waker = Waker::from(client.woken.clone());
        let polled = client.subscription.poll_next_unpin(&mut Context::from_waker(&waker));
        client.asleep = polled.is_pending();
        prop_assert_eq!(&polled.map(|item| item.map(as_text)), &expected, "client {}", at);
        self.check_position(at)?;
        Ok(expected.map(|item| item.is_some()))
    }

    fn poll_all(&mut self, at: usize) -> Check {
        while self.poll(at)? == Poll::Ready(true) {}
        Ok(())
    }

    fn check_position(&self, at: usize) -> Check {
        let Client { subscription, reader, .. } = &self.clients[at];
        prop_assert_eq!(
            subscription.last_event_id().to_string(),
            self.model.id(reader.at),
            "position of client {}",
            at
        );
        Ok(())
    }
}

fn as_text(item: Bytes) -> String {
    String::from_utf8(item.into()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(2000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_poll_returns_what_the_model_says(
        setup in setup(),
        ops in prop::collection::vec(line(), 1..80),
    ) {
        let mut pair = Pair::new(setup);
        ops.iter().try_for_each(|Line(op)| pair.apply(op))?;
        for last in [Op::Stats, Op::Close, Op::Stats] {
            pair.apply(&last)?;
            (0..pair.clients.len()).try_for_each(|at| pair.poll_all(at))?;
        }
    }
}

/// An item used to end as soon as one channel had more than fits, though another channel's frame
/// came first and did fit.
#[test]
fn an_item_of_several_channels_takes_all_that_fits() {
    let stream = EventStream::builder().limits(Limits::default().item(80)).build().unwrap();
    let mut both = stream.subscribe(["a", "b"]);
    for (channel, data) in [("a", "1"), ("b", "2"), ("a", "3, and too long for the item")] {
        stream.try_publish(channel, Event::new("e").data(data)).unwrap();
    }
    let items: Vec<String> = ready(&mut both).0.into_iter().map(as_text).collect();
    let frames: Vec<_> = items.iter().map(|item| item.matches("data:").count()).collect();
    assert_eq!(frames, [2, 1], "{items:?}");
}

/// A stream that had missed nothing used to end with a reset, about events lost after the close.
#[test]
fn a_stream_that_has_read_all_up_to_the_close_of_a_channel_just_ends() {
    let stream = EventStream::builder().history(History::default().events(1)).build().unwrap();
    let mut both = stream.subscribe(["a", "b"]);
    stream.close_channel("a");
    for _ in 0..2 {
        stream.try_publish("b", Event::new("e")).unwrap();
    }
    assert_eq!(ready(&mut both), (vec![], true));
}

/// A channel used to keep its last events for ever while it had readers, because only channels
/// without readers were looked at.
#[test]
fn events_that_are_too_old_go_when_anything_is_published_though_their_channel_has_a_reader() {
    let timer = ManualTimer::new();
    let age = Duration::from_secs(4);
    let history = History::default().age(age);
    let stream = EventStream::builder().history(history).timer(timer.clone()).build().unwrap();
    let mut read = [stream.subscribe("a"), stream.subscribe(["a", "b"])];
    let mut unread = [stream.subscribe("a"), stream.subscribe(["a", "b"])];
    let last = stream.try_publish("a", Event::new("e")).unwrap();
    read.iter_mut().for_each(|reader| assert_eq!(ready(reader).0.len(), 1));

    timer.advance(age);
    let next = stream.try_publish("c", Event::new("e")).unwrap();
    for reader in &mut read {
        assert_eq!(ready(reader), (vec![], false), "missed nothing");
    }
    let start = last.as_ref().replace("-1", "-0");
    for reader in &mut unread {
        let data = r#"{"channels":["a"],"reason":"lagged"}"#;
        let reset = format!("id: {start}\nevent: stream-reset\ndata: {data}\n\n");
        assert_eq!(ready(reader), (vec![reset.into()], false));
    }
    // The channel and its readers go on as before.
    let live = stream.try_publish("a", Event::new("live")).unwrap();
    for reader in read.iter_mut().chain(&mut unread) {
        let frame = format!("id: {live}\nevent: live\ndata: \n\n");
        assert_eq!(ready(reader), (vec![frame.into()], false), "after {next}");
    }
}
