//! The pages on which users set up two-step sign-in.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::account::two_step::{AuthenticatorOffer, TwoStepChange, TwoStepChanged, TwoStepRefusal, TwoStepState};
use flows::auth::passkeys::PasskeyAnswer;
use flows::auth::sign_in::SignInRefusal;
use http::{HeaderMap, Method, StatusCode};
use model::PasskeyId;
use model::user::Password;
use oauth::params::Params;
use oauth::secret::Presented;
use qrcode::QrCode;
use qrcode::render::svg;
use uuid::Uuid;

use crate::pages::profile::{DisplayTime, ProfileNotice, ProfileSection};
use crate::pages::two_step::{
    AuthenticatorPage, ConfirmPage, PasskeyLine, PasskeyPage, ProvePage, RecoveryCodesPage, TwoStepPage,
};
use crate::profile::{done, frame, said};
use crate::request::failures;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::SignedInUser;

pub(super) const APP: &str = "/profile/two-step/app";
pub(super) const PASSKEY: &str = "/profile/two-step/passkey";
pub(super) const CONFIRM: &str = "/profile/two-step/confirm";

fn rendered(person: &SignedInUser, done: Result<Response, Fault>) -> Response {
    done.unwrap_or_else(|fault| failures::fault_page(&person.context, &fault))
}

fn back() -> Response {
    render::redirect(&Method::GET, ProfileSection::TwoStep.path())
}

pub(super) async fn show(person: SignedInUser, RawQuery(query): RawQuery) -> Response {
    let shown = overview(&person, said(&person, query.as_deref())).await;
    rendered(&person, shown)
}

async fn overview(person: &SignedInUser, said: ProfileNotice<'_>) -> Result<Response, Fault> {
    let two_step = person.context.instance.account().two_step(&person.browser, person.context.now).await?;
    let lines: Vec<PasskeyLine<'_>> = two_step
        .passkeys
        .iter()
        .map(|passkey| PasskeyLine {
            id: passkey.id,
            name: &passkey.name,
            added: DisplayTime(passkey.created_at),
            last_used: passkey.last_used_at.map(DisplayTime),
        })
        .collect();
    let csrf = person.csrf();
    let page = TwoStepPage {
        messages: person.context.messages(),
        frame: frame(person, ProfileSection::TwoStep, &csrf).saying(said),
        is_on: two_step.is_on(),
        app_since: two_step.app_since.map(DisplayTime),
        passkeys: &lines,
        knows_passkeys: person.context.instance.auth().knows_passkeys(),
        recovery_codes_left: two_step.recovery_codes_left,
    };
    Ok(render::page(StatusCode::OK, &page, FormTarget::Ourselves))
}

pub(super) async fn show_app(mut person: SignedInUser) -> Response {
    let shown = app_page(&mut person, None, ProfileNotice::Nothing).await;
    rendered(&person, shown)
}

/// Shows a new offer, or the previous one if it is still valid.
async fn app_page(
    person: &mut SignedInUser,
    before: Option<AuthenticatorOffer>,
    said: ProfileNotice<'_>,
) -> Result<Response, Fault> {
    let two_step = person.context.instance.account().two_step(&person.browser, person.context.now).await?;
    if two_step.app_since.is_some() {
        return Ok(back());
    }
    if two_step.must_be_proved {
        return Ok(prove(person, person.context.messages().two_step.add_app, APP));
    }
    let csrf = person.csrf();
    let offer = before.unwrap_or_else(|| {
        let (instance, mut ctx, browser) = person.split();
        instance.account().offer_app(&mut ctx.moment(), browser, &csrf)
    });
    let page = AuthenticatorPage {
        messages: person.context.messages(),
        frame: frame(person, ProfileSection::TwoStep, &csrf).saying(said),
        picture: &picture(offer.uri.expose(), person.context.messages().two_step.picture),
        uri: offer.uri.expose(),
        secret: offer.secret.expose(),
        offer: offer.offer.expose(),
        is_first: !two_step.is_on(),
    };
    Ok(render::page(StatusCode::OK, &page, FormTarget::Ourselves))
}

/// Replaces a form: a user with a second factor has to sign in with it again first, then returns to the page.
fn prove(person: &SignedInUser, title: &str, back: &str) -> Response {
    let page = ProvePage {
        messages: person.context.messages(),
        frame: frame(person, ProfileSection::TwoStep, ""),
        title,
        sign_in_url: &person.sign_in_again(back),
    };
    render::page(StatusCode::OK, &page, FormTarget::Ourselves)
}

