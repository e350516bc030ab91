//! What operations answer.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use model::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::admin_api::PREFIX;
use crate::admin_api::input::{Cursor, entity_tag};
use crate::admin_api::operation::{OperationDescription, OperationOutput};
use crate::request::render;

/// A time as RFC 3339 writes it, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Time(pub(super) Timestamp);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Times of ours are within the years that can be written.
        serializer.collect_str(&jiff::Timestamp::from_microsecond(self.0.micros()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            serde::de::Error::custom(format!("{text:?} is not a time; use the form 2026-12-31T23:59:59Z"))
        })?;
        Ok(Self(Timestamp(time.as_microsecond())))
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

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

/// A part of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Page_of_{T}")]
pub(super) struct ListPage<T> {
    pub(super) items: Vec<T>,
    /// Send this as `cursor` to get the next page. Absent only on the last page; a page with few items may not be the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

impl<T> ListPage<T> {
    /// `rows` were asked for one more than are shown: if it is there, the list goes on behind the last one shown.
    pub(super) fn of<R>(
        mut rows: Vec<R>,
        limit: super::input::Limit,
        key: impl Fn(&R) -> String,
        show: impl Fn(R) -> T,
    ) -> Self {
        let most = limit.0 as usize;
        let more = rows.len() > most;
        rows.truncate(most);
        let next = rows.last().filter(|_| more).map(|last| Cursor::to_text(&key(last)));
        Self { items: rows.into_iter().map(show).collect(), next }
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
