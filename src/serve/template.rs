//! Channel templates and their parameters.

use std::collections::HashMap;

use http::Uri;

use crate::percent::{decode_form, NotUtf8};

/// Parameters for channel templates.
///
/// The code that routes a request inserts them into the request's extensions.
///
/// ```
/// use eventstream::Params;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Params::new().with("room", "lobby"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(HashMap<String, String>);

impl Params {
    /// Creates an empty set of parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter. A later value of the same name replaces an earlier one.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Returns the value of the parameter with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(params: I) -> Self {
        params.into_iter().fold(Self::new(), |params, (name, value)| params.with(name, value))
    }
}

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for Params {
    fn from(params: [(K, V); N]) -> Self {
        params.into_iter().collect()
    }
}

/// A parsed template such as `chat-{room}` or `chat-{?room}`; `{{` and `}}` are literal braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Param { name: String, from: ParamSource },
}

/// Where a parameter may come from. It comes from the query only if the template says so: if a
/// client could supply a path parameter in the query, it would bypass an authorization made on the
/// path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParamSource {
    Route,
    Query,
}

pub(crate) type Value = Result<String, NotUtf8>;

impl Template {
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("channel template {source:?} {why}"));
        let (mut parts, mut text) = (Vec::new(), String::new());
        let mut rest = source;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if let Some(doubled) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = doubled;
                continue;
            }
            let Some((name, after)) = rest.split_once('}').filter(|_| brace == "{") else {
                return wrong("has an unmatched brace: write `{{` or `}}` for a literal one");
            };
            let (name, from) = match name.strip_prefix('?') {
                Some(name) => (name, ParamSource::Query),
                None => (name, ParamSource::Route),
            };
            if name.is_empty() || name.contains(['{', '?']) {
                return wrong("has a parameter whose name is empty or contains `{` or `?`");
            }
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Param { name: name.to_owned(), from });
            rest = after;
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { source: source.to_owned(), parts })
    }

    /// Returns the channel's name. Values are inserted unchanged and are never expanded again.
    pub(crate) fn expand(
        &self,
        route: impl Fn(&str) -> Option<Value>,
        uri: &Uri,
    ) -> Result<String, String> {
        let mut channel = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => channel.push_str(text),
                Part::Param { name, from } => {
                    let value = match from {
                        ParamSource::Route => route(name),
                        ParamSource::Query => query_value(uri, name),
                    };
                    match value {
                        Some(Ok(value)) if !value.is_empty() => channel.push_str(&value),
                        Some(Err(NotUtf8)) => {
                            return Err(format!(
                                "parameter {name:?} of channel template {:?} is not UTF-8",
                                self.source
                            ));
                        }
                        _ => {
                            return Err(format!(
                                "missing parameter {name:?} in channel template {:?}",
                                self.source
                            ))
                        }
                    }
                }
            }
        }
        Ok(channel)
    }
}

/// Returns the first value of this name in the query, with `+` and percent-encoding decoded as in
/// forms.
pub(crate) fn query_value(uri: &Uri, name: &str) -> Option<Value> {
    query_values(uri, name).next()
}

/// Returns all values of this name in the query, decoded likewise.
pub(super) fn query_values<'a>(uri: &'a Uri, name: &'a str) -> impl Iterator<Item = Value> + 'a {
    uri.query().into_iter().flat_map(|query| query.split('&')).filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode_form(key) == Ok(name.to_owned())).then(|| decode_form(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str, uri: &str) -> Result<String, String> {
        let route = |name: &str| match name {
            "id" => Some(Ok("{?q}{id}".to_owned())),
            "empty" => Some(Ok(String::new())),
            "bytes" => Some(Err(NotUtf8)),
            _ => None,
        };
        Template::parse(template).unwrap().expand(route, &uri.parse().unwrap())
    }

    #[test]
    fn values_are_put_in_as_they_are() {
        assert_eq!(expand("a-{id}-b", "/").unwrap(), "a-{?q}{id}-b");
        assert_eq!(expand("{?q}", "/?x&q=%7Bid%7D+%2B%26&q=2").unwrap(), "{id} +&");
        assert_eq!(expand("{{id}}{{", "/").unwrap(), "{id}{");
        assert_eq!(expand("{?a b}", "/?a%20b=1").unwrap(), "1");
        assert_eq!(expand("plain", "/").unwrap(), "plain");
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = r#"missing parameter "room" in channel template "c-{room}""#;
        assert_eq!(expand("c-{room}", "/?room=query").unwrap_err(), missing);
        assert_eq!(
            expand("{?id}", "/").unwrap_err(),
            r#"missing parameter "id" in channel template "{?id}""#
        );
        assert!(
            expand("{empty}", "/").is_err()
                && expand("{?q}", "/?q=").is_err()
                && expand("{?q}", "/?q").is_err()
        );
        assert_eq!(
            expand("{bytes}", "/").unwrap_err(),
            r#"parameter "bytes" of channel template "{bytes}" is not UTF-8"#
        );
        assert!(expand("{?q}", "/?q=%ff").unwrap_err().contains("not UTF-8"));
    }

    #[test]
    fn a_template_that_does_not_parse_is_named() {
        for bad in ["a{", "a}", "{}", "{?}", "{a{b}", "}{", "{a}}", "{??a}"] {
            assert!(Template::parse(bad).unwrap_err().contains(&format!("{bad:?}")), "{bad}");
        }
    }
}
