use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::token::{Token, TokenReader};
use crate::{Filter, ParseError, Path};

/// The query options of a request, each at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub top: Option<u32>,
    pub skip: Option<u32>,
    pub count: bool,
    pub select: Option<Vec<Selected>>,
    pub orderby: Vec<OrderBy>,
    pub filter: Option<Filter>,
    pub skiptoken: Option<String>,
    pub format: Option<String>,
    /// The names of the given system options, in canonical form.
    pub given: Vec<&'static str>,
    /// Every option as received, decoded. The next link repeats them.
    pub pairs: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    All,
    Member(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    pub path: Path,
    pub descending: bool,
}

/// Options whose `$` is optional (`OData` 4.01 §5.1). The first seven are supported.
const SYSTEM: &[&str] =
    &["$top", "$skip", "$count", "$select", "$orderby", "$filter", "$skiptoken", "$expand", "$search", "$apply"];
/// Further standard options. The first is supported. Their names need `$`, because without it they are too common to
/// reserve.
const STANDARD: &[&str] = &["$format", "$compute", "$deltatoken", "$id", "$index", "$levels"];

const MAX_LIST: usize = 200;

impl Query {
    /// `raw` is the text after `?`, as received.
    pub(crate) fn parse(raw: &str) -> Result<Self, ParseError> {
        let mut query = Self::default();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode_form(name)?, decode_form(value)?);
            if let Some(system) = system_name(&name)? {
                if query.given.contains(&system) {
                    return Err(ParseError::Duplicate(system.to_owned()));
                }
                query.given.push(system);
                query.read(system, &value)?;
            }
            query.pairs.push((name, value));
        }
        Ok(query)
    }

    /// The value of a custom option. A repeated option is refused.
    pub fn custom(&self, wanted: &str) -> Result<Option<&str>, ParseError> {
        let mut values = self.pairs.iter().filter(|(name, _)| name == wanted);
        let value = values.next().map(|(_, value)| value.as_str());
        match values.next() {
            Some(_) => Err(ParseError::Duplicate(wanted.to_owned())),
            None => Ok(value),
        }
    }

    fn read(&mut self, option: &'static str, value: &str) -> Result<(), ParseError> {
        match option {
            "$top" => self.top = Some(non_negative(option, value)?),
            "$skip" => self.skip = Some(non_negative(option, value)?),
            "$count" => {
                self.count = match value.trim() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(expected(option, "true or false")),
                }
            }
            "$select" => self.select = Some(parse_select(value)?),
            "$orderby" => self.orderby = parse_orderby(value)?,
            "$filter" => self.filter = Some(Filter::parse(value)?),
            "$skiptoken" => self.skiptoken = Some(value.to_owned()),
            "$format" => self.format = Some(value.to_owned()),
            _ => return Err(ParseError::Unsupported(option.to_owned())),
        }
        Ok(())
    }
}

/// The canonical name of a system option; `None` for a custom option.
pub(crate) fn system_name(name: &str) -> Result<Option<&'static str>, ParseError> {
    let bare = name.strip_prefix('$').unwrap_or(name);
    let is = |known: &&&str| known[1..].eq_ignore_ascii_case(bare);
    match (SYSTEM.iter().find(is), name.starts_with('$')) {
        (Some(known), _) => Ok(Some(known)),
        (None, false) => Ok(None),
        // A model without a SchemaVersion annotation has only one version (Protocol 4.01 §11.2.12).
        (None, true) if bare.eq_ignore_ascii_case("schemaversion") => Ok(None),
        (None, true) => match STANDARD.iter().find(is) {
            Some(known) => Ok(Some(known)),
            None => Err(ParseError::UnknownOption(name.to_owned())),
        },
    }
}

/// Decodes a name or a value of a query string. `+` is a blank, as in a form.
fn decode_form(text: &str) -> Result<String, ParseError> {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    decode(&spaced, "query")
}

/// Percent-decodes UTF-8. U+0000 is refused: no text may contain it.
pub(crate) fn decode(text: &str, place: &'static str) -> Result<String, ParseError> {
    let decoded = percent_decode(text.as_bytes()).decode_utf8();
    match decoded {
        Ok(decoded) if !decoded.contains('\0') => Ok(decoded.into_owned()),
        _ => Err(expected(place, "UTF-8 without U+0000")),
    }
}

const fn expected(place: &'static str, expected: &'static str) -> ParseError {
    ParseError::Syntax { place, at: 0, expected }
}

/// A non-negative `Int32`.
fn non_negative(option: &'static str, value: &str) -> Result<u32, ParseError> {
    let value = value.trim();
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| value.parse::<i32>().ok().and_then(|n| u32::try_from(n).ok()))
        .flatten()
        .ok_or(expected(option, "a number from 0 to 2147483647"))
}

fn parse_select(value: &str) -> Result<Vec<Selected>, ParseError> {
    let mut tokens = TokenReader::new("$select", value)?;
    let mut selected = Vec::new();
    loop {
        if tokens.accept(&Token::Star)? {
            selected.push(Selected::All);
        } else {
            let mut path = parse_path(&mut tokens)?;
            match (path.0.pop(), path.0.is_empty()) {
                (Some(name), true) => selected.push(Selected::Member(name)),
                _ => return Err(ParseError::Unsupported("a path in $select".to_owned())),
            }
        }
        if !another(&mut tokens, "$select", selected.len())? {
            return Ok(selected);
        }
    }
}

