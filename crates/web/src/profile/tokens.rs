//! A user's personal access tokens: the list, the form, and the value, shown once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::account::profile::ConcurrentChange;
use flows::account::tokens::OwnTokenDraft;
use flows::account::tokens::OwnTokenRefusal;
use http::{HeaderMap, StatusCode};
use model::application::API_SCOPES;
use model::reference_token::{IssueRefusal, masked};
use model::{ApplicationId, ReferenceTokenId, Timestamp, TrustedApplication};
use oauth::params::Params;
use oauth::scope::Scope;
use uuid::Uuid;

use crate::messages::Messages;
use crate::pages::profile::{DisplayTime, ProfileNotice, ProfileSection};
use crate::pages::tokens::{
    Expiry, NewTokenForm, NewTokenPage, ScopeChoice, TokenApplication, TokenCreatedPage, TokenLine, TokensPage,
};
use crate::profile::{DONE, done, frame, gone};
use crate::request::failures;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::SignedInUser;

/// In place of an id: all tokens of the user.
const ALL: &str = "all";

/// Token lifetimes in days that the form offers.
const LIFETIMES: [u32; 4] = [7, 30, 90, 365];
const USUAL_LIFETIME: u32 = 30;

/// The submitted values, shown again if the form was refused.
#[derive(Default)]
struct EnteredToken {
    description: String,
    scopes: Vec<String>,
    days: Option<u32>,
}

pub(super) async fn show(person: SignedInUser, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let said = if query == DONE {
        ProfileNotice::Done(person.context.messages().profile.saved)
    } else {
        ProfileNotice::Nothing
    };
    let params = Params::parse(query.as_bytes()).ok();
    let asked = params.as_ref().and_then(|params| params.get("for")).and_then(|id| Uuid::try_parse(id).ok());
    let shown = match asked.map(|id| application(&person, ApplicationId(id))) {
        Some(Some(application)) => Ok(form(&person, &application, &EnteredToken::default(), ProfileNotice::Nothing)),
        Some(None) => Ok(gone(&person.context)),
        None => list(&person, said).await,
    };
    shown.unwrap_or_else(|fault| failures::fault_page(&person.context, &fault))
}

/// An application for which this user may create tokens.
fn application(person: &SignedInUser, id: ApplicationId) -> Option<Arc<TrustedApplication>> {
    let all = person.context.instance.account().applications_for_tokens(&person.browser);
    all.into_iter().find(|application| application.id == id)
}

async fn list(person: &SignedInUser, said: ProfileNotice<'_>) -> Result<Response, Fault> {
    let (messages, instance) = (person.context.messages(), &person.context.instance);
    let tokens = instance.account().own_tokens(&person.browser).await?;
    let lines: Vec<TokenLine> = tokens
        .into_iter()
        .map(|own| TokenLine {
            id: own.token.id.to_string(),
            masked: masked(&own.token.tail),
            application: own.application.map(|application| application.name.clone()).unwrap_or_default(),
            scope: own.token.scope.to_string(),
            created: DisplayTime(own.token.created_at),
            expires: own.token.expires_at.map(DisplayTime),
            is_expired: !own.token.is_live(person.context.now),
            last_used: own.token.last_used_at.map(DisplayTime),
            description: own.token.description,
        })
        .collect();
    let applications = instance.account().applications_for_tokens(&person.browser);
    let applications: Vec<TokenApplication<'_>> = applications
        .iter()
        .map(|application| TokenApplication {
            id: application.id.to_string(),
            name: &application.name,
            uri: application.uri.as_str(),
        })
        .collect();
    let csrf = person.csrf();
    let frame = frame(person, ProfileSection::Tokens, &csrf).saying(said);
    Ok(render::page(
        StatusCode::OK,
        &TokensPage { messages, frame, lines: &lines, applications: &applications },
        FormTarget::Ourselves,
    ))
}

fn form(
    person: &SignedInUser,
    application: &TrustedApplication,
    entered: &EnteredToken,
    said: ProfileNotice<'_>,
) -> Response {
    let messages = person.context.messages();
    let names = API_SCOPES.into_iter().filter(|name| application.scope.contains(name));
    let scopes: Vec<ScopeChoice<'_>> = names
        .map(|name| {
            let (title, description) = messages.scopes.of(name);
            ScopeChoice { name, title, description, is_chosen: entered.scopes.iter().any(|chosen| chosen == name) }
        })
        .collect();
    let usual = entered.days.unwrap_or(USUAL_LIFETIME);
    let days = LIFETIMES.into_iter().map(Some).chain((!must_expire(person)).then_some(None));
    let expiries: Vec<Expiry> = days
        .map(|days| Expiry {
            value: days.map_or_else(|| "never".to_owned(), |days| days.to_string()),
            name: days.map_or_else(|| messages.tokens.never.to_owned(), |days| (messages.tokens.days)(days)),
            is_chosen: days == Some(usual),
        })
        .collect();
    let csrf = person.csrf();
    let id = application.id.to_string();
    let back = format!("{}?for={id}", ProfileSection::Tokens.path());
    let again = person.sign_in_again(&back);
    let page = NewTokenPage {
        messages,
        frame: frame(person, ProfileSection::Tokens, &csrf).saying(said),
        application: TokenApplication { id, name: &application.name, uri: application.uri.as_str() },
        form: person.browser.session.is_recent(person.context.now).then_some(NewTokenForm {
            description: &entered.description,
            scopes: &scopes,
            expiries: &expiries,
        }),
        sign_in_url: &again,
    };
    render::page(StatusCode::OK, &page, FormTarget::Ourselves)
}

