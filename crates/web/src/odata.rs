//! The Domain API's door: a request in, an answer in the documented shapes out (`domain-api.md` §2.2, §3.1–3.3, §3.9).
//! Whose request it is and whether its token reaches this far was settled before.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use flows::Fault;
use flows::domain::{self, Actor, Domain, Entity, Page};
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use model::Dice;
use model::domain::{Field, Kind, Refusal, SETS, Shape, Style, Value, check_options};
use model::why::Details;
use odata::{EntityId, ErrorBody, Json, Query, Resource, Url, context, format_instant, next_link, push_json_string};

use crate::headers;
use crate::render;

/// What of a request this door reads.
pub struct Asked<'a> {
    pub method: &'a Method,
    /// After the service root and its `/`, as it arrived.
    pub path: &'a str,
    /// After `?`, as it arrived.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// Bounded by the caller.
    pub body: &'a [u8],
    /// Absolute, from the configuration, ending with `/`.
    pub service_root: &'a str,
}

/// The scope a request needs (§4.2): whatever is no reading, is an update.
pub fn required_scope(method: &Method) -> &'static str {
    if matches!(*method, Method::GET | Method::HEAD) { "read" } else { "update" }
}

/// Answers everything below the service root; only a fault is left to the caller.
pub async fn handle(
    domain: &Domain,
    actor: Actor<'_>,
    asked: &Asked<'_>,
    dice: &mut dyn Dice,
) -> Result<Response, Fault> {
    let (url, format) = match read(asked) {
        Ok(read) => read,
        Err(refused) => return Ok(refused.response()),
    };
    let answered = match (&url.resource, asked.method) {
        (Resource::Service, _) => Ok(service_document(&url.query, format, asked.service_root)),
        (Resource::Collection(set), &Method::POST) => {
            Box::pin(create(domain, actor, (set, &url.query), asked, dice)).await
        }
        (Resource::Collection(set), _) => Box::pin(list(domain, actor, (set, &url.query), format, asked)).await,
        (Resource::Count(set), _) => Box::pin(count(domain, actor, set, &url.query)).await,
        (Resource::Entity(id), &Method::PATCH) => Box::pin(update(domain, actor, (id, &url.query), asked)).await,
        (Resource::Entity(id), &Method::DELETE) => Box::pin(delete(domain, actor, (id, &url.query))).await,
        (Resource::Entity(id), _) => Box::pin(get(domain, actor, (id, &url.query), format, asked)).await,
    }?;
    Ok(answered.unwrap_or_else(|refused| refused.response()))
}

/// An answer, or what is answered instead.
type Answered = Result<Response, Refused>;

/// A refusal of the model's, or of this door's own.
enum Refused {
    Asked(Refusal),
    Method { allowed: &'static str },
    NotAcceptable,
    MediaType,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Asked(refusal)
    }
}

impl From<odata::Problem> for Refused {
    fn from(problem: odata::Problem) -> Self {
        Self::Asked(problem.into())
    }
}

impl Refused {
    fn response(&self) -> Response {
        let own = |code, format| ErrorBody::new("NotSupportedException", code, format, Vec::new());
        let (status, body) = match self {
            Self::Asked(refusal) => (status_of(refusal), refusal.body()),
            Self::Method { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, own(2013, "The resource does not have this method."))
            }
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, own(2014, "Answers are JSON.")),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, own(2015, "Bodies are JSON.")),
        };
        let mut response = json(status, Metadata::Minimal, body.to_json());
        if let Self::Method { allowed } = self {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response.extensions_mut().insert(Told { cause: body.kind, details: self.details(body.format) });
        response
    }

    /// For the audit: never the values, which are the business's.
    fn details(&self, format: &'static str) -> Details {
        match self {
            Self::Asked(Refusal::Forbidden { set, access }) => {
                Details::new("the user's role permits it", "docs/api.md")
                    .sent("set", set)
                    .sent("access", format!("{access:?}").to_lowercase())
            }
            Self::Asked(Refusal::Unreadable(_) | Refusal::Unsupported(_)) => {
                Details::new("the API can read the URL and the body, and supports them", "docs/api.md")
            }
            Self::Asked(_) => {
                Details::new("the model allows what is asked for", "docs/api.md").expected("message", format)
            }
            Self::Method { allowed } => {
                Details::new("the resource has this method", "RFC 9110 §15.5.6").expected("method", allowed)
            }
            Self::NotAcceptable => Details::new("JSON is accepted", "RFC 9110 §15.5.7"),
            Self::MediaType => Details::new("the body is JSON", "RFC 9110 §15.5.16"),
        }
    }
}

