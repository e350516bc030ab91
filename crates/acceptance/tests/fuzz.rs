//! Both parsers of outside text get arbitrary input: they answer without a panic, and text that they accept
//! round-trips.

use oauth::authorize::{AuthorizationRequest, MalformedAuthorizationRequest};
use oauth::client::ClientCredentials;
use oauth::jose::UnverifiedJws;
use oauth::params::Params;
use oauth::redirect::{RedirectUri, with_params};
use oauth::scope::Scope;
use oauth::token::TokenRequest;
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that resemble a form more often than random bytes would.
fn form() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("client_id"),
        Just("redirect_uri"),
        Just("response_type"),
        Just("scope"),
        Just("state"),
        Just("prompt"),
        Just("max_age"),
        Just("code_challenge"),
        Just("code_challenge_method"),
        Just("grant_type"),
        Just("code"),
        Just("refresh_token"),
        Just("client_secret"),
        Just("code_verifier"),
    ];
    let value = prop_oneof![
        "[ -~]{0,64}",
        "(%[0-9a-fA-F]{0,2}|[a-z+&=;]){0,32}",
        Just("code".to_owned()),
        Just("authorization_code".to_owned()),
        Just("S256".to_owned()),
        "\\PC{0,32}",
    ];
    let pairs = vec((name, value).prop_map(|(name, value)| format!("{name}={value}")), 0..12);
    prop_oneof![pairs.prop_map(|pairs| pairs.join("&").into_bytes()), vec(any::<u8>(), 0..256)]
}

fn printable(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..=0x7e).contains(&byte) && byte != b'"' && byte != b'\\')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_form_is_answered(raw in form(), header in vec(any::<u8>(), 0..64)) {
        match Params::parse(&raw) {
            Err(error) => prop_assert!(printable(&error.to_string())),
            Ok(params) => {
                let again = Params::parse(params.to_query().as_bytes()).expect("what was read can be written");
                prop_assert_eq!(params.iter().collect::<Vec<_>>(), again.iter().collect::<Vec<_>>());
                if let Err(MalformedAuthorizationRequest::Parameters(malformed)) = AuthorizationRequest::parse(&params) {
                    let description = malformed.error.description;
                    prop_assert!(printable(&description), "{}", description);
                }
                if let Err(error) = TokenRequest::parse(&params) {
                    prop_assert!(printable(&error.description), "{}", error.description);
                }
                if let Err(error) = ClientCredentials::parse(Some(&header), &params) {
                    prop_assert!(printable(&error.description), "{}", error.description);
                }
            }
        }
    }

    #[test]
    fn every_token_is_answered(text in prop_oneof!["\\PC{0,200}", "[A-Za-z0-9_-]{0,80}(\\.[A-Za-z0-9_-]{0,80}){0,4}"]) {
        let _parsed = UnverifiedJws::parse(&text);
    }

    #[test]
    fn a_registered_uri_accepts_itself_and_nothing_that_is_put_before_or_behind(
        text in "(https|http|com\\.example\\.app|javascript|data)://?(localhost|127\\.0\\.0\\.1|a\\.example|\\[::1\\])(:[0-9]{1,5})?(/[a-z?=&%#@ ]{0,12})?",
        more in "[ -~]{1,8}",
    ) {
        if let Ok(uri) = RedirectUri::parse(&text) {
            prop_assert!(uri.matches(uri.as_str()).is_some());
            let (longer, before) = (format!("{}{}", uri.as_str(), more), format!("{}{}", more, uri.as_str()));
            let adds_a_port = more.starts_with(':') && uri.as_str().starts_with("http://");
            prop_assert!(uri.matches(&longer).is_none() || adds_a_port, "{longer}");
            prop_assert!(uri.matches(&before).is_none());
            let answered = with_params(uri.as_str(), &[("state", &more)]);
            prop_assert!(answered.starts_with(uri.as_str()) && !answered.contains(['\r', '\n', ' ']));
        }
    }

    #[test]
    fn a_scope_reads_back_as_written(text in "[ -~]{0,120}") {
        if let Ok(scope) = Scope::parse(&text) {
            prop_assert_eq!(Scope::parse(&scope.to_string()).expect("its own text"), scope);
        }
    }

    #[test]
    fn every_odata_url_is_answered(
        path in prop_oneof!["\\PC{0,64}", "[A-Za-z_]{1,20}(\\([0-9a-f'-]{0,40}\\))?(/\\$count)?"],
        query in prop_oneof![
            "\\PC{0,128}",
            "(\\$|%24)(top|skip|count|select|orderby|filter|skiptoken)=[ -~]{0,60}(&(\\$|%24)(top|filter)=[ -~]{0,20})?",
            "\\$filter=(contains\\([A-Za-z/]{1,8},'[a-z' ]{0,6}'\\)|[A-Za-z/]{1,8} (eq|ge|in|or) [ -~]{0,20})",
        ],
    ) {
        let _answered = odata::Url::parse(&path, &query);
    }

    #[test]
    fn every_body_is_answered(body in prop_oneof![vec(any::<u8>(), 0..200), "[\\[\\]{}:,\"a-z0-9. ]{0,120}".prop_map(String::into_bytes)]) {
        let _answered = odata::Json::parse(&body);
    }
}

#[test]
fn depth_is_bounded_before_the_stack_is() {
    let deep = "[".repeat(100_000);
    assert!(odata::Json::parse(deep.as_bytes()).is_err());
    let filter = format!("$filter={}Active eq true{}", "(".repeat(7000), ")".repeat(7000));
    assert!(odata::Url::parse("Crm_Customers", &filter).is_err());
}
