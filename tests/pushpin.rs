//! Behind a real Pushpin: holds, publishing, signatures, and a restart of the proxy.
#![cfg(feature = "hyper")]

#[path = "common/origin.rs"]
mod origin;
#[path = "common/pushpin.rs"]
mod pushpin;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventstream::grip::transport::Hyper;
use eventstream::grip::Transport;
use eventstream::runtime::Timer;
use eventstream::{Builder, Event, EventStream};
use futures::executor::block_on;
use futures::future::{join_all, BoxFuture, FutureExt};
use http::Response;
use origin::{bind, field, serve, Client};
use pushpin::{behind_pushpin, free_port, Pushpin, Setup};

const KEY: &str = "changeme";

/// A proxy, the stream of the origin behind it, and how the proxy was set up.
fn behind(
    configure: impl FnOnce(Builder) -> Builder,
) -> Option<(Pushpin, EventStream, Setup<'static>)> {
    let (listener, origin) = bind();
    let setup = Setup {
        origin,
        front: free_port(),
        control: free_port(),
        sig_iss: "pushpin",
        sig_key: KEY,
    };
    let grip_url = format!("http://{}/?verify-iss=pushpin&verify-key={KEY}", setup.control);
    let stream = configure(EventStream::builder().grip(grip_url)).build().unwrap();
    serve(listener, stream.clone());
    Some((Pushpin::start(&setup)?, stream, setup))
}

#[test]
fn a_thousand_events_reach_five_clients_on_three_channels_in_order() {
    behind_pushpin(|| {
        let Some((proxy, stream, _)) = behind(|builder| builder) else { return };
        let channels = ["a", "b", "c"];
        let clients: Vec<_> = (0..5).map(|_| Client::open(proxy.front, &channels)).collect();
        // Published one after the other without waiting for each: the queue keeps the order.
        let publishing = (0..1000)
            .map(|n: u32| stream.publish(channels[n as usize % 3], Event::new("n").json(&n)));
        let ids =
            block_on(join_all(publishing)).into_iter().collect::<Result<Vec<_>, _>>().unwrap();
        for client in clients {
            for (n, id) in ids.iter().enumerate() {
                assert_eq!(client.next().unwrap(), format!("id: {id}\nevent: n\ndata: {n}\n\n"));
            }
        }
        let stats = stream.stats();
        assert_eq!(stats.grip[0].accepted, 1000);
        assert_eq!(stats.grip[0].failed, 0);
        assert_eq!(stats.grip[0].queued, 0);
        assert_eq!(stats.subscriptions, 0, "the proxy holds the clients");
    })
}

#[test]
fn the_proxy_sends_keep_alives_in_silence() {
    behind_pushpin(|| {
        let Some((proxy, ..)) = behind(|builder| builder.keep_alive(Duration::from_secs(1))) else {
            return;
        };
        let client = Client::open(proxy.front, &["quiet"]);
        for _ in 0..2 {
            assert_eq!(client.next_of_all().unwrap(), "event: keep-alive\ndata: \n\n");
        }
    })
}

#[test]
fn an_odd_channel_name_gets_its_own_events_and_no_others() {
    behind_pushpin(|| {
        let Some((proxy, stream, _)) = behind(|builder| builder) else { return };
        let names = [
            "a",
            "b",
            "a,b",
            "a, b",
            "a;b",
            "a\"b",
            "a b",
            " a",
            "a ",
            "é☃😀",
            "a\r\nb",
            "a%2Cb",
            "a\0b",
            "a\\b",
            "a/b",
            "=",
        ];
        let clients: Vec<_> = names.iter().map(|name| Client::open(proxy.front, &[name])).collect();
        for name in names {
            block_on(stream.publish(name, Event::new("to").json(name))).unwrap();
        }
        for name in names {
            block_on(stream.publish(name, Event::new("end"))).unwrap();
        }
        for (client, name) in clients.iter().zip(names) {
            let frame = client.next().unwrap();
            assert_eq!(field(&frame, "data"), Some(&*serde_json::to_string(name).unwrap()));
            assert_eq!(
                field(&client.next().unwrap(), "event"),
                Some("end"),
                "nothing else for {name:?}"
            );
        }
    })
}

#[test]
fn direct_clients_are_served_beside_proxied_ones() {
    behind_pushpin(|| {
        let Some((proxy, stream, setup)) = behind(|builder| builder) else { return };
        let (proxied, direct) =
            (Client::open(proxy.front, &["a"]), Client::open(setup.origin, &["a"]));
        let id = block_on(stream.publish("a", Event::new("e").data("1"))).unwrap();
        let frame = format!("id: {id}\nevent: e\ndata: 1\n\n");
        assert_eq!(proxied.next().as_ref(), Some(&frame));
        assert_eq!(direct.next().as_ref(), Some(&frame));
        assert_eq!(stream.stats().subscriptions, 1);
    })
}