fn parse_orderby(value: &str) -> Result<Vec<OrderBy>, ParseError> {
    let mut tokens = TokenReader::new("$orderby", value)?;
    let mut keys = Vec::new();
    loop {
        let path = parse_path(&mut tokens)?;
        let descending = tokens.accept_word(&["asc", "desc"])? == Some("desc");
        keys.push(OrderBy { path, descending });
        if !another(&mut tokens, "$orderby", keys.len())? {
            return Ok(keys);
        }
    }
}

fn parse_path(tokens: &mut TokenReader<'_>) -> Result<Path, ParseError> {
    let mut segments = Vec::new();
    loop {
        let Token::Word(name) = *tokens.peek() else {
            return Err(tokens.syntax("a member's name"));
        };
        segments.push(name.to_owned());
        tokens.take()?;
        if *tokens.peek() == Token::Open {
            return Err(ParseError::Unsupported(name.to_owned()));
        }
        if segments.len() > 8 || !tokens.accept(&Token::Slash)? {
            return Ok(Path(segments));
        }
    }
}

/// Whether a comma and another item follow.
fn another(tokens: &mut TokenReader<'_>, place: &'static str, length: usize) -> Result<bool, ParseError> {
    let more = tokens.accept(&Token::Comma)?;
    if more && length >= MAX_LIST {
        let unit = "items";
        return Err(ParseError::TooMany { place, limit: MAX_LIST, unit });
    }
    if !more {
        tokens.expect(&Token::End, "',' or the end")?;
    }
    Ok(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_decoded_by_name_and_value() {
        let plain = Query::parse("$top=10&$skip=3&$count=true&$select=A,%20b&$orderby=A+desc,B").expect("valid");
        let encoded = Query::parse("%24top=10&skip=3&COUNT=true&%24Select=A,+b&$orderBy=A%20DESC%2CB").expect("valid");
        for query in [&plain, &encoded] {
            assert_eq!((query.top, query.skip, query.count), (Some(10), Some(3), true));
            let members = ["A", "b"].map(|name| Selected::Member(name.to_owned()));
            assert_eq!(query.select.as_deref(), Some(members.as_slice()));
            let order: Vec<_> = query.orderby.iter().map(|key| (key.path.0.join("/"), key.descending)).collect();
            assert_eq!(order, [("A".to_owned(), true), ("B".to_owned(), false)]);
        }
        assert_eq!(Query::parse("$select=*").expect("valid").select, Some(vec![Selected::All]));
    }

    #[test]
    fn names_of_the_clients_own_are_kept_and_not_read() {
        let query = Query::parse("tr=1&options=skipnulls&tr=2&format=x&$schemaversion=1&&a").expect("valid");
        assert!(query.given.is_empty());
        assert_eq!(query.custom("options"), Ok(Some("skipnulls")));
        assert_eq!(query.custom("absent"), Ok(None));
        assert_eq!(query.custom("tr"), Err(ParseError::Duplicate("tr".to_owned())));
        assert_eq!(query.pairs.len(), 6);
    }

    #[test]
    fn a_format_is_read_as_it_is_written() {
        let format = |raw| Query::parse(raw).map(|query| query.format);
        assert_eq!(format("$Format=json"), Ok(Some("json".to_owned())));
        let full = "application/json;odata.metadata=minimal";
        assert_eq!(format("%24format=application/json%3Bodata.metadata=minimal"), Ok(Some(full.to_owned())));
        assert_eq!(format("format=json"), Ok(None));
    }

    #[test]
    fn unknown_unsupported_and_repeated_options_are_told_apart() {
        for (raw, problem) in [
            ("$tops=1", ParseError::UnknownOption("$tops".to_owned())),
            ("$=1", ParseError::UnknownOption("$".to_owned())),
            ("$expand=A", ParseError::Unsupported("$expand".to_owned())),
            ("search=A", ParseError::Unsupported("$search".to_owned())),
            ("$Compute=A", ParseError::Unsupported("$compute".to_owned())),
            ("$format=json&$format=json", ParseError::Duplicate("$format".to_owned())),
            ("$top=1&$top=1", ParseError::Duplicate("$top".to_owned())),
            ("$top=1&top=2", ParseError::Duplicate("$top".to_owned())),
            ("$select=A/B", ParseError::Unsupported("a path in $select".to_owned())),
            ("$orderby=length(A)", ParseError::Unsupported("length".to_owned())),
        ] {
            assert_eq!(Query::parse(raw), Err(problem), "{raw}");
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for raw in [
            "$top=",
            "$top=-1",
            "$top=%2B1",
            "$top=2147483648",
            "$top=1.5",
            "$skip=x",
            "$count=yes",
            "$select=",
            "$select=A,",
            "$select=A B",
            "$select='A'",
            "$orderby=",
            "$orderby=A up",
            "$orderby=A,,B",
            "$filter=",
            "a=%00",
            "a=%ff",
            "%ff=1",
            "$filter=A+eq+'%00'",
        ] {
            assert!(matches!(Query::parse(raw), Err(ParseError::Syntax { .. })), "{raw}");
        }
    }

    #[test]
    fn lists_are_bounded() {
        let list = |n: usize| format!("$select={}", vec!["A"; n].join(","));
        assert!(Query::parse(&list(200)).is_ok());
        assert!(matches!(Query::parse(&list(201)), Err(ParseError::TooMany { .. })));
    }
}
