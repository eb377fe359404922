//! What a real Pushpin makes of this crate's holds and items, compared with what it was recorded to
//! make of others' holds and items with the same meaning. The tables say where this crate differs,
//! and which recordings need headers or items that it never makes.
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

/// Far longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const END: &str = "<the end of the test>";

const MODE: &str = "a hold has no keep-alive mode: a keep-alive always follows a silence";
const NO_TIME: &str = "a keep-alive always has a time";
const NO_HOLD: &str = "answers without a hold are out of scope";
const STATUS: &str = "Grip-Status is out of scope: a hold has the status of its response";
const EXPOSE: &str =
    "Grip-Expose-Headers is out of scope: the client gets all headers but the proxy's";
const FILTERS: &str = "filters are out of scope";

/// Cases that are not run, and why.
const OUT_OF_SCOPE: [(&str, &str); 22] = [
    ("ka_timeout_neg", "no `Duration` is negative"),
    ("ka_bad_mode", MODE),
    ("ka_interval", MODE),
    ("ka_no_timeout", NO_TIME),
    ("keepalive_only_no_timeout_param", NO_TIME),
    ("hold_bad", "a hold is always a `stream`"),
    ("no_hold_link", NO_HOLD),
    ("no_grip_status", NO_HOLD),
    ("grip_status", STATUS),
    ("grip_status_bad", STATUS),
    ("expose", EXPOSE),
    ("expose_two", EXPOSE),
    ("grip_instruct_json", "application/grip-instruct is out of scope"),
    ("response_hold_publish", "response holds and http-response are out of scope"),
    (
        "response_hold_timeout",
        "its note says that it is no vector; response holds are out of scope",
    ),
    ("content_filter_mismatch", FILTERS),
    ("skip_users", FILTERS),
    ("skip_self", FILTERS),
    ("require_sub", FILTERS),
    ("var_subst_percent_escape", FILTERS),
    ("build_id", FILTERS),
    ("build_id_publish_without_content_filters", FILTERS),
];

type MakeHold = fn() -> Hold;

const NO_CHANNEL: &str = "only keep-alives reach a hold without channels, so this hold has one";

/// Cases whose client gets other bytes than recorded: why, and the parts that it gets instead. All
/// keep-alives of a case count as one part.
const LISTED: [(&str, &str, &[&str]); 10] = [
    ("ka_bad_escape", "Pushpin drops an escape that it does not know", &[r"a\qb"]),
    ("ka_semicolon", "an unescaped `;` ends the value", &[": a; b\n\n"]),
    ("ka_empty", "an empty keep-alive means no keep-alive, not a 502 of the proxy", &[]),
    ("ka_timeout_float", "a time is cut to whole seconds, which avoids a 502 of the proxy", &["k"]),
    ("chan_comma_injection", "`a,b` is one channel", &["AB"]),
    ("chan_semicolon", "an unescaped `;` ends the name", &["full"]),
    ("chan_quote_comma", "an unescaped quote makes one channel of two", &["q", "y"]),
    ("chan_empty", NO_CHANNEL, &["k"]),
    ("chan_missing", NO_CHANNEL, &["k"]),
    ("meta_backslash_js", "an unescaped backslash is dropped", &[r"a\b"]),
];

/// The holds that are not just for the recorded channel, with the channel on which the end of the
/// test is published, or "" where nothing can be. In a `ka_` case the keep-alive is what the client
/// reads.
const HOLDS: [(&str, &str, MakeHold); 7] = [
    ("chan_quote_comma", "y", || Hold::stream(["q\"x", "y"])),
    ("chan_empty", "", || Hold::stream([""]).keep_alive("k", SECOND)),
    ("chan_missing", "", || Hold::stream([""; 0]).keep_alive("k", SECOND)),
    ("two_channels_one_prev", "ut", || {
        let hold = Hold::stream(["us", "ut"]).prev_id("us", "1");
        hold.next_link("/free?h={}", Duration::from_secs(120))
    }),
    // The documentation of `Hold::prev_id` warns of this.
    ("prev_id_no_link", "t", || Hold::stream(["t"]).prev_id("t", "1")),
    ("meta_subst", "t", || Hold::stream(["t"]).meta("user", r#"bo"b\x"#).meta("k", "v")),
    ("meta_backslash_js", "t", || Hold::stream(["t"]).meta("user", r"a\b")),
];

/// An answer of the origin.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn hold(hold: &Hold) -> Self {
        Self { status: 200, headers: hold.headers(), body: "open\n".into() }
    }

    /// Makes the proxy fill values of the hold's meta into items, so that the client gets them.
    fn with_filter(mut self) -> Self {
        let channels =
            format!("{}; filter=var-subst", self.headers["grip-channel"].to_str().unwrap());
        self.headers.insert("grip-channel", channels.parse().unwrap());
        self
    }
}

