//! `/manage/apps/{id}/try`: runs an application's real flow, one request after another. Each request goes through the
//! same service as any client's, as the administrator's browser or the application would send it.

mod exchange;
mod flow;
mod shown;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flows::account::consents::ConsentParties;
use flows::admin::AdminRefusal;
use model::TrustedApplication;
use model::application::record::RecordClientType;
use oauth::params::Params;
use oauth::secret::{ClientSecret, Presented};

use self::flow::{Trial, TrialClient};
use crate::admin_ui::applications::{HERE, found};
use crate::admin_ui::{AdminPage, PageInterruption, PageResult, is_checked, refused};
use crate::pages::admin::{FieldInput, FormField, FormNotice, PageContent, PageForm, PageLink, PagePart, TrialStep};
use crate::request::context::AppState;

/// Lifetime of a secret made for one run, in case the run never ends.
const MAX_RUN: Duration = Duration::from_mins(10);
/// Attempts to remove the secret: other administrators may change the application at the same time.
const MAX_ATTEMPTS: usize = 8;

/// The administrator's choices for a run.
struct TrialRequest {
    signs_in: bool,
    redirect_uri: String,
    scope: String,
    secret: Option<Presented<ClientSecret>>,
    agrees: bool,
    calls: bool,
}

impl TrialRequest {
    fn usual(application: &TrustedApplication) -> Self {
        let record = application.to_record();
        let signs_in = record.impersonate_as_internal_user_allowed || record.impersonate_as_community_user_allowed;
        let scope = if signs_in { format!("openid profile {}", record.scope) } else { record.scope };
        Self {
            signs_in,
            redirect_uri: record.impersonate_login_url.into_iter().next().unwrap_or_default(),
            scope,
            secret: None,
            agrees: false,
            calls: true,
        }
    }

    fn entered(form: &Params) -> Self {
        let text = |name: &str| form.get(name).unwrap_or_default().trim();
        Self {
            signs_in: text("flow") == "code",
            redirect_uri: text("redirect_uri").to_owned(),
            scope: text("scope").to_owned(),
            secret: form.get("secret").map(str::trim).filter(|secret| !secret.is_empty()).map(Presented::new),
            agrees: is_checked(form, "agrees"),
            calls: is_checked(form, "calls"),
        }
    }
}

pub(in crate::admin_ui) async fn show(mut admin: AdminPage, Path(text): Path<String>) -> Response {
    let answer = match found(&mut admin, &text).await {
        Ok(Some(application)) => {
            Ok(page(&admin, &application, &TrialRequest::usual(&application), vec![], FormNotice::Nothing))
        }
        Ok(None) => Ok(admin.gone()),
        Err(fault) => Err(fault.into()),
    };
    admin.answer(answer)
}

fn page(
    admin: &AdminPage,
    application: &TrustedApplication,
    wanted: &TrialRequest,
    steps: Vec<TrialStep>,
    said: FormNotice,
) -> Response {
    let here = format!("{}/{}", HERE.path(), application.id);
    let record = application.to_record();
    let flows = [("code", "Sign in a user (you, in this browser)"), ("service", "Call the API as its System User")];
    let flows = flows.map(|(value, text)| (value.to_owned(), text.to_owned()));
    let uris = record.impersonate_login_url.iter().map(|uri| (uri.clone(), uri.clone()));
    let mut fields = vec![
        FormField::choice("flow", "Flow", flows, if wanted.signs_in { "code" } else { "service" }),
        FormField::choice("redirect_uri", "Redirect URI", uris, &wanted.redirect_uri),
        FormField::line("scope", "Scope", "Space-separated.", &wanted.scope),
    ];
    if record.client_type == RecordClientType::Confidential {
        let hint = "Leave empty to use a temporary secret that is removed after the run.";
        fields.push(FormField { input: FieldInput::Secret, ..FormField::line("secret", "Client secret", hint, "") });
    }
    fields.extend([
        FormField::check(
            "agrees",
            "Give consent automatically",
            "Stored as your own consent until you withdraw it in your profile",
            wanted.agrees,
        ),
        FormField::check("calls", "Call the API", "Uses a seat until the run ends", wanted.calls),
    ]);
    let form = PageForm {
        to: format!("{here}/try"),
        is_question: false,
        hidden: vec![],
        fields,
        button: "Run",
        is_grave: false,
        is_checked: false,
    };
    let mut parts = vec![PagePart::Form(form)];
    if !steps.is_empty() {
        parts.insert(0, PagePart::Heading("Run again"));
        let well = steps.iter().all(|step| step.went_well);
        let outcome = if well { "All steps succeeded." } else { "Some steps failed. They are marked below." };
        parts.splice(0..0, steps.into_iter().map(PagePart::Step));
        parts.insert(0, PagePart::Text(outcome.to_owned()));
    }
    let content = PageContent {
        name: "manage-app-try",
        title: format!("Try {}", application.name),
        lead: "Runs the flow and shows each request and response. Tokens issued here are revoked at the end."
            .to_owned(),
        is_live: false,
        links: vec![PageLink::new(here, "Back to the application")],
        parts,
    };
    admin.page(HERE, content, said)
}

