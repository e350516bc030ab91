//! What operations take from a request: every part says how it is read and how it is described.

use flows::admin::AdminRefusal;
use flows::admin::merge_patch::{MergePatch, by_name};
use flows::admin::operations::{ExpectedVersion, cursor_key};
use http::header;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::admin_api::operation::{OperationDescription, OperationInput, OperationRequest};
use crate::admin_api::problem::Problem;

/// `{id}` of the path.
pub(super) struct IdParam(pub(super) Uuid);

impl OperationInput for IdParam {
    fn read(asked: &OperationRequest) -> Result<Self, Problem> {
        uuid_at(asked, "id").map(Self)
    }

    fn describe(description: &mut OperationDescription<'_>) {
        describe_uuid(description, "id", "Id of the resource.");
    }
}

/// `{secretId}` of the path.
pub(super) struct SecretIdParam(pub(super) Uuid);

impl OperationInput for SecretIdParam {
    fn read(asked: &OperationRequest) -> Result<Self, Problem> {
        uuid_at(asked, "secretId").map(Self)
    }

    fn describe(description: &mut OperationDescription<'_>) {
        describe_uuid(description, "secretId", "Id of the secret.");
    }
}

/// `{application}` of the path.
pub(super) struct ApplicationParam(pub(super) Uuid);

impl OperationInput for ApplicationParam {
    fn read(asked: &OperationRequest) -> Result<Self, Problem> {
        uuid_at(asked, "application").map(Self)
    }

    fn describe(description: &mut OperationDescription<'_>) {
        describe_uuid(description, "application", "Id of the application.");
    }
}

fn uuid_at(asked: &OperationRequest, name: &str) -> Result<Uuid, Problem> {
    let text = asked.path.get(name).map_or("", String::as_str);
    let unknown = || Problem::NotFound(format!("{name}: no resource with this id"));
    // One spelling for one thing.
    Uuid::try_parse(text).ok().filter(|id| id.to_string() == text.to_ascii_lowercase()).ok_or_else(unknown)
}

fn describe_uuid(description: &mut OperationDescription<'_>, name: &str, told: &str) {
    describe_path(description, name, told, &json!({ "type": "string", "format": "uuid" }));
}

fn describe_path(description: &mut OperationDescription<'_>, name: &str, told: &str, schema: &Value) {
    let parameter = json!({ "name": name, "in": "path", "required": true, "description": told, "schema": schema });
    description.parameters.push(parameter);
}

/// `{reference}` of the path: 32 hexadecimal digits.
pub(super) struct ReferenceParam(pub(super) String);

impl OperationInput for ReferenceParam {
    fn read(asked: &OperationRequest) -> Result<Self, Problem> {
        let text = asked.path.get("reference").cloned().unwrap_or_default();
        let good = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let unknown = || Problem::NotFound("reference: must be 32 hexadecimal digits".to_owned());
        if good { Ok(Self(text)) } else { Err(unknown()) }
    }

    fn describe(description: &mut OperationDescription<'_>) {
        let schema = json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" });
        let told = "Reference of the refused request, as shown with the error.";
        describe_path(description, "reference", told, &schema);
    }
}

/// `{name}` of the path.
pub(super) struct NameParam(pub(super) String);

impl OperationInput for NameParam {
    fn read(asked: &OperationRequest) -> Result<Self, Problem> {
        let name = asked.path.get("name").cloned().unwrap_or_default();
        if name.contains('\0') {
            return Err(Problem::NotFound("name: no resource with this name".to_owned()));
        }
        Ok(Self(name))
    }

    fn describe(description: &mut OperationDescription<'_>) {
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 64 });
        describe_path(description, "name", "Name of the role.", &schema);
    }
}

/// The query, each parameter at most once and none that is not known.
pub(super) struct QueryParams<T>(pub(super) T);

