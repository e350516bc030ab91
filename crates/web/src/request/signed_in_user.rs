//! Extractor for pages of signed-in users: reads the session cookie of `/id`, or redirects to sign-in and back.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use flows::BelievedInstance;
use flows::auth::browser_session::SignedIn;
use form_urlencoded::Serializer;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use model::Ctx;
use oauth::params::Params;

use crate::request::body;
use crate::request::context::{AppState, RequestContext};
use crate::request::failures;
use crate::request::malformed;
use crate::request::render;

/// The sign-in page's parameter with the address to return to.
pub(crate) const RETURN: &str = "return";

/// A request with a signed-in user.
pub(crate) struct SignedInUser {
    pub context: RequestContext,
    pub browser: SignedIn,
}

impl FromRequestParts<Arc<AppState>> for SignedInUser {
    type Rejection = Response;

    /// Redirects to sign-in if no user is signed in. The return address is the page, never the target of a form.
    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, Response> {
        let context = RequestContext::from_request_parts(parts, state).await?;
        match context.browser(&parts.headers).await {
            Ok(Some(browser)) => match context.instance.auth().extend_session(&browser, context.now).await {
                Ok(()) => Ok(Self { context: context.speaking_to(&browser.user), browser }),
                Err(fault) => Err(failures::fault_page(&context, &fault)),
            },
            Ok(None) => Err(to_sign_in(&parts.method, &parts.uri)),
            Err(fault) => Err(failures::fault_page(&context, &fault)),
        }
    }
}

impl SignedInUser {
    /// The CSRF token of this user's forms. Bound to the session, so it ends with it.
    pub(crate) fn csrf(&self) -> String {
        self.context.instance.form_tokens().of_user(&self.browser)
    }

    /// The address for signing in again as this user, then returning to `back`.
    pub(crate) fn sign_in_again(&self, back: &str) -> String {
        let login = self.browser.user.login.as_str();
        let query = Serializer::new(String::new()).append_pair(RETURN, back).append_pair("login_hint", login).finish();
        format!("/id/account/login?{query}")
    }

    /// The arguments of a flow: the instance, its [`Ctx`], and the signed-in user.
    pub(crate) fn split(&mut self) -> (&BelievedInstance, Ctx<'_>, &SignedIn) {
        let (instance, ctx) = self.context.split();
        (instance, ctx, &self.browser)
    }

    /// Reads a form and checks its CSRF token; on failure, returns the error page.
    pub(crate) async fn form(&mut self, headers: &HeaderMap, body: Body) -> Result<Params, Response> {
        let form = match body::form(headers, body).await {
            Ok(form) => form,
            Err(error) => return Err(malformed::malformed(&mut self.context, error)),
        };
        // The body may have arrived slowly, so memory is checked again.
        if let Err(fault) = self.context.instance.renew(self.context.now).await {
            return Err(failures::fault_page(&self.context, &fault));
        }
        if self.sent(headers, form.get("csrf")) { Ok(form) } else { Err(malformed::form_expired(&mut self.context)) }
    }

    /// True if the CSRF token is this user's and `Sec-Fetch-Site` does not name another site.
    pub(crate) fn sent(&self, headers: &HeaderMap, csrf: Option<&str>) -> bool {
        let from_here = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
        from_here && csrf.is_some_and(|csrf| self.context.instance.form_tokens().is_of_user(&self.browser, csrf))
    }
}

pub(crate) fn to_sign_in(method: &Method, uri: &Uri) -> Response {
    let from = uri.path_and_query().and_then(|from| way_back(from.as_str()));
    let query = from.map(|from| Serializer::for_suffix(String::from("?"), 1).append_pair(RETURN, from).finish());
    render::redirect(method, &format!("/id/account/login{}", query.unwrap_or_default()))
}

/// The path prefixes that a return address may have.
const PLACES: [&str; 2] = ["/profile", "/manage"];

const MAX_RETURN_URL: usize = 1024;

/// Accepts a return address: a path below one of [`PLACES`] with an optional query, in characters that all browsers
/// read alike. The path must not contain `%`: browsers differ on whether they decode a slash or dots there.
pub(crate) fn way_back(shown: &str) -> Option<&str> {
    let path = shown.split('?').next().unwrap_or_default();
    let below = |place: &str| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~%?&=+".contains(&byte);
    let fits = shown.len() <= MAX_RETURN_URL && shown.bytes().all(plain);
    (fits && PLACES.into_iter().any(below) && !path.contains("//") && !path.contains("..") && !path.contains('%'))
        .then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_leads_to_a_page_of_ours_and_nowhere_else() {
        for good in ["/profile", "/profile/", "/profile/tokens?new=1&x=a%20b", "/manage/apps/1"] {
            assert_eq!(way_back(good), Some(good));
        }
        for bad in [
            "",
            "/",
            "/profiles",
            "//evil.example.com",
            "/profile//evil.example.com",
            "/profile/../id/connect/endsession",
            "/profile\\evil",
            "/profile/\r\nset-cookie",
            "https://evil.example.com/profile",
            "/id/connect/endsession",
            "profile",
            "/profile#x",
            "/profile/@evil",
            "/profile/%2f/evil.example.com",
            "/profile/%2F%2Fevil.example.com",
            "/profile/%5cevil",
            "/profile/%2e%2e/id/connect/endsession",
            "/manage/%",
            "%2fprofile",
            &format!("/profile/{}", "a".repeat(1024)),
        ] {
            assert_eq!(way_back(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_stranger_is_sent_to_sign_in_and_back() {
        let sent = |uri: &str| {
            let uri: Uri = uri.parse().expect("an address of the tests");
            let answer = to_sign_in(&Method::GET, &uri);
            answer.headers()["location"].to_str().expect("ASCII").to_owned()
        };
        assert_eq!(sent("/profile/tokens"), "/id/account/login?return=%2Fprofile%2Ftokens");
        assert_eq!(sent("/profile//x"), "/id/account/login");
    }
}
