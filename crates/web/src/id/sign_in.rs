//! The sign-in page, on its own or on the way to an application.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::authorize::Target;
use flows::sign_in::{Browser, SignInRefusal};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::authorize::may_continue;
use model::user::Password;
use oauth::authorize::AuthorizationRequest;
use oauth::params::Params;
use oauth::secret::Presented;

use super::authorize::{proceed, target};
use super::{form_expired, form_is_ours, form_page, malformed};
use crate::body;
use crate::pages::{Account, SignIn};
use crate::person::{RETURN, way_back};
use crate::render;
use crate::site;
use crate::visit::Visit;

/// Where the sign-in leads: to an application's request, or to a page of ours.
struct Way {
    params: Params,
    target: Option<Target>,
}

/// What the page says beyond the form.
#[derive(Default)]
struct Said<'a> {
    login: &'a str,
    error: Option<&'a str>,
    notice: Option<&'a str>,
    status: StatusCode,
}

fn way(visit: &mut Visit, query: Option<&str>) -> Result<Result<Way, Response>, Fault> {
    let params = match Params::parse(query.unwrap_or_default().as_bytes()) {
        Ok(params) => params,
        Err(error) => return Ok(Err(malformed(visit, &error.to_string()))),
    };
    if params.get("client_id").is_none() {
        return Ok(Ok(Way { params, target: None }));
    }
    let target = target(visit, &params)?;
    Ok(target.map(|target| Way { params, target: Some(target) }))
}

pub(super) async fn show(mut visit: Visit, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let done = async {
        let way = match way(&mut visit, query.as_deref())? {
            Ok(way) => way,
            Err(page) => return Ok(page),
        };
        let login = way.params.get("login_hint").unwrap_or_default();
        page(&mut visit, &headers, &way, Said { login, ..Said::default() }).await
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => render::fault_page(&visit, &fault),
    }
}

/// Who may go on by a press of a button: somebody signed in, where the application asked for no more than a choice.
async fn continuing(visit: &Visit, headers: &HeaderMap, way: &Way) -> Result<Option<Browser>, Fault> {
    let asked = way.target.as_ref().and_then(|_| AuthorizationRequest::parse(&way.params).ok());
    let Some(asked) = asked else { return Ok(None) };
    let browser = visit.browser(headers).await?;
    Ok(browser.filter(|browser| may_continue(visit.now, &asked, &browser.session)))
}

async fn page(visit: &mut Visit, headers: &HeaderMap, way: &Way, said: Said<'_>) -> Result<Response, Fault> {
    let continuing = continuing(visit, headers, way).await?;
    if let Some(browser) = &continuing {
        visit.speak_to(&browser.user);
    }
    let query = way.params.to_query();
    let action = if query.is_empty() { "/id/account/login".to_owned() } else { format!("/id/account/login?{query}") };
    let application_name = way.target.as_ref().map(|target| target.application.name.as_str());
    let form_target = way.target.as_ref().map(|target| target.redirect_uri.as_str());
    Ok(form_page(visit, headers, |visit, csrf| {
        let page = SignIn {
            words: visit.words(),
            instance_name: &visit.instance.name,
            application_name,
            action: &action,
            csrf,
            login: said.login,
            error: said.error,
            notice: said.notice,
            signed_in_as: continuing.as_ref().map(|browser| browser.user.login.as_str()),
            forgotten_url: "/id/account/forgotten",
        };
        render::page(said.status, &page, form_target)
    }))
}

pub(super) async fn submit(mut visit: Visit, headers: HeaderMap, RawQuery(query): RawQuery, body: Body) -> Response {
    let form = match body::form(&headers, body).await {
        Ok(form) => form,
        Err(error) => return malformed(&mut visit, &error.description()),
    };
    if !form_is_ours(&mut visit, &headers, form.get("csrf")) {
        return form_expired(&mut visit);
    }
    let done = async {
        let way = match way(&mut visit, query.as_deref())? {
            Ok(way) => way,
            Err(page) => return Ok(page),
        };
        if form.get("continue").is_some() {
            let browser = continuing(&visit, &headers, &way).await?;
            return match browser {
                Some(browser) => onwards(&mut visit, &way, &browser).await,
                None => Ok(form_expired(&mut visit)),
            };
        }
        sign_in(&mut visit, &headers, &way, &form).await
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => render::fault_page(&visit, &fault),
    }
}

async fn sign_in(visit: &mut Visit, headers: &HeaderMap, way: &Way, form: &Params) -> Result<Response, Fault> {
    let login = form.get("login").unwrap_or_default();
    let password = Presented::<Password>::new(form.get("password").unwrap_or_default());
    let previous = visit.browser(headers).await?;
    let (instance, visitor) = (visit.instance.clone(), visit.visitor.clone());
    let answer = instance.sign_in(&mut visit.moment(), &visitor, (login, &password), previous.as_ref()).await?;
    match answer {
        Ok((browser, cookie)) => {
            let names = visit.cookie_names();
            let response = onwards(visit, way, &browser).await?;
            Ok(render::with_cookie(response, &names.set(names.session, cookie.expose())))
        }
        Err(SignInRefusal::Throttled(wait)) => {
            let seconds = wait.as_secs() + 1;
            let notice = (visit.words().sign_in.wait)(seconds);
            let said = Said { login, notice: Some(&notice), status: StatusCode::TOO_MANY_REQUESTS, ..Said::default() };
            let mut response = page(visit, headers, way, said).await?;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            Ok(response)
        }
        Err(
            SignInRefusal::UnknownUser
            | SignInRefusal::WrongPassword
            | SignInRefusal::UserDisabled { .. }
            | SignInRefusal::NotForSignIn(_)
            | SignInRefusal::NotAdmitted(_)
            | SignInRefusal::SecondFactor,
        ) => {
            page(visit, headers, way, Said { login, error: Some(visit.words().sign_in.wrong), ..Said::default() }).await
        }
    }
}

/// To the application's next page or answer; else to the page of ours that the person came from.
async fn onwards(visit: &mut Visit, way: &Way, browser: &Browser) -> Result<Response, Fault> {
    if let Some(target) = &way.target {
        return proceed(visit, (&Method::POST, &way.params), target, (Some(browser), true)).await;
    }
    let back = way.params.get(RETURN).and_then(way_back);
    Ok(render::redirect(&Method::POST, back.unwrap_or(site::ACCOUNT)))
}

/// "You are signed in."
pub(super) async fn account(visit: Visit, headers: HeaderMap) -> Response {
    match visit.browser(&headers).await {
        Err(fault) => render::fault_page(&visit, &fault),
        Ok(None) => render::redirect(&Method::GET, "/id/account/login"),
        Ok(Some(browser)) => {
            let visit = visit.speaking_to(&browser.user);
            let sites = site::sites(&visit.instance);
            let page = Account {
                words: visit.words(),
                instance_name: &visit.instance.name,
                user_name: &browser.user.name,
                login: browser.user.login.as_str(),
                sign_out_url: "/id/connect/endsession",
                sites: &site::as_lines(&sites, site::ACCOUNT, visit.words()),
            };
            render::page(StatusCode::OK, &page, None)
        }
    }
}
