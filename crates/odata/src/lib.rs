//! Floor 0: what `OData` 4 says about URLs, filters, ids and bodies, for the part of it that is served. Text in, values out:
//! no entity is known here, so no name is checked here.

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

/// Longest path and query together, bytes as they arrive.
pub const MAX_URL: usize = 16 * 1024;

/// Why a URL or a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("The URL is longer than {MAX_URL} bytes.")]
    TooLong,
    /// `at` counts bytes of the decoded text of `place`.
    #[error("{place}, position {at}: expected {expected}.")]
    Syntax { place: &'static str, at: usize, expected: &'static str },
    /// A bound of ours, not of the grammar.
    #[error("{place}: more than {limit} {unit}.")]
    TooMany { place: &'static str, limit: usize, unit: &'static str },
    #[error("The query option '{0}' is given more than once.")]
    Duplicate(String),
    #[error("The query option '{0}' is unknown.")]
    UnknownOption(String),
    /// `OData` has it, this server does not (`OData` Protocol 4.01 §9.3.1: 501).
    #[error("'{0}' is not supported.")]
    Unsupported(String),
}
