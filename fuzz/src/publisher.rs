//! Publishing through proxies: two scripted endpoints and a clock that is moved by hand. Whatever
//! they answer, and whenever, each endpoint accepts a channel's events in their order, each once;
//! an event's outcome says who has it; it is settled within 30 s; and before anything newer, an
//! endpoint's clients learn of each event that it did not get.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eventstream::grip::Endpoint;
use eventstream::runtime::Timer;
use eventstream::test_util::ManualTimer;
use eventstream::{Event, EventId, EventStream, Limits, PublishError, Publishing, Subscription};
use futures::{FutureExt, StreamExt};
use serde_json::Value;

use crate::control_port::{scripted, Pool, Post, Reply};
use crate::input::Input;

const BUDGET: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const HOSTS: [&str; 2] = ["a.test", "b.test"];
const CHANNELS: [&str; 3] = ["x", "y,", "z"];
/// The data of an event that makes an endpoint refuse the POST. No id has capitals.
const BAD: &str = "BAD";

/// What one endpoint does with its POSTs, one byte each. After the last it is well.
type Script = Arc<Mutex<VecDeque<u8>>>;
/// All POSTs, in order.
type Log = Arc<Mutex<Vec<Sent>>>;

struct Sent {
    host: usize,
    accepted: bool,
    at: Instant,
    /// The channel, id and content of each item.
    items: Vec<(String, String, String)>,
}

struct Published {
    channel: usize,
    data: String,
    since: Instant,
    outcome: Option<Result<EventId, PublishError>>,
    publishing: Option<Publishing<EventId>>,
    id: EventId,
}

/// The number at the end of an event's id.
fn seq(id: &str) -> u64 {
    id.rsplit_once('-').and_then(|(_, seq)| seq.parse().ok()).unwrap_or_else(|| panic!("{id}"))
}

fn items(post: &Post) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let item = |item: Value| {
        let content = &item["formats"]["http-stream"]["content"];
        (text(&item["channel"]), text(&item["id"]), text(content))
    };
    post.items().into_iter().map(item).collect()
}

struct World {
    stream: EventStream,
    /// One local subscription of each channel, which learns the ids.
    watches: [Subscription; 3],
    timer: ManualTimer,
    pool: Pool,
    scripts: [Script; 2],
    log: Log,
    published: Vec<Published>,
    /// The indices of those that are not settled.
    open: Vec<usize>,
}

impl World {
    fn new(endpoints: usize, queue: usize, scripts: [Script; 2]) -> Self {
        let (timer, pool, log) = (ManualTimer::new(), Pool::new(), Log::default());
        let (script, posts) = (scripts.clone(), log.clone());
        let (transport, _) = scripted(&timer, move |post| {
            let host = usize::from(post.uri.host() == Some(HOSTS[1]));
            let byte = script[host].lock().expect("no panic under it").pop_front().unwrap_or(0);
            let items = items(post);
            let bad = items.iter().any(|(.., content)| content.contains(BAD));
            let reply = match byte % 24 {
                _ if bad => Reply::Status(400),
                12..15 => Reply::Status(503),
                15 => Reply::RetryAfter(429, "3"),
                16 => Reply::RetryAfter(503, "60"),
                17 | 18 => Reply::NoAnswer,
                19 => Reply::Hang,
                20 => Reply::Status(404),
                21 => Reply::Status(401),
                22 => Reply::Panic,
                23 => Reply::Status(302),
                _ => Reply::Status(200),
            };
            let accepted = matches!(reply, Reply::Status(200));
            assert!(post.body.len() <= 1_000_000);
            assert_eq!(post.headers["content-length"], post.body.len().to_string());
            let sent = Sent { host, accepted, at: post.at, items };
            posts.lock().expect("no panic under it").push(sent);
            reply
        });
        let endpoints: Vec<_> = HOSTS[..endpoints]
            .iter()
            .map(|host| Endpoint::new(format!("http://{host}/")).expect("a valid URI"))
            .collect();
        let stream = EventStream::builder()
            .grip(endpoints)
            .limits(Limits::default().grip_queue(queue))
            .executor(pool.tasks())
            .timer(timer.clone())
            .transport(transport)
            .build()
            .expect("a valid configuration");
        let watches = CHANNELS.map(|channel| stream.subscribe(channel));
        Self { stream, watches, timer, pool, scripts, log, published: Vec::new(), open: Vec::new() }
    }

