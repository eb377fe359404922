//! The proxies of a stream, in every form in which they can be configured.

use std::env::{self, VarError};
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;

use super::endpoint::Endpoint;
use super::error::InvalidConfig;
use super::signature::{InvalidSignature, Proxied};
use super::token::Token;

const GRIP_SIG: &str = "grip-sig";

/// Holds the GRIP proxies that clients may connect through and that events are published to.
///
/// Convert it from a GRIP_URL, from one [`Endpoint`], from a `Vec` of them, or from an `Option` of
/// any of these (`None` means no proxy). A GRIP_URL is the control URI of a proxy, optionally with
/// a user and a password. It can have these query parameters, which mean the same as the setters of
/// [`Endpoint`] with those names:
///
/// - `iss` and `key`; without `iss`, `key` is a literal token, as for [`Endpoint::bearer`];
/// - `verify-iss` and `verify-key`.
///
/// Other parameters belong to the control URI. A parameter that looks like a misspelling of one of
/// these is an error, because a key that is ignored verifies nothing: `verify_key`, `veriy-key`,
/// `kye`, `is`, `issuer`.
///
/// ```
/// use eventstream::grip::Config;
///
/// let config: Config = "http://localhost:5561/?verify-key=changeme&verify-iss=pushpin".parse()?;
/// assert_eq!(config.endpoints().len(), 1);
///
/// let misspelt = "http://localhost:5561/?verify_key=changeme".parse::<Config>().unwrap_err();
/// assert_eq!(
///     misspelt.to_string(),
///     r#"grip: verify-key is misspelt as "verify_key" in the GRIP_URL"#
/// );
/// # Ok::<(), eventstream::grip::InvalidConfig>(())
/// ```
#[derive(Clone, Default)]
pub struct Config {
    endpoints: Vec<Endpoint>,
}

impl Config {
    /// Returns the proxies, in the order in which they were given.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Whether requests that claim to come through a proxy must prove it.
    ///
    /// It is true if at least one endpoint has a key to verify with:
    /// [`verify_key`](Endpoint::verify_key), or [`key`](Endpoint::key) with an
    /// [`iss`](Endpoint::iss). An endpoint with a [`verify_iss`](Endpoint::verify_iss) but without
    /// a key counts as well, because all signatures are refused until it has one.
    ///
    /// It is false if no endpoint has any of these. Then everyone who sends a `Grip-Sig` header is
    /// [`Proxied::Unsigned`] and treated as the proxy, so nobody else may reach the program. The
    /// feature `tracing` warns of this when a stream is built, and
    /// [`Stats::unverified_proxy`](crate::Stats::unverified_proxy) shows it later. It is also false
    /// without any endpoint: then all requests are direct, and there is nothing to verify.
    ///
    /// ```
    /// use eventstream::grip::Config;
    ///
    /// let keyed: Config = "http://localhost:5561/?verify-key=changeme".parse()?;
    /// assert!(keyed.verifies());
    ///
    /// let keyless: Config = "http://localhost:5561/".parse()?;
    /// assert!(!keyless.verifies());
    /// # Ok::<(), eventstream::grip::InvalidConfig>(())
    /// ```
    pub fn verifies(&self) -> bool {
        self.endpoints.iter().any(Endpoint::demands_signature)
    }

    /// Checks whether a request with these headers came through one of the proxies.
    ///
    /// # Errors
    ///
    /// If at least one endpoint has a key and none of these keys verifies the request's `Grip-Sig`:
    /// the signature is forged or expired, or the request has more than one. Endpoints without a
    /// key never weaken the others.
    pub fn proxied(&self, headers: &HeaderMap) -> Result<Proxied, InvalidSignature> {
        // A clock set to before 1970 must not make expired tokens valid.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(f64::INFINITY, |since| since.as_secs_f64());
        self.proxied_at(headers, now)
    }