impl<T: DeserializeOwned + JsonSchema> OperationInput for QueryParams<T> {
    fn read(asked: &OperationRequest) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(asked.query.as_bytes()).into_owned().collect();
        let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some([twice, ..]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Problem::Malformed(format!("{twice}: must not be repeated")));
        }
        if let Some((name, _)) = pairs.iter().find(|(_, value)| value.contains('\0')) {
            return Err(Problem::Malformed(format!("{name}: must not contain U+0000")));
        }
        let query = serde_urlencoded::Deserializer::new(form_urlencoded::parse(asked.query.as_bytes()));
        let read = serde_path_to_error::deserialize(query);
        read.map(Self).map_err(|error| Problem::Malformed(by_name(error.path(), error.inner())))
    }

    fn describe(description: &mut OperationDescription<'_>) {
        let schema = T::json_schema(description.schemas);
        let required = schema.get("required").cloned().unwrap_or_default();
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let needed = required.as_array().is_some_and(|names| names.iter().any(|known| known == name));
            let told = schema.get("description").cloned();
            let mut schema = schema.clone();
            never_null(&mut schema);
            let mut parameter = json!({ "name": name, "in": "query", "required": needed, "schema": schema });
            if let Some(told) = told {
                parameter["description"] = told;
            }
            description.parameters.push(parameter);
        }
    }
}

/// A parameter that is absent is absent, not null.
fn never_null(schema: &mut Value) {
    if let Some(members) = schema.as_object_mut() {
        members.remove("description");
        members.remove("default");
        if let Some(kinds) = members.get_mut("type").filter(|kinds| kinds.is_array()) {
            let first = kinds.as_array().and_then(|kinds| kinds.iter().find(|kind| *kind != "null")).cloned();
            *kinds = first.unwrap_or_default();
        }
        let other = members.get("anyOf").and_then(Value::as_array).and_then(|any| any.first()).cloned();
        if let Some(other) = other {
            *schema = other;
        }
    }
}

/// How many a list shows at once.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Limit(pub(super) u32);

const MOST: u32 = 200;

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
        number.map(Self).ok_or_else(|| format!("must be a whole number from 1 to {MOST}"))
    }
}

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer", "minimum": 1, "maximum": MOST,
            "description": format!("Maximum number of items per page. Defaults to {}.", Limit::default().0),
        })
    }
}

/// Where a list goes on: what the page before said under `next`. What is in it is nobody's business.
#[derive(Clone, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Cursor(pub(super) String);

impl Cursor {
    /// The id that a list of ids goes on behind.
    pub(super) fn id(&self) -> Result<Option<Uuid>, Problem> {
        if self.0.is_empty() { Ok(None) } else { Uuid::try_parse(&self.0).map(Some).map_err(|_| Self::unknown()) }
    }

    pub(super) fn unknown() -> Problem {
        Problem::Malformed("cursor: send the value of next from the previous page".to_owned())
    }
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let key = cursor_key(&text).filter(|key| text.len() <= 1024 && !key.contains('\0'));
        key.map(Self).ok_or("send the value of next from the previous page")
    }
}

impl JsonSchema for Cursor {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cursor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "maxLength": 1024,
            "description": "The value of `next` in the previous page.",
        })
    }
}

/// The page of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListRange {
    #[serde(default)]
    pub(super) limit: Limit,
    #[serde(default)]
    pub(super) cursor: Cursor,
}

/// A JSON body, with no member that is not known.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned + JsonSchema> OperationInput for JsonBody<T> {
    fn read(asked: &OperationRequest) -> Result<Self, Problem> {
        let text = json_text(asked, &["application/json"])?;
        from_json(text).map(Self)
    }

    fn describe(description: &mut OperationDescription<'_>) {
        let schema = description.schemas.subschema_for::<T>();
        let content = json!({ "application/json": { "schema": schema } });
        description.body = Some(json!({ "required": true, "content": content }));
    }
}

const MERGE_PATCH: &str = "application/merge-patch+json";

