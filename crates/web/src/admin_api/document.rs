//! The description of the admin API: an OpenAPI 3.1 document generated from the operations' types, and the same as a
//! page.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use askama::Template;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::Language;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::admin_api::operation::problem_answer;
use crate::admin_api::operation::{Operation, OperationDescription};
use crate::admin_api::{OPERATIONS, PREFIX};
use crate::messages;
use crate::messages::Messages;
use crate::pages::{favicon, stylesheet};
use crate::request::context::PublicContext;
use crate::request::failures::ProblemBody;
use crate::request::headers;
use crate::request::headers::entity_tag;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::site::VERSION;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(&OPERATIONS));

fn document(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let _referred_to_below = schemas.subschema_for::<ProblemBody>();
    let mut paths: Map<String, Value> = Map::new();
    let mut tags: Vec<Value> = Vec::new();
    for operation in operations {
        let mut description = OperationDescription {
            schemas: &mut schemas,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
        };
        (operation.describe)(&mut description);
        let tag = json!({ "name": tag(operation) });
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        let told = described(operation, description);
        let here = paths.entry(operation.path).or_insert_with(|| json!({}));
        here[operation.method.as_str().to_ascii_lowercase()] = told;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gatehouse admin API",
            "version": VERSION,
            "summary": "Administration of an instance.",
            "description": "Every operation requires an access token with the scope `manage` that acts as an administrator \
                            of the instance. Calls open no API session and use no licence seat.",
        },
        "servers": [{ "url": PREFIX }],
        "security": [{ "token": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn tag(operation: &Operation) -> &'static str {
    operation.path.split('/').nth(1).unwrap_or_default()
}

fn described(operation: &Operation, description: OperationDescription<'_>) -> Value {
    let mut answers: Map<String, Value> =
        description.answers.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect();
    answers.insert("default".to_owned(), problem_answer("An error."));
    let mut told = json!({
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [tag(operation)],
    });
    if !description.parameters.is_empty() {
        told["parameters"] = description.parameters.into();
    }
    if let Some(body) = description.body {
        told["requestBody"] = body;
    }
    told["responses"] = answers.into();
    told
}

/// Public: the document contains nothing about the instance.
pub(super) async fn open_api(headers: HeaderMap) -> Response {
    static BYTES: LazyLock<(Bytes, HeaderValue)> = LazyLock::new(|| {
        let bytes = serde_json::to_vec(&*DOCUMENT).expect("a document is JSON");
        let tag = HeaderValue::try_from(entity_tag(&bytes)).expect("a tag is base64url in quotes");
        (bytes.into(), tag)
    });
    let (bytes, tag) = &*BYTES;
    let mut response = render::json_bytes(bytes.clone());
    if headers::has_already(&headers, tag) {
        response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response.headers_mut().insert(header::ETAG, tag.clone());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// `data-page="admin-api"`: the document as a page.
#[derive(Template)]
#[template(path = "admin-api.html")]
struct DocumentPage<'a> {
    messages: &'static Messages,
    instance_name: &'a str,
    version: &'a str,
    base: &'a str,
    groups: &'a [OperationGroup],
    schemas: &'a [(String, String)],
}

struct OperationGroup {
    name: String,
    entries: Vec<OperationEntry>,
}

struct OperationEntry {
    name: String,
    method: String,
    path: String,
    summary: String,
    parameters: Vec<Parameter>,
    body: Option<SchemaShape>,
    answers: Vec<ResponseEntry>,
}

struct Parameter {
    name: String,
    place: String,
    required: bool,
    told: String,
}

struct ResponseEntry {
    status: String,
    told: String,
    shape: Option<SchemaShape>,
}

/// A schema's name or its inline description.
struct SchemaShape {
    kind: String,
    name: Option<String>,
    text: String,
}

pub(super) async fn page(PublicContext(context): PublicContext) -> Response {
    static GROUPS: LazyLock<Vec<OperationGroup>> = LazyLock::new(|| groups(&DOCUMENT));
    static SCHEMAS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let schemas = DOCUMENT["components"]["schemas"].as_object();
        schemas.into_iter().flatten().map(|(name, schema)| (name.clone(), pretty(schema))).collect()
    });
    let page = DocumentPage {
        // The document is in English, whatever the reader's language.
        messages: messages::of(Language::English),
        instance_name: &context.instance.info.name,
        version: VERSION,
        base: PREFIX,
        groups: &GROUPS,
        schemas: &SCHEMAS,
    };
    render::page(StatusCode::OK, &page, FormTarget::Ourselves)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn groups(document: &Value) -> Vec<OperationGroup> {
    let mut groups: Vec<OperationGroup> = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, told) in methods.as_object().into_iter().flatten() {
            let name = text(&told["tags"][0]);
            let entry = entry(path, method, told);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.entries.push(entry),
                None => groups.push(OperationGroup { name, entries: vec![entry] }),
            }
        }
    }
    groups
}

fn entry(path: &str, method: &str, told: &Value) -> OperationEntry {
    let parameters = told["parameters"].as_array().into_iter().flatten().map(|parameter| Parameter {
        name: text(&parameter["name"]),
        place: text(&parameter["in"]),
        required: parameter["required"] == true,
        told: text(&parameter["description"]),
    });
    let answers = told["responses"].as_object().into_iter().flatten().map(|(status, answer)| ResponseEntry {
        status: status.clone(),
        told: text(&answer["description"]),
        shape: shape(&answer["content"]),
    });
    OperationEntry {
        name: text(&told["operationId"]),
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        summary: text(&told["summary"]),
        parameters: parameters.collect(),
        body: shape(&told["requestBody"]["content"]),
        answers: answers.collect(),
    }
}

fn shape(content: &Value) -> Option<SchemaShape> {
    let (kind, told) = content.as_object()?.iter().next()?;
    let schema = &told["schema"];
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
    Some(SchemaShape { kind: kind.clone(), name, text: pretty(schema) })
}
