//! What a real Pushpin makes of holds and items of this crate, where it was recorded what it makes
//! of others' for the same meaning. What only headers or items that are never made here can show is
//! listed by name.
#![cfg(feature = "hyper")]

#[path = "common/pushpin.rs"]
mod pushpin;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use eventstream::grip::transport::Hyper;
use eventstream::grip::{Config, Hold, Item, Publisher};
use eventstream::runtime::Background;
use futures::executor::block_on;
use http::{HeaderMap, HeaderName, Response};
use pushpin::{behind_pushpin, free_port, Pushpin, Setup};
use serde_json::{json, Value};

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const END: &str = "<the end of the test>";

/// An answer of the origin, and what it begins with.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn hold(hold: &Hold) -> Self {
        Self { status: 200, headers: hold.headers(), body: "open\n".into() }
    }

    /// Lets the proxy fill values of the hold's meta into items, which is how they can be seen.
    fn with_filter(mut self) -> Self {
        let channels =
            format!("{}; filter=var-subst", self.headers["grip-channel"].to_str().unwrap());
        self.headers.insert("grip-channel", channels.parse().unwrap());
        self
    }
}

/// An origin that has an answer for some paths, and for any other one that is no hold.
fn serve(listener: TcpListener, answers: HashMap<String, Answer>) {
    let answers = Arc::new(answers);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, answers) = (socket.unwrap(), Arc::clone(&answers));
            thread::spawn(move || {
                let mut lines =
                    BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok);
                let target = lines.next().unwrap_or_default();
                let path = target.split(' ').nth(1).unwrap_or_default();
                // The rest of the head.
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let plain =
                    Answer { status: 200, headers: HeaderMap::new(), body: "open\n".into() };
                let Answer { status, headers, body } = answers.get(path).unwrap_or(&plain);
                let mut head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", body.len())
                    .into_bytes();
                for (name, value) in headers {
                    head.extend(
                        [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat(),
                    );
                }
                // A proxy that goes away is no failure.
                let _ = socket
                    .write_all(&[&*head, b"Connection: close\r\n\r\n", body.as_bytes()].concat());
            });
        }
    });
}

struct Proxied {
    proxy: Pushpin,
    control: SocketAddr,
    publisher: Publisher,
}

impl Proxied {
    /// A proxy before an origin with these answers.
    fn start(answers: impl IntoIterator<Item = (String, Answer)>) -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = listener.local_addr().unwrap();
        let setup = Setup {
            origin,
            front: free_port(),
            control: free_port(),
            sig_iss: "x",
            sig_key: "changeme",
        };
        let probe = ("/events/probe".to_owned(), Answer::hold(&Hold::stream(["probe"])));
        serve(
            listener,
            answers
                .into_iter()
                .map(|(name, answer)| (format!("/{name}"), answer))
                .chain([probe])
                .collect(),
        );
        let config: Config = format!("http://{}/", setup.control).parse().unwrap();
        let publisher = Publisher::new(config, Hyper::new(), Background, Background);
        Some(Self { proxy: Pushpin::start(&setup)?, control: setup.control, publisher })
    }

    fn get(&self, path: &str) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE));
        let agent: ureq::Agent = config.build().into();
        let answer = agent.get(format!("http://{}/{path}", self.proxy.front)).call().unwrap();
        let (parts, body) = answer.into_parts();
        Client {
            answer: Response::from_parts(parts, ()),
            body: Box::new(body.into_reader()),
            name: path.to_owned(),
        }
    }

    /// Opens a hold and reads what it begins with.
    fn open(&self, path: &str) -> Client {
        let mut client = self.get(path);
        client.reads(b"open\n");
        client
    }

    fn publish(&self, item: Item) {
        block_on(self.publisher.publish(item)).unwrap();
    }

    /// Nothing has come that was not read: the next thing is the end. An item's filters must be the
    /// hold's.
    #[track_caller]
    fn ends_with(&self, client: &mut Client, channel: &str, with_filter: bool) {
        match with_filter {
            true => self.publish_raw(&filtered(channel, END)),
            false => self.publish(Item::new(channel, END)),
        }
        client.reads(END.as_bytes());
    }

    /// Items that are not of this crate's making.
    fn publish_raw(&self, items: &Value) {
        ureq::post(format!("http://{}/publish/", self.control))
            .send_json(json!({ "items": items }))
            .unwrap();
    }
}

