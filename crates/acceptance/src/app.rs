use http::Method;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use crate::{Browser, Client, HttpAnswer};

/// RFC 7636 Appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A Trusted Application of the demo, with its registered values.
#[derive(Clone)]
pub struct App {
    pub client: Client,
    pub uri: String,
    pub secret: Option<String>,
    pub redirect_uri: String,
}

/// Parameters of an authorization request. Tests change the default ones.
#[derive(Clone, Debug)]
pub struct AuthorizationParams(Vec<(String, String)>);

impl AuthorizationParams {
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    /// Adds the parameter, even if it is already there.
    #[must_use]
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    pub fn query(&self) -> String {
        Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    pub fn path(&self) -> String {
        format!("/id/connect/authorize?{}", self.query())
    }

    pub fn fields(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// A successful answer of the token endpoint.
#[derive(Clone, Debug)]
pub struct TokenAnswer {
    pub access: String,
    pub refresh: Option<String>,
    pub id: Option<String>,
    pub scope: String,
    pub whole: Value,
}

impl TokenAnswer {
    pub fn read(answer: &HttpAnswer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let whole = answer.json();
        let text = |name: &str| whole[name].as_str().map(str::to_owned);
        Self {
            access: text("access_token").expect("an access token"),
            refresh: text("refresh_token"),
            id: text("id_token"),
            scope: text("scope").expect("scope is always told"),
            whole,
        }
    }

    pub fn refresh(&self) -> &str {
        self.refresh.as_deref().expect("a refresh token")
    }

    pub fn id(&self) -> &str {
        self.id.as_deref().expect("an ID token")
    }
}

/// `demo.md`: the secret without the instance's suffix, and the redirect URI.
fn of_the_demo(uri: &str) -> (Option<&'static str>, &'static str) {
    match uri {
        "my.trusted.app/first" => (Some("first-secret"), "http://localhost:3000/signin-callback"),
        "my.trusted.app/spa" => (None, "http://localhost:3000/index.html"),
        "my.trusted.app/native" => (None, "com.example.fieldapp:/callback"),
        "my.trusted.app/service" => (Some("service-secret"), ""),
        "my.trusted.app/reader" => (Some("reader-secret"), ""),
        "portal.example.com" => (Some("portal-secret"), "http://localhost:3000/portal-callback"),
        "my.trusted.app/scripts" => (None, ""),
        "legacy.client" => (Some("legacy-secret"), ""),
        "my.trusted.app/off" => (Some("off-secret"), ""),
        _ => panic!("{uri} is not in the demo"),
    }
}

impl App {
    pub(crate) fn of_the_demo(client: Client, uri: &str) -> Self {
        let suffix = if client.root.contains("demodb") { "-demodb" } else { "" };
        let (secret, redirect_uri) = of_the_demo(uri);
        let secret = secret.map(|secret| format!("{secret}{suffix}"));
        Self { client, uri: uri.to_owned(), secret, redirect_uri: redirect_uri.to_owned() }
    }

    /// The default request: code, PKCE, state and nonce.
    pub fn asks(&self, scope: &str) -> AuthorizationParams {
        let fields = [
            ("client_id", self.uri.as_str()),
            ("redirect_uri", &self.redirect_uri),
            ("response_type", "code"),
            ("scope", scope),
            ("state", "state of the app"),
            ("nonce", "nonce-of-the-app"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        AuthorizationParams(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }

    /// Signs the user in, consents if asked, and returns the code.
    pub async fn code(&self, browser: &mut Browser, scope: &str) -> String {
        let answer = browser.authorize(&self.asks(scope)).await;
        answer.callback().remove("code").unwrap_or_else(|| panic!("no code: {}", answer.location()))
    }

    pub async fn sign_in(&self, browser: &mut Browser, scope: &str) -> TokenAnswer {
        let code = self.code(browser, scope).await;
        TokenAnswer::read(&self.redeem(&code).await)
    }

    /// Sends a token request, with the client secret in the form if there is one.
    pub async fn token(&self, fields: &[(&str, &str)]) -> HttpAnswer {
        let mut all = vec![("client_id", self.uri.as_str())];
        all.extend(self.secret.as_deref().map(|secret| ("client_secret", secret)));
        all.extend(fields);
        self.client.ask(&Method::POST, "/id/connect/token").form(&all).send().await
    }

    pub async fn redeem(&self, code: &str) -> HttpAnswer {
        self.redeem_with(code, &[]).await
    }

    /// Redeems a code with some parameters changed. An empty value counts as absent (RFC 6749 §3.2).
    pub async fn redeem_with(&self, code: &str, changes: &[(&str, &str)]) -> HttpAnswer {
        let usual = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        let kept = usual.into_iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        let fields: Vec<_> = kept.chain(changes.iter().copied()).collect();
        self.token(&fields).await
    }

    pub async fn refresh(&self, refresh_token: &str) -> HttpAnswer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    pub async fn refresh_with(&self, refresh_token: &str, scope: &str) -> HttpAnswer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("scope", scope)]).await
    }

    /// A client credentials request; an empty scope requests none.
    pub async fn service_token(&self, scope: &str) -> HttpAnswer {
        self.token(&[("grant_type", "client_credentials"), ("scope", scope)]).await
    }

    /// The same application with another secret, or without one.
    #[must_use]
    pub fn with_secret(&self, secret: Option<&str>) -> Self {
        Self { secret: secret.map(str::to_owned), ..self.clone() }
    }
}
