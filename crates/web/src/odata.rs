//! The Domain API over HTTP: reads a request, writes an answer in the documented format
//! (`domain-api.md` §2.2, §3.1–3.3, §3.9). The caller and the scope of the token are checked before.

mod negotiation;
mod text;

use axum::body::Body;
use axum::response::Response;
use flows::Fault;
use flows::entities;
use flows::entities::{Actor, Entities, Entity};
use http::header::{ALLOW, CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use model::entities::{AnswerStyle, EntityRefusal, check_options};
use model::refusal::RefusalDetails;
use model::{Culture, Rng};
use odata::{EntityId, Json, ODataErrorBody, Query, Resource, Url};

use self::negotiation::{MetadataLevel, NotAcceptable, check_version, entity_tag, preconditions, wanted};
use self::text::{entity_id, entity_text, page_text, service_document};
use crate::request::headers;
use crate::request::render;

/// The parts of a request that the Domain API reads.
pub struct EntityRequest<'a> {
    pub method: &'a Method,
    /// After the service root and its `/`, not decoded.
    pub path: &'a str,
    /// After `?`, not decoded.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// Bounded by the caller.
    pub body: &'a [u8],
    /// Absolute, from the configuration, ending with `/`.
    pub service_root: &'a str,
}

/// The scope that a request needs (§4.2): `read` for reads, `update` for every other method.
pub fn required_scope(method: &Method) -> &'static str {
    if matches!(*method, Method::GET | Method::HEAD) { "read" } else { "update" }
}

/// Answers every path below the service root. Only faults are returned to the caller.
pub async fn handle(
    entities: &Entities,
    actor: Actor<'_>,
    asked: &EntityRequest<'_>,
    rng: &mut dyn Rng,
) -> Result<Response, Fault> {
    let (url, format) = match read(asked) {
        Ok(read) => read,
        Err(refused) => return Ok(refused.response()),
    };
    let answered = match (&url.resource, asked.method) {
        (Resource::Service, _) => Ok(service_document(&url.query, format, asked.service_root)),
        (Resource::Collection(set), &Method::POST) => {
            Box::pin(create(entities, actor, set, &url.query, asked, rng)).await
        }
        (Resource::Collection(set), _) => Box::pin(list(entities, actor, set, &url.query, format, asked)).await,
        (Resource::Count(set), _) => Box::pin(count(entities, actor, set, &url.query)).await,
        (Resource::Entity(id), &Method::PATCH) => Box::pin(update(entities, actor, id, &url.query, asked)).await,
        (Resource::Entity(id), &Method::DELETE) => Box::pin(delete(entities, actor, id, &url.query, asked)).await,
        (Resource::Entity(id), _) => Box::pin(get(entities, actor, id, &url.query, format, asked)).await,
    }?;
    Ok(answered.unwrap_or_else(|refused| refused.response()))
}

/// An answer, or the refusal to send instead.
type EntityResult = Result<Response, ODataRefusal>;

/// A refusal by the model or by this module.
enum ODataRefusal {
    Asked(EntityRefusal),
    Method { allowed: &'static str },
    NotAcceptable(NotAcceptable),
    MediaType,
}

impl From<EntityRefusal> for ODataRefusal {
    fn from(refusal: EntityRefusal) -> Self {
        Self::Asked(refusal)
    }
}

impl From<odata::ParseError> for ODataRefusal {
    fn from(problem: odata::ParseError) -> Self {
        Self::Asked(problem.into())
    }
}

impl ODataRefusal {
    fn response(&self) -> Response {
        let own = |code, format| ODataErrorBody::new("NotSupportedException", code, format, Vec::new());
        let (status, body) = match self {
            Self::Asked(refusal) => (status_of(refusal), refusal.body()),
            Self::Method { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, own(2013, "The resource does not support this method."))
            }
            Self::NotAcceptable(what) => (StatusCode::NOT_ACCEPTABLE, own(2014, what.message())),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                own(2015, "Send the body as JSON, with Content-Type: application/json."),
            ),
        };
        let mut response = json(status, MetadataLevel::Minimal, body.to_json());
        if let Self::Method { allowed } = self {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if let Self::Asked(EntityRefusal::Busy) = self {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(RefusalNote { cause: body.kind, details: self.details(body.format) });
        response
    }

    /// Details for the audit. They never contain values, which are business data.
    fn details(&self, format: &'static str) -> RefusalDetails {
        match self {
            Self::Asked(EntityRefusal::Forbidden { set, access }) => {
                RefusalDetails::new("the user's role permits the operation", "docs/api.md")
                    .sent("set", set)
                    .sent("access", format!("{access:?}").to_lowercase())
            }
            Self::Asked(EntityRefusal::Unreadable(_) | EntityRefusal::Unsupported(_)) => {
                RefusalDetails::new("the URL and the body are valid and supported", "docs/api.md")
            }
            Self::Asked(_) => {
                RefusalDetails::new("the data model allows the operation", "docs/api.md").expected("message", format)
            }
            Self::Method { allowed } => {
                RefusalDetails::new("the resource supports the method", "RFC 9110 §15.5.6").expected("method", allowed)
            }
            Self::NotAcceptable(what) => {
                RefusalDetails::new("the client accepts a supported format", "RFC 9110 §15.5.7")
                    .expected("format", what.message())
            }
            Self::MediaType => RefusalDetails::new("the body is JSON", "RFC 9110 §15.5.16"),
        }
    }
}

/// The audit details of a refusal. They are passed on with the answer.
#[derive(Clone)]
pub(crate) struct RefusalNote {
    cause: &'static str,
    details: RefusalDetails,
}

impl model::refusal::Refusal for RefusalNote {
    fn cause(&self) -> &'static str {
        self.cause
    }

