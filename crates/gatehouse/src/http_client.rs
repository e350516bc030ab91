//! HTTP client for the program's own few requests: to a trace collector, a checkpoint web server, and the server's own
//! address for the doctor. One connection per request, no redirects, no proxies.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Position, Url};

/// Maximum size of an answer.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Returns the status and text of the answer.
pub(crate) async fn get(url: &str) -> Result<(StatusCode, String)> {
    let url = Url::parse(url).context("not a URL")?;
    ask(&url, Request::builder().method(Method::GET), Bytes::new()).await
}

pub(crate) async fn post_json(url: &Url, body: Vec<u8>) -> Result<StatusCode> {
    let request = Request::builder().method(Method::POST).header(header::CONTENT_TYPE, "application/json");
    ask(url, request, body.into()).await.map(|(status, _)| status)
}

async fn ask(url: &Url, request: hyper::http::request::Builder, body: Bytes) -> Result<(StatusCode, String)> {
    let host = url.host_str().context("the URL names no host")?.trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().context("the URL names no port")?;
    let request = request
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, concat!("gatehouse/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))?;
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if url.scheme() == "https" {
        let stream = TlsConnector::from(Arc::new(tls())).connect(ServerName::try_from(host)?, stream).await?;
        return exchange(stream, request).await;
    }
    exchange(stream, request).await
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, String)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answered = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        // The body is read so that the server is not cut off while it answers.
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
        Ok((status, text.unwrap_or_default()))
    };
    let answer = answered.await;
    connection.abort();
    answer
}

fn tls() -> ClientConfig {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for the usual versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