/// The QR code as one SVG path. Text and accessible name are ours.
fn picture(text: &str, name: &str) -> String {
    let code = QrCode::new(text).expect("an address of a few hundred bytes fits");
    let drawn = code.render::<svg::Color<'_>>().quiet_zone(false).min_dimensions(200, 200).build();
    let drawing = drawn.find("<svg").map_or("", |start| &drawn[start + 4..]);
    format!("<svg role=\"img\" aria-label=\"{name}\"{drawing}")
}

/// The password, which every change requires.
fn password(form: &Params) -> Presented<Password> {
    Presented::new(form.get("password").unwrap_or_default())
}

pub(super) async fn add_app(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let form = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let offer = Presented::<AuthenticatorOffer>::new(form.get("offer").unwrap_or_default());
    let change = TwoStepChange::AddApp { offer: &offer, code: form.get("code").unwrap_or_default() };
    let shown = async {
        let refusal = match commit(&mut person, change, &password(&form)).await? {
            Ok(page) => return Ok(page),
            Err(refusal) => refusal,
        };
        let before =
            person.context.instance.account().repeat_offer(&offer, &person.browser, &person.csrf(), person.context.now);
        let why = why(&person, refusal);
        app_page(&mut person, before, ProfileNotice::Refused(&why)).await
    }
    .await;
    rendered(&person, shown)
}

pub(super) async fn show_passkey(person: SignedInUser) -> Response {
    let shown = passkey_page(&person, "", ProfileNotice::Nothing).await;
    rendered(&person, shown)
}

async fn passkey_page(person: &SignedInUser, name: &str, said: ProfileNotice<'_>) -> Result<Response, Fault> {
    let (instance, csrf) = (&person.context.instance, person.csrf());
    let two_step = instance.account().two_step(&person.browser, person.context.now).await?;
    if two_step.must_be_proved {
        return Ok(prove(person, person.context.messages().two_step.add_passkey, PASSKEY));
    }
    let Some(offer) = instance.account().offer_passkey(&person.browser, &csrf, person.context.now).await? else {
        return Ok(back());
    };
    let page = PasskeyPage {
        messages: person.context.messages(),
        frame: frame(person, ProfileSection::TwoStep, &csrf).saying(said),
        options: &offer.options,
        state: &offer.state,
        name,
        is_first: !two_step.is_on(),
    };
    Ok(render::page_with_script(StatusCode::OK, &page, FormTarget::Ourselves))
}

pub(super) async fn add_passkey(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let form = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let field = |name| form.get(name).unwrap_or_default();
    let change = TwoStepChange::AddPasskey {
        answer: PasskeyAnswer { state: field("state"), credential: field("answer") },
        name: field("name"),
    };
    let shown = async {
        match commit(&mut person, change, &password(&form)).await? {
            Ok(page) => Ok(page),
            Err(refusal) => {
                let why = why(&person, refusal);
                passkey_page(&person, field("name"), ProfileNotice::Refused(&why)).await
            }
        }
    }
    .await;
    rendered(&person, shown)
}

/// The change to confirm, as the address and the form name it: `app`, `codes`, or the id of a passkey.
fn meant(what: &str) -> Option<TwoStepChange<'static>> {
    match what {
        "app" => Some(TwoStepChange::RemoveApp),
        "codes" => Some(TwoStepChange::NewRecoveryCodes),
        id => Uuid::try_parse(id).ok().map(|id| TwoStepChange::RemovePasskey(PasskeyId(id))),
    }
}

pub(super) async fn show_confirm(person: SignedInUser, RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes()).ok();
    let what = params.as_ref().and_then(|params| params.get("what")).unwrap_or_default();
    let shown = confirm_page(&person, what, ProfileNotice::Nothing).await;
    rendered(&person, shown)
}

/// The confirmation page. If the factor does not exist or belongs to another user, redirects to the two-step page.
async fn confirm_page(person: &SignedInUser, what: &str, said: ProfileNotice<'_>) -> Result<Response, Fault> {
    let two_step = person.context.instance.account().two_step(&person.browser, person.context.now).await?;
    let Some((title, meaning)) = meant(what).and_then(|change| question(person, &two_step, change)) else {
        return Ok(back());
    };
    if two_step.must_be_proved {
        return Ok(prove(person, &title, &format!("{CONFIRM}?what={what}")));
    }
    let messages = person.context.messages();
    let csrf = person.csrf();
    let page = ConfirmPage {
        messages,
        frame: frame(person, ProfileSection::TwoStep, &csrf).saying(said),
        what,
        title: &title,
        meaning: &meaning,
        button: if what == "codes" { messages.two_step.new_codes } else { messages.two_step.remove },
    };
    Ok(render::page(StatusCode::OK, &page, FormTarget::Ourselves))
}

