use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use scraper::{ElementRef, Html, Selector};
use serde_json::Value;
use url::Url;

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A form with the fields as filled in on the page.
#[derive(Clone, Debug)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl Form {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The value that a browser sends for an unchanged field.
fn filled_in(field: ElementRef<'_>) -> Option<(String, String)> {
    let name = field.attr("name")?.to_owned();
    let value = match (field.value().name(), field.attr("type")) {
        ("textarea", _) => field.text().collect::<String>().trim_start_matches('\n').to_owned(),
        ("select", _) => {
            let option = |what: &str| field.select(&select(what)).next()?.attr("value").map(str::to_owned);
            option("option[selected]").or_else(|| option("option"))?
        }
        (_, Some("checkbox" | "radio")) if field.attr("checked").is_none() => return None,
        _ => field.attr("value").unwrap_or_default().to_owned(),
    };
    Some((name, value))
}

fn select(selector: &str) -> Selector {
    Selector::parse(selector).expect("a selector of the tests")
}

impl HttpAnswer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("answers are UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers are ASCII"))
    }

    pub fn location(&self) -> &str {
        self.header("location")
    }

    /// `error` of an OAuth error body.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error: {self:?}")).to_owned()
    }

    /// The status and the `error` of an OAuth error body.
    pub fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.error())
    }

    /// The page's name; empty if the answer is not a page.
    pub fn page(&self) -> String {
        if !self.header("content-type").starts_with("text/html") {
            return String::new();
        }
        let html = Html::parse_document(self.text());
        let name = html.select(&select("body")).next().and_then(|body| body.attr("data-page")).map(str::to_owned);
        name.unwrap_or_default()
    }

    /// The text of the selector's first match.
    pub fn words(&self, selector: &str) -> Option<String> {
        let html = Html::parse_document(self.text());
        let found = html.select(&select(selector)).next()?;
        Some(found.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The text of every match.
    pub fn every(&self, selector: &str) -> Vec<String> {
        let html = Html::parse_document(self.text());
        html.select(&select(selector)).map(|found| found.text().collect()).collect()
    }

    /// One attribute of every match.
    pub fn attributes(&self, selector: &str, attribute: &str) -> Vec<String> {
        let html = Html::parse_document(self.text());
        html.select(&select(selector)).filter_map(|found| found.attr(attribute)).map(str::to_owned).collect()
    }

    /// The form that has a field or button with this name.
    pub fn form(&self, with: &str) -> Form {
        self.form_with(&format!("[name=\"{with}\"]"))
    }

    /// The form that has a field with this name and value.
    pub fn form_that(&self, name: &str, value: &str) -> Form {
        self.form_with(&format!("[name=\"{name}\"][value=\"{value}\"]"))
    }

    fn form_with(&self, selector: &str) -> Form {
        let (html, inside) = (Html::parse_document(self.text()), select(selector));
        let form = html.select(&select("form")).find(|form| form.select(&inside).next().is_some());
        let form = form.unwrap_or_else(|| panic!("no form has {selector}: {}", self.text()));
        Form {
            action: form.attr("action").expect("forms say where to").to_owned(),
            fields: form.select(&select("input, select, textarea")).filter_map(filled_in).collect(),
        }
    }

    /// Whether the browser is redirected to an application.
    pub fn is_callback(&self) -> bool {
        self.status.is_redirection() && !self.location().starts_with('/')
    }

    /// The parameters of the redirect to the application.
    pub fn callback(&self) -> HashMap<String, String> {
        assert!(self.is_callback(), "no application is called back: {} {}", self.status, self.text());
        let url = Url::parse(self.location()).expect("a location is a URL");
        assert!(url.fragment().is_none(), "nothing is in the fragment: {url}");
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let count = pairs.len();
        let params: HashMap<_, _> = pairs.into_iter().collect();
        assert_eq!(params.len(), count, "no parameter comes twice: {url}");
        params
    }

    /// The parameters in the fragment of the redirect to the application.
    pub fn callback_in_fragment(&self) -> HashMap<String, String> {
        assert!(self.is_callback(), "no application is called back: {} {}", self.status, self.text());
        let url = Url::parse(self.location()).expect("a location is a URL");
        assert!(
            !url.query_pairs().any(|(name, _)| name == "code" || name == "error"),
            "nothing is in the query: {url}"
        );
        let pairs = url::form_urlencoded::parse(url.fragment().unwrap_or_default().as_bytes()).into_owned();
        pairs.collect()
    }

    /// The parameters that the browser posts to the application.
    pub fn callback_by_form(&self) -> HashMap<String, String> {
        assert_eq!(self.page(), "form-post", "{}", self.text());
        self.form("iss").fields.into_iter().collect()
    }

    /// The `error` of the redirect to the application.
    pub fn callback_error(&self) -> String {
        self.callback().remove("error").unwrap_or_else(|| panic!("no error: {}", self.location()))
    }
}
