//! Floor 0: the supported part of `OData` 4: URLs, filters, ids and bodies. Parses text into values. Entities are not
//! known here, so names are not checked.

mod decimal;
mod entity_id;
mod entity_tag;
mod filter;
mod instant;
mod json;
mod query;
mod token;
mod url;
mod write;

pub use decimal::{Decimal, DecimalError};
pub use entity_id::EntityId;
pub use entity_tag::{EntityTags, Preconditions};
pub use filter::{Filter, Literal, Operator, Path, Term};
pub use instant::{format_instant, parse_instant};
pub use json::Json;
pub use query::{OrderBy, Query, Selected};
pub use url::{Resource, Url};
pub use write::{NextPage, ODataErrorBody, context, next_link, push_json_string};

/// Maximum length of path and query together, in bytes as received.
pub const MAX_URL: usize = 16 * 1024;

/// Why a URL or a body could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("The URL is longer than {MAX_URL} bytes.")]
    TooLong,
    /// `at` is a byte offset in the decoded text of `place`.
    #[error("{place}, position {at}: expected {expected}.")]
    Syntax { place: &'static str, at: usize, expected: &'static str },
    /// A limit of this server, not of the grammar.
    #[error("{place}: more than {limit} {unit}.")]
    TooMany { place: &'static str, limit: usize, unit: &'static str },
    #[error("The query option '{0}' is given more than once.")]
    Duplicate(String),
    #[error("The query option '{0}' is unknown.")]
    UnknownOption(String),
    /// Part of `OData` that this server does not support (`OData` Protocol 4.01 §9.3.1: 501).
    #[error("'{0}' is not supported.")]
    Unsupported(String),
}
