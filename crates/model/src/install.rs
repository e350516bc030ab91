//! Install links (`identity.md` §3.8): the vendor of an application describes its registration in a URL.

use oauth::client::ClientId;
use oauth::params::Params;

use crate::addresses::single_addresses;
use crate::application::MANAGE_SCOPE;
use crate::application::record::{ApplicationRecord, RecordAccessTokens, RecordClientType, address_problems};
use crate::line::{LINE_RULE, is_line};

/// The registration that an install link requests.
#[derive(Clone, Debug)]
pub struct InstallRequest {
    pub record: ApplicationRecord,
}

/// Reads a parameter that has one of these values, in any case.
fn one_of<T: Copy>(params: &Params, name: &str, known: &[(&str, T)], problems: &mut Vec<String>) -> Option<T> {
    let text = params.get(name)?;
    let found = known.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
    if found.is_none() {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        problems.push(format!("{name}: must be one of {}", words.join(", ")));
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Impersonate {
    None,
    Internal,
    All,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    None,
    ClientCredentials,
    ReferenceToken,
}

impl InstallRequest {
    /// Parses the link, or returns everything that is wrong with it.
    pub fn parse(params: &Params) -> Result<Self, Vec<String>> {
        const FLAG: [(&str, bool); 4] = [("true", true), ("1", true), ("false", false), ("0", false)];
        let mut problems: Vec<String> =
            params.repeated().map(|name| format!("{name}: must not be repeated")).into_iter().collect();
        let uri = params.get("applicationUri").unwrap_or_default();
        if uri.is_empty() {
            problems.push("applicationUri: required".to_owned());
        } else if let Err(error) = uri.parse::<ClientId>() {
            problems.push(format!("applicationUri: {error}"));
        }
        let client_types = [("Public", RecordClientType::Public), ("Confidential", RecordClientType::Confidential)];
        let client_type = one_of(params, "clientType", &client_types, &mut problems);
        let impersonations =
            [("none", Impersonate::None), ("internal", Impersonate::Internal), ("all", Impersonate::All)];
        let impersonate = one_of(params, "impersonate", &impersonations, &mut problems);
        let services = [
            ("none", Service::None),
            ("clientCredentials", Service::ClientCredentials),
            ("referenceToken", Service::ReferenceToken),
        ];
        let service = one_of(params, "serviceAccess", &services, &mut problems).unwrap_or(Service::None);
        let policies = [
            ("none", RecordAccessTokens::None),
            ("authenticatedUsers", RecordAccessTokens::AuthenticatedUsers),
            ("administratorsOnly", RecordAccessTokens::AdministratorsOnly),
        ];
        let policy = one_of(params, "referenceTokens", &policies, &mut problems).unwrap_or_default();
        let asks_for_secret = one_of(params, "requestSecret", &FLAG, &mut problems).unwrap_or_default();
        let client_type = client_type.unwrap_or(RecordClientType::Confidential);
        let name = params.get("applicationName").unwrap_or(uri);
        if !uri.is_empty() && !is_line(name, 200) {
            problems.push(format!("applicationName: must be 1 to 200 characters {LINE_RULE}"));
        }
        let redirect_uri = params.get("redirectUri");
        let redirect_uris = single_addresses(redirect_uri.map(str::to_owned).as_slice());
        problems.extend(address_problems("redirectUri", &redirect_uris));
        let impersonate =
            impersonate.unwrap_or(if redirect_uri.is_some() { Impersonate::Internal } else { Impersonate::None });
        if client_type == RecordClientType::Public {
            problems.extend(wrong_with_public(redirect_uri, impersonate, service, asks_for_secret));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let record = ApplicationRecord {
            application_uri: uri.to_owned(),
            name: name.to_owned(),
            impersonate_login_url: redirect_uris,
            impersonate_as_internal_user_allowed: impersonate != Impersonate::None,
            impersonate_as_community_user_allowed: impersonate == Impersonate::All,
            system_user_allowed: service != Service::None,
            scope: params.get("scope").unwrap_or("read").to_owned(),
            // A service token is a reference token, so at least administrators must be able to issue it.
            access_tokens: match (service, policy) {
                (Service::ReferenceToken, RecordAccessTokens::None) => RecordAccessTokens::AdministratorsOnly,
                (_, policy) => policy,
            },
            ..ApplicationRecord::blank(client_type)
        };
        Ok(Self { record })
    }

    /// A description of the registration for readers.
    pub fn in_words(&self) -> Vec<String> {
        let record = &self.record;
        let mut words = Vec::new();
        words.push(match record.client_type {
            RecordClientType::Public => "It is a Public application without a secret.".to_owned(),
            _ => "It is a Confidential application. Its secret is shown once after registration.".to_owned(),
        });
        words.push(match (record.impersonate_as_internal_user_allowed, record.impersonate_as_community_user_allowed) {
            (false, _) => "It does not sign users in.".to_owned(),
            (true, false) => "It can sign in internal users and act on their behalf.".to_owned(),
            (true, true) => "It can sign in all users, including community users, and act on their behalf.".to_owned(),
        });
        if !record.impersonate_login_url.is_empty() {
            let uris = record.impersonate_login_url.join(" or ");
            words.push(format!(
                "After sign-in, users are redirected to {uris} with a code that lets it act on their behalf."
            ));
        }
        if record.system_user_allowed {
            words.push("It can call the APIs on its own, as the System User you choose.".to_owned());
        }
        words.extend(match record.access_tokens {
            RecordAccessTokens::None => None,
            RecordAccessTokens::AdministratorsOnly => {
                Some("Administrators can issue reference tokens (API keys) for it.".to_owned())
            }
            RecordAccessTokens::AuthenticatedUsers => {
                Some("Any signed-in user can create personal access tokens for it.".to_owned())
            }
        });
        words.push(format!("Maximum scope on the APIs: {}.", record.scope));
        if record.scope.split(' ').any(|scope| scope == MANAGE_SCOPE) {
            words.push(
                "With the scope manage, it can do everything in the instance manager on behalf of any administrator who consents.".to_owned(),
            );
        }
        words
    }
}

fn wrong_with_public(
    redirect_uri: Option<&str>,
    impersonate: Impersonate,
    service: Service,
    asks_for_secret: bool,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut say = |when: bool, problem: &str| problems.extend(when.then(|| problem.to_owned()));
    say(redirect_uri.is_none(), "redirectUri: required for a Public application");
    say(impersonate == Impersonate::None, "impersonate: must be internal or all for a Public application");
    say(asks_for_secret, "requestSecret: a Public application has no secret");
    say(service != Service::None, "serviceAccess: must be none for a Public application, which cannot authenticate");
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<InstallRequest, String> {
        let params = Params::parse(query.as_bytes()).expect("it is readable");
        InstallRequest::parse(&params).map_err(|problems| problems.join("; "))
    }

    #[test]
    fn a_link_says_what_is_registered() {
        let all = "applicationUri=vendor.app&applicationName=Vendor&clientType=confidential&redirectUri=https://a.example/cb\
                   &impersonate=ALL&requestSecret=true&serviceAccess=referenceToken&scope=read%20update";
        let record = parse(all).expect("a good link").record;
        assert_eq!((record.application_uri.as_str(), record.name.as_str()), ("vendor.app", "Vendor"));
        assert_eq!(record.client_type, RecordClientType::Confidential);
        assert!(record.impersonate_as_community_user_allowed && record.system_user_allowed);
        assert_eq!(record.access_tokens, RecordAccessTokens::AdministratorsOnly, "or nobody could issue the token");
        assert_eq!(record.scope, "read update");
        let least = parse("applicationUri=x").expect("a good link").record;
        assert!(!least.impersonate_as_internal_user_allowed && !least.system_user_allowed);
        assert_eq!((least.name.as_str(), least.scope.as_str()), ("x", "read"));
    }

    #[test]
    fn a_link_may_name_several_addresses() {
        let link = parse("applicationUri=x&clientType=Public&redirectUri=https://a.example/cb,http://127.0.0.1/");
        let link = link.expect("a good link");
        assert_eq!(link.record.impersonate_login_url, ["https://a.example/cb", "http://127.0.0.1/"]);
        let words = link.in_words().join(" ");
        assert!(words.contains("redirected to https://a.example/cb or http://127.0.0.1/ with a code"), "{words}");
    }

    #[test]
    fn what_may_administer_says_so() {
        let says = |scope| {
            let words = parse(&format!("applicationUri=x&scope={scope}")).expect("a good link").in_words();
            words.iter().any(|line| line.contains("do everything in the instance manager"))
        };
        assert!(says("manage") && says("read%20manage"));
        assert!(!says("read%20update"));
    }

    #[test]
    fn a_link_that_cannot_be_followed_says_why() {
        let public = "applicationUri=x&clientType=Public&redirectUri=https://a.example/cb&impersonate=internal";
        assert!(parse(public).is_ok());
        for (query, problem) in [
            ("applicationName=x", "applicationUri"),
            ("applicationUri=x&clientType=Public&impersonate=internal", "redirectUri"),
            ("applicationUri=x&clientType=Public&redirectUri=/cb&impersonate=internal", "redirectUri"),
            ("applicationUri=x&clientType=Public&redirectUri=https://a.example/&impersonate=none", "impersonate"),
            (&format!("{public}&requestSecret=true"), "requestSecret"),
            (&format!("{public}&serviceAccess=clientCredentials"), "serviceAccess"),
            ("applicationUri=x&clientType=Secret", "clientType"),
            ("applicationUri=x&impersonate=some", "impersonate"),
            ("applicationUri=x&serviceAccess=yes", "serviceAccess"),
            ("applicationUri=x&referenceTokens=all", "referenceTokens"),
            ("applicationUri=x&requestSecret=maybe", "requestSecret"),
            (
                "applicationUri=x&redirectUri=https://a.example/,http://b.example/",
                "redirectUri: \"http://b.example/\": http",
            ),
            ("applicationUri=x&redirectUri=https://a.example/*", "redirectUri: \"https://a.example/*\""),
            ("applicationUri=x&applicationName=Pay%E2%80%AElaP", "applicationName"),
            ("applicationUri=x%E2%80%AE", "applicationUri"),
            ("applicationUri=x&applicationUri=y", "applicationUri: must not be repeated"),
        ] {
            let said = parse(query).expect_err(query);
            assert!(said.contains(problem), "{query}: {said}");
        }
    }
}