/// An origin with an answer for each of these paths. All other paths get an answer without a hold.
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
                // The proxy may have ended.
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
    /// A proxy in front of an origin with these answers.
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

    /// Opens a hold and reads the body of the origin's answer.
    fn open(&self, path: &str) -> Client {
        let mut client = self.get(path);
        client.reads(b"open\n");
        client
    }

    fn publish(&self, item: Item) {
        block_on(self.publisher.publish(item)).unwrap();
    }

    /// The client has read all that came: the next bytes are this end. An item must have the
    /// filters of the hold.
    #[track_caller]
    fn ends_with(&self, client: &mut Client, channel: &str, with_filter: bool) {
        match with_filter {
            true => self.publish_raw(&filtered(channel, END)),
            false => self.publish(Item::new(channel, END)),
        }
        client.reads(END.as_bytes());
    }

    /// Publishes items that this crate did not make.
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

    /// Nothing comes before the stream ends.
    #[track_caller]
    fn ends(&mut self) {
        let mut rest = Vec::new();
        self.body.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "", "{}: the stream ends", self.name);
    }
}

/// A case to run with this crate.
struct Case<'a> {
    name: &'a str,
    input: &'a Value,
    listed: bool,
    status: u16,
    hold: Hold,
    /// What the client is to read after the body of the origin's answer, one char for each byte.
    rest: String,
    /// Whether the stream ends after that.
    ends: bool,
    /// The channel on which the end of the test is published, or "" where nothing can be.
    channel: &'a str,
}

impl<'a> Case<'a> {
    fn new(recorded: &'a Value) -> Self {
        let (name, input) = (recorded["name"].as_str().unwrap(), &recorded["input"]);
        let (mut parts, mut ends) = recorded_parts(recorded);
        let status = recorded["expect"]["status_line"].as_str().unwrap().split(' ').nth(1);
        let mut status = status.unwrap().parse().unwrap();
        let row = LISTED.iter().find(|(listed, ..)| *listed == name);
        if let Some((_, why, instead)) = row {
            println!("{name}: {why}");
            assert_ne!(parts, *instead, "{name} need not be listed");
            (parts, status, ends) = (instead.to_vec(), 200, false);
        }
        let rest = parts.concat();
        let mut channel = input["origin_headers"]["Grip-Channel"].as_str().unwrap_or_default();
        let mut hold = Hold::stream([channel]);
        if is_keep_alive(name) {
            // The end of the test is published only where no keep-alive can come before it.
            channel = if rest.is_empty() { name } else { "" };
            hold = Hold::stream([name]).keep_alive(latin1(&rest), Duration::from_millis(1500));
        }
        if let Some((_, at_end, make)) = HOLDS.iter().find(|(listed, ..)| *listed == name) {
            (channel, hold) = (at_end, make());
        }
        Self { name, input, listed: row.is_some(), status, hold, rest, ends, channel }
    }

    /// The origin's answer.
    fn answer(&self) -> Answer {
        let mut answer = Answer::hold(&self.hold);
        answer.status = self.input["origin_status"].as_u64().unwrap().try_into().unwrap();
        answer.body = self.input["origin_body"].as_str().unwrap().to_owned();
        for (field, value) in self.input["origin_headers"].as_object().unwrap() {
            if passed_on(field) {
                let value = value.as_str().unwrap().parse().unwrap();
                answer.headers.insert(HeaderName::try_from(field).unwrap(), value);
            }
        }
        match self.has_filter() {
            true => answer.with_filter(),
            false => answer,
        }
    }