pub(in crate::admin_ui) async fn run(
    mut admin: AdminPage,
    State(state): State<Arc<AppState>>,
    Path(text): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let form = match admin.form(&parts.headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let answer = ran(&mut admin, Trial::new(state, &parts), &text, &form).await;
    admin.answer(answer)
}

async fn ran(admin: &mut AdminPage, mut trial: Trial, text: &str, form: &Params) -> PageResult {
    let Some(application) = found(admin, text).await? else { return Ok(admin.gone()) };
    let mut wanted = TrialRequest::entered(form);
    let is_confidential = application.to_record().client_type == RecordClientType::Confidential;
    let made = if is_confidential && wanted.secret.is_none() {
        match lend_secret(admin, &application).await? {
            Ok((id, secret)) => {
                wanted.secret = Some(secret);
                Some(id)
            }
            Err(refusal) => return Ok(page(admin, &application, &wanted, vec![], refused(refusal))),
        }
    } else {
        None
    };
    let client = TrialClient { id: application.uri.as_str().to_owned(), secret: wanted.secret.take() };
    let [state, nonce, verifier] = [(); 3].map(|()| URL_SAFE_NO_PAD.encode(admin.person.context.rng.secret()));
    let _ended = if wanted.signs_in {
        trial.code(&client, &wanted, [&state, &nonce, &verifier]).await
    } else {
        trial.service(&client, &wanted).await
    };
    if let Some(id) = made {
        take_secret_back(admin, &application, &id).await?;
    }
    if wanted.signs_in && wanted.calls {
        let parties = ConsentParties { user: admin.person.browser.user.id, application: application.id };
        let account = admin.manager.instance().account();
        account.release_sessions(&mut admin.person.context.moment(), parties).await?;
    }
    Ok(page(admin, &application, &wanted, trial.steps, FormNotice::Nothing))
}

type Lent = (String, Presented<ClientSecret>);

/// Creates a secret for this run. When this returns, the token endpoint accepts it.
async fn lend_secret(
    admin: &mut AdminPage,
    application: &TrustedApplication,
) -> Result<Result<Lent, AdminRefusal>, PageInterruption> {
    let expires = admin.now().plus(MAX_RUN);
    let (service, mut moment) = admin.elevate()?;
    let lent = service.add_secret_to(application, ("try it", Some(expires)), &mut moment).await?;
    Ok(lent.map(|(secret, shown)| (secret.id, shown)))
}

/// Removes the secret. If other changes to the application keep winning, the secret expires instead.
async fn take_secret_back(
    admin: &mut AdminPage,
    application: &TrustedApplication,
    id: &str,
) -> Result<(), PageInterruption> {
    for _ in 0..MAX_ATTEMPTS {
        let (service, mut moment) = admin.elevate()?;
        let Ok(application) = service.application_by_id(application.id).await? else { break };
        let Err(AdminRefusal::Overtaken) = service.remove_secret(&application, id, &mut moment).await? else { break };
    }
    Ok(())
}