    fn details(&self) -> RefusalDetails {
        self.details.clone()
    }
}

/// §3.9: errors in the data are semantic errors.
const fn status_of(refusal: &EntityRefusal) -> StatusCode {
    match refusal {
        EntityRefusal::Unreadable(odata::ParseError::TooLong) => StatusCode::URI_TOO_LONG,
        EntityRefusal::Unreadable(_)
        | EntityRefusal::UnknownMember { .. }
        | EntityRefusal::OutOfPlace(_)
        | EntityRefusal::NotFilterable { .. }
        | EntityRefusal::NotCrossable { .. }
        | EntityRefusal::NotOrderable { .. }
        | EntityRefusal::WrongValue { .. }
        | EntityRefusal::TooPrecise { .. } => StatusCode::BAD_REQUEST,
        EntityRefusal::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        EntityRefusal::Forbidden { .. } => StatusCode::FORBIDDEN,
        EntityRefusal::UnknownSet(_) | EntityRefusal::UnknownEntity(_) => StatusCode::NOT_FOUND,
        EntityRefusal::Missing { .. }
        | EntityRefusal::TooLong { .. }
        | EntityRefusal::NothingThere { .. }
        | EntityRefusal::OutOfOrder { .. }
        | EntityRefusal::OtherCurrency { .. }
        | EntityRefusal::OtherUnit { .. }
        | EntityRefusal::Closed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        EntityRefusal::DuplicateKey { .. }
        | EntityRefusal::Referenced { .. }
        | EntityRefusal::OutOfDate { .. }
        | EntityRefusal::Busy => StatusCode::CONFLICT,
        EntityRefusal::PreconditionFailed { .. } => StatusCode::PRECONDITION_FAILED,
    }
}

/// The format of an answer.
#[derive(Clone, Copy)]
struct AnswerFormat {
    metadata: MetadataLevel,
    style: AnswerStyle,
}

fn read(asked: &EntityRequest<'_>) -> Result<(Url, AnswerFormat), ODataRefusal> {
    let url = Url::parse(asked.path, asked.query)?;
    let allowed = match url.resource {
        Resource::Service | Resource::Count(_) => "GET, HEAD",
        Resource::Collection(_) => "GET, HEAD, POST",
        Resource::Entity(_) => "GET, HEAD, PATCH, DELETE",
    };
    if !allowed.split(", ").any(|method| method == asked.method.as_str()) {
        return Err(ODataRefusal::Method { allowed });
    }
    check_version(asked.headers)?;
    let metadata = match url.resource {
        Resource::Count(_) => MetadataLevel::Minimal, // plain text, whatever is accepted
        _ => wanted(asked.headers, &url.query)?,
    };
    let style = AnswerStyle::of(&url.query, Culture::default())?;
    Ok((url, AnswerFormat { metadata, style }))
}

async fn list(
    entities: &Entities,
    actor: Actor<'_>,
    set: &str,
    query: &Query,
    format: AnswerFormat,
    asked: &EntityRequest<'_>,
) -> Result<EntityResult, Fault> {
    let useful = &["$top", "$skip", "$count", "$select", "$orderby", "$filter", "$skiptoken"];
    if let Err(refusal) = check_options(query, useful) {
        return Ok(Err(refusal.into()));
    }
    let page = entities.list(actor, set, query).await?;
    Ok(page.map_err(Into::into).map(|page| {
        let text = page_text(&page, query, format, asked.service_root);
        json(StatusCode::OK, format.metadata, text)
    }))
}

