//! The requests as bytes on the wire.

use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) const TOKEN: &str = "/id/connect/token";
pub(crate) const SERVICE_DOCUMENT: &str = "/api/domain/odata/";

/// The header that carries a credential.
#[derive(Clone, Copy)]
pub(crate) enum Shown<'a> {
    Nothing,
    Bearer(&'a str),
    ApiKey(&'a str),
}

pub(crate) fn get(address: SocketAddr, target: &str, shown: Shown<'_>) -> Arc<[u8]> {
    let credential = match shown {
        Shown::Nothing => String::new(),
        Shown::Bearer(token) => format!("authorization: Bearer {token}\r\n"),
        Shown::ApiKey(token) => format!("x-api-key: {token}\r\n"),
    };
    let text = format!(
        "GET {target} HTTP/1.1\r\nhost: {address}\r\nuser-agent: bench\r\naccept: application/json\r\n\
         {credential}\r\n"
    );
    text.into_bytes().into()
}

/// A POST with further header lines, each with its line end.
pub(crate) fn post(address: SocketAddr, path: &str, form: &str, lines: &str) -> Arc<[u8]> {
    let text = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: bench\r\naccept: application/json\r\n{lines}\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    text.into_bytes().into()
}

/// A client that authenticates with its secret in the form (RFC 6749 §2.3.1).
pub(crate) struct SecretClient<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret: &'a str,
}

/// The service application of the demo.
pub(crate) const SERVICE: SecretClient<'static> =
    SecretClient { id: "my.trusted.app/service", secret: "service-secret-demodb" };

pub(crate) fn client_credentials(address: SocketAddr, client: &SecretClient<'_>) -> Arc<[u8]> {
    let SecretClient { id, secret } = client;
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}&scope=read");
    post(address, TOKEN, &form, "")
}
