//! A console app: it signs a person in through their browser and takes the answer on a loopback port
//! (RFC 8252 §7.3), with the `openidconnect` crate and documented settings only.

use anyhow::{Context, bail, ensure};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata, CoreUserInfoClaims};
use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, ClientId, CsrfToken, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, RedirectUrl, Scope, TokenResponse,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use url::Url;

const CLIENT_ID: &str = "my.trusted.app/native";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let issuer = std::env::args().nth(1).unwrap_or_else(|| "http://localhost:8080/id".to_owned());
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let send = |request| send(&http, request);

    // Any free port: the register holds `http://127.0.0.1/callback` without one.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let redirect = format!("http://127.0.0.1:{}/callback", listener.local_addr()?.port());

    let metadata = CoreProviderMetadata::discover_async(IssuerUrl::new(issuer.clone())?, &send).await?;
    let client = CoreClient::from_provider_metadata(metadata, ClientId::new(CLIENT_ID.to_owned()), None)
        .set_redirect_uri(RedirectUrl::new(redirect)?);

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (address, state, nonce) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scopes(["profile", "offline_access", "read"].map(|name| Scope::new(name.to_owned())))
        .set_pkce_challenge(challenge)
        .url();
    println!("Open this in your browser:\n{address}");

    let code = wait_for_code(&listener, &state).await?;
    let tokens = client.exchange_code(code)?.set_pkce_verifier(verifier).request_async(&send).await?;

    let id_token = tokens.id_token().context("no ID token")?;
    let keys = client.id_token_verifier();
    let claims = id_token.claims(&keys, &nonce)?;
    if let Some(expected) = claims.access_token_hash() {
        let actual =
            AccessTokenHash::from_token(tokens.access_token(), id_token.signing_alg()?, id_token.signing_key(&keys)?)?;
        ensure!(actual == *expected, "the ID token belongs to another access token");
    }
    let person: CoreUserInfoClaims =
        client.user_info(tokens.access_token().clone(), Some(claims.subject().clone()))?.request_async(&send).await?;
    println!("Signed in as {}", person.subject().as_str());

    let refresh = tokens.refresh_token().context("no refresh token")?;
    let fresh = client.exchange_refresh_token(refresh)?.request_async(&send).await?;
    ensure!(fresh.access_token().secret() != tokens.access_token().secret(), "the refreshed token is the old one");
    println!("Refreshed");

    for customer in first_customers(&http, &issuer, fresh.access_token()).await? {
        println!("{customer}");
    }
    Ok(())
}

/// What the library asks to be sent, through the HTTP client of our choice.
async fn send(http: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let answer = http.execute(request.try_into()?).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = HttpResponse::new(answer.bytes().await?.into());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Takes requests on the loopback port until one is the redirect, and answers the browser.
async fn wait_for_code(listener: &TcpListener, state: &CsrfToken) -> anyhow::Result<AuthorizationCode> {
    loop {
        let (mut browser, _) = listener.accept().await?;
        let mut line = String::new();
        BufReader::new(&mut browser).read_line(&mut line).await?;
        let target = line.split(' ').nth(1).unwrap_or("/");
        let callback = Url::parse("http://127.0.0.1")?.join(target)?;
        let found = callback.path() == "/callback";
        let (status, text) = if found { ("200 OK", "You can close this window.") } else { ("404 Not Found", "") };
        let length = text.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
        );
        browser.write_all(answer.as_bytes()).await?;
        if found {
            return code_of(&callback, state);
        }
    }
}

fn code_of(callback: &Url, state: &CsrfToken) -> anyhow::Result<AuthorizationCode> {
    let value = |name| callback.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    ensure!(value("state").as_ref() == Some(state.secret()), "the answer belongs to another sign-in");
    match (value("code"), value("error")) {
        (Some(code), None) => Ok(AuthorizationCode::new(code)),
        (_, error) => bail!("not signed in: {}", error.unwrap_or_default()),
    }
}

async fn first_customers(http: &reqwest::Client, issuer: &str, token: &AccessToken) -> anyhow::Result<Vec<String>> {
    let root = issuer.strip_suffix("/id").context("an issuer ends with /id")?;
    let answer = http
        .get(format!("{root}/api/domain/odata/Crm_Customers?$top=10"))
        .bearer_auth(token.secret())
        .send()
        .await?
        .error_for_status()?;
    let page: serde_json::Value = answer.json().await?;
    let rows = page["value"].as_array().context("no rows")?;
    Ok(rows.iter().filter_map(|row| row["@odata.id"].as_str().map(str::to_owned)).collect())
}