async fn count(entities: &Entities, actor: Actor<'_>, set: &str, query: &Query) -> Result<EntityResult, Fault> {
    if let Err(refusal) = check_options(query, &["$filter"]) {
        return Ok(Err(refusal.into()));
    }
    let total = entities.count(actor, set, query).await?;
    Ok(total.map_err(Into::into).map(|total| {
        let mut response = answer(StatusCode::OK, Body::from(total.to_string()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=utf-8"));
        response
    }))
}

async fn get(
    entities: &Entities,
    actor: Actor<'_>,
    id: &EntityId,
    query: &Query,
    format: AnswerFormat,
    asked: &EntityRequest<'_>,
) -> Result<EntityResult, Fault> {
    if let Err(refusal) = check_options(query, &["$select"]) {
        return Ok(Err(refusal.into()));
    }
    let preconditions = match preconditions(asked.headers) {
        Ok(preconditions) => preconditions,
        Err(refusal) => return Ok(Err(refusal.into())),
    };
    let entity = entities.get(actor, id, query).await?;
    Ok(entity.map_err(Into::into).and_then(|entity| {
        let Entity { version: current, .. } = entity;
        let mut response = if preconditions.hold(&current.to_string()) {
            json(StatusCode::OK, format.metadata, entity_text(&entity, format, asked.service_root))
        } else if preconditions.if_none_match.is_some() && preconditions.if_match.is_none() {
            answer(StatusCode::NOT_MODIFIED, Body::empty())
        } else {
            return Err(EntityRefusal::PreconditionFailed { current }.into());
        };
        response.headers_mut().insert(ETAG, entity_tag(current));
        Ok(response)
    }))
}

async fn create(
    entities: &Entities,
    actor: Actor<'_>,
    set: &str,
    query: &Query,
    asked: &EntityRequest<'_>,
    rng: &mut dyn Rng,
) -> Result<EntityResult, Fault> {
    let (body, format) = match read_write(asked, query) {
        Ok(body) => body,
        Err(refused) => return Ok(Err(refused)),
    };
    let key = rng.id(actor.now);
    let body = entities::EntityBody { json: &body, service_root: asked.service_root };
    let entity = entities.create(actor, set, body, key).await?;
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
        response.headers_mut().insert(ETAG, entity_tag(entity.version));
        response
    }))
}

async fn update(
    entities: &Entities,
    actor: Actor<'_>,
    id: &EntityId,
    query: &Query,
    asked: &EntityRequest<'_>,
) -> Result<EntityResult, Fault> {
    let read = read_write(asked, query).and_then(|(body, _)| Ok((body, preconditions(asked.headers)?)));
    let (body, preconditions) = match read {
        Ok(read) => read,
        Err(refused) => return Ok(Err(refused)),
    };
    let body = entities::EntityBody { json: &body, service_root: asked.service_root };
    let done = entities.update(actor, id, &preconditions, body).await?;
    Ok(done.map_err(Into::into).map(|version| {
        let mut response = empty();
        response.headers_mut().insert(ETAG, entity_tag(version));
        response
    }))
}

async fn delete(
    entities: &Entities,
    actor: Actor<'_>,
    id: &EntityId,
    query: &Query,
    asked: &EntityRequest<'_>,
) -> Result<EntityResult, Fault> {
    let preconditions = match check_options(query, &[]).and_then(|()| preconditions(asked.headers)) {
        Ok(preconditions) => preconditions,
        Err(refusal) => return Ok(Err(refusal.into())),
    };
    let done = entities.delete(actor, id, &preconditions).await?;
    Ok(done.map_err(Into::into).map(|()| empty()))
}

/// Reads the body of a write and the format of its answer.
fn read_write(asked: &EntityRequest<'_>, query: &Query) -> Result<(Json, AnswerFormat), ODataRefusal> {
    check_options(query, &[])?;
    let is_json = asked.headers.get(CONTENT_TYPE).is_none_or(|kind| {
        let kind = kind.to_str().unwrap_or_default();
        kind.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json {
        return Err(ODataRefusal::MediaType);
    }
    let metadata = wanted(asked.headers, query)?;
    Ok((Json::parse(asked.body)?, AnswerFormat { metadata, style: AnswerStyle::of(query, Culture::default())? }))
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

fn json(status: StatusCode, metadata: MetadataLevel, text: String) -> Response {
    let kind = match metadata {
        MetadataLevel::None => {
            "application/json;odata.metadata=none;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
        }
        MetadataLevel::Minimal => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_found_no_turn_is_told_when_to_come_again() {
        let busy = ODataRefusal::from(EntityRefusal::Busy).response();
        assert_eq!((busy.status(), busy.headers()[RETRY_AFTER].as_bytes()), (StatusCode::CONFLICT, b"1".as_slice()));
        let stale = ODataRefusal::from(EntityRefusal::PreconditionFailed { current: 4 }).response();
        assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
        assert!(!stale.headers().contains_key(RETRY_AFTER), "the same again would fail again");
    }
}
