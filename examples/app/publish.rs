//! `POST /publish/{channel}`: JSON in, events out.

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use eventstream::{Event, EventId, EventStream, PublishError, Publishing};
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use serde::de::IgnoredAny;

use super::{json, text, Answer};

/// The default of `Limits::frame`.
const MAX_JSON: usize = 1 << 20;
const MAX_NDJSON: usize = 16 << 20;

pub(super) async fn publish<B>(stream: &EventStream, channel: &str, req: Request<B>) -> Answer
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    try_publish(stream, channel, req)
        .await
        .unwrap_or_else(|Refusal(status, why)| text(status, &format!("{why}.")))
}

async fn try_publish<B>(
    stream: &EventStream,
    channel: &str,
    req: Request<B>,
) -> Result<Answer, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let channel = decode(channel).ok_or_else(|| bad("The channel's name is not UTF-8"))?;
    let query = Query::of(req.uri())?;
    let ndjson = req.headers().get(CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"application/x-ndjson")
    });
    if ndjson {
        if query.id.is_some() {
            return Err(bad("Parameter \"id\" cannot go with several events"));
        }
        let lines = read(req, MAX_NDJSON).await?;
        let ids = publish_lines(stream, &channel, &query, lines)?.await?;
        let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        return Ok(json(StatusCode::OK, serde_json::to_vec(&ids)));
    }
    let body = read(req, MAX_JSON).await?;
    check(&body).map_err(|why| bad(format_args!("The body is not JSON: {why}")))?;
    let event = query.event(&body);
    let event = match query.id {
        Some(id) => event.id(id),
        None => event,
    };
    let id = stream.publish(&channel, event).await?;
    Ok(json(StatusCode::OK, serde_json::to_vec(id.as_ref())))
}

/// Publishes one event a line. The lines are parsed as the batch takes them, so a batch that is
/// over its limit costs no more than the limit, however many lines follow.
fn publish_lines(
    stream: &EventStream,
    channel: &str,
    query: &Query,
    lines: String,
) -> Result<Publishing<Vec<EventId>>, Refusal> {
    let mut mistake = None;
    let numbered = (1..).zip(lines.lines()).filter(|(_, line)| !line.trim().is_empty());
    let events = numbered.map(|(number, line)| match check(line) {
        Ok(_) => query.event(line),
        Err(why) => {
            mistake = Some(bad(format_args!("Line {number} is not JSON: {why}")));
            // To end here would publish the lines before. An invalid event refuses them all.
            Event::new("\n")
        }
    });
    let publishing = stream.publish_all(channel, events);
    mistake.map_or(Ok(publishing), Err)
}

/// A status, and the sentence that says why.
struct Refusal(StatusCode, String);

fn bad(why: impl Display) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, why.to_string())
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        let status = match &error {
            PublishError::Invalid(invalid) if invalid.is_too_large() => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            PublishError::Invalid(_) => StatusCode::BAD_REQUEST,
            // Subscribers of this process got the event. The text names its id and the endpoints
            // that failed.
            #[cfg(feature = "grip")]
            PublishError::Grip { .. } => {
                return Self(StatusCode::BAD_GATEWAY, format!("Published in part: {error}"))
            }
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, format!("Not published: {error}"))
    }
}

/// The parameters of a publication.
struct Query {
    name: String,
    id: Option<String>,
    retry: Option<Duration>,
}

impl Query {
    fn of(uri: &Uri) -> Result<Self, Refusal> {
        let first = |name: &str| match query_values(uri, name) {
            Some(values) => Ok(values.into_iter().next()),
            None => Err(bad(format_args!("Parameter {name:?} is not UTF-8"))),
        };
        let retry = first("retry")?.map(|millis| {
            let millis = millis
                .parse()
                .map_err(|_| bad(format_args!("Parameter \"retry\" is not a number: {millis:?}")));
            millis.map(Duration::from_millis)
        });
        Ok(Self {
            name: first("event")?.unwrap_or_default(),
            id: first("id")?,
            retry: retry.transpose()?,
        })
    }

    fn event(&self, data: &str) -> Event {
        let event = Event::new(&self.name).data(data);
        match self.retry {
            Some(after) => event.retry(after),
            None => event,
        }
    }
}

/// Accepts any JSON: it is passed on unchanged, so its depth does not matter here.
fn check(text: &str) -> serde_json::Result<IgnoredAny> {
    serde_json::from_str(text)
}

async fn read<B>(req: Request<B>, limit: usize) -> Result<String, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = pin!(req.into_body());
    // Copied as it comes: a client may send every byte in a chunk of its own.
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| bad(format_args!("The body cannot be read: {}", error.into())))?;
        let data = frame.into_data().unwrap_or_default();
        if data.len() > limit - bytes.len() {
            let why = format!("The body is over the limit of {limit} bytes");
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        bytes.extend_from_slice(&data);
    }
    String::from_utf8(bytes).map_err(|_| bad("The body is not UTF-8"))
}

/// All values of this name in the query; `None` if one is not UTF-8.
pub(super) fn query_values(uri: &Uri, name: &str) -> Option<Vec<String>> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .filter(|(key, _)| decode_form(key).as_deref() == Some(name))
        .map(|(_, value)| decode_form(value))
        .collect()
}

fn decode_form(text: &str) -> Option<String> {
    decode(&text.replace('+', " "))
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}