    fn publish(&mut self, channel: usize, data: String) {
        let event = Event::default().data(&data);
        let mut publishing = self.stream.publish(CHANNELS[channel], event);
        let frame = self.watches[channel].next().now_or_never().flatten();
        let frame = String::from_utf8(frame.expect("it is delivered here at once").to_vec());
        let frame = frame.expect("a frame is text");
        let id = frame.strip_prefix("id: ").and_then(|rest| rest.split_once('\n'));
        let id = id.expect("it has an id").0.parse().expect("an id");
        // It may yield once for the readers, and must be settled if no endpoint takes it.
        let outcome = (&mut publishing).now_or_never();
        let publishing = outcome.is_none().then_some(publishing);
        let since = self.timer.now();
        if outcome.is_none() {
            self.open.push(self.published.len());
        }
        self.published.push(Published { channel, data, since, outcome, publishing, id });
    }

    fn settle(&mut self) {
        self.pool.settle();
        let now = self.timer.now();
        let published = &mut self.published;
        self.open.retain(|&at| {
            let event = &mut published[at];
            for _ in 0..2 {
                let polled = event.publishing.as_mut().and_then(FutureExt::now_or_never);
                if let Some(outcome) = polled {
                    (event.outcome, event.publishing) = (Some(outcome), None);
                }
            }
            let late = now.duration_since(event.since) >= BUDGET;
            assert!(!late || event.outcome.is_some(), "{} is not settled in time", event.id);
            event.outcome.is_none()
        });
    }

    fn advance(&mut self, by: Duration) {
        self.timer.advance(by);
        self.settle();
    }

