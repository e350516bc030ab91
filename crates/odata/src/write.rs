use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

use crate::Query;
use crate::query::system_name;

/// The content of `error` in an error response. `code` is a number here, although the standard has a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ODataErrorBody {
    pub message: String,
    pub code: i32,
    pub kind: &'static str,
    /// The message, with `{0}`, `{1}`, … in place of the parameters.
    pub format: &'static str,
    pub parameters: Vec<String>,
}

impl ODataErrorBody {
    /// Fills in the parameters. A placeholder without a parameter is left unchanged.
    pub fn new(kind: &'static str, code: i32, format: &'static str, parameters: Vec<String>) -> Self {
        let mut message = String::new();
        let mut rest = format;
        while let Some((before, after)) = rest.split_once('{') {
            message.push_str(before);
            let place = after.split_once('}');
            let found = place.and_then(|(index, tail)| Some((parameters.get(index.parse::<usize>().ok()?)?, tail)));
            if let Some((parameter, tail)) = found {
                message.push_str(parameter);
                rest = tail;
            } else {
                message.push('{');
                rest = after;
            }
        }
        message.push_str(rest);
        Self { message, code, kind, format, parameters }
    }

    pub fn to_json(&self) -> String {
        serde_json::json!({"error": {
            "message": self.message,
            "code": self.code,
            "type": self.kind,
            "info": null,
            "messageFormat": self.format,
            "parameters": self.parameters,
        }})
        .to_string()
    }
}

/// The start of the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextPage {
    /// Starting at this key, in key order.
    Token(Uuid),
    /// After this many rows.
    Skip(u64),
}

/// `root` is absolute and ends with `/`.
pub fn context(root: &str, set: &str, entity: bool) -> String {
    let suffix = if entity { "/$entity" } else { "" };
    format!("{root}$metadata#{set}{suffix}")
}

/// Repeats all options of `query`, with the start of the next page instead of the current one.
pub fn next_link(root: &str, set: &str, query: &Query, next: NextPage) -> String {
    let mut link = format!("{root}{set}?");
    let is_place = |name: &str| matches!(system_name(name), Ok(Some("$skip" | "$skiptoken")));
    for (name, value) in query.pairs.iter().filter(|(name, _)| !is_place(name)) {
        let (name, value) = (encode(name), encode(value));
        write!(link, "{name}={value}&").expect("a String takes every write");
    }
    match next {
        NextPage::Token(key) => write!(link, "%24skiptoken={key}"),
        NextPage::Skip(rows) => write!(link, "%24skip={rows}"),
    }
    .expect("a String takes every write");
    link
}

fn encode(text: &str) -> impl std::fmt::Display {
    const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, UNRESERVED)
}

/// Appends `text` as a JSON string, with quotes.
pub fn push_json_string(out: &mut String, text: &str) {
    // RFC 8259 §7. Most texts need no escapes.
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.reserve(text.len() + 2);
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_a_numeric_code_and_its_message_in_parts() {
        let parameters = vec!["Gen_Products".to_owned(), "{0}\"".to_owned()];
        let error = ODataErrorBody::new("DuplicateKeyException", 2129, "In '{0}': '{1}' {2} {x}.", parameters);
        assert_eq!(
            error.to_json(),
            concat!(
                r#"{"error":{"message":"In 'Gen_Products': '{0}\"' {2} {x}.","code":2129,"type":"DuplicateKeyException","#,
                r#""info":null,"messageFormat":"In '{0}': '{1}' {2} {x}.","parameters":["Gen_Products","{0}\""]}}"#
            )
        );
    }

    #[test]
    fn a_next_link_repeats_every_option_but_the_place() {
        let raw = "$top=2&$select=A,B&skip=7&%24skiptoken=x&options=skipnulls&$filter=A+eq+'%26=%2B'";
        let query = Query::parse(raw).expect("valid");
        let link = next_link("https://h/svc/", "Set", &query, NextPage::Skip(9));
        let (start, options) = link.split_once('?').expect("a query");
        assert_eq!(start, "https://h/svc/Set");
        assert_eq!(options, "%24top=2&%24select=A%2CB&options=skipnulls&%24filter=A%20eq%20%27%26%3D%2B%27&%24skip=9");
        let again = Query::parse(options).expect("our own link");
        assert_eq!((again.filter, again.select, again.skip), (query.filter, query.select, Some(9)));
        let key = Uuid::from_u128(1);
        let link = next_link("/", "S", &Query::default(), NextPage::Token(key));
        assert_eq!(link, format!("/S?%24skiptoken={key}"));
    }

    #[test]
    fn contexts_end_in_the_set_or_the_entity() {
        assert_eq!(context("https://h/", "A", false), "https://h/$metadata#A");
        assert_eq!(context("https://h/", "A", true), "https://h/$metadata#A/$entity");
    }
}