#[test]
fn a_client_that_comes_back_gets_a_reset_because_its_position_is_unknown() {
    behind_pushpin(|| {
        let Some((proxy, stream, _)) = behind(|builder| builder) else { return };
        let id = block_on(stream.publish("a", Event::default())).unwrap();
        let (client, open) = Client::open_after(proxy.front, &["a"], Some(id.as_ref()));
        assert_eq!(field(&open, "id"), None);
        let data = r#"{"channels":["a"],"reason":"unknown"}"#;
        let reset = format!("id: {id}\nevent: stream-reset\ndata: {data}\n\n");
        assert_eq!(client.next().unwrap(), reset);
    })
}

#[test]
fn requests_with_forged_or_expired_signatures_are_refused() {
    behind_pushpin(|| {
        let Some((_proxy, stream, Setup { origin, .. })) = behind(|builder| builder) else {
            return;
        };
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("vectors/grip-sig.json")).unwrap();
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let ask = |token: &str| {
            agent.get(format!("http://{origin}/events/a")).header("grip-sig", token).call().unwrap()
        };
        let forged = ["hs256_wrong_key", "hs256_expired", "alg_none", "garbage"];
        for name in forged {
            let mut answer = ask(vectors["tokens"][name].as_str().unwrap());
            assert_eq!(answer.status(), 403, "{name}");
            assert_eq!(answer.body_mut().read_to_string().unwrap(), "GRIP Signature Invalid.\n");
        }
        assert_eq!(stream.stats().bad_signatures, forged.len() as u64);
        let held = ask(vectors["tokens"]["hs256"].as_str().unwrap());
        assert_eq!(held.status(), 200);
        assert_eq!(held.headers()["grip-hold"], "stream");
    })
}

#[cfg(feature = "jwt-simple")]
#[test]
fn a_proxy_that_signs_with_es256_is_verified_by_its_public_key() {
    behind_pushpin(|| {
        let (listener, origin) = bind();
        let keys = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
        let private = format!("file:{}", keys.join("es256-private.pem").display());
        let (front, control) = (free_port(), free_port());
        let public = std::fs::read_to_string(keys.join("es256-public.pem")).unwrap();
        let endpoint = eventstream::grip::Endpoint::new(format!("http://{control}/")).unwrap();
        let endpoint = endpoint.verify_key(public).unwrap().verify_iss("fastly:SERVICE");
        // Only what the proxy has signed gets in.
        let stream = EventStream::builder().grip(endpoint).require_proxy().build().unwrap();
        serve(listener, stream.clone());
        let setup = Setup { origin, front, control, sig_iss: "fastly:SERVICE", sig_key: &private };
        let Some(proxy) = Pushpin::start(&setup) else { return };
        let client = Client::open(proxy.front, &["a"]);
        block_on(stream.publish("a", Event::new("e").data("1"))).unwrap();
        assert_eq!(field(&client.next().unwrap(), "data"), Some("1"));
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        assert_eq!(agent.get(format!("http://{origin}/events/a")).call().unwrap().status(), 501);
    })
}

#[test]
fn a_closed_channel_ends_its_streams_behind_the_proxy_too() {
    behind_pushpin(|| {
        let Some((proxy, stream, _)) = behind(|builder| builder) else { return };
        let (ends, stays) = (Client::open(proxy.front, &["a"]), Client::open(proxy.front, &["b"]));
        block_on(stream.publish("a", Event::new("last"))).unwrap();
        stream.close_channel("a");
        assert_eq!(field(&ends.next().unwrap(), "event"), Some("last"));
        assert_eq!(ends.next(), None);
        block_on(stream.publish("b", Event::new("more"))).unwrap();
        assert_eq!(field(&stays.next().unwrap(), "event"), Some("more"));
    })
}

/// A clock that runs this many times faster than real ones, for what takes half a minute.
const SPEED: u32 = 4;

struct Fast(Instant);

impl Timer for Fast {
    fn now(&self) -> Instant {
        self.0 + self.0.elapsed() * SPEED
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        futures_timer::Delay::new(duration / SPEED).boxed()
    }
}

/// What stands between the origin and the proxy's control port, for so long.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Answers500(Duration),
    Hangs(Duration),
}

