//! One proxy: where it is published to, how we prove ourselves to it, and how it proves itself to
//! us.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::engine::general_purpose::STANDARD;
use base64::engine::Engine;
use http::{HeaderValue, Uri};

use super::error::InvalidConfig;
use super::key::{looks_formatted, trim, Reason, Secret, VerifyKey};
use super::signature::{sign, Token};
use super::url::GripUrl;

/// How long a token that we sign is good for.
const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// Fastly's key is the same for all services, so the issuer must be checked with it.
#[cfg(feature = "fastly")]
const FASTLY_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"CKo5A1ebyFcnmVV8SE5On-8G81JyBjSvcrx4VLetWCg","y":"7gwJqaU6N8TP88--twjkwoB36f-pT3QsmI46nPhjO7M"}"#;

/// One GRIP proxy.
///
/// What we send it is authorized by a token signed with [`key`](Endpoint::key) in the name of
/// [`iss`](Endpoint::iss), else by a literal token ([`bearer`](Endpoint::bearer)), else by user and
/// password ([`basic`](Endpoint::basic)), else not at all. What it sends us is verified with
/// [`verify_key`](Endpoint::verify_key), which defaults to `key`.
///
/// Parts that do not fit together (an issuer without a key, say) are errors when the stream is
/// built.
///
/// ```
/// use eventstream::grip::Endpoint;
///
/// let pushpin = Endpoint::new("http://localhost:5561/")?.verify_key("changeme")?.verify_iss("pushpin");
/// # Ok::<(), eventstream::grip::InvalidConfig>(())
/// ```
#[derive(Clone)]
#[must_use = "an endpoint does nothing until it is part of a configuration"]
pub struct Endpoint {
    name: String,
    publish_uri: Uri,
    iss: Option<String>,
    key: Option<Secret>,
    bearer: Option<HeaderValue>,
    basic: Option<HeaderValue>,
    verify_key: Option<VerifyKey>,
    verify_iss: Option<String>,
    leeway: Duration,
    timeout: Duration,
    mistake: Option<InvalidConfig>,
}

impl Endpoint {
    /// A proxy with its control port at this `http` or `https` URI, without `/publish/`.
    ///
    /// All that a [GRIP_URL](super::Config) may hold is taken from it: user and password, and the
    /// parameters `iss`, `key`, `verify-iss` and `verify-key`. Other parameters stay on the URI
    /// (Pushpin answers 404 to any).
    ///
    /// # Errors
    ///
    /// If it is no such URI, or one of its parts cannot be read.
    pub fn new(control_uri: impl AsRef<str>) -> Result<Self, InvalidConfig> {
        let url = GripUrl::parse(trim(control_uri.as_ref()))?;
        let mut endpoint = Self {
            name: url.name()?,
            publish_uri: url.publish_uri()?,
            iss: None,
            key: None,
            bearer: None,
            basic: None,
            verify_key: None,
            verify_iss: None,
            leeway: Duration::ZERO,
            timeout: Duration::from_secs(10),
            mistake: None,
        };
        if let Some((user, password)) = url.user()? {
            endpoint = endpoint.basic(user, password);
        }
        let [iss, key, verify_iss, verify_key] = url.given;
        endpoint = match (&iss, key) {
            (Some(_), Some(key)) => endpoint.key(key)?,
            (None, Some(token)) => endpoint.token("key", &token),
            (_, None) => endpoint,
        };
        if let Some(key) = verify_key {
            endpoint = endpoint.verify_key(key)?;
        }
        endpoint.iss = iss;
        endpoint.verify_iss = verify_iss;
        match endpoint.mistake.take() {
            Some(mistake) => Err(mistake),
            None => Ok(endpoint),
        }
    }

