//! Who may send requests: a browser on this machine that has the token.
//!
//! The token of the printed address becomes a cookie. A page of another origin can neither send the cookie
//! (`SameSite=Strict`) nor pass as this origin. A name that resolves to 127.0.0.1 is no valid `Host`.
//!
//! **Architecture invariant**: a request without the token learns nothing, and no response allows another origin to
//! read it.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::failure::{FAILED, Failure};

/// The headers of each response.
pub const HEADERS: [(header::HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Without a referrer, browsers would send "Origin: null" with forms.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The secrets of this process, and its port.
#[derive(Debug)]
pub struct Guard {
    port: u16,
    token: String,
    /// The value of the hidden field of each form.
    pub form_token: String,
}

/// The verdict about a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Pass,
    /// The token of the address is right: the cookie is set, and the browser is sent to the same page without it.
    SetCookie,
    /// It is refused, and why.
    Refuse(StatusCode, &'static str),
}

impl Guard {
    /// New secrets.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(port: u16) -> Result<Self, Failure> {
        Ok(Self { port, token: secret()?, form_token: secret()? })
    }

    /// The address to open, with the token.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/?token={}", self.port, self.token)
    }

    /// The cookie with the token. Its name has the port, because browsers send cookies to all ports of a host.
    pub fn cookie(&self) -> Option<HeaderValue> {
        let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name(), self.token);
        HeaderValue::from_str(&cookie).ok()
    }

    fn cookie_name(&self) -> String {
        format!("phasegate-{}", self.port)
    }

    /// The verdict about a request with this query.
    pub fn verdict(&self, method: &Method, query: &str, headers: &HeaderMap) -> Verdict {
        let one = |name| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().and_then(|value| value.to_str().ok());
            value.filter(|_| values.next().is_none())
        };
        let hosts = [format!("127.0.0.1:{}", self.port), format!("localhost:{}", self.port)];
        let Some(host) = one(header::HOST).filter(|host| hosts.iter().any(|ours| ours == host)) else {
            return Verdict::Refuse(StatusCode::MISDIRECTED_REQUEST, "the Host is not the dashboard's");
        };
        let is_read = method == Method::GET || method == Method::HEAD;
        let from_here = match headers.contains_key(header::ORIGIN) {
            true => one(header::ORIGIN).is_some_and(|origin| origin.strip_prefix("http://") == Some(host)),
            false => is_read,
        };
        if !from_here {
            return Verdict::Refuse(StatusCode::FORBIDDEN, "the request comes from another origin");
        }
        let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
        if let Some((_, token)) = token.filter(|_| is_read) {
            return match same(&token, &self.token) {
                true => Verdict::SetCookie,
                false => Verdict::Refuse(StatusCode::UNAUTHORIZED, UNKNOWN),
            };
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let name = self.cookie_name();
        let known = cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .any(|(key, value)| key == name && same(value, &self.token));
        if known { Verdict::Pass } else { Verdict::Refuse(StatusCode::UNAUTHORIZED, UNKNOWN) }
    }

    /// Whether a form was served by this process.
    pub fn is_our_form(&self, token: Option<&str>) -> bool {
        token.is_some_and(|token| same(token, &self.form_token))
    }
}

const UNKNOWN: &str = "open the address that kubectl phasegate dashboard printed";

/// Compares without an early end, so that the time tells nothing about the secret.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

fn secret() -> Result<String, Failure> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(FAILED, format!("the system has no random numbers: {error}"), "Check the system.")
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: &str = "phasegate-80=a";

    fn verdict(method: Method, query: &str, headers: &[(header::HeaderName, &'static str)]) -> Verdict {
        let guard = Guard { port: 80, token: "a".to_owned(), form_token: "b".to_owned() };
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        guard.verdict(&method, query, &headers.collect())
    }

    #[test]
    fn only_the_browser_with_the_token_and_this_origin_passes() {
        use header::{COOKIE, HOST, ORIGIN};
        let code = |verdict| match verdict {
            Verdict::Pass => 200,
            Verdict::SetCookie => 303,
            Verdict::Refuse(code, _) => code.as_u16(),
        };
        let ours = (HOST, "127.0.0.1:80");
        let pass = (COOKIE, PASS);
        for (what, method, query, headers, expected) in [
            ("a reader", Method::GET, "", &[ours.clone(), pass.clone()] as &[_], 200),
            ("a reader at localhost", Method::GET, "", &[(HOST, "localhost:80"), pass.clone()], 200),
            ("no token", Method::GET, "", std::slice::from_ref(&ours), 401),
            ("another token", Method::GET, "token=b", &[ours.clone(), pass.clone()], 401),
            ("the token of the address", Method::GET, "token=a", std::slice::from_ref(&ours), 303),
            (
                "the token of the address in a form",
                Method::POST,
                "token=a",
                &[ours.clone(), (ORIGIN, "http://127.0.0.1:80")],
                401,
            ),
            ("another cookie", Method::GET, "", &[ours.clone(), (COOKIE, "phasegate-80=b; phasegate-81=a")], 401),
            ("several cookies", Method::GET, "", &[ours.clone(), (COOKIE, "x=y; phasegate-80=a")], 200),
            ("no host", Method::GET, "", std::slice::from_ref(&pass), 421),
            ("a rebound name", Method::GET, "", &[(HOST, "evil.example:80"), pass.clone()], 421),
            ("another port", Method::GET, "", &[(HOST, "127.0.0.1:81"), pass.clone()], 421),
            ("two hosts", Method::GET, "", &[ours.clone(), (HOST, "evil.example"), pass.clone()], 421),
            (
                "another origin reads",
                Method::GET,
                "",
                &[ours.clone(), (ORIGIN, "http://evil.example"), pass.clone()],
                403,
            ),
            (
                "a form of this origin",
                Method::POST,
                "",
                &[ours.clone(), (ORIGIN, "http://127.0.0.1:80"), pass.clone()],
                200,
            ),
            (
                "a form of another port",
                Method::POST,
                "",
                &[ours.clone(), (ORIGIN, "http://127.0.0.1:81"), pass.clone()],
                403,
            ),
            ("a form of no origin", Method::POST, "", &[ours.clone(), pass.clone()], 403),
            ("a sandboxed form", Method::POST, "", &[ours.clone(), (ORIGIN, "null"), pass.clone()], 403),
        ] {
            assert_eq!(code(verdict(method, query, headers)), expected, "{what}");
        }
    }

    #[test]
    fn secrets_are_long_and_differ() {
        let guard = Guard::new(80).unwrap();
        assert_eq!((guard.token.len(), guard.form_token.len()), (64, 64));
        assert_ne!(guard.token, guard.form_token);
        assert!(guard.is_our_form(Some(&guard.form_token)) && !guard.is_our_form(Some("")) && !guard.is_our_form(None));
    }
}