impl<T: JsonSchema> OperationInput for MergePatch<T> {
    fn read(asked: &OperationRequest) -> Result<Self, Problem> {
        let text = json_text(asked, &[MERGE_PATCH, "application/json"])?;
        from_json(text).map(Self::new)
    }

    fn describe(description: &mut OperationDescription<'_>) {
        let mut schema = T::json_schema(description.schemas);
        schema.remove("required");
        schema.insert("additionalProperties".to_owned(), false.into());
        let members = schema.get_mut("properties").and_then(Value::as_object_mut);
        for member in members.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
            member.remove("default");
        }
        let content = json!({ MERGE_PATCH: { "schema": schema } });
        description.body = Some(json!({ "required": true, "content": content }));
    }
}

fn json_text<'a>(asked: &'a OperationRequest, kinds: &[&str]) -> Result<&'a str, Problem> {
    let kind = asked.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !kinds.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Err(Problem::NotJson);
    }
    let text = std::str::from_utf8(&asked.body)
        .map_err(|_| Problem::Malformed("The request body is not UTF-8.".to_owned()))?;
    if text.contains("\\u0000") {
        return Err(Problem::invalid("U+0000", &"not allowed in text"));
    }
    Ok(text)
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| unreadable(&error))?;
    json.end().map_err(|error| Problem::Malformed(error.to_string()))?;
    Ok(read)
}

/// What is JSON and not what is asked for has been read, and cannot be kept.
fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    match error.inner().classify() {
        Category::Data => Problem::Admin(AdminRefusal::Invalid(vec![by_name(error.path(), error.inner())])),
        Category::Io | Category::Syntax | Category::Eof => Problem::Malformed(error.inner().to_string()),
    }
}

/// `If-Match` (RFC 9110 §13.1.1): which version of a record the caller has read.
impl OperationInput for ExpectedVersion {
    fn read(asked: &OperationRequest) -> Result<Self, Problem> {
        let mut lines = asked.headers.get_all(header::IF_MATCH).iter().peekable();
        if lines.peek().is_none() {
            return Err(Problem::IfMatchMissing);
        }
        let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned);
        let texts: Result<Vec<String>, _> = lines.map(text).collect();
        let all = texts.map_err(|_| Problem::Malformed("If-Match: must be a list of ETags".to_owned()))?.join(",");
        if all.trim() == "*" {
            return Ok(Self::Any);
        }
        let tags: Vec<String> = all.split(',').map(|tag| tag.trim().to_owned()).collect();
        let is_tag = |tag: &String| {
            let opaque = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            opaque.is_some_and(|opaque| !opaque.contains('"'))
        };
        if !tags.iter().all(is_tag) {
            return Err(Problem::Malformed(
                "If-Match: send the ETag exactly as received, including its quotes".to_owned(),
            ));
        }
        // Strong comparison (RFC 9110 §8.8.3.2): a weak tag is no version.
        Ok(Self::OneOf(tags.iter().filter_map(|tag| version(tag)).collect()))
    }

    fn describe(description: &mut OperationDescription<'_>) {
        description.parameters.push(json!({
            "name": "If-Match", "in": "header", "required": true,
            "description": "The `ETag` of the version you read, or `*` to change any version.",
            "schema": { "type": "string", "pattern": "^(\\*|\"[0-9a-f-]{1,40}\")$" },
        }));
        for (status, told) in
            [(412, "The resource was changed in the meantime."), (428, "The If-Match header is missing.")]
        {
            description.answers.insert(status, super::operation::problem_answer(told));
        }
    }
}

pub(super) fn entity_tag(version: i64) -> String {
    format!("\"{version}\"")
}

fn version(tag: &str) -> Option<i64> {
    let version = tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()?;
    (entity_tag(version) == tag).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_compares_strongly() {
        assert_eq!(["\"6\"", "\"-7\""].map(version), [Some(6), Some(-7)]);
        assert_eq!(["W/\"7\"", "7", "\"+7\"", "\"07\"", "\"\""].map(version), [None; 5]);
    }
}
