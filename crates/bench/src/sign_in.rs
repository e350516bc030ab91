//! Sign-in through the page, as a browser does it.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use demo::password_of;

use crate::load::{self, Connection};
use crate::requests::post;

pub(crate) const LOGIN: &str = "/id/account/login";
/// The form cookie of a browser: any value of this length is accepted.
pub(crate) const FORM_COOKIE: &str = "gatehouse-form=01234567890123456789012345678901";

/// The CSRF token that this browser's form must send.
pub(crate) async fn csrf(address: SocketAddr) -> Result<String> {
    csrf_of(address, FORM_COOKIE).await
}

/// Likewise for the browser with this form cookie.
pub(crate) async fn csrf_of(address: SocketAddr, cookie: &str) -> Result<String> {
    const BEFORE: &str = "name=\"csrf\" value=\"";
    let text = format!("GET {LOGIN} HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n");
    let page = String::from_utf8(load::once(address, text.as_bytes()).await?)?;
    let (_, rest) = page.split_once(BEFORE).context("the sign-in page has a form")?;
    let (csrf, _) = rest.split_once('"').context("the value ends")?;
    Ok(csrf.to_owned())
}

/// Signs a user in and returns the session cookie.
pub(crate) async fn signed_in(address: SocketAddr, login: &str) -> Result<String> {
    let form = format!("csrf={}&login={login}&password={}", csrf(address).await?, password_of(login));
    let text = post(address, LOGIN, &form, &format!("cookie: {FORM_COOKIE}\r\n"));
    let answer = Connection::open(address).await?.head_of(&text).await?;
    let mut cookies = answer.lines().filter_map(|line| line.split_once(": ")).filter_map(|(name, value)| {
        let pair = value.split(';').next()?;
        (name.eq_ignore_ascii_case("set-cookie") && pair.starts_with("gatehouse=")).then(|| pair.to_owned())
    });
    cookies.next_back().context("whoever signs in gets a cookie")
}
