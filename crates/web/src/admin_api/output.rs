//! What operations answer.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::admin_api::PREFIX;
use crate::admin_api::input::entity_tag;
use crate::admin_api::operation::{OperationDescription, OperationOutput};
use crate::request::render;

/// What it is, and no more.
pub(super) struct PlainBody<T>(pub(super) T);

impl<T: Serialize + JsonSchema> OperationOutput for PlainBody<T> {
    fn response(self) -> Response {
        render::no_store(render::json(StatusCode::OK, &self.0))
    }

    fn describe(description: &mut OperationDescription<'_>) {
        describe::<T>(description, 200, "Success.", &[]);
    }
}

/// A thing and its version.
pub(super) struct Versioned<T>(pub(super) i64, pub(super) T);

impl<T: Serialize + JsonSchema> OperationOutput for Versioned<T> {
    fn response(self) -> Response {
        tagged(PlainBody(self.1).response(), self.0)
    }

    fn describe(description: &mut OperationDescription<'_>) {
        describe::<T>(description, 200, "The current state.", &["ETag"]);
    }
}

/// A new thing, where it is, and its version.
pub(super) struct Created<T> {
    /// Below the API's root.
    pub(super) at: String,
    pub(super) version: Option<i64>,
    pub(super) thing: T,
}

impl<T: Serialize + JsonSchema> OperationOutput for Created<T> {
    fn response(self) -> Response {
        let mut response = render::no_store(render::json(StatusCode::CREATED, &self.thing));
        if let Ok(location) = HeaderValue::try_from(format!("{PREFIX}{}", self.at)) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        match self.version {
            Some(version) => tagged(response, version),
            None => response,
        }
    }

    fn describe(description: &mut OperationDescription<'_>) {
        describe::<T>(description, 201, "Created.", &["Location"]);
    }
}

/// A file, as long as it may be.
pub(super) struct File(pub(super) Response);

impl OperationOutput for File {
    fn response(self) -> Response {
        self.0
    }

    fn describe(description: &mut OperationDescription<'_>) {
        let text = json!({ "schema": { "type": "string" } });
        let content = json!({ "application/jsonl": text, "text/csv": text });
        description.answers.insert(200, json!({ "description": "The exported file.", "content": content }));
    }
}

/// There is nothing to tell.
pub(super) struct NoContent;

impl NoContent {
    pub(super) fn after((): ()) -> Self {
        Self
    }
}

impl OperationOutput for NoContent {
    fn response(self) -> Response {
        let mut response = render::no_store(Response::new(Body::empty()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }

    fn describe(description: &mut OperationDescription<'_>) {
        description.answers.insert(204, json!({ "description": "Success, no content." }));
    }
}

fn tagged(mut response: Response, version: i64) -> Response {
    if let Ok(tag) = HeaderValue::try_from(entity_tag(version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn describe<T: JsonSchema>(description: &mut OperationDescription<'_>, status: u16, told: &str, headers: &[&str]) {
    let schema = description.schemas.subschema_for::<T>();
    let header = |name: &&str| ((*name).to_owned(), json!({ "schema": { "type": "string" } }));
    let headers: serde_json::Map<String, Value> = headers.iter().map(header).collect();
    let mut answer = json!({ "description": told, "content": { "application/json": { "schema": schema } } });
    if !headers.is_empty() {
        answer["headers"] = headers.into();
    }
    description.answers.insert(status, answer);
}
