//! Behind a real Pushpin: holds, publishing, signatures, and a restart of the proxy.
#![cfg(feature = "hyper")]

#[path = "common/origin.rs"]
mod origin;
#[path = "common/pushpin.rs"]
mod pushpin;

use std::time::{Duration, Instant};

use eventstream::{Builder, Event, EventStream, PublishError};
use futures::executor::block_on;
use futures::future::join_all;
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

/// While the proxy is away nothing is lost silently: an event that no endpoint accepts is an error
/// for its publisher, and is counted.
#[test]
fn the_origin_goes_on_while_the_proxy_is_restarted() {
    behind_pushpin(|| {
        let Some((proxy, stream, setup)) = behind(|builder| builder) else { return };
        let direct = Client::open(setup.origin, &["a"]);
        let publish = |n: u32| stream.publish("a", Event::new("n").json(&n));
        block_on(publish(0)).unwrap();
        drop(proxy);
        let away = join_all((1..=150).map(publish));
        let outcomes = block_on(away);
        let lost = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Err(PublishError::Grip { .. })))
            .count() as u64;
        assert_eq!(lost, 150, "there was no proxy to accept them");
        assert_eq!(stream.stats().grip[0].failed, lost);
        let proxy = Pushpin::start(&setup).unwrap();
        let client = Client::open(proxy.front, &["a"]);
        block_on(publish(151)).unwrap();
        assert_eq!(field(&client.next().unwrap(), "data"), Some("151"));
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