/// The title of the confirmation page and the consequences of the change.
fn question(person: &SignedInUser, two_step: &TwoStepState, change: TwoStepChange<'_>) -> Option<(String, String)> {
    let messages = &person.context.messages().two_step;
    let is_last = two_step.passkeys.len() + usize::from(two_step.app_since.is_some()) == 1;
    let removing =
        |meaning: &str| if is_last { format!("{meaning} {}", messages.last_factor) } else { meaning.to_owned() };
    match change {
        TwoStepChange::RemoveApp => {
            two_step.app_since.map(|_| (messages.remove_app.to_owned(), removing(messages.remove_app_meaning)))
        }
        TwoStepChange::RemovePasskey(id) => {
            let passkey = two_step.passkeys.iter().find(|passkey| passkey.id == id)?;
            Some(((messages.remove_passkey)(&passkey.name), removing(messages.remove_passkey_meaning)))
        }
        TwoStepChange::NewRecoveryCodes => {
            two_step.is_on().then(|| (messages.renew_codes.to_owned(), messages.renew_codes_meaning.to_owned()))
        }
        TwoStepChange::AddApp { .. } | TwoStepChange::AddPasskey { .. } => None,
    }
}

pub(super) async fn confirm(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let form = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let what = form.get("what").unwrap_or_default();
    let Some(change) = meant(what) else { return render::redirect(&Method::POST, ProfileSection::TwoStep.path()) };
    let shown = async {
        match commit(&mut person, change, &password(&form)).await? {
            Ok(page) => Ok(page),
            Err(TwoStepRefusal::Overtaken | TwoStepRefusal::NotOn) => {
                overview(&person, ProfileNotice::Refused(person.context.messages().profile.overtaken)).await
            }
            Err(refusal) => {
                let why = why(&person, refusal);
                confirm_page(&person, what, ProfileNotice::Refused(&why)).await
            }
        }
    }
    .await;
    rendered(&person, shown)
}

/// The page with new recovery codes, if there are any; else a redirect by GET.
async fn commit(
    person: &mut SignedInUser,
    change: TwoStepChange<'_>,
    password: &Presented<Password>,
) -> Result<Result<Response, TwoStepRefusal>, Fault> {
    let csrf = person.csrf();
    let (instance, mut ctx, browser) = person.split();
    let changed = instance.account().change_two_step(&mut ctx, browser, &csrf, change, password).await?;
    let TwoStepChanged { recovery_codes, cookie } = match changed {
        Ok(changed) => changed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let response = if recovery_codes.is_empty() {
        done(ProfileSection::TwoStep)
    } else {
        let codes: Vec<&str> = recovery_codes.iter().map(Presented::expose).collect();
        let page = RecoveryCodesPage {
            messages: person.context.messages(),
            frame: frame(person, ProfileSection::TwoStep, ""),
            codes: &codes,
        };
        render::page(StatusCode::OK, &page, FormTarget::Ourselves)
    };
    let names = person.context.cookie_names();
    Ok(Ok(match cookie {
        Some(cookie) => render::with_cookie(response, &names.set(names.session, cookie.expose())),
        None => response,
    }))
}

fn why(person: &SignedInUser, refusal: TwoStepRefusal) -> String {
    let messages = person.context.messages();
    let text = match refusal {
        TwoStepRefusal::Password(SignInRefusal::Throttled(wait) | SignInRefusal::GuessesSpent(wait)) => {
            return (messages.sign_in.wait)(wait.as_secs() + 1);
        }
        TwoStepRefusal::SecondFactorNotProved => messages.two_step.prove,
        TwoStepRefusal::Password(_) => messages.two_step.wrong_password,
        TwoStepRefusal::OfferStale => messages.two_step.offer_stale,
        TwoStepRefusal::WrongCode => messages.two_step.wrong_first_code,
        TwoStepRefusal::Passkey(_) => messages.two_step.passkey_refused,
        TwoStepRefusal::PasskeyTaken => messages.two_step.known_passkey,
        TwoStepRefusal::PasskeyName => messages.two_step.passkey_name,
        TwoStepRefusal::TooManyPasskeys => messages.two_step.too_many_passkeys,
        TwoStepRefusal::NotOn | TwoStepRefusal::Overtaken => messages.profile.overtaken,
    };
    text.to_owned()
}