    fn has(event: &Published, endpoint: usize) -> bool {
        match event.outcome.as_ref().expect("it is settled") {
            Ok(id) => {
                assert_eq!(*id, event.id);
                true
            }
            Err(PublishError::Grip { id, failures }) => {
                assert_eq!(*id, event.id);
                let own = format!("http://{}/", HOSTS[endpoint]);
                failures.iter().all(|failure| failure.endpoint() != own)
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Walks through what an endpoint accepted, as its clients see it.
    fn check_endpoint(&self, endpoint: usize) -> u64 {
        let mut told: BTreeMap<usize, u64> = BTreeMap::new();
        let mut last: BTreeMap<usize, u64> = BTreeMap::new();
        let (mut events, mut resets) = (0, 0);
        let by_seq: BTreeMap<u64, &Published> =
            self.published.iter().map(|event| (seq(event.id.as_ref()), event)).collect();
        let log = self.log.lock().expect("no panic under it");
        let accepted = log.iter().filter(|sent| sent.host == endpoint && sent.accepted);
        for (channel, id, content) in accepted.flat_map(|sent| &sent.items) {
            let at = ["events-x", "events-y%2C", "events-z"].iter().position(|it| it == channel);
            let at = at.unwrap_or_else(|| panic!("channel {channel}"));
            let (id, lost) = match id.strip_suffix("-lost") {
                Some(id) => (id, true),
                None => (&**id, false),
            };
            let seq = seq(id);
            let event = by_seq.get(&seq).unwrap_or_else(|| panic!("nobody published {id}"));
            assert_eq!(event.channel, at, "{id}");
            // What came before has been looked at.
            let before = last.insert(at, seq).unwrap_or(0);
            assert!(before < seq, "{id} comes after {before} of the same channel");
            if lost {
                assert!(!Self::has(event, endpoint), "{id} is told as lost, and was accepted");
                let data = format!(r#"{{"channels":["{}"],"reason":"lost"}}"#, CHANNELS[at]);
                assert_eq!(*content, format!("id: {id}\nevent: stream-reset\ndata: {data}\n\n"));
                told.insert(at, seq);
                resets += 1;
            } else {
                assert!(Self::has(event, endpoint), "{id} was accepted, and its outcome says no");
                assert_eq!(*content, format!("id: {id}\ndata: {}\n\n", event.data));
                // What is missing since the last that clients know of, they must have been told.
                for (missed, event) in by_seq.range(before..seq) {
                    let missing = event.channel == at && !Self::has(event, endpoint);
                    assert!(
                        !missing || told.get(&at).is_some_and(|told| missed <= told),
                        "nobody was told of {missed} before {id}"
                    );
                }
                events += 1;
            }
        }
        let failed = by_seq.values().filter(|event| !Self::has(event, endpoint));
        for event in failed.clone() {
            let told = told.get(&event.channel).copied().unwrap_or(0);
            assert!(seq(event.id.as_ref()) <= told, "nobody was told of {}", event.id);
        }
        let stats = &self.stream.stats().grip[endpoint];
        let got = (stats.accepted, stats.failed, stats.resets, stats.queued);
        assert_eq!(got, (events, failed.count() as u64, resets, 0));
        events + stats.failed
    }
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let endpoints = 1 + input.below(2);
    let queue = input.pick(&[1000, 1000, 1, 2, 5]);
    let scripts = [(); 2].map(|()| input.bytes());
    let scripts = scripts.map(|bytes| Arc::new(Mutex::new(bytes.iter().copied().collect())));
    let mut world = World::new(endpoints, queue, scripts);
    let mut number = 0;
    while !input.is_empty() && number < 150 && world.published.len() < 150 {
        number += 1;
        match input.byte() % 16 {
            0..6 => world.publish(input.below(3), number.to_string()),
            6 => world.publish(input.below(3), BAD.to_owned()),
            7..10 => world.settle(),
            10 => world.advance(Duration::from_millis(u64::from(input.byte()))),
            11..13 => world.advance(SECOND * u32::from(input.byte() % 12)),
            13 => world.advance(SECOND * 29),
            14 => (0..input.byte() % 8).for_each(|_| world.advance(SECOND / 2)),
            // Seldom more than a POST takes.
            _ => {
                let count = input.byte();
                let count = if count < 16 { 110 + count } else { count % 8 };
                (0..count).for_each(|n| world.publish(usize::from(n % 3), n.to_string()));
            }
        }
        for stats in world.stream.stats().grip {
            assert!(stats.queued <= queue as u64 + 100, "{} are queued", stats.queued);
        }
    }
    // The endpoints get well, and there is time for all that is owed.
    for script in &world.scripts {
        script.lock().expect("no panic under it").clear();
    }
    world.settle();
    for _ in 0..140 {
        // A worker that sleeps has something left to do.
        if world.timer.sleeping() == 0 {
            break;
        }
        world.advance(SECOND);
    }
    let since: BTreeMap<&str, Instant> =
        world.published.iter().map(|event| (event.id.as_ref(), event.since)).collect();
    for Sent { at, items, .. } in &*world.log.lock().expect("no panic under it") {
        assert!(!items.is_empty() && items.len() <= 200, "{} items in a POST", items.len());
        for id in items.iter().map(|(_, id, _)| id).filter(|id| !id.ends_with("-lost")) {
            let age = at.duration_since(since[&**id]);
            assert!(age < BUDGET, "{id} is sent after {age:?}");
        }
    }
    drop(since);
    for endpoint in 0..endpoints {
        let settled = world.check_endpoint(endpoint);
        assert_eq!(settled, world.published.len() as u64);
    }
}