    /// Like [`proxied`](Config::proxied), but with the current time in seconds since 1970.
    pub(crate) fn proxied_at(
        &self,
        headers: &HeaderMap,
        now: f64,
    ) -> Result<Proxied, InvalidSignature> {
        let mut signatures = headers.get_all(GRIP_SIG).iter();
        let (Some(signature), false) = (signatures.next(), self.endpoints.is_empty()) else {
            return Ok(Proxied::No);
        };
        if !self.verifies() {
            return Ok(Proxied::Unsigned);
        }
        let token = Token::parse(signature.as_bytes()).filter(|_| signatures.next().is_none());
        match token.is_some_and(|token| {
            self.endpoints.iter().any(|endpoint| endpoint.verifies(&token, now))
        }) {
            true => Ok(Proxied::Signed),
            false => Err(InvalidSignature),
        }
    }

    /// Reads GRIP_URL, and GRIP_VERIFY_KEY if the URL has no `verify-key`. A missing, empty or
    /// whitespace-only URL means no proxy.
    pub(crate) fn from_env() -> Result<Self, InvalidConfig> {
        let read = |name| match env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(InvalidConfig::new(name, "is not UTF-8")),
        };
        Self::from_env_values(read("GRIP_URL")?.as_deref(), read("GRIP_VERIFY_KEY")?.as_deref())
    }

    /// An empty key is an error, not the absence of a key: treating it as absent would admit the
    /// requests that the key was meant to keep out.
    fn from_env_values(url: Option<&str>, verify_key: Option<&str>) -> Result<Self, InvalidConfig> {
        let Some(url) = url.filter(|url| !url.trim().is_empty()) else {
            return Ok(Self::default());
        };
        // Check only now: a `verify-iss` in the URL may depend on the key from the environment.
        let mut endpoint = Endpoint::new(url)?;
        if let Some(key) = verify_key {
            endpoint.default_verify_key("GRIP_VERIFY_KEY", key)?;
        }
        endpoint.check()?;
        Ok(endpoint.into())
    }

    /// Reports the first endpoint whose settings are wrong or inconsistent.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        self.endpoints.iter().try_for_each(Endpoint::check)
    }

    /// Reports the first endpoint that this crate's own transports cannot reach.
    #[cfg(any(feature = "hyper", test))]
    pub(crate) fn check_tls(&self) -> Result<(), InvalidConfig> {
        self.endpoints.iter().try_for_each(Endpoint::check_tls)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.endpoints).finish()
    }
}

impl FromStr for Config {
    type Err = InvalidConfig;

    fn from_str(grip_url: &str) -> Result<Self, InvalidConfig> {
        let endpoint = Endpoint::new(grip_url)?;
        endpoint.check()?;
        Ok(endpoint.into())
    }
}

impl TryFrom<&str> for Config {
    type Error = InvalidConfig;

    fn try_from(grip_url: &str) -> Result<Self, InvalidConfig> {
        grip_url.parse()
    }
}

impl TryFrom<String> for Config {
    type Error = InvalidConfig;

    fn try_from(grip_url: String) -> Result<Self, InvalidConfig> {
        grip_url.parse()
    }
}

impl TryFrom<&String> for Config {
    type Error = InvalidConfig;

    fn try_from(grip_url: &String) -> Result<Self, InvalidConfig> {
        grip_url.parse()
    }
}

impl From<Endpoint> for Config {
    fn from(endpoint: Endpoint) -> Self {
        vec![endpoint].into()
    }
}

impl From<Vec<Endpoint>> for Config {
    fn from(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints }
    }
}

impl<C: TryInto<Config>> TryFrom<Option<C>> for Config {
    type Error = C::Error;