    /// Publishes the recorded items and reads what the client gets.
    fn run(&self, proxied: &Proxied, mut client: Client) {
        let name = self.name;
        assert_eq!(client.answer.status(), self.status, "{name}");
        for (field, value) in self.input["origin_headers"].as_object().unwrap() {
            let got = client.answer.headers().get(field).map(|value| value.to_str().unwrap());
            let expected = passed_on(field).then(|| value.as_str().unwrap());
            assert_eq!(got, expected, "{name}: {field}");
        }
        client.reads(self.input["origin_body"].as_str().unwrap().as_bytes());
        for post in self.input["publish"].as_array().into_iter().flatten() {
            match self.has_filter() {
                true => proxied.publish_raw(post),
                false => post.as_array().unwrap().iter().for_each(|one| proxied.publish(item(one))),
            }
        }
        let times = if is_keep_alive(name) { 2 } else { 1 };
        client.reads(&latin1(&self.rest).repeat(times));
        if self.ends {
            client.ends();
        } else if !self.channel.is_empty() {
            proxied.ends_with(&mut client, self.channel, self.has_filter());
        }
    }

    /// Whether items need a filter to show what the hold says.
    fn has_filter(&self) -> bool {
        self.name.starts_with("meta_")
    }
}

fn is_keep_alive(name: &str) -> bool {
    name.starts_with("ka_")
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

/// The bytes of a recorded text, in which each char stands for a byte.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect()
}

/// Whether the client gets this header of the origin's answer.
fn passed_on(field: &str) -> bool {
    !field.starts_with("Grip-") && field != "Content-Length"
}

/// What the recorded client read after the body of the origin's answer, and whether the stream
/// ended after that. All keep-alives of a case count as one part.
fn recorded_parts(recorded: &Value) -> (Vec<&str>, bool) {
    let body = &recorded["expect"]["body_parts"];
    // A body that is recorded as one text is complete.
    let ends = body.is_string() || body.as_array().unwrap().last().unwrap() == "<END>";
    let parts = body.as_array().map_or(std::slice::from_ref(body), Vec::as_slice);
    let mut parts: Vec<_> = parts.iter().map(|part| part.as_str().unwrap()).collect();
    let origin = recorded["input"]["origin_body"].as_str().unwrap();
    parts[0] = parts[0].strip_prefix(origin).unwrap_or(parts[0]);
    parts.retain(|part| !part.is_empty() && *part != "<END>");
    if is_keep_alive(recorded["name"].as_str().unwrap()) {
        parts.dedup();
    }
    (parts, ends)
}

#[test]
fn pushpin_makes_of_our_headers_and_items_what_was_meant() {
    behind_pushpin(|| {
        let file: Value =
            serde_json::from_str(include_str!("vectors/pushpin-observed.json")).unwrap();
        let (mut cases, mut out_of_scope) = (Vec::new(), 0);
        for recorded in file["cases"].as_array().unwrap() {
            let row = OUT_OF_SCOPE.iter().find(|(listed, _)| recorded["name"] == *listed);
            if let Some((name, why)) = row {
                println!("{name}: {why}");
                out_of_scope += 1;
                continue;
            }
            cases.push(Case::new(recorded));
        }
        let listed = cases.iter().filter(|case| case.listed).count();
        let expected = (33, LISTED.len(), OUT_OF_SCOPE.len());
        assert_eq!((cases.len(), listed, out_of_scope), expected);

        let answers = cases.iter().map(|case| (case.name.to_owned(), case.answer()));
        let Some(proxied) = Proxied::start(answers) else { return };
        // The clients of keep-alives all connect first, so that their seconds pass together. The
        // others share channels, so each connects only when the one before has read its items.
        let clients: Vec<_> = cases
            .iter()
            .map(|case| is_keep_alive(case.name).then(|| proxied.get(case.name)))
            .collect();
        for (case, client) in cases.iter().zip(clients) {
            case.run(&proxied, client.unwrap_or_else(|| proxied.get(case.name)));
        }
        println!(
            "pushpin-observed.json: {} run, of them {listed} listed; {out_of_scope} out of scope",
            cases.len()
        );
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
        // What a misled parser would subscribe to.
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
            client.name = format!("{name:?}");
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
        // Without an empty value: Pushpin treats it as missing.
        let values = [
            ("plain", "plain"),
            ("  spaces  ", "  spaces  "),
            ("a, k=b; c=\"d\"", "a, k=b; c=\"d\""),
            (r#"\"\\""#, r#"\"\\""#),
            // A header cannot contain these.
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
