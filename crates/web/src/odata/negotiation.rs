//! Content negotiation (RFC 9110 §12.5) and preconditions (§13.1).

use http::header::{ACCEPT, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::entities::EntityRefusal;
use odata::{EntityTags, Preconditions, Query};

use crate::odata::{ODataRefusal, header};
use crate::request::headers;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MetadataLevel {
    None,
    Minimal,
}

/// A requested format that is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAcceptable {
    MediaType,
    FullMetadata,
    /// A level that is not in `OData` JSON Format §4.5.1.
    Metadata,
}

impl NotAcceptable {
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::MediaType => "Answers are JSON: ask for application/json.",
            Self::FullMetadata => {
                "Full metadata is not offered: ask for odata.metadata=minimal or odata.metadata=none."
            }
            Self::Metadata => "Metadata is minimal or none: ask for odata.metadata=minimal or odata.metadata=none.",
        }
    }
}

/// `OData` Protocol 4.01 §8.2.7: the client must accept version 4.0 or later.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), EntityRefusal> {
    let newest = headers.get("OData-MaxVersion").map(|version| version.to_str().unwrap_or_default());
    match newest {
        None | Some("4.0" | "4.01") => Ok(()),
        Some(_) => Err(EntityRefusal::WrongValue { member: "OData-MaxVersion".to_owned(), expected: "4.0 or 4.01" }),
    }
}

/// `$format` has precedence over `Accept` (`OData` Protocol 4.01 §11.2.12); `json` is an abbreviation.
pub(super) fn wanted(headers: &HeaderMap, query: &Query) -> Result<MetadataLevel, ODataRefusal> {
    let wanted = match query.format.as_deref().map(str::trim) {
        Some(format) if format.eq_ignore_ascii_case("json") => Ok(MetadataLevel::Minimal),
        Some(format) => metadata_of(format),
        None => accepted(headers),
    };
    wanted.map_err(ODataRefusal::NotAcceptable)
}

/// The metadata level of the first range in `Accept` that matches an available format.
fn accepted(headers: &HeaderMap) -> Result<MetadataLevel, NotAcceptable> {
    let mut ranges = headers::members(headers, ACCEPT).peekable();
    if ranges.peek().is_none_or(|range| range.is_empty()) {
        return Ok(MetadataLevel::Minimal);
    }
    let mut nearest = NotAcceptable::MediaType;
    for range in ranges {
        match metadata_of(&range) {
            Ok(metadata) => return Ok(metadata),
            Err(NotAcceptable::MediaType) => {}
            Err(near) => nearest = near,
        }
    }
    Err(nearest)
}

/// The metadata level that a media range asks for (`OData` JSON Format 4.01 §4.5). `full` is not available.
fn metadata_of(range: &str) -> Result<MetadataLevel, NotAcceptable> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    if !["*/*", "application/*", "application/json"].iter().any(|json| media.eq_ignore_ascii_case(json)) {
        return Err(NotAcceptable::MediaType);
    }
    let metadata = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("odata.metadata") || name.eq_ignore_ascii_case("metadata"));
    match metadata.map(|(_, wanted)| wanted.to_ascii_lowercase()).as_deref() {
        None | Some("minimal") => Ok(MetadataLevel::Minimal),
        Some("none") => Ok(MetadataLevel::None),
        Some("full") => Err(NotAcceptable::FullMetadata),
        Some(_) => Err(NotAcceptable::Metadata),
    }
}

/// `If-Match` and `If-None-Match` of a request for one entity. An unreadable `If-Match` is refused: without it, the
/// write would be unconditional.
pub(super) fn preconditions(headers: &HeaderMap) -> Result<Preconditions, EntityRefusal> {
    let tags = |name: HeaderName| {
        let members: Vec<_> = headers::members(headers, name).collect();
        (!members.is_empty()).then(|| EntityTags::parse(&members.join(",")))
    };
    let expected = "* or entity tags, such as W/\"3\"";
    let malformed = || EntityRefusal::WrongValue { member: "If-Match".to_owned(), expected };
    let if_match = tags(IF_MATCH).map(|tags| tags.ok_or_else(malformed)).transpose()?;
    Ok(Preconditions { if_match, if_none_match: tags(IF_NONE_MATCH).flatten() })
}

/// The version of the entity's aggregate. Weak, because it does not depend on the selection and format.
pub(super) fn entity_tag(version: i64) -> HeaderValue {
    header(&format!("W/\"{version}\""))
}