fn must_expire(person: &SignedInUser) -> bool {
    person.context.instance.settings().reference_tokens_must_expire
}

/// Form fields: `revoke=<id>`, `revoke=all`, or those of a new token.
pub(super) async fn change(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let sent = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let changed = match sent.get("revoke") {
        Some(ALL) => revoke_all(&mut person).await,
        Some(id) => revoke(&mut person, id).await,
        None => make(&mut person, &sent).await,
    };
    changed.unwrap_or_else(|fault| failures::fault_page(&person.context, &fault))
}

async fn revoke_all(person: &mut SignedInUser) -> Result<Response, Fault> {
    let (instance, mut ctx, browser) = person.split();
    let revoked = instance.account().revoke_own_tokens(&mut ctx, browser).await?;
    match revoked {
        Ok(()) => Ok(done(ProfileSection::Tokens)),
        Err(ConcurrentChange) => {
            list(person, ProfileNotice::Refused(person.context.messages().profile.overtaken)).await
        }
    }
}

async fn revoke(person: &mut SignedInUser, id: &str) -> Result<Response, Fault> {
    let Ok(id) = Uuid::try_parse(id) else { return Ok(gone(&person.context)) };
    let (instance, mut ctx, browser) = person.split();
    let id = ReferenceTokenId(id);
    let revoked = instance.account().revoke_own_token(&mut ctx, browser, id).await?;
    Ok(match revoked {
        Ok(()) => done(ProfileSection::Tokens),
        Err(_) => gone(&person.context),
    })
}

async fn make(person: &mut SignedInUser, sent: &Params) -> Result<Response, Fault> {
    let asked = sent.get("application").and_then(|id| Uuid::try_parse(id).ok());
    let Some(application) = asked.and_then(|id| application(person, ApplicationId(id))) else {
        return Ok(gone(&person.context));
    };
    let entered = EnteredToken {
        description: sent.get("description").unwrap_or_default().to_owned(),
        scopes: sent.iter().filter(|(name, _)| *name == "scope").map(|(_, value)| value.to_owned()).collect(),
        days: sent.get("expires").and_then(|days| days.parse().ok()).filter(|days| LIFETIMES.contains(days)),
    };
    let messages = person.context.messages();
    let never = sent.get("expires") == Some("never");
    let (Ok(scope), true) = (Scope::parse(&entered.scopes.join(" ")), never || entered.days.is_some()) else {
        return Ok(form(person, &application, &entered, ProfileNotice::Refused(messages.tokens.incomplete)));
    };
    let draft = OwnTokenDraft {
        application: application.id,
        description: &entered.description,
        scope: &scope,
        expires_at: entered.days.map(|days| after(person.context.now, days)),
    };
    let (instance, mut ctx, browser) = person.split();
    let issued = instance.account().issue_own_token(&mut ctx, browser, &draft).await?;
    Ok(match issued {
        Ok((token, value)) => {
            let csrf = person.csrf();
            let page = TokenCreatedPage {
                messages,
                frame: frame(person, ProfileSection::Tokens, &csrf),
                value: value.expose(),
                description: &token.description,
                expires: token.expires_at.map(DisplayTime),
                call: &format!("{}Crm_Customers?$top=1", person.context.instance.info.service_root),
            };
            render::page(StatusCode::CREATED, &page, FormTarget::Ourselves)
        }
        Err(refusal) => form(person, &application, &entered, ProfileNotice::Refused(text(&refusal, messages))),
    })
}

fn after(now: Timestamp, days: u32) -> Timestamp {
    now.plus(Duration::from_hours(24) * days)
}

fn text(refusal: &OwnTokenRefusal, messages: &'static Messages) -> &'static str {
    let messages = &messages.tokens;
    match refusal {
        OwnTokenRefusal::NotLately => messages.not_lately,
        OwnTokenRefusal::TooMany => messages.too_many,
        OwnTokenRefusal::SignedOut => messages.signed_out,
        OwnTokenRefusal::UnknownApplication => messages.not_allowed,
        OwnTokenRefusal::Rule(rule) => match rule {
            IssueRefusal::NoScope => messages.no_scope,
            IssueRefusal::NoDescription => messages.no_description,
            IssueRefusal::ExpiryRequired | IssueRefusal::AlreadyExpired => messages.must_expire,
            IssueRefusal::PolicyForbids
            | IssueRefusal::AdministratorsOnly
            | IssueRefusal::NoSystemUser
            | IssueRefusal::WrongKindOfUser
            | IssueRefusal::ScopeNotAllowed(_) => messages.not_allowed,
        },
    }
}
