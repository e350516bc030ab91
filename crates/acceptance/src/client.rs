use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use http::request::Builder;
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use url::form_urlencoded::Serializer;
use web::HttpService;
use web::server::Responder as _;

use crate::HttpAnswer;
use crate::faults::Watch;

/// An HTTP client of one instance, from one address.
#[derive(Clone)]
pub struct Client {
    pub(crate) doors: HttpService,
    /// Root URL of the instance.
    pub root: String,
    pub peer: SocketAddr,
    /// Watches every answer when faults are injected.
    pub(crate) watch: Option<Arc<Watch>>,
}

/// A request under construction.
pub struct Ask<'a> {
    client: &'a Client,
    request: Builder,
    body: Body,
}

impl Client {
    pub fn ask(&self, method: &Method, path: &str) -> Ask<'_> {
        let host = self.root.split_once("://").map_or("", |(_, host)| host);
        let request = Request::builder().method(method).uri(path).header(header::HOST, host);
        Ask { client: self, request, body: Body::empty() }
    }

    pub async fn get(&self, path: &str) -> HttpAnswer {
        self.ask(&Method::GET, path).send().await
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> HttpAnswer {
        self.ask(&Method::POST, path).form(fields).send().await
    }

    /// `GET` with a bearer token.
    pub async fn get_with(&self, path: &str, token: &str) -> HttpAnswer {
        self.ask(&Method::GET, path).bearer(token).send().await
    }

    /// Reads a customer: the cheapest API call that needs a token.
    pub async fn call_api(&self, token: &str) -> HttpAnswer {
        self.get_with("/api/domain/odata/Crm_Customers?$top=1", token).await
    }

    pub async fn user_info(&self, token: &str) -> HttpAnswer {
        self.get_with("/id/connect/userinfo", token).await
    }

    /// Sets the `Host` header.
    #[must_use]
    pub fn asking_host(&self, host: &str) -> Self {
        Self { root: format!("http://{host}"), ..self.clone() }
    }

    #[must_use]
    pub fn from(&self, address: &str) -> Self {
        Self { peer: address.parse().expect("an address of the tests"), ..self.clone() }
    }
}

impl Ask<'_> {
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<Body>) -> Self {
        let mut asked = self.header("content-type", content_type);
        asked.body = body.into();
        asked
    }

    pub async fn send(self) -> HttpAnswer {
        let mut request = self.request.body(self.body).expect("a request of the tests");
        if let Some(watch) = &self.client.watch {
            request.extensions_mut().insert(watch.begin_request());
        }
        let path = request.uri().path().to_owned();
        let response = self.client.doors.answer(request, self.client.peer).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("answers are whole").to_bytes();
        let answer = HttpAnswer { status: parts.status, headers: parts.headers, body };
        if let Some(watch) = &self.client.watch {
            watch.see(&path, &answer).await;
        }
        answer
    }
}