/// What the audit is told of a refusal of the API's; it travels with the answer.
#[derive(Clone)]
pub(crate) struct Told {
    cause: &'static str,
    details: Details,
}

impl model::why::Refusal for Told {
    fn cause(&self) -> &'static str {
        self.cause
    }

    fn details(&self) -> Details {
        self.details.clone()
    }
}

/// §3.9: data errors are semantic.
const fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Unreadable(odata::Problem::TooLong) => StatusCode::URI_TOO_LONG,
        Refusal::Unreadable(_)
        | Refusal::UnknownMember { .. }
        | Refusal::OutOfPlace(_)
        | Refusal::NotFilterable { .. }
        | Refusal::NotCrossable { .. }
        | Refusal::NotOrderable { .. }
        | Refusal::WrongValue { .. }
        | Refusal::ReadOnly { .. } => StatusCode::BAD_REQUEST,
        Refusal::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        Refusal::Forbidden { .. } => StatusCode::FORBIDDEN,
        Refusal::UnknownSet(_) | Refusal::UnknownEntity(_) => StatusCode::NOT_FOUND,
        Refusal::Missing { .. }
        | Refusal::TooLong { .. }
        | Refusal::NothingThere { .. }
        | Refusal::OutOfOrder { .. }
        | Refusal::OtherCurrency { .. }
        | Refusal::Closed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::DuplicateKey { .. } | Refusal::Referenced { .. } | Refusal::OutOfDate { .. } | Refusal::Busy => {
            StatusCode::CONFLICT
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Metadata {
    None,
    Minimal,
}

/// How the answer to this request is written.
#[derive(Clone, Copy)]
struct Format {
    metadata: Metadata,
    style: Style,
}

fn read(asked: &Asked<'_>) -> Result<(Url, Format), Refused> {
    let url = Url::parse(asked.path, asked.query)?;
    let allowed = match url.resource {
        Resource::Service | Resource::Count(_) => "GET, HEAD",
        Resource::Collection(_) => "GET, HEAD, POST",
        Resource::Entity(_) => "GET, HEAD, PATCH, DELETE",
    };
    if !allowed.split(", ").any(|method| method == asked.method.as_str()) {
        return Err(Refused::Method { allowed });
    }
    check_version(asked.headers)?;
    let metadata = match url.resource {
        Resource::Count(_) => Metadata::Minimal, // plain text, whatever is accepted
        _ => accepted(asked.headers).ok_or(Refused::NotAcceptable)?,
    };
    let style = Style::of(&url.query)?;
    Ok((url, Format { metadata, style }))
}

/// `OData` Protocol 4.01 §8.2.7: an answer in 4.0 must not be too new for the client.
fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    let newest = headers.get("OData-MaxVersion").map(|version| version.to_str().unwrap_or_default());
    match newest {
        None | Some("4.0" | "4.01") => Ok(()),
        Some(_) => Err(Refusal::WrongValue { member: "OData-MaxVersion".to_owned(), expected: "4.0 or 4.01" }),
    }
}

/// The first range of `Accept` that takes JSON says how much metadata is wanted; `full` is more than there is.
fn accepted(headers: &HeaderMap) -> Option<Metadata> {
    let mut ranges = headers::members(headers, ACCEPT).peekable();
    if ranges.peek().is_none_or(|range| range.is_empty()) {
        return Some(Metadata::Minimal);
    }
    ranges.find_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next()?;
        if !["*/*", "application/*", "application/json"].iter().any(|json| media.eq_ignore_ascii_case(json)) {
            return None;
        }
        let metadata = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case("odata.metadata") || name.eq_ignore_ascii_case("metadata"));
        match metadata.map(|(_, wanted)| wanted.to_ascii_lowercase()).as_deref() {
            None | Some("minimal") => Some(Metadata::Minimal),
            Some("none") => Some(Metadata::None),
            Some(_) => None,
        }
    })
}

async fn list(
    domain: &Domain,
    actor: Actor<'_>,
    (set, query): (&str, &Query),
    format: Format,
    asked: &Asked<'_>,
) -> Result<Answered, Fault> {
    let useful = &["$top", "$skip", "$count", "$select", "$orderby", "$filter", "$skiptoken"];
    if let Err(refusal) = check_options(query, useful) {
        return Ok(Err(refusal.into()));
    }
    let page = domain.list(actor, set, query).await?;
    Ok(page.map_err(Into::into).map(|page| {
        let text = page_text(&page, query, format, asked.service_root);
        json(StatusCode::OK, format.metadata, text)
    }))
}