/// An item that fills in values of a hold's meta.
fn filtered(channel: &str, content: &str) -> Value {
    let stream = json!({ "content": content, "content-filters": ["var-subst"] });
    json!([{ "channel": channel, "formats": { "http-stream": stream } }])
}

struct Client {
    answer: Response<()>,
    body: Box<dyn Read>,
    name: String,
}

impl Client {
    /// Exactly these bytes come next.
    #[track_caller]
    fn reads(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        let mut len = 0;
        while len < got.len() {
            match self.body.read(&mut got[len..]) {
                Ok(more @ 1..) => len += more,
                end => panic!(
                    "{}: {end:?} after {:?}",
                    self.name,
                    String::from_utf8_lossy(&got[..len])
                ),
            }
        }
        let shown = [&*got, bytes].map(|bytes| bytes.escape_ascii().to_string());
        assert!(got == bytes, "{}: {:?} instead of {:?}", self.name, shown[0], shown[1]);
    }

    #[track_caller]
    fn ends(&mut self) {
        let mut rest = Vec::new();
        self.body.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "", "{}", self.name);
    }
}

/// What a case is with this crate.
enum Case {
    Listed(&'static str),
    /// A keep-alive of these bytes every second; where there are none, there is to be no
    /// keep-alive.
    KeepAlive(&'static [u8]),
    /// This hold, which is for this channel too, and what the client reads of the recorded items.
    /// Nothing else comes.
    Held(&'static str, Hold, String),
    /// This hold, and what the client reads until the stream ends.
    Ends(Hold, String),
}

/// `rest` is what the recorded client read after the beginning.
fn case(name: &str, rest: &str) -> Case {
    use Case::{Ends, Held, KeepAlive, Listed};
    let t = || Hold::stream(["t"]);
    let held = |channel, rest: &str| Held(channel, Hold::stream([channel]), rest.to_owned());
    match name {
        "ka_cstring" => KeepAlive(b"a\nb\\c\r\n"),
        "ka_hex" => KeepAlive(b"aA\n\0\xff"),
        // What it was meant to say: Pushpin drops the backslash of an escape that it does not know.
        "ka_bad_escape" => KeepAlive(br"a\qb"),
        // All are told to Pushpin as cstring or base64, whatever they are in the recorded header.
        "ka_raw" => KeepAlive(br"a\nb"),
        "ka_default_format" => KeepAlive(b"abc"),
        // `;` cut the recorded value.
        "ka_semicolon" => KeepAlive(b": a; b\n\n"),
        "ka_quote" => KeepAlive(b"a\"b"),
        "ka_quoted_value" => KeepAlive(b"\"a\n\""),
        "ka_base64" => KeepAlive(b"\0\xff\xfe\n"),
        // An error of the proxy's: ours is a hold without a keep-alive.
        "ka_empty" => KeepAlive(b""),
        // Its one and a half seconds were an error; ours are one.
        "ka_timeout_float" => KeepAlive(b"k"),
        // Recorded as these bytes taken for Latin-1.
        "ka_unquoted_utf8" => KeepAlive("\u{fc}".as_bytes()),
        "ka_timeout_neg" => Listed("no `Duration` is negative"),
        "ka_bad_mode" | "ka_interval" => Listed("a hold has no mode: it is always that of silence"),
        "ka_no_timeout" | "keepalive_only_no_timeout_param" => Listed("a hold always has a time"),

        // The hold was for one channel of this name.
        "chan_comma_injection" => held("a,b", "AB"),
        "chan_semicolon" => held("c;d", "full"),
        // It was for these two.
        "chan_quote_comma" => Held("y", Hold::stream(["q\"x", "y"]), "qy".into()),
        // Subscribed to nothing, but held.
        "chan_empty" => Held("", Hold::stream([""]).keep_alive("k", SECOND), "k".into()),
        "chan_missing" => Held("", Hold::stream([""; 0]).keep_alive("k", SECOND), "k".into()),
        "chan_latin1_FC" => held("\u{fc}", rest),
        // The second's first use of an id is in the first.
        "chan_no_prev_pub_ids" | "id_reused_within_60s_dropped" => held("uq", rest),
        "two_channels_one_prev" => {
            let hold = Hold::stream(["us", "ut"]).prev_id("us", "1");
            Ends(hold.next_link("/free?h={}", Duration::from_secs(120)), rest.into())
        }
        // The documentation of `Hold::prev_id` says so.
        "prev_id_no_link" => Ends(t().prev_id("t", "1"), rest.into()),

        "origin_404_hold"
        | "cache_headers_pass"
        | "empty_body_hold"
        | "content_bin"
        | "empty_content"
        | "content_length_origin"
        | "ws_over_http_only" => held("t", rest),
        "hold_stream_content_length" => held("uw", rest),
        "close_with_content" => Ends(t(), rest.into()),
        "meta_subst" => Held("t", t().meta("user", r#"bo"b\x"#).meta("k", "v"), rest.into()),
        // It was meant to have its backslash.
        "meta_backslash_js" => Held("t", t().meta("user", r"a\b"), r"a\b".into()),

        "hold_bad" => Listed("a hold is always a `stream`"),
        "no_hold_link" | "no_grip_status" => Listed("answers without a hold are out of scope"),
        "grip_status" | "grip_status_bad" => {
            Listed("Grip-Status is out of scope: a hold's status is the answer's own")
        }
        "expose" | "expose_two" => Listed(
            "Grip-Expose-Headers is out of scope: the client gets all headers but the proxy's",
        ),
        "grip_instruct_json" => Listed("application/grip-instruct is out of scope"),
        "response_hold_publish" => Listed("response holds and http-response are out of scope"),
        "response_hold_timeout" => {
            Listed("no vector, as its note says; response holds are out of scope")
        }
        "content_filter_mismatch"
        | "skip_users"
        | "skip_self"
        | "require_sub"
        | "var_subst_percent_escape"
        | "build_id"
        | "build_id_publish_without_content_filters" => Listed("filters are out of scope"),
        _ => panic!("{name} is neither run nor listed"),
    }
}

fn item(recorded: &Value) -> Item {
    let (stream, text) =
        (&recorded["formats"]["http-stream"], |name: &str| recorded[name].as_str());
    let channel = text("channel").unwrap();
    let item = match (
        stream["content"].as_str(),
        stream["content-bin"].as_str(),
        stream["action"].as_str(),
    ) {
        (_, _, Some("close")) => Item::close(channel),
        (Some(content), None, None) => Item::new(channel, content),
        (None, Some("/wAK"), None) => Item::new(channel, b"\xff\0\n"),
        _ => panic!("{recorded}"),
    };
    let item = text("id").into_iter().fold(item, Item::id);
    text("prev-id").into_iter().fold(item, Item::prev_id)
}

/// Bytes are recorded as Latin-1.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect()
}

/// Whether the client gets this header of the origin's.
fn passed_on(field: &str) -> bool {
    !field.starts_with("Grip-") && field != "Content-Length"
}

/// What the recorded client read after the beginning.
fn recorded_rest(case: &Value) -> String {
    let parts = &case["expect"]["body_parts"];
    let parts = parts.as_array().map_or(std::slice::from_ref(parts), Vec::as_slice).iter();
    let body: String =
        parts.map(|part| part.as_str().unwrap()).filter(|part| *part != "<END>").collect();
    body.strip_prefix(case["input"]["origin_body"].as_str().unwrap()).unwrap_or(&body).to_owned()
}

#[test]
fn pushpin_makes_of_our_headers_and_items_what_was_meant() {
    behind_pushpin(|| {
        let file: Value =
            serde_json::from_str(include_str!("vectors/pushpin-observed.json")).unwrap();
        let (mut answers, mut run, mut listed) = (HashMap::new(), Vec::new(), Vec::new());
        for recorded in file["cases"].as_array().unwrap() {
            let (name, input) = (recorded["name"].as_str().unwrap(), &recorded["input"]);
            let case = case(name, &recorded_rest(recorded));
            let hold = match &case {
                Case::Listed(why) => {
                    listed.push(format!("{name}: {why}"));
                    continue;
                }
                // Nobody publishes there.
                Case::KeepAlive(content) => {
                    Hold::stream([name]).keep_alive(content, Duration::from_millis(1500))
                }
                Case::Held(_, hold, _) | Case::Ends(hold, _) => hold.clone(),
            };
            let mut answer = Answer::hold(&hold);
            answer.status = input["origin_status"].as_u64().unwrap().try_into().unwrap();
            answer.body = input["origin_body"].as_str().unwrap().to_owned();
            for (field, value) in input["origin_headers"].as_object().unwrap() {
                if passed_on(field) {
                    answer.headers.insert(
                        HeaderName::try_from(field).unwrap(),
                        value.as_str().unwrap().parse().unwrap(),
                    );
                }
            }
            if name.starts_with("meta_") {
                answer = answer.with_filter();
            }
            answers.insert(name.to_owned(), answer);
            run.push((name, recorded, case));
        }
        assert_eq!((run.len(), listed.len()), (33, 22));

        let Some(proxied) = Proxied::start(answers) else { return };
        println!("pushpin-observed.json: {} run, {} listed", run.len(), listed.len());
        listed.iter().for_each(|case| println!("  {case}"));
        // All are open before one is read, so that their seconds are the same ones; the others
        // share channels.
        let clients: Vec<_> = run
            .iter()
            .map(|(name, ..)| name.starts_with("ka_").then(|| proxied.get(name)))
            .collect();
        for ((name, recorded, case), client) in run.iter().zip(clients) {
            let (input, expect) = (&recorded["input"], &recorded["expect"]);
            let mut client = client.unwrap_or_else(|| proxied.get(name));
            // What was an error to the proxy is none when it is said right.
            let status = match expect["status_line"].as_str().unwrap().split(' ').nth(1).unwrap() {
                "502" => 200,
                status => status.parse().unwrap(),
            };
            assert_eq!(client.answer.status(), status, "{name}");
            for (field, value) in input["origin_headers"].as_object().unwrap() {
                let got = client.answer.headers().get(field).map(|value| value.to_str().unwrap());
                assert_eq!(
                    got,
                    passed_on(field).then(|| value.as_str().unwrap()),
                    "{name}: {field}"
                );
            }
            client.reads(input["origin_body"].as_str().unwrap().as_bytes());
            let filtered = name.starts_with("meta_");
            for post in input["publish"].as_array().into_iter().flatten() {
                match filtered {
                    true => proxied.publish_raw(post),
                    false => {
                        post.as_array().unwrap().iter().for_each(|one| proxied.publish(item(one)))
                    }
                }
            }
            match case {
                Case::Listed(_) => unreachable!("not run"),
                // By now the others have theirs.
                Case::KeepAlive(b"") => proxied.ends_with(&mut client, name, false),
                Case::KeepAlive(content) => client.reads(&content.repeat(2)),
                Case::Held(channel, _, rest) => {
                    client.reads(&latin1(rest));
                    if !channel.is_empty() {
                        proxied.ends_with(&mut client, channel, filtered);
                    }
                }
                Case::Ends(_, rest) => {
                    client.reads(&latin1(rest));
                    client.ends();
                }
            }
        }
    })
}

#[test]
fn keep_alives_arrive_byte_for_byte() {
    behind_pushpin(|| {
        let ascii: Vec<u8> = (0..0x80).collect();
        let all: Vec<u8> = (0..=0xff).collect();
        let long = "event: keep-alive\ndata: \\;\t\n\n".repeat(100);
        let contents: [&[u8]; 24] = [
            b"event: keep-alive\ndata: \n\n",
            b": a; b; format=raw; timeout=9\n\n",
            b";",
            b";;",
            b" ",
            b"  edge  ",
            b"\tedge\t",
            b"\n",
            b"\r\n\r\n",
            b"\\",
            b"\\n",
            b"a\\\\",
            b"\\x41\\q",
            b"\"",
            b"\"a; b\"",
            b"a, b,",
            b"=%41%",
            b"\x7f",
            b"\0",
            ": \u{e9} \u{2603} \u{1f600}\n\n".as_bytes(),
            b"\xff\xfe; \n",
            &ascii,
            &all,
            long.as_bytes(),
        ];
        let hold = |at: usize| Hold::stream(["quiet"]).keep_alive(contents[at], SECOND);
        let Some(proxied) =
            Proxied::start((0..contents.len()).map(|at| (at.to_string(), Answer::hold(&hold(at)))))
        else {
            return;
        };
        let clients: Vec<_> = (0..contents.len()).map(|at| proxied.open(&at.to_string())).collect();
        for (mut client, content) in clients.into_iter().zip(contents) {
            client.reads(&content.repeat(2));
        }
    })
}

#[test]
fn a_channel_gets_its_own_items_and_no_others() {
    behind_pushpin(|| {
        let names = [
            "a,b",
            "a, b",
            "a;b",
            "a; prev-id=1",
            "a; filter=skip-self",
            "q\"x, y",
            "\"a\"",
            "a b",
            " a",
            "a ",
            "\ta",
            "a\r\nb",
            "a%2Cb",
            "%41",
            "a\\b",
            "a/b",
            "=",
            "\0",
            "\x7f",
            "\u{fc}",
            "\u{2603}",
            "\u{1f600}",
            "<a>",
            "a+b",
            "A",
            "a",
            "b",
        ];
        // What a parser that is misled would subscribe to.
        let decoys = [
            "a",
            "b",
            " b",
            "",
            "q\"x",
            "y",
            "x, y",
            "a\rb",
            "ab",
            "\u{fffd}",
            "\u{c3}\u{bc}",
            "quiet",
        ];
        let path = |name: &str| name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let both = Answer::hold(&Hold::stream(["a,b", "c;d"]));
        let answers = names
            .iter()
            .map(|name| (path(name), Answer::hold(&Hold::stream([name]))))
            .chain([("both".to_owned(), both)]);
        let Some(proxied) = Proxied::start(answers) else { return };
        let clients: Vec<_> = names.iter().map(|name| proxied.open(&path(name))).collect();
        let mut both = proxied.open("both");
        for decoy in decoys.iter().filter(|decoy| !names.contains(*decoy)) {
            let formats = json!({ "http-stream": { "content": "decoy" } });
            proxied.publish_raw(&json!([{ "channel": decoy, "formats": formats }]));
        }
        for name in names {
            proxied.publish(Item::new(name, format!("for {name}")));
        }
        for (mut client, name) in clients.into_iter().zip(names) {
            client.reads(format!("for {name}").as_bytes());
            proxied.ends_with(&mut client, name, false);
        }
        both.reads(format!("for a,b{END}").as_bytes());
        proxied.ends_with(&mut both, "c;d", false);
    })
}

#[test]
fn meta_values_arrive_as_they_were_given() {
    behind_pushpin(|| {
        // An empty one is none to Pushpin.
        let values = [
            ("plain", "plain"),
            ("  blanks  ", "  blanks  "),
            ("a, k=b; c=\"d\"", "a, k=b; c=\"d\""),
            (r#"\"\\""#, r#"\"\\""#),
            // No header can carry these.
            ("\u{e9}\r\n\t", "%C3%A9%0D%0A%09"),
        ];
        let answer = |value: &str| {
            Answer::hold(&Hold::stream(["t"]).meta("a", "1").meta("k", value).meta("z", "2"))
                .with_filter()
        };
        let answers =
            values.iter().enumerate().map(|(at, (value, _))| (at.to_string(), answer(value)));
        let Some(proxied) = Proxied::start(answers) else { return };
        let clients: Vec<_> = (0..values.len()).map(|at| proxied.open(&at.to_string())).collect();
        proxied.publish_raw(&filtered("t", "[%(a)s|%(k)s|%(z)s]"));
        for (mut client, (_, seen)) in clients.into_iter().zip(values) {
            client.reads(format!("[1|{seen}|2]").as_bytes());
        }
    })
}