    /// The Fastly Fanout of a service, with an API token that may publish. Fastly's public key and
    /// the issuer of this service's signatures are built in.
    #[cfg(feature = "fastly")]
    pub fn fastly(service_id: &str, token: &str) -> Self {
        // Ids are 22 letters and digits.
        let plain = (1..=64).contains(&service_id.len())
            && service_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let control_uri = |id| format!("https://api.fastly.com/service/{id}");
        let made = Self::new(control_uri(if plain { service_id } else { "-" }))
            .and_then(|it| it.verify_key(FASTLY_KEY));
        let mut endpoint =
            made.expect("built-in values parse").verify_iss(format!("fastly:{service_id}"));
        if !plain {
            endpoint.note("service id", "must be letters and digits");
        }
        endpoint.token("token", token)
    }

    /// Who we are to the proxy; needs a [`key`](Endpoint::key).
    pub fn iss(mut self, issuer: impl Into<String>) -> Self {
        self.iss = Some(issuer.into());
        self
    }

    /// The secret that signs what we publish (HS256), and verifies what the proxy signs unless
    /// there is a [`verify_key`](Endpoint::verify_key): a text, `base64:` and bytes, or an `oct`
    /// JWK. Needs an [`iss`](Endpoint::iss).
    ///
    /// # Errors
    ///
    /// If it is empty, or something else than a secret.
    pub fn key(mut self, key: impl AsRef<str>) -> Result<Self, InvalidConfig> {
        self.key = Some(Secret::parse(key.as_ref()).map_err(|why| InvalidConfig::new("key", why))?);
        Ok(self)
    }

    /// User and password of the control port.
    pub fn basic(mut self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        let (user, password) = (user.as_ref(), password.as_ref());
        if user.contains(':') {
            // RFC 7617, 2: the first colon ends the user.
            self.note("user", "must not contain a colon");
        }
        self.basic = authorization("Basic", &STANDARD.encode(format!("{user}:{password}")));
        self
    }