async fn count(domain: &Domain, actor: Actor<'_>, set: &str, query: &Query) -> Result<Answered, Fault> {
    if let Err(refusal) = check_options(query, &["$filter"]) {
        return Ok(Err(refusal.into()));
    }
    let total = domain.count(actor, set, query).await?;
    Ok(total.map_err(Into::into).map(|total| {
        let mut response = answer(StatusCode::OK, Body::from(total.to_string()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=utf-8"));
        response
    }))
}

async fn get(
    domain: &Domain,
    actor: Actor<'_>,
    (id, query): (&EntityId, &Query),
    format: Format,
    asked: &Asked<'_>,
) -> Result<Answered, Fault> {
    if let Err(refusal) = check_options(query, &["$select"]) {
        return Ok(Err(refusal.into()));
    }
    let entity = domain.get(actor, id, query).await?;
    Ok(entity.map_err(Into::into).map(|entity| {
        let text = entity_text(&entity, format, asked.service_root);
        json(StatusCode::OK, format.metadata, text)
    }))
}

async fn create(
    domain: &Domain,
    actor: Actor<'_>,
    (set, query): (&str, &Query),
    asked: &Asked<'_>,
    dice: &mut dyn Dice,
) -> Result<Answered, Fault> {
    let (body, format) = match read_write(asked, query) {
        Ok(body) => body,
        Err(refused) => return Ok(Err(refused)),
    };
    let key = dice.id(actor.now);
    let body = domain::Body { json: &body, service_root: asked.service_root };
    let entity = domain.create(actor, set, body, key).await?;
    Ok(entity.map_err(Into::into).map(|entity| {
        let location = format!("{}{}", asked.service_root, entity_id(&entity));
        let mut response = if prefers_minimal(asked.headers) {
            let mut response = empty();
            response.headers_mut().insert("OData-EntityId", header(&location));
            response.headers_mut().insert("Preference-Applied", header("return=minimal"));
            response
        } else {
            json(StatusCode::CREATED, format.metadata, entity_text(&entity, format, asked.service_root))
        };
        response.headers_mut().insert(LOCATION, header(&location));
        response
    }))
}

async fn update(
    domain: &Domain,
    actor: Actor<'_>,
    (id, query): (&EntityId, &Query),
    asked: &Asked<'_>,
) -> Result<Answered, Fault> {
    let (body, _) = match read_write(asked, query) {
        Ok(body) => body,
        Err(refused) => return Ok(Err(refused)),
    };
    let body = domain::Body { json: &body, service_root: asked.service_root };
    let done = domain.update(actor, id, body).await?;
    Ok(done.map_err(Into::into).map(|()| empty()))
}

async fn delete(domain: &Domain, actor: Actor<'_>, (id, query): (&EntityId, &Query)) -> Result<Answered, Fault> {
    if let Err(refusal) = check_options(query, &[]) {
        return Ok(Err(refusal.into()));
    }
    let done = domain.delete(actor, id).await?;
    Ok(done.map_err(Into::into).map(|()| empty()))
}

/// The body of a write, and how its answer is written.
fn read_write(asked: &Asked<'_>, query: &Query) -> Result<(Json, Format), Refused> {
    check_options(query, &[])?;
    let is_json = asked.headers.get(CONTENT_TYPE).is_none_or(|kind| {
        let kind = kind.to_str().unwrap_or_default();
        kind.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json {
        return Err(Refused::MediaType);
    }
    let metadata = accepted(asked.headers).ok_or(Refused::NotAcceptable)?;
    Ok((Json::parse(asked.body)?, Format { metadata, style: Style::of(query)? }))
}

fn prefers_minimal(headers: &HeaderMap) -> bool {
    let is_minimal = |member: &str| member.split(';').any(|preference| preference.trim() == "return=minimal");
    headers::members(headers, "Prefer").any(|member| is_minimal(&member))
}

fn answer(status: StatusCode, body: Body) -> Response {
    let mut response = render::response(status, body);
    response.headers_mut().insert(ODATA_VERSION, HeaderValue::from_static("4.0"));
    response
}

const ODATA_VERSION: HeaderName = HeaderName::from_static("odata-version");

fn json(status: StatusCode, metadata: Metadata, text: String) -> Response {
    let kind = match metadata {
        Metadata::None => {
            "application/json;odata.metadata=none;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
        }
        Metadata::Minimal => {
            "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
        }
    };
    let mut response = answer(status, Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn empty() -> Response {
    answer(StatusCode::NO_CONTENT, Body::empty())
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a configured root and an entity id are printable ASCII")
}

fn service_document(query: &Query, format: Format, root: &str) -> Answered {
    check_options(query, &[])?;
    let mut out = String::with_capacity(128 + root.len() + ENTITY_SETS.len());
    let mut object = Object::open(&mut out);
    if format.metadata == Metadata::Minimal {
        object.text("@odata.context", &[root, "$metadata"].concat());
    }
    object.name("value").push_str(&ENTITY_SETS);
    object.close();
    Ok(json(StatusCode::OK, format.metadata, out))
}

/// As the service document lists them, the same for everybody.
static ENTITY_SETS: LazyLock<String> = LazyLock::new(|| {
    let mut sets = "[".to_owned();
    for (at, entity) in SETS.iter().enumerate() {
        if at > 0 {
            sets.push(',');
        }
        let mut item = Object::open(&mut sets);
        item.text("name", entity.set);
        item.text("kind", "EntitySet");
        item.text("url", entity.set);
        item.close();
    }
    sets.push(']');
    sets
});

fn page_text(page: &Page, query: &Query, format: Format, root: &str) -> String {
    let mut out = String::with_capacity(256 + page.records.len() * 1024);
    let mut object = Object::open(&mut out);
    if format.metadata == Metadata::Minimal {
        object.text("@odata.context", &context(root, &page.set.asked, false));
    }
    if let Some(count) = page.count {
        object.name("@odata.count").push_str(&count.to_string());
    }
    if let Some(next) = page.next {
        object.text("@odata.nextLink", &next_link(root, &page.set.asked, query, next));
    }
    let rows = object.name("value");
    rows.push('[');
    for (at, record) in page.records.iter().enumerate() {
        if at > 0 {
            rows.push(',');
        }
        let mut item = Object::open(rows);
        let id = EntityId { set: page.set.asked.clone(), key: record.key };
        push_members(&mut item, &id, (&page.fields, &record.values), format);
        item.close();
    }
    rows.push(']');
    object.close();
    out
}

fn entity_id(entity: &Entity) -> EntityId {
    EntityId { set: entity.set.asked.clone(), key: entity.record.key }
}

fn entity_text(entity: &Entity, format: Format, root: &str) -> String {
    let mut out = String::with_capacity(2048);
    let mut object = Object::open(&mut out);
    if format.metadata == Metadata::Minimal {
        object.text("@odata.context", &context(root, &entity.set.asked, true));
    }
    push_members(&mut object, &entity_id(entity), (&entity.fields, &entity.record.values), format);
    object.close();
    out
}

/// Without metadata an entity has no id to show, nor has a reference that is not expanded.
fn push_members(object: &mut Object<'_>, id: &EntityId, (fields, values): (&[Field], &[Value]), format: Format) {
    if format.metadata == Metadata::Minimal {
        object.text("@odata.id", &id.to_string());
    }
    for (field, value) in fields.iter().zip(values) {
        let is_reference = matches!(field.shape, Shape::Reference(_));
        let hidden = is_reference && format.metadata == Metadata::None;
        if !hidden && (*value != Value::Null || !format.style.skip_nulls) {
            push_value(object.name(field.name), field.shape, value);
        }
    }
}

fn push_value(out: &mut String, shape: Shape, value: &Value) {
    match (value, shape) {
        (Value::Null, _) => out.push_str("null"),
        (Value::Boolean(flag), _) => out.push_str(if *flag { "true" } else { "false" }),
        (Value::Rank(rank), Shape::Attribute(Kind::Enum(of))) if let Some(name) = of.member(*rank) => {
            push_json_string(out, name);
        }
        (Value::Integer(number) | Value::Rank(number), _) => out.push_str(&number.to_string()),
        (Value::Decimal(fixed), _) => out.push_str(&fixed.to_string()),
        (Value::Instant(micros), _) => push_json_string(out, &format_instant(*micros)),
        (Value::Guid(key), Shape::Reference(set)) => {
            let mut object = Object::open(out);
            object.text("@odata.id", &EntityId { set: set.to_owned(), key: *key }.to_string());
            object.close();
        }
        (Value::Guid(key), _) => push_json_string(out, &key.to_string()),
        (Value::Text(text), _) => push_json_string(out, text),
        (Value::Names(names), _) => {
            let mut object = Object::open(out);
            for (language, text) in names {
                object.text(language, text);
            }
            object.close();
        }
        (Value::Measure { value, code }, shape) => {
            let unit = if shape == Shape::Attribute(Kind::Amount) { "Currency" } else { "Unit" };
            let mut object = Object::open(out);
            object.name("Value").push_str(&value.to_string());
            object.text(unit, code);
            object.close();
        }
    }
}

/// A JSON object being written into a buffer.
struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// The member's value goes to the buffer this gives back.
    fn name(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        push_json_string(self.out, name);
        self.out.push(':');
        self.out
    }

    fn text(&mut self, name: &str, text: &str) {
        push_json_string(self.name(name), text);
    }

    fn close(self) {
        self.out.push('}');
    }
}
