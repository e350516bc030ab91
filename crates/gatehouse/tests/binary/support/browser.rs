//! A user's browser, and the application that sent it.

use std::collections::BTreeMap;

use super::http::{Answer, Site};

/// Keeps cookies.
pub(crate) struct Browser {
    site: Site,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn at(site: Site) -> Self {
        Self { site, cookies: BTreeMap::new() }
    }

    /// The same user, after the server restarted on another port.
    pub(crate) fn moved_to(self, site: Site) -> Self {
        Self { site, ..self }
    }

    pub(crate) fn cookie(&self, name: &str) -> &str {
        &self.cookies[name]
    }

    fn header(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, answer: Answer) -> Answer {
        let set = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        for (_, cookie) in set {
            let (name, value) = cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        let answer = self.site.get(path, &[("Cookie", &self.header())]);
        self.keep(answer)
    }

    pub(crate) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.site.post(path, &[("Cookie", &self.header())], fields);
        self.keep(answer)
    }

    /// Opens the page to which `path` leads. Returns its address too.
    pub(crate) fn open_sign_in(&mut self, path: &str) -> (String, Answer) {
        let answer = self.get(path);
        let page = answer.header("location").filter(|location| location.starts_with('/')).map(str::to_owned);
        match page {
            Some(page) => {
                let answer = self.get(&page);
                (page, answer)
            }
            None => (path.to_owned(), answer),
        }
    }

    /// Opens the sign-in page to which `path` leads, and fills it in. Nothing is left to do if an application's request
    /// is answered at once, because the user is signed in.
    pub(crate) fn sign_in(&mut self, path: &str, login: &str, password: &str) -> Answer {
        let (page, answer) = self.open_sign_in(path);
        if answer.status == 302 {
            return answer;
        }
        self.post(&page, &[("csrf", &answer.field("csrf")), ("login", login), ("password", password)])
    }

    /// Whether the user is signed in: the account page redirects others to the sign-in page.
    pub(crate) fn is_signed_in(&mut self) -> bool {
        let answer = self.get("/id/account");
        assert!(matches!(answer.status, 200 | 302), "{answer:?}");
        answer.status == 200
    }

    /// Opens a set-up link and chooses a password.
    pub(crate) fn set_up(&mut self, link: &str, password: &str) -> Answer {
        let page = self.get(path_of(link));
        assert_eq!(page.status, 200, "{page:?}");
        let (csrf, code) = (page.field("csrf"), page.field("code"));
        let fields = [("csrf", &*csrf), ("code", &code), ("password", password), ("repeat", password)];
        self.post("/id/account/set-up", &fields)
    }
}

/// The path of a link with its query.
pub(crate) fn path_of(link: &str) -> &str {
    let after_scheme = link.find("://").expect("a link") + 3;
    &link[after_scheme + link[after_scheme..].find('/').expect("a path")..]
}

/// RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A Confidential application that signs users in without asking for consent.
pub(crate) struct App {
    pub(crate) id: &'static str,
    pub(crate) secret: String,
    pub(crate) callback: &'static str,
}

impl App {
    /// The demo's portal, in `testdb`.
    pub(crate) fn portal() -> Self {
        Self {
            id: "portal.example.com",
            secret: "portal-secret".to_owned(),
            callback: "http://localhost:3000/portal-callback",
        }
    }

    /// An authorization request by the application.
    pub(crate) fn authorize_path(&self) -> String {
        let query = super::http::form(&[
            ("client_id", self.id),
            ("redirect_uri", self.callback),
            ("response_type", "code"),
            ("scope", "openid offline_access read"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        format!("/id/connect/authorize?{query}")
    }

    /// Signs a user in and returns a code.
    pub(crate) fn code(&self, browser: &mut Browser, login: &str, password: &str) -> String {
        browser.sign_in(&self.authorize_path(), login, password).location_param("code")
    }

    pub(crate) fn redeem(&self, site: Site, code: &str) -> Answer {
        let fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", self.callback)];
        self.ask(site, &[&fields[..], &[("code_verifier", VERIFIER)]].concat()).expect("an answer")
    }

    pub(crate) fn refresh(&self, site: Site, token: &str) -> Answer {
        self.try_refresh(site, token).expect("an answer")
    }

    pub(crate) fn try_refresh(&self, site: Site, token: &str) -> std::io::Result<Answer> {
        self.ask(site, &[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    fn ask(&self, site: Site, fields: &[(&str, &str)]) -> std::io::Result<Answer> {
        let client = [("client_id", self.id), ("client_secret", &*self.secret)];
        site.try_post("/id/connect/token", &[], &[fields, &client].concat())
    }
}

/// Client credentials.
pub(crate) fn service_token(site: Site, id: &str, secret: &str) -> Answer {
    let fields = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    site.post("/id/connect/token", &[], &fields)
}

/// A call of the API's service document.
pub(crate) fn call_api(site: Site, token: &str) -> Answer {
    site.get("/api/domain/odata/", &[("Authorization", &format!("Bearer {token}"))])
}

/// The user of a token.
pub(crate) fn user_info(site: Site, token: &str) -> Answer {
    site.get("/id/connect/userinfo", &[("Authorization", &format!("Bearer {token}"))])
}
