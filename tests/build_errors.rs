//! What a program can do with a mistake that `build` reports: match its kind, follow its source.

use std::error::Error;
use std::time::Duration;

use eventstream::{BuildError, BuildErrorKind, EventStream, History, Limits};

#[test]
fn a_value_out_of_range_is_a_mistake_of_its_setter() {
    let builder = EventStream::builder;
    for (mistake, text) in [
        (builder().history(History::default().events(0)), "history: events: must not be zero"),
        (
            builder().history(History::default().age(Duration::ZERO)),
            "history: age: must not be zero",
        ),
        (builder().limits(Limits::default().frame(0)), "limits: frame: must not be zero"),
        (builder().retry(Duration::MAX), "retry: must be between 1 ms and 2147483647 ms"),
        (
            builder().keep_alive(Duration::from_nanos(9_999_999)),
            "keep_alive: must be zero or at least 10 ms",
        ),
    ] {
        let error = mistake.build().unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Setting, "{text}");
        assert_eq!(error.to_string(), text);
        assert!(error.source().is_none(), "{text}");
    }
}

#[test]
fn the_first_mistake_is_the_one_reported() {
    let limits = Limits::default().frame(0).channels(0);
    let error = EventStream::builder().limits(limits).retry(Duration::MAX).build().unwrap_err();
    assert_eq!(error.to_string(), "limits: frame: must not be zero");
}

#[test]
fn a_name_that_is_asked_for_while_it_is_built_is_a_recursion() {
    fn build() -> Result<EventStream, BuildError> {
        EventStream::named("a_recursion", build)
    }
    let error = build().unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Recursion);
    let text = r#"event stream "a_recursion" is asked for while it is being built"#;
    assert_eq!(error.to_string(), text);
}

#[cfg(feature = "grip")]
mod grip {
    use eventstream::grip::InvalidConfig;

    use super::*;

    #[test]
    fn a_proxy_that_is_misconfigured_is_the_source_and_the_text_of_the_error() {
        // One that does not parse, and one whose parts do not fit together.
        let endpoint = eventstream::grip::Endpoint::new("http://localhost/").unwrap();
        for mistake in [
            EventStream::builder().grip("http://localhost/?verify_key=t0psecret"),
            EventStream::builder().grip(endpoint.verify_iss("pushpin")),
        ] {
            let error = mistake.build().unwrap_err();
            assert_eq!(error.kind(), BuildErrorKind::GripConfig);
            let source = error.source().expect("a source").downcast_ref::<InvalidConfig>();
            assert_eq!(source.expect("an InvalidConfig").to_string(), error.to_string());
            assert!(!format!("{error} {error:?}").contains("t0psecret"), "{error:?}");
        }
    }

    #[test]
    fn requiring_a_proxy_without_one_has_a_kind_of_its_own() {
        let error = EventStream::builder().require_proxy().build().unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::NoProxy);
        assert_eq!(error.to_string(), "require_proxy: no proxy is configured");
    }

    #[cfg(not(feature = "hyper"))]
    #[test]
    fn a_proxy_without_a_transport_has_a_kind_of_its_own() {
        let error = EventStream::builder().grip("http://localhost/").build().unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::NoTransport);
    }
}
