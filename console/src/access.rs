//! Who may look.

use axum::http::header::{AUTHORIZATION, COOKIE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::{Host, Url};

/// The name of the cookie.
const COOKIE_NAME: &str = "syncline_session";
/// A browser forgets the session after this, in seconds: twelve hours.
const COOKIE_SECONDS: u32 = 12 * 3600;
/// What is hashed under the token to make a session; another text ends all sessions.
const SESSION: &[u8] = b"syncline console session 1";

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It does not know the token.
    Stranger,
    /// There is no token, and it came under a name that does not stand for this machine: some web
    /// page has made its own name point here to read us through its visitor's browser.
    OtherHost,
}

/// The rule: who knows the token, or without one, who comes from this machine.
pub(crate) struct Access {
    token: Option<Token>,
}

/// What is kept of the token.
struct Token {
    /// Hashes are compared, so that the time it takes tells not even the token's length.
    digest: [u8; 32],
    /// The value of the cookie. It follows from the token, so that a restart ends no session and a
    /// new token ends all.
    session: String,
}

impl Access {
    /// - `token`: `None` only when the console listens on a loopback address.
    pub(crate) fn new(token: Option<&SecretString>) -> Self {
        let token = token.map(|token| {
            let token = token.expose_secret();
            Token { digest: Sha256::digest(token).into(), session: session(token) }
        });
        Self { token }
    }

    /// Whether one has to sign in at all.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a request may see what the console knows: it has the token as `Bearer` or a session.
    pub(crate) fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let Some(token) = &self.token else {
            return if names_this_machine(uri, headers) { Ok(()) } else { Err(Refused::OtherHost) };
        };
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .is_some_and(|(_, given)| token.is(given.trim()));
        let signed_in = cookies(headers)
            .any(|value| bool::from(value.as_bytes().ct_eq(token.session.as_bytes())));
        if bearer || signed_in { Ok(()) } else { Err(Refused::Stranger) }
    }

    /// The cookie for somebody who knows the token.
    ///
    /// - `secure`: the browser is to send it over TLS only.
    pub(crate) fn sign_in(&self, given: &str, secure: bool) -> Option<String> {
        let token = self.token.as_ref().filter(|token| token.is(given))?;
        Some(cookie(&token.session, COOKIE_SECONDS, secure))
    }
}

impl Token {
    fn is(&self, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        given.ct_eq(&self.digest).into()
    }
}

/// The cookie that ends a session.
pub(crate) fn sign_out(secure: bool) -> String {
    cookie("", 0, secure)
}

fn cookie(value: &str, seconds: u32, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// HMAC-SHA256 under the token, in hex. An HMAC takes a key of any length.
fn session(token: &str) -> String {
    Hmac::<Sha256>::new_from_slice(token.as_bytes())
        .map(|mac| hex::encode(mac.chain_update(SESSION).finalize().into_bytes()))
        .unwrap_or_default()
}

/// The values of our cookie; an empty one is none.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))
        .filter(|value| !value.is_empty())
}

fn names_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    // HTTP/2 has the host in its address.
    let host = uri
        .authority()
        .map(Authority::as_str)
        .or_else(|| headers.get(HOST).and_then(|value| value.to_str().ok()));
    let url = host.and_then(|host| Url::parse(&format!("http://{host}/")).ok());
    match url.as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef01234567";

    fn access() -> Access {
        Access::new(Some(&TOKEN.into()))
    }

    fn judge(access: &Access, name: &'static str, value: &str) -> Result<(), Refused> {
        let headers = HeaderMap::from_iter([(
            axum::http::HeaderName::from_static(name),
            value.parse().unwrap(),
        )]);
        access.judge(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn the_token_and_its_session_open_and_nothing_else_does() {
        let access = access();
        assert_eq!(judge(&access, "authorization", &format!("Bearer {TOKEN}")), Ok(()));
        assert_eq!(judge(&access, "authorization", &format!("bearer  {TOKEN}")), Ok(()));
        let session = access.sign_in(TOKEN, false).unwrap();
        let pair = session.split(';').next().unwrap();
        assert_eq!(judge(&access, "cookie", pair), Ok(()));
        assert_eq!(judge(&access, "cookie", &format!("theme=dark; {pair}")), Ok(()));

        for bad in ["", "Bearer", "Bearer ", "Bearer x", &format!("Basic {TOKEN}"), TOKEN] {
            assert_eq!(judge(&access, "authorization", bad), Err(Refused::Stranger), "{bad:?}");
        }
        for bad in ["syncline_session=", &format!("syncline_session={TOKEN}"), &format!("x{pair}")]
        {
            assert_eq!(judge(&access, "cookie", bad), Err(Refused::Stranger), "{bad:?}");
        }
        assert!(access.sign_in("another", false).is_none());
    }

    #[test]
    fn the_cookie_is_for_us_alone_and_does_not_hold_the_token() {
        let cookie = access().sign_in(TOKEN, true).unwrap();
        assert!(!cookie.contains(TOKEN), "{cookie}");
        for attribute in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=43200"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!access().sign_in(TOKEN, false).unwrap().contains("Secure"));
        assert!(sign_out(false).contains("Max-Age=0"));
    }

    #[test]
    fn another_token_ends_every_session() {
        let session = access().sign_in(TOKEN, false).unwrap();
        let pair = session.split(';').next().unwrap();
        let other = Access::new(Some(&"another token of some length".into()));
        assert_eq!(judge(&other, "cookie", pair), Err(Refused::Stranger));
    }

    #[test]
    fn without_a_token_only_names_of_this_machine_are_answered() {
        let access = Access::new(None);
        for ours in ["localhost:8083", "127.0.0.1:8083", "[::1]:8083", "localhost"] {
            assert_eq!(judge(&access, "host", ours), Ok(()), "{ours}");
        }
        for other in ["rebound.example:8083", "10.0.0.1", "localhost.example", ""] {
            assert_eq!(judge(&access, "host", other), Err(Refused::OtherHost), "{other:?}");
        }
        assert!(access.sign_in("", false).is_none());
    }
}