    /// A token that is sent as it is; only over https or to this machine.
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.token("bearer", token.as_ref())
    }

    /// What the proxy's signatures are verified with: a secret as for [`key`](Endpoint::key), or
    /// with the feature `jwt-simple` a public key, P-256 (ES256) or RSA (RS256), as SPKI PEM or
    /// JWK. `base64:` may wrap any of them.
    ///
    /// # Errors
    ///
    /// If it is empty, a private key, a key of another kind, or looks like a PEM or JSON and cannot
    /// be read.
    pub fn verify_key(mut self, key: impl AsRef<str>) -> Result<Self, InvalidConfig> {
        self.set_verify_key("verify-key", key.as_ref())?;
        Ok(self)
    }

    /// Whom the proxy's signatures must be by; default: anyone with the key.
    pub fn verify_iss(mut self, issuer: impl Into<String>) -> Self {
        self.verify_iss = Some(issuer.into());
        self
    }

    /// By how much the proxy's clock may differ from ours; default: not at all.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// How long a publication may take; default 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if timeout.is_zero() {
            self.note("timeout", "must not be zero");
        }
        self.timeout = timeout;
        self
    }

    /// The first thing that is wrong with it, or does not fit together.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        let wrong = |parameter, why| Err(InvalidConfig::new(parameter, why));
        let empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        match self {
            Self { mistake: Some(mistake), .. } => Err(mistake.clone()),
            Self { iss: Some(_), key: None, .. } => wrong("iss", "is given without `key`"),
            Self { iss: None, key: Some(_), .. } => {
                wrong("key", "is given without `iss`, in whose name it signs; a token to be sent as it is goes to `bearer`")
            }
            _ if empty(&self.iss) => wrong("iss", "is empty"),
            _ if empty(&self.verify_iss) => wrong("verify-iss", "is empty"),
            _ if self.verify_iss.is_some() && !self.has_key() => wrong("verify-iss", "is given without `verify-key`"),
            _ if self.bearer.is_some() && !self.is_private() => wrong(
                "key",
                "is a token that would be sent in the clear: without `iss` it needs https, or a control URI on this machine",
            ),
            _ => Ok(()),
        }
    }

    /// Whether the transports of this crate can reach it.
    #[cfg(any(feature = "hyper", test))]
    pub(crate) fn check_tls(&self) -> Result<(), InvalidConfig> {
        if self.is_https() && !cfg!(feature = "rustls") {
            return Err(InvalidConfig::new(
                "control URI",
                "is https, which needs the feature `rustls`",
            ));
        }
        Ok(())
    }

    /// Where items are posted to.
    pub(crate) fn publish_uri(&self) -> Uri {
        self.publish_uri.clone()
    }

    /// What a publication's `Authorization` is, from now on for ten minutes if it is signed.
    pub(crate) fn authorization(&self, now: SystemTime) -> Option<HeaderValue> {
        if let (Some(iss), Some(key)) = (&self.iss, &self.key) {
            let exp = now.duration_since(UNIX_EPOCH).unwrap_or_default() + TOKEN_LIFE;
            return authorization("Bearer", &sign(iss, exp.as_secs(), key));
        }
        self.bearer.as_ref().or(self.basic.as_ref()).cloned()
    }

    /// How long a publication may take.
    pub(crate) fn post_timeout(&self) -> Duration {
        self.timeout
    }

    /// The control URI without anything that may be secret: no user, no query.
    pub(crate) fn display_name(&self) -> &str {
        &self.name
    }

    /// Sets the key that verifies, unless one was set. `parameter` is where it comes from.
    pub(super) fn default_verify_key(
        &mut self,
        parameter: &'static str,
        key: &str,
    ) -> Result<(), InvalidConfig> {
        match self.verify_key {
            Some(_) => Ok(()),
            None => self.set_verify_key(parameter, key),
        }
    }

    /// Whether it can verify anything, or was meant to.
    pub(super) fn demands_signature(&self) -> bool {
        self.has_key() || self.verify_iss.is_some()
    }

    /// Whether this proxy made the token, and it holds at `now`.
    pub(super) fn verifies(&self, token: &Token<'_>, now: f64) -> bool {
        let signed = match (&self.verify_key, &self.iss, &self.key) {
            (Some(key), ..) => key.verifies(token),
            (None, Some(_), Some(key)) => VerifyKey::Hs256(key.clone()).verifies(token),
            _ => false,
        };
        signed && token.holds(now, self.leeway, self.verify_iss.as_deref())
    }

    fn has_key(&self) -> bool {
        self.verify_key.is_some() || (self.iss.is_some() && self.key.is_some())
    }

    fn is_https(&self) -> bool {
        self.publish_uri.scheme_str() == Some("https")
    }

    /// Whether nobody on the way can read what is sent.
    fn is_private(&self) -> bool {
        let host = self.publish_uri.host().unwrap_or_default();
        let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        self.is_https()
            || host == "localhost"
            || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
            || v6.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback()))
    }

    fn set_verify_key(&mut self, parameter: &'static str, key: &str) -> Result<(), InvalidConfig> {
        self.verify_key =
            Some(VerifyKey::parse(key).map_err(|why| InvalidConfig::new(parameter, why))?);
        Ok(())
    }

    fn token(mut self, parameter: &'static str, token: &str) -> Self {
        let token = trim(token);
        if token.is_empty() {
            self.note(parameter, "is empty");
        } else if looks_formatted(token) {
            self.note(
                parameter,
                "is a PEM or a JWK, but without `iss` it is a token that is sent as it is",
            );
        } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.note(
                parameter,
                "is a token to be sent as it is, and has characters that no token has",
            );
        }
        self.bearer = authorization("Bearer", token);
        self
    }

    fn note(&mut self, parameter: &'static str, why: Reason) {
        self.mistake.get_or_insert_with(|| InvalidConfig::new(parameter, why));
    }
}

