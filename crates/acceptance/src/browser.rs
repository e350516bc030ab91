use std::collections::BTreeMap;

use demo::password_of;
use http::{Method, header};

use crate::{AuthorizationParams, Client, HttpAnswer};

/// A user's browser: keeps cookies, follows Gatehouse's own redirects, and submits forms.
#[derive(Clone)]
pub struct Browser {
    pub client: Client,
    pub login: String,
    pub password: String,
    pub jar: BTreeMap<String, String>,
}

/// More redirects than any path through Gatehouse has.
const MAX_STEPS: usize = 8;

impl Browser {
    pub(crate) fn new(client: Client, login: &str) -> Self {
        Self { client, login: login.to_owned(), password: password_of(login), jar: BTreeMap::new() }
    }

    /// Another user at the same browser.
    #[must_use]
    pub fn taken_over_by(mut self, login: &str) -> Self {
        login.clone_into(&mut self.login);
        self.password = password_of(login);
        self
    }

    /// Sends one request and follows no redirect.
    pub async fn step(&mut self, method: &Method, path: &str, fields: &[(&str, &str)]) -> HttpAnswer {
        let mut ask = self.client.ask(method, path);
        if !self.jar.is_empty() {
            let cookies: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            ask = ask.header("cookie", &cookies.join("; "));
        }
        if method == Method::POST {
            ask = ask.form(fields);
        }
        let answer = ask.send().await;
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().expect("ASCII");
            let (name, rest) = cookie.split_once('=').expect("a cookie has a value");
            let (value, attributes) = rest.split_once(';').unwrap_or((rest, ""));
            if attributes.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    async fn follow(&mut self, mut answer: HttpAnswer) -> HttpAnswer {
        for _ in 0..MAX_STEPS {
            if !answer.status.is_redirection() || answer.is_callback() {
                return answer;
            }
            let location = answer.location().to_owned();
            answer = self.step(&Method::GET, &location, &[]).await;
        }
        panic!("the server redirects in circles: {answer:?}");
    }

    /// Opens a page. Follows redirects up to a page or to an application's redirect URI.
    pub async fn open(&mut self, path: &str) -> HttpAnswer {
        let answer = self.step(&Method::GET, path, &[]).await;
        self.follow(answer).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> HttpAnswer {
        let answer = self.step(&Method::POST, path, fields).await;
        self.follow(answer).await
    }

    /// Submits the page's form that has this field or button, with the entered values.
    pub async fn submit(&mut self, page: &HttpAnswer, with: &str, entered: &[(&str, &str)]) -> HttpAnswer {
        let form = page.form(with);
        let kept = form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let kept = kept.filter(|(name, _)| entered.iter().all(|(entered, _)| entered != name));
        let fields: Vec<_> = kept.chain(entered.iter().copied()).collect();
        self.post(&form.action, &fields).await
    }

    /// Enters login and password.
    pub async fn enter(&mut self, sign_in_page: &HttpAnswer) -> HttpAnswer {
        let (login, password) = (self.login.clone(), self.password.clone());
        self.submit(sign_in_page, "password", &[("login", &login), ("password", &password)]).await
    }

    pub async fn allow(&mut self, consent_page: &HttpAnswer) -> HttpAnswer {
        self.submit(consent_page, "decision", &[("decision", "allow")]).await
    }

    pub async fn deny(&mut self, consent_page: &HttpAnswer) -> HttpAnswer {
        self.submit(consent_page, "decision", &[("decision", "deny")]).await
    }

    /// Clicks *Continue as …*.
    pub async fn go_on(&mut self, sign_in_page: &HttpAnswer) -> HttpAnswer {
        self.submit(sign_in_page, "continue", &[("continue", "1")]).await
    }

    /// Signs in without an application.
    pub async fn sign_in(&mut self) -> HttpAnswer {
        let page = self.open("/id/account/login").await;
        self.enter(&page).await
    }

    /// Follows the pages of an authorization request, each at most once, up to the redirect URI or an error page.
    pub async fn authorize(&mut self, asked: &AuthorizationParams) -> HttpAnswer {
        let mut answer = self.open(&asked.path()).await;
        if answer.page() == "sign-in" {
            let button = answer.words("button[name=continue]");
            let is_known = button.is_some_and(|button| button == format!("Continue as {}", self.login));
            answer = if is_known { self.go_on(&answer).await } else { self.enter(&answer).await };
        }
        if answer.page() == "consent" {
            answer = self.allow(&answer).await;
        }
        answer
    }
}