    fn try_from(config: Option<C>) -> Result<Self, C::Error> {
        config.map_or_else(|| Ok(Self::default()), TryInto::try_into)
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use base64::engine::Engine;
    use http::HeaderValue;
    use serde_json::Value;

    use super::*;

    fn error<T: fmt::Debug>(result: Result<T, InvalidConfig>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn the_recorded_edges_of_time_hold() {
        let now = 1_700_000_000;
        let config: Config = "http://localhost/?verify-key=changeme".parse().unwrap();
        let file: Value =
            serde_json::from_str(include_str!("../../tests/vectors/grip-sig.json")).unwrap();
        let probes = file["leeway_probe"].as_object().unwrap();
        for (probe, expected) in probes {
            let (claim, offset) = probe.split_once("=now").unwrap();
            let at = now + offset.parse::<i64>().unwrap();
            let claims = match claim {
                "exp" => format!(r#"{{"exp":{at}}}"#),
                _ => format!(r#"{{"exp":{},"{claim}":{at}}}"#, now + 3600),
            };
            let signed =
                [r#"{"alg":"HS256"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
            let mac = URL_SAFE_NO_PAD.encode(hmac_sha256::HMAC::mac(&signed, "changeme"));
            let mut headers = HeaderMap::new();
            headers.insert(GRIP_SIG, HeaderValue::from_str(&format!("{signed}.{mac}")).unwrap());
            let ours = config.proxied_at(&headers, now as f64);
            assert_eq!(
                ours == Ok(Proxied::Signed),
                expected.as_bool().unwrap(),
                "{probe}: {ours:?}"
            );
        }
        println!("grip-sig.json, leeway_probe: {} run, 0 listed", probes.len());
    }

    #[test]
    fn the_environment_is_read_whole() {
        let env = Config::from_env_values;
        for none in [None, Some(""), Some(" ")] {
            assert!(env(none, Some("k")).unwrap().endpoints().is_empty());
        }
        let url = Some("http://localhost/?verify-iss=p");
        assert_eq!(error(env(url, None)), "grip: verify-iss is given without `verify-key`");
        assert!(env(url, Some("k")).unwrap().endpoints()[0].demands_signature());
        assert_eq!(error(env(url, Some(""))), "grip: GRIP_VERIFY_KEY is empty");
        assert_eq!(
            error(env(Some("http://localhost/"), Some("{"))),
            "grip: GRIP_VERIFY_KEY looks like JSON but is not a JWK; if it is a secret, write it as \
             text after `secret:`"
        );
        // The key in the URL takes precedence.
        assert!(env(Some("http://localhost/?verify-key=own"), Some("{")).is_ok());
    }

    #[test]
    fn every_form_makes_a_configuration() {
        fn made<C: TryInto<Config>>(from: C) -> usize
        where
            C::Error: Into<crate::BuildError>,
        {
            let config = from.try_into().unwrap_or_else(|error| panic!("{}", error.into()));
            config.check().unwrap();
            config.endpoints().len()
        }
        let url = "http://localhost:5561/?iss=a&key=b";
        let endpoint = Endpoint::new(url).unwrap();
        let owned = url.to_owned();
        assert_eq!(made(url) + made(&owned) + made(owned.clone()) + made(endpoint.clone()), 4);
        assert_eq!(made(vec![endpoint.clone(), endpoint.clone()]), 2);
        assert_eq!(made(Config::from(endpoint.clone())), 1);
        assert_eq!(
            made(Some(url))
                + made(Some(owned))
                + made(Some(endpoint))
                + made(None::<Config>)
                + made(None::<&str>),
            3
        );
    }

    #[test]
    fn parts_that_do_not_fit_are_found_at_the_latest_when_the_stream_is_built() {
        let endpoint = || Endpoint::new("http://localhost:5561/").unwrap();
        let unkeyed = Config::from(vec![endpoint(), endpoint().verify_iss("pushpin")]);
        assert_eq!(error(unkeyed.check()), "grip: verify-iss is given without `verify-key`");
        // A configuration that has not been checked fails closed.
        let mut headers = HeaderMap::new();
        headers.insert(GRIP_SIG, HeaderValue::from_static("garbage"));
        assert_eq!(unkeyed.proxied(&headers), Err(InvalidSignature));
        assert_eq!(
            error("http://localhost/?iss=a".parse::<Config>()),
            "grip: iss is given without `key`"
        );
        let tls = Config::from(Endpoint::new("https://localhost/").unwrap());
        assert_eq!(tls.check_tls().is_ok(), cfg!(feature = "rustls"));
        if let Err(error) = tls.check_tls() {
            assert_eq!(
                error.to_string(),
                "grip: control URI is https, which needs the feature `rustls`"
            );
        }
    }
}