/// `None` only for what a mistake was noted of.
fn authorization(scheme: &str, credentials: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {credentials}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorization = match self {
            Self { iss: Some(_), key: Some(_), .. } => "signed",
            Self { bearer: Some(_), .. } => "bearer",
            Self { basic: Some(_), .. } => "basic",
            _ => "none",
        };
        f.debug_struct("Endpoint")
            .field("control_uri", &self.name)
            .field("iss", &self.iss)
            .field("authorization", &authorization)
            .field("verify_key", &self.verify_key)
            .field("verify_iss", &self.verify_iss)
            .field("leeway", &self.leeway)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac_sha256::HMAC;
    use serde_json::Value;

    const NOW: u64 = 1_700_000_000;

    fn cases(file: &str) -> Vec<Value> {
        serde_json::from_str::<Value>(file).unwrap()["cases"].as_array().unwrap().clone()
    }

    fn error(uri: &str) -> String {
        let made = Endpoint::new(uri).and_then(|endpoint| endpoint.check().map(|()| endpoint));
        made.expect_err(uri).to_string()
    }

    fn authorized(endpoint: &Endpoint) -> Option<String> {
        let value = endpoint.authorization(UNIX_EPOCH + Duration::from_secs(NOW))?;
        assert!(value.is_sensitive());
        Some(value.to_str().unwrap().to_owned())
    }

    fn unhex(hex: &Value) -> Vec<u8> {
        let hex = hex.as_str().unwrap();
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    /// Not made by the code under test.
    fn jwt(header: &str, payload: &str, key: &[u8]) -> String {
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(HMAC::mac(&signed, key)))
    }

    fn token(iss: &Value, key: &Value) -> String {
        let payload = format!(r#"{{"iss":{iss},"exp":{}}}"#, NOW + 600);
        format!("Bearer {}", jwt(r#"{"alg":"HS256"}"#, &payload, &unhex(key)))
    }

    #[test]
    fn grip_urls_are_read_as_the_reference_reads_them() {
        let (mut run, mut listed) = (0, Vec::new());
        for case in cases(include_str!("../../../tests/vectors/grip-url.json")) {
            let name = case["name"].as_str().unwrap();
            let mut expect = case["expect"].clone();
            let Some(url) = case["input"].as_str() else {
                assert_eq!(name, "buildFanoutGripUrl");
                #[cfg(feature = "fastly")]
                {
                    let ours = Endpoint::fastly("SVC", "TOK+/=");
                    let theirs = Endpoint::new(expect["url"].as_str().unwrap()).unwrap();
                    assert_eq!((ours.check(), theirs.check()), (Ok(()), Ok(())));
                    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
                    assert_eq!(authorized(&ours).unwrap(), "Bearer TOK+/=");
                    assert_eq!(authorized(&ours), authorized(&theirs));
                    assert_eq!(ours.publish_uri(), theirs.publish_uri());
                }
                match cfg!(feature = "fastly") {
                    true => run += 1,
                    false => listed.push("buildFanoutGripUrl: needs the feature `fastly`"),
                }
                continue;
            };
            // Where the reference is wrong, or only finds out later.
            let refused = match name {
                // Not base64: the reference notices at its first publication.
                "iss_key_base64" | "base64_invalid" => Some("grip: key is not valid base64"),
                // It would sign with an empty secret.
                "empty_iss_key" => Some("grip: key is empty"),
                // There is no HTTP control port.
                "zmq" | "no_scheme" | "empty" | "relative" => Some("grip: control URI is no http or https URI"),
                "fastly_full" if !cfg!(feature = "jwt-simple") => {
                    Some("grip: verify-key is a JWK of a public key, which needs the feature `jwt-simple`")
                }
                _ => None,
            };
            run += 1;
            if let Some(refused) = refused {
                assert_eq!(error(url), refused, "{name}");
                continue;
            }
            let mut endpoint = Endpoint::new(url).unwrap_or_else(|error| panic!("{name}: {error}"));
            match name {
                // A fragment is never sent.
                "fragment" => {
                    expect["config"]["control_uri"] = "http://localhost:5561/".into();
                    expect["publish_uri"] = "http://localhost:5561/publish/".into();
                }
                // The reference uses them undecoded: "us@er" and "pa:ss" are what was meant.
                "userpass_encoded" => expect["auth_header"] = "Basic dXNAZXI6cGE6c3M=".into(),
                // The same query; the reference writes its blank anew.
                "extra_params" => {
                    expect["publish_uri"] =
                        "http://localhost:5561/publish/?foo=bar&baz=q%20x".into();
                }
                // One slash is cut here, the other when `/publish/` is joined.
                "path_double_slash" => {}
                "additional_merge" => {
                    endpoint = endpoint.iss("i").key("kk").unwrap().verify_key("k1").unwrap();
                    expect["publish_uri"] = "http://localhost:5561/publish/".into();
                    expect["auth"] = "jwt".into();
                    expect["auth_claim"]["iss"] = "i".into();
                    expect["auth_key_hex"] = "6b6b".into();
                    expect["verify_key"]["secret_hex"] = "6b31".into();
                }
                "additional_override" => {
                    endpoint = endpoint.verify_key("new").unwrap();
                    expect["publish_uri"] = "http://localhost:5561/publish/".into();
                    expect["auth"] = "none".into();
                    expect["verify_key"]["secret_hex"] = "6e6577".into();
                }
                _ => {}
            }
            assert_eq!(endpoint.check(), Ok(()), "{name}");
            assert_eq!(
                endpoint.check_tls().is_ok(),
                cfg!(feature = "rustls") || !url.starts_with("https"),
                "{name}"
            );
            let control_uri = expect["config"]["control_uri"].as_str().unwrap();
            assert_eq!(
                endpoint.publish_uri().to_string(),
                expect["publish_uri"].as_str().unwrap(),
                "{name}"
            );
            // The name has no query.
            let shown = control_uri.split('?').next().unwrap();
            assert_eq!(endpoint.display_name(), shown, "{name}");
            let authorization = match expect["auth"].as_str().unwrap() {
                "none" => None,
                "basic" => Some(expect["auth_header"].as_str().unwrap().to_owned()),
                "bearer" => Some(format!("Bearer {}", expect["auth_token"].as_str().unwrap())),
                "jwt" => Some(token(&expect["auth_claim"]["iss"], &expect["auth_key_hex"])),
                other => panic!("{other}"),
            };
            assert_eq!(authorized(&endpoint), authorization, "{name}");
            let verify_iss = &expect["verify_iss"];
            assert_eq!(endpoint.verify_iss.as_deref(), verify_iss.as_str(), "{name}");
            assert_eq!(endpoint.demands_signature(), !expect["verify_key"].is_null(), "{name}");
            if let Some(secret) = expect["verify_key"].get("secret_hex") {
                let iss = verify_iss.as_str().unwrap_or("anyone");
                let payload = format!(r#"{{"exp":{},"iss":"{iss}"}}"#, NOW + 1);
                let verifies = |key: &[u8]| {
                    let token = jwt(r#"{"typ":"JWT","alg":"HS256"}"#, &payload, key);
                    endpoint.verifies(&Token::parse(token.as_bytes()).unwrap(), NOW as f64)
                };
                assert!(verifies(&unhex(secret)) && !verifies(b"another"), "{name}");
            } else if name == "fastly_full" {
                assert_eq!(endpoint.verify_key.as_ref().unwrap().alg(), "ES256");
            }
        }
        println!("grip-url.json: {run} run, {} listed: {listed:?}", listed.len());
        assert_eq!((run, listed.len()), if cfg!(feature = "fastly") { (34, 0) } else { (33, 1) });
    }

    #[test]
    fn publications_are_addressed_and_authorized_as_by_the_reference() {
        let (mut run, mut listed) = (0, Vec::new());
        for case in cases(include_str!("../../../tests/vectors/publish-requests.json")) {
            let name = case["name"].as_str().unwrap();
            let urls: Vec<&str> = match &case["input"]["config"] {
                Value::String(url) => vec![url],
                Value::Array(urls) => urls.iter().map(|url| url.as_str().unwrap()).collect(),
                _ => {
                    let reason = match name {
                        "iss_rsa_pem_private" | "iss_ec_pem_private" => {
                            "the key's text is not recorded; a PEM as `key` is refused (`only_a_secret_signs`)"
                        }
                        _ if name.starts_with("servegrip_") || name.starts_with("eventstream_") => "the builder's",
                        _ => panic!("{name}"),
                    };
                    listed.push(format!("{name}: {reason}"));
                    continue;
                }
            };
            run += 1;
            for (at, url) in urls.iter().enumerate() {
                // The recorder listened on this machine, and put names in place of its ports.
                let url = url
                    .replace("A.test:PORT", "127.0.0.1:5561")
                    .replace("B.test:PORT", "[::1]:5562");
                // It would sign with an empty secret.
                if name == "iss_only_empty_key" {
                    assert_eq!(error(&url), "grip: iss is given without `key`");
                    continue;
                }
                let endpoint = Endpoint::new(&url).unwrap();
                assert_eq!(endpoint.check(), Ok(()), "{name}");
                let request = &case["expect"]["requests"][at];
                assert_eq!(endpoint.publish_uri().path(), request["path"], "{name}");
                let headers = request["headers"].as_array().unwrap();
                let recorded = headers
                    .iter()
                    .find(|header| header[0] == "Authorization")
                    .map(|header| &header[1]);
                let authorization = match (request.get("jwt"), recorded) {
                    (Some(jwt), _) => Some(token(&jwt["iss"], &jwt["hmac_key_hex"])),
                    // The reference does not decode user and password.
                    _ if name == "basic_from_url" => {
                        Some(format!("Basic {}", STANDARD.encode("u@:p:")))
                    }
                    (None, recorded) => recorded.map(|value| value.as_str().unwrap().to_owned()),
                };
                assert_eq!(authorized(&endpoint), authorization, "{name}");
            }
        }
        println!(
            "publish-requests.json (address, authorization): {run} run, {} listed:",
            listed.len()
        );
        listed.iter().for_each(|listed| println!("  {listed}"));
        assert_eq!((run, listed.len()), (33, 9));
    }

    #[test]
    fn urls_that_cannot_be_meant_are_errors() {
        for (url, expected) in [
            ("http://localhost/?iss=a", "grip: iss is given without `key`"),
            ("http://localhost/?iss=&key=k", "grip: iss is empty"),
            ("http://localhost/?iss=a&key=", "grip: key is empty"),
            ("http://localhost/?key=", "grip: key is empty"),
            ("http://localhost/?verify-iss=a", "grip: verify-iss is given without `verify-key`"),
            (
                "http://localhost/?key=k&verify-iss=a",
                "grip: verify-iss is given without `verify-key`",
            ),
            ("http://localhost/?verify-iss=&verify-key=k", "grip: verify-iss is empty"),
            ("http://localhost/?verify-key", "grip: verify-key is empty"),
            ("http://localhost/?verify-key=base64:", "grip: verify-key is empty"),
            ("http://localhost/?verify-key=%ff", "grip: verify-key is not UTF-8"),
            (
                "http://localhost/?verify_key=k",
                r#"grip: verify-key is misspelt in the GRIP_URL, as "verify_key""#,
            ),
            (
                "http://localhost/?VERIFYKEY=k",
                r#"grip: verify-key is misspelt in the GRIP_URL, as "VERIFYKEY""#,
            ),
            ("http://localhost/?Iss=k", r#"grip: iss is misspelt in the GRIP_URL, as "Iss""#),
            ("http://localhost/?%4bey=k", r#"grip: key is misspelt in the GRIP_URL, as "Key""#),
            ("http://u%3Av:p@localhost/", "grip: user must not contain a colon"),
            ("http://u:%ff@localhost/", "grip: user or password is not UTF-8"),
            ("http:///path", "grip: control URI has an invalid host"),
            ("http://:80/", "grip: control URI has an invalid host"),
            ("http://a b/", "grip: control URI has an invalid host"),
            ("http://\u{fc}.example/", "grip: control URI has an invalid host"),
            ("http://localhost:99999/", "grip: control URI has an invalid host"),
            ("http://localhost:x/", "grip: control URI has an invalid host"),
            ("http://local\nhost/", "grip: control URI has control characters"),
            ("ftp://localhost/", "grip: control URI is no http or https URI"),
        ] {
            assert!(error(url).starts_with(expected), "{url}: {}", error(url));
        }
        let long = format!("http://localhost/{}", "x".repeat(70_000));
        assert_eq!(error(&long), "grip: control URI has an invalid path or query");
    }

    #[test]
    fn a_literal_token_travels_in_secret() {
        for host in
            ["localhost", "LOCALHOST:5561", "127.0.0.1", "127.9.9.9:80", "[::1]", "u:p@[::1]:5561"]
        {
            let endpoint = Endpoint::new(format!("http://{host}/?key=token")).unwrap();
            assert_eq!(endpoint.check(), Ok(()), "{host}");
        }
        assert_eq!(Endpoint::new("https://example.com/?key=token").unwrap().check(), Ok(()));
        for host in [
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "[::2]",
            "localhost@x",
        ] {
            let error = error(&format!("http://{host}/?key=t0ken"));
            assert!(error.contains("in the clear") && !error.contains("t0ken"), "{host}: {error}");
        }
        // Signed tokens are not literal ones.
        assert_eq!(Endpoint::new("http://example.com/?iss=a&key=token").unwrap().check(), Ok(()));
    }

    #[test]
    fn setters_report_their_first_mistake() {
        let endpoint = || Endpoint::new("http://localhost:5561").unwrap();
        let check = |endpoint: Endpoint| endpoint.check().unwrap_err().to_string();
        assert_eq!(
            check(endpoint().timeout(Duration::ZERO).bearer("")),
            "grip: timeout must not be zero"
        );
        assert_eq!(check(endpoint().bearer(" \n")), "grip: bearer is empty");
        assert!(check(endpoint().bearer("a\nb")).contains("characters that no token has"));
        assert!(check(endpoint().bearer(r#"{"kty":"EC"}"#)).contains("a PEM or a JWK"));
        assert!(check(endpoint().key("k").unwrap()).contains("`iss`"));
        assert!(check(endpoint().basic("a:b", "c")).contains("colon"));
        assert_eq!(endpoint().key("").unwrap_err().to_string(), "grip: key is empty");
        assert_eq!(endpoint().post_timeout(), Duration::from_secs(10));
        assert_eq!(authorized(&endpoint().basic("u", "p").bearer("t")).unwrap(), "Bearer t");
        let signed = endpoint().basic("u", "p").bearer("t").iss("i").key("k").unwrap();
        assert_eq!(authorized(&signed), Some(token(&"i".into(), &"6b".into())));
    }

    #[cfg(feature = "fastly")]
    #[test]
    fn fastly_needs_its_issuer_and_a_plain_id() {
        let endpoint = Endpoint::fastly("FlkPHgUXeNX2oNBRGHG0Ls", "t0ken");
        assert_eq!(endpoint.check().and(endpoint.check_tls()), Ok(()));
        assert_eq!(endpoint.verify_iss.as_deref(), Some("fastly:FlkPHgUXeNX2oNBRGHG0Ls"));
        assert_eq!(
            endpoint.publish_uri(),
            "https://api.fastly.com/service/FlkPHgUXeNX2oNBRGHG0Ls/publish/"
        );
        for id in ["", "a/b", "a?b", "\u{e9}"] {
            assert!(
                Endpoint::fastly(id, "t0ken")
                    .check()
                    .unwrap_err()
                    .to_string()
                    .contains("service id"),
                "{id}"
            );
        }
        assert_eq!(
            Endpoint::fastly("a", "").check().unwrap_err().to_string(),
            "grip: token is empty"
        );
    }
}