/// Six clients on two channels, while the control port does not take anything. Returns how many
/// events they missed, and how many resets they got.
fn through_an_outage(outage: Outage) -> Option<(usize, usize)> {
    // Set once all clients are there.
    let began: Arc<OnceLock<Instant>> = Arc::default();
    let left = {
        let began = began.clone();
        move |time: Duration| {
            time.checked_sub(began.get()?.elapsed() * SPEED).filter(|left| !left.is_zero())
        }
    };
    let (client, still) = (Arc::new(Hyper::new()), left.clone());
    let transport = move |req| {
        let (client, still) = (client.clone(), still.clone());
        async move {
            match outage {
                Outage::Answers500(time) if still(time).is_some() => {
                    return Ok(Response::builder().status(500).body(Bytes::new()).unwrap());
                }
                Outage::Hangs(time) => {
                    let left = still(time).unwrap_or_default();
                    futures_timer::Delay::new(left / SPEED).await;
                }
                Outage::Answers500(_) => {}
            }
            client.send(req).await
        }
    };
    let timer = Fast(Instant::now());
    let (proxy, stream, _) = behind(|builder| builder.transport(transport).timer(timer))?;
    let channels = ["a", "b"];
    let clients: Vec<_> = (0..6).map(|n| Client::open(proxy.front, &[channels[n % 2]])).collect();
    began.get_or_init(Instant::now);
    let mut published = 0;
    while left(Duration::from_secs(60)).is_some() {
        for channel in channels {
            stream.try_publish(channel, Event::new("n").json(&published)).unwrap();
        }
        published += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    for channel in channels {
        block_on(stream.publish(channel, Event::new("end"))).unwrap();
    }
    let (mut missed, mut resets) = (0, 0);
    for (client, channel) in clients.iter().zip(channels.iter().cycle()) {
        let (mut next, mut told) = (0, false);
        loop {
            let frame = client.next().unwrap();
            let number = || field(&frame, "data").unwrap().parse::<usize>().unwrap();
            match field(&frame, "event") {
                Some("stream-reset") => {
                    let data = format!(r#"{{"channels":["{channel}"],"reason":"lost"}}"#);
                    assert_eq!(field(&frame, "data"), Some(&*data));
                    told = true;
                    resets += 1;
                }
                Some("n") => {
                    let number = number();
                    assert!(number == next || (number > next && told), "{next} {frame}");
                    missed += number - next;
                    (next, told) = (number + 1, false);
                }
                Some("end") => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(next == published || told, "{next} of {published}");
        missed += published - next;
    }
    println!("{outage:?}: {} events, {missed} missed, {resets} resets", published * 6);
    let stats = &stream.stats().grip[0];
    // Each event is for three clients. Some had failed when the POST that carried them got through.
    assert!(missed <= stats.failed as usize * 3, "{missed}, {stats:?}");
    assert_eq!(stats.resets as usize * 3, resets);
    Some((missed, resets))
}

#[test]
fn held_clients_miss_nothing_while_the_control_port_fails_for_some_seconds() {
    for outage in
        [Outage::Answers500(Duration::from_secs(5)), Outage::Hangs(Duration::from_secs(25))]
    {
        behind_pushpin(|| {
            if let Some(outcome) = through_an_outage(outage) {
                assert_eq!(outcome, (0, 0), "{outage:?}");
            }
        });
    }
}

#[test]
fn held_clients_learn_what_they_missed_while_the_control_port_failed_for_longer() {
    for outage in
        [Outage::Answers500(Duration::from_secs(45)), Outage::Hangs(Duration::from_secs(45))]
    {
        behind_pushpin(|| {
            if let Some((missed, resets)) = through_an_outage(outage) {
                assert!(missed > 0, "{outage:?}");
                assert!(resets >= 6, "{outage:?}: {resets}");
            }
        });
    }
}

#[test]
fn what_is_published_while_the_proxy_is_restarted_is_not_lost() {
    behind_pushpin(|| {
        let Some((proxy, stream, setup)) = behind(|builder| builder) else { return };
        let direct = Client::open(setup.origin, &["a"]);
        let publish = |n: u32| stream.publish("a", Event::new("n").json(&n));
        block_on(publish(0)).unwrap();
        drop(proxy);
        let away = (1..=150).map(publish).collect::<Vec<_>>();
        let proxy = Pushpin::start(&setup).unwrap();
        let client = Client::open(proxy.front, &["a"]);
        assert!(block_on(join_all(away)).iter().all(Result::is_ok), "the proxy took all of them");
        let stats = &stream.stats().grip[0];
        assert_eq!((stats.accepted, stats.failed, stats.resets), (151, 0, 0));
        block_on(publish(151)).unwrap();
        // What the proxy took before this client came is not for it.
        while field(&client.next().unwrap(), "data") != Some("151") {}
        for n in 0..=151 {
            assert_eq!(
                field(&direct.next().unwrap(), "data"),
                Some(&*n.to_string()),
                "locally nothing was lost"
            );
        }
        let start = Instant::now();
        block_on(stream.close());
        assert!(start.elapsed() < Duration::from_secs(5), "nothing was left to flush");
    })
}
