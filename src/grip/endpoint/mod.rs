//! One proxy: the address of its control port, how publications to it are authorized, and how its
//! signatures are verified.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::engine::general_purpose::STANDARD;
use base64::engine::Engine;
use http::{HeaderValue, Uri};

use super::error::InvalidConfig;
use super::key::{looks_formatted, trim, Reason, Secret, VerifyKey};
use super::signature::sign;
use super::token::Token;
use super::url::GripUrl;

/// How long a token signed here is valid.
const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// Fastly signs for all services with the same key, so the issuer must be checked too.
#[cfg(feature = "fastly")]
const FASTLY_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"CKo5A1ebyFcnmVV8SE5On-8G81JyBjSvcrx4VLetWCg","y":"7gwJqaU6N8TP88--twjkwoB36f-pT3QsmI46nPhjO7M"}"#;

const KEY_WITHOUT_ISS: &str = "is given without `iss`, the issuer that it signs for; use `bearer` \
                               for a token that is sent unchanged";
const IN_THE_CLEAR: &str = "is a token that would be sent in the clear: without `iss`, use https \
                            or a control URI on this machine";

/// Describes one GRIP proxy: its control port and the keys that are used with it.
///
/// Publications are authorized by the first of these that is set: a token signed with
/// [`key`](Endpoint::key) for the issuer [`iss`](Endpoint::iss), a literal token
/// ([`bearer`](Endpoint::bearer)), or a user and a password ([`basic`](Endpoint::basic)). If none
/// is set, they carry no authorization. Requests that the proxy forwards are verified with
/// [`verify_key`](Endpoint::verify_key), which defaults to `key`.
///
/// Settings that do not fit together, such as an issuer without a key, cause an error when the
/// stream is built.
///
/// ```
/// use eventstream::grip::Endpoint;
///
/// let pushpin = Endpoint::new("http://localhost:5561/")?
///     .verify_key("changeme")?
///     .verify_iss("pushpin");
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
    /// Creates an endpoint for the proxy whose control port has this `http` or `https` URI, without
    /// `/publish/`.
    ///
    /// The URI can contain everything that a [GRIP_URL](super::Config) can: user and password, and
    /// the parameters `iss`, `key`, `verify-iss` and `verify-key`. Other parameters stay in the URI
    /// that items are posted to (Pushpin answers 404 if there are any).
    ///
    /// # Errors
    ///
    /// If the URI is not an `http` or `https` URI, or one of its parts is invalid.
    pub fn new(control_uri: impl AsRef<str>) -> Result<Self, InvalidConfig> {
        let url = GripUrl::parse(trim(control_uri.as_ref()))?;
        let mut endpoint = Self {
            name: url.name(),
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

    /// Creates an endpoint for the Fastly Fanout of a service.
    ///
    /// `token` is an API token that is allowed to publish. Fastly's public key and the issuer of
    /// this service's signatures are built in. An invalid id or token causes an error when the
    /// stream is built.
    #[cfg(feature = "fastly")]
    pub fn fastly(service_id: &str, token: &str) -> Self {
        // Real ids have 22 letters and digits.
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

    /// Sets the issuer named in the tokens that authorize publications. Needs a
    /// [`key`](Endpoint::key). The default is no issuer.
    pub fn iss(mut self, issuer: impl Into<String>) -> Self {
        self.iss = Some(issuer.into());
        self
    }

    /// Sets the secret that signs publications (HS256). Needs an [`iss`](Endpoint::iss).
    ///
    /// The secret also verifies the proxy's signatures unless a
    /// [`verify_key`](Endpoint::verify_key) is set. The default is no key. It has one of these
    /// forms; white space around it is removed, except after `secret:`:
    ///
    /// - plain text: 1 to 512 visible ASCII characters (0x21 to 0x7E);
    /// - `base64:` and the base64 of any bytes;
    /// - an `oct` JWK;
    /// - `secret:` and any text. Every character after the prefix counts, also a line break at the
    ///   end.
    ///
    /// With a public key as the secret, anyone could sign. So plain text, and what `base64:`
    /// contains, must not look like a key of another kind or like the name of one:
    ///
    /// - DER, PEM, JSON or an OpenSSH key, also if they are encoded in hex or base64;
    /// - a URL: a scheme and `://`, or `data:`;
    /// - a path: `file:`, `./`, `../`, `~/`, `$HOME/`, `C:\` or a slash in front, or a name that
    ///   ends like a file with a key, such as `.pem`. Base64 with a slash in front is a secret if
    ///   it ends with `=`, or if no part between its slashes could be the name of a folder.
    ///
    /// ```
    /// use eventstream::grip::Endpoint;
    ///
    /// let endpoint = || Endpoint::new("http://localhost:5561/");
    /// let path = endpoint()?.key("/run/secrets/grip").unwrap_err();
    /// assert!(path.to_string().starts_with("grip: key looks like a path"));
    ///
    /// let signed = endpoint()?.iss("me").key("secret:/run/secrets/grip")?;
    /// # Ok::<(), eventstream::grip::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the key is empty, is not a secret, or looks like something else. The error says what to
    /// write instead.
    pub fn key(mut self, key: impl AsRef<str>) -> Result<Self, InvalidConfig> {
        self.key = Some(Secret::parse(key.as_ref()).map_err(|why| InvalidConfig::new("key", why))?);
        Ok(self)
    }

    /// Sets the user and the password for the control port. The user must not contain a colon.
    pub fn basic(mut self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        let (user, password) = (user.as_ref(), password.as_ref());
        if user.contains(':') {
            // RFC 7617, section 2: the first colon ends the user.
            self.note("user", "must not contain a colon");
        }
        self.basic = authorization("Basic", &STANDARD.encode(format!("{user}:{password}")));
        self
    }

    /// Sets a literal token that authorizes publications. It is sent unchanged, so the control URI
    /// must be https or on this machine.
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.token("bearer", token.as_ref())
    }

    /// Sets the key that verifies the proxy's signatures.
    ///
    /// It is a secret, with the forms of [`key`](Endpoint::key), or, with the feature `jwt-simple`,
    /// a public key: P-256 (ES256) or RSA (RS256, 2048 to 4096 bits), as SPKI PEM or JWK. A PEM or
    /// a JWK can also be given as `base64:` followed by its base64 encoding. The default is `key`,
    /// if it is set.
    ///
    /// # Errors
    ///
    /// If the key is empty, private or of another kind, or if it looks like a key but is neither a
    /// PEM nor a JWK that can be parsed. Whatever follows `secret:` is a secret. The error says
    /// what to write instead.
    pub fn verify_key(mut self, key: impl AsRef<str>) -> Result<Self, InvalidConfig> {
        self.set_verify_key("verify-key", key.as_ref())?;
        Ok(self)
    }

    /// Sets the issuer that the proxy's signatures must name. By default any issuer is accepted.
    /// Needs a [`verify_key`](Endpoint::verify_key) or a [`key`](Endpoint::key).
    pub fn verify_iss(mut self, issuer: impl Into<String>) -> Self {
        self.verify_iss = Some(issuer.into());
        self
    }

    /// Sets how far the proxy's clock may differ from this machine's. The default is zero.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets how long one POST to the control port may take. The default is 10 s. It must not be
    /// zero. More than 30 s is of no use: by then the items have failed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if timeout.is_zero() {
            self.note("timeout", "must not be zero");
        }
        self.timeout = timeout;
        self
    }

    /// Reports the first setting that is wrong or does not fit the others.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        let wrong = |parameter, why| Err(InvalidConfig::new(parameter, why));
        let empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        match self {
            Self { mistake: Some(mistake), .. } => Err(mistake.clone()),
            Self { iss: Some(_), key: None, .. } => wrong("iss", "is given without `key`"),
            Self { iss: None, key: Some(_), .. } => wrong("key", KEY_WITHOUT_ISS),
            _ if empty(&self.iss) => wrong("iss", "is empty"),
            _ if empty(&self.verify_iss) => wrong("verify-iss", "is empty"),
            _ if self.verify_iss.is_some() && !self.has_key() => {
                wrong("verify-iss", "is given without `verify-key`")
            }
            _ if self.bearer.is_some() && !self.is_private() => wrong("key", IN_THE_CLEAR),
            _ => Ok(()),
        }
    }

    /// Reports an error if the transports of this crate cannot reach the control port.
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

    /// The URI that items are posted to.
    pub(crate) fn publish_uri(&self) -> Uri {
        self.publish_uri.clone()
    }

    /// Returns the `Authorization` header of a publication. A signed one is valid for ten minutes
    /// from `now`.
    pub(crate) fn authorization(&self, now: SystemTime) -> Option<HeaderValue> {
        if let (Some(iss), Some(key)) = (&self.iss, &self.key) {
            let exp = now.duration_since(UNIX_EPOCH).unwrap_or_default() + TOKEN_LIFE;
            return authorization("Bearer", &sign(iss, exp.as_secs(), key));
        }
        self.bearer.as_ref().or(self.basic.as_ref()).cloned()
    }

    /// Whether publications carry a token that is signed here.
    pub(crate) fn signs(&self) -> bool {
        self.iss.is_some() && self.key.is_some()
    }

    /// How long one POST may take.
    pub(crate) fn post_timeout(&self) -> Duration {
        self.timeout
    }

    /// The control URI without its user, password and query, which may be secret.
    pub(crate) fn display_name(&self) -> &str {
        &self.name
    }

    /// Sets the verify key unless there is one. `parameter` names the source of the key in errors.
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

    /// Whether this endpoint can verify signatures, or was meant to.
    pub(super) fn demands_signature(&self) -> bool {
        self.has_key() || self.verify_iss.is_some()
    }

    /// Whether this proxy made the token and the token's claims hold at `now`.
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

    /// Whether nobody on the network can read publications: over https, or to this machine.
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
                "is a PEM or a JWK, but without `iss` it would be sent as a literal token",
            );
        } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.note(
                parameter,
                "is sent as a literal token, but contains characters that a token cannot have",
            );
        }
        self.bearer = authorization("Bearer", token);
        self
    }

    fn note(&mut self, parameter: &'static str, why: Reason) {
        self.mistake.get_or_insert_with(|| InvalidConfig::new(parameter, why));
    }
}

/// Makes an `Authorization` header. Returns `None` only for credentials for which a mistake has
/// already been noted.
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
mod tests;
