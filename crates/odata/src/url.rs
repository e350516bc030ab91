use crate::entity_id::{is_identifier, parse_guid};
use crate::query::decode;
use crate::{EntityId, MAX_URL, ParseError, Query};

/// The URL of a request, below the service root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub resource: Resource,
    pub query: Query,
}

/// The resource named by a path. Whether the set exists is not checked here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Service,
    Collection(String),
    Count(String),
    Entity(EntityId),
}

impl Url {
    /// `path` is the text after the service root and its `/`, `query` the text after `?`, both as received.
    pub fn parse(path: &str, query: &str) -> Result<Self, ParseError> {
        if path.len() + query.len() > MAX_URL {
            return Err(ParseError::TooLong);
        }
        Ok(Self { resource: Resource::parse(path)?, query: Query::parse(query)? })
    }
}

impl Resource {
    fn parse(path: &str) -> Result<Self, ParseError> {
        let mut segments = path.split('/');
        let first = decode(segments.next().unwrap_or_default(), PLACE)?;
        let second = segments.next().map(|segment| decode(segment, PLACE)).transpose()?;
        if segments.next().is_some() {
            return Err(ParseError::Unsupported("a longer path".to_owned()));
        }
        if first.is_empty() && second.is_none() {
            return Ok(Self::Service);
        }
        if first.starts_with('$') {
            return Err(ParseError::Unsupported(first));
        }
        let target = Self::target(&first)?;
        match (target, second) {
            (target, None) => Ok(target),
            (Self::Collection(set), Some(second)) if second.eq_ignore_ascii_case("$count") => Ok(Self::Count(set)),
            (_, Some(second)) if second.is_empty() => Err(syntax("no '/' at the end")),
            (_, Some(second)) => Err(ParseError::Unsupported(second)),
        }
    }

    /// `Set` or `Set(guid)`.
    fn target(segment: &str) -> Result<Self, ParseError> {
        let (name, arguments) = match segment.split_once('(') {
            Some((name, rest)) => (name, Some(rest.strip_suffix(')').ok_or(syntax("')'"))?)),
            None => (segment, None),
        };
        if !is_identifier(name) {
            return Err(syntax("a set's name"));
        }
        let set = name.to_owned();
        match arguments {
            None => Ok(Self::Collection(set)),
            Some(key) if let Some(key) = parse_guid(key.trim()) => Ok(Self::Entity(EntityId { set, key })),
            Some(call) if call.is_empty() || call.contains('=') => Err(ParseError::Unsupported(format!("{name}(…)"))),
            Some(_) => Err(syntax("a GUID as key")),
        }
    }
}

const PLACE: &str = "path";

const fn syntax(expected: &'static str) -> ParseError {
    ParseError::Syntax { place: PLACE, at: 0, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "c0000000-0000-4000-8000-000000001001";

    #[test]
    fn a_path_names_the_service_a_set_its_count_or_an_entity() {
        let entity = Resource::Entity(EntityId { set: "A".to_owned(), key: KEY.parse().expect("a guid") });
        for (path, resource) in [
            (String::new(), Resource::Service),
            ("A_B".to_owned(), Resource::Collection("A_B".to_owned())),
            ("A/$count".to_owned(), Resource::Count("A".to_owned())),
            ("A/%24Count".to_owned(), Resource::Count("A".to_owned())),
            (format!("A({KEY})"), entity.clone()),
            (format!("A%28{}%29", KEY.to_uppercase()), entity),
        ] {
            assert_eq!(Resource::parse(&path), Ok(resource), "{path}");
        }
    }

    #[test]
    fn other_paths_of_odata_are_named_as_unsupported() {
        for (path, named) in [
            ("$metadata".to_owned(), "$metadata"),
            ("$batch".to_owned(), "$batch"),
            (format!("A({KEY})/Lines"), "Lines"),
            (format!("A({KEY})/$count"), "$count"),
            ("A/B".to_owned(), "B"),
            ("A/B/C".to_owned(), "a longer path"),
            ("GetVersion()".to_owned(), "GetVersion(…)"),
            ("GetEvents(name='x')".to_owned(), "GetEvents(…)"),
        ] {
            assert_eq!(Resource::parse(&path), Err(ParseError::Unsupported(named.to_owned())), "{path}");
        }
    }

    #[test]
    fn malformed_paths_are_refused() {
        for path in ["A(", "A(1)", "A('x')", "A(x", "A/", "/", "/A", "A B", "1A", "A;x", "%ff", "A%00", "(x)"] {
            assert!(matches!(Resource::parse(path), Err(ParseError::Syntax { .. })), "{path}");
        }
    }

    #[test]
    fn a_url_is_bounded() {
        let of = |length: usize| Url::parse("A", &"x".repeat(length - 1));
        assert!(of(MAX_URL).is_ok());
        assert_eq!(of(MAX_URL + 1), Err(ParseError::TooLong));
    }
}
