//! A service: no person signs in, the application acts as its System User (RFC 6749 §4.4), with the
//! `oauth2` crate and documented settings only.

use anyhow::Context;
use oauth2::basic::BasicClient;
use oauth2::{ClientId, ClientSecret, HttpRequest, HttpResponse, Scope, TokenResponse, TokenUrl};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let issuer = std::env::args().nth(1).unwrap_or_else(|| "http://localhost:8080/id".to_owned());
    let root = issuer.strip_suffix("/id").context("an issuer ends with /id")?;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;

    let client = BasicClient::new(ClientId::new("my.trusted.app/service".to_owned()))
        .set_client_secret(ClientSecret::new("service-secret".to_owned()))
        .set_token_uri(TokenUrl::new(format!("{issuer}/connect/token"))?);
    let token = client
        .exchange_client_credentials()
        .add_scope(Scope::new("read".to_owned()))
        .request_async(&|request| send(&http, request))
        .await?;
    println!("Token for {:?}", token.expires_in().context("no lifetime")?);

    let page: serde_json::Value = http
        .get(format!("{root}/api/domain/odata/Crm_Customers?$top=10"))
        .bearer_auth(token.access_token().secret())
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    for customer in page["value"].as_array().context("no rows")? {
        println!("{}", customer["@odata.id"].as_str().context("a row without an id")?);
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
