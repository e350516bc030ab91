//! Two-step sign-in: setting it up, and changing or removing second factors.

use std::time::Duration;

use model::audit::{Asker, AuditEvent, AuditKind};
use model::line::is_line;
use model::seat::CloseReason;
use model::session::SessionCookie;
pub use model::two_step::TwoStepRefusal;
use model::two_step::{
    AuthenticationMethod, CodeRefusal, MAX_PASSKEY_NAME, MAX_PASSKEYS, RECOVERY_CODES, RecoveryCode, TotpSecret,
    check_factor_change, code_as_typed, recovery_code,
};
use model::user::Password;
use model::{Ctx, Moment, PasskeyId, Timestamp, User};
use oauth::secret::Presented;
use store::{Batch, Change, ChangeKind, CommitOutcome, SessionsToClose, Statement, StoredPasskey};

use crate::account::Account;
use crate::audit::AuditWriter;
use crate::auth::browser_session::SignedIn;
use crate::auth::passkeys::{Ceremony, CeremonyPurpose, PasskeyAnswer, PasskeyChallenge, RegisteredPasskey};
use crate::memory::live_sessions::close_sessions;
use crate::platform::seal::{MacPurpose, SealedSecret};
use crate::{Answer, Fault};

/// How long the offer for an authenticator app is valid.
pub const OFFER_LIFETIME: Duration = Duration::from_mins(30);

/// A passkey, as its owner sees it.
pub struct PasskeyView {
    pub id: PasskeyId,
    pub name: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// The user's second factors.
pub struct TwoStepState {
    pub app_since: Option<Timestamp>,
    pub passkeys: Vec<PasskeyView>,
    pub recovery_codes_left: usize,
    /// Changes require a new sign-in with the second factor.
    pub must_be_proved: bool,
}

impl TwoStepState {
    pub fn is_on(&self) -> bool {
        self.app_since.is_some() || !self.passkeys.is_empty()
    }
}

/// A secret for an authenticator app. It is not stored until a code proves that an app has it.
pub struct AuthenticatorOffer {
    /// The URI in the QR code.
    pub uri: Presented<AuthenticatorOffer>,
    /// The secret to type by hand, in groups of four.
    pub secret: Presented<AuthenticatorOffer>,
    /// The signed offer, sent back with the first code.
    pub offer: Presented<AuthenticatorOffer>,
}

/// A change to the user's second factors.
#[derive(Clone, Copy)]
pub enum TwoStepChange<'a> {
    AddApp { offer: &'a Presented<AuthenticatorOffer>, code: &'a str },
    RemoveApp,
    AddPasskey { answer: PasskeyAnswer<'a>, name: &'a str },
    RemovePasskey(PasskeyId),
    NewRecoveryCodes,
}

impl TwoStepChange<'_> {
    const fn what(self) -> &'static str {
        match self {
            Self::AddApp { .. } => "authenticator-app-added",
            Self::RemoveApp => "authenticator-app-removed",
            Self::AddPasskey { .. } => "passkey-added",
            Self::RemovePasskey(_) => "passkey-removed",
            Self::NewRecoveryCodes => "recovery-codes-made",
        }
    }

    /// The name of the change in the e-mail about it.
    const fn told(self) -> &'static str {
        match self {
            Self::AddApp { .. } => "An authenticator app was added",
            Self::RemoveApp => "The authenticator app was removed",
            Self::AddPasskey { .. } => "A passkey was added",
            Self::RemovePasskey(_) => "A passkey was removed",
            Self::NewRecoveryCodes => "New recovery codes were created",
        }
    }
}

/// The result of a change.
pub struct TwoStepChanged {
    /// New recovery codes, shown once. Empty if the old ones stay valid.
    pub recovery_codes: Vec<Presented<RecoveryCode>>,
    /// The new session cookie, if the change ended everything opened before.
    pub cookie: Option<Presented<SessionCookie>>,
}

/// The statements of a change, and how to interpret their guards.
struct PlannedChange {
    /// The first statement is guarded: it must be the one that makes the change.
    statements: Vec<Statement>,
    /// The authentication method that an added factor proves, together with the password in the same form.
    adds: Option<AuthenticationMethod>,
    /// The refusal if the first guard fails.
    if_guarded: TwoStepRefusal,
}

impl Account<'_> {
    pub async fn two_step(&self, browser: &SignedIn, now: Timestamp) -> Result<TwoStepState, Fault> {
        let user = browser.user.id;
        let view = |passkey: StoredPasskey| PasskeyView {
            id: passkey.id,
            name: passkey.name,
            created_at: passkey.created_at,
            last_used_at: passkey.last_used_at,
        };
        Ok(TwoStepState {
            app_since: self.memory.store.authenticator_app(user).await?.map(|app| app.created_at),
            passkeys: self.memory.store.passkeys(user).await?.into_iter().map(view).collect(),
            recovery_codes_left: self.memory.store.recovery_codes_left(user).await?,
            must_be_proved: check_factor_change(&browser.user, &browser.session, now).is_err(),
        })
    }

    pub fn offer_app(&self, moment: &mut Moment<'_>, browser: &SignedIn, form: &str) -> AuthenticatorOffer {
        let mut bytes = [0; 20];
        moment.rng.fill(&mut bytes);
        self.app_offer(&TotpSecret::new(bytes), browser, form, moment.now)
    }

    /// The same offer again, after a mistyped code.
    pub fn repeat_offer(
        &self,
        offer: &Presented<AuthenticatorOffer>,
        browser: &SignedIn,
        form: &str,
        now: Timestamp,
    ) -> Option<AuthenticatorOffer> {
        let secret = self.offered(offer, browser, form, now)?;
        Some(AuthenticatorOffer {
            offer: Presented::new(offer.expose()),
            ..self.app_offer(&secret, browser, form, now)
        })
    }

    fn app_offer(&self, secret: &TotpSecret, browser: &SignedIn, form: &str, now: Timestamp) -> AuthenticatorOffer {
        let (made_at, text) = (now.seconds().to_string(), secret.to_base32());
        let tag = self
            .memory
            .current()
            .secret
            .load()
            .sign(MacPurpose::AuthenticatorApp, &offer_parts(browser, form, &made_at, &text));
        let groups: Vec<&str> = (0..text.len()).step_by(4).filter_map(|start| text.get(start..start + 4)).collect();
        AuthenticatorOffer {
            uri: Presented::new(secret.uri(&self.info.name, browser.user.login.as_str())),
            secret: Presented::new(groups.join(" ")),
            offer: Presented::new(format!("{made_at}.{text}.{tag}")),
        }
    }

    fn offered(
        &self,
        offer: &Presented<AuthenticatorOffer>,
        browser: &SignedIn,
        form: &str,
        now: Timestamp,
    ) -> Option<TotpSecret> {
        let (made_at, rest) = offer.expose().split_once('.')?;
        let (text, tag) = rest.split_once('.')?;
        let is_fresh = now < Timestamp::from_seconds(made_at.parse().ok()?).plus(OFFER_LIFETIME);
        let is_ours = self.memory.current().secret.load().verify(
            MacPurpose::AuthenticatorApp,
            &offer_parts(browser, form, made_at, text),
            tag,
        );
        TotpSecret::from_base32(text).filter(|_| is_fresh && is_ours)
    }

    /// Options for creating a passkey in the browser. `None` if the instance's address does not support passkeys.
    pub async fn offer_passkey(
        &self,
        browser: &SignedIn,
        form: &str,
        now: Timestamp,
    ) -> Result<Option<PasskeyChallenge>, Fault> {
        let user = &browser.user;
        let known = self.memory.store.passkeys(user.id).await?;
        self.auth.registration(user, registering(browser, form), &known, now)
    }

    /// Every change requires the password, because an unattended browser must not be enough. If there is a second
    /// factor, it also requires a recent sign-in with it, because a stolen password must not be enough. Adding the
    /// first factor ends everything that was opened with the password alone, except this sign-in.
    pub async fn change_two_step(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
        form: &str,
        change: TwoStepChange<'_>,
        password: &Presented<Password>,
    ) -> Answer<TwoStepChanged, TwoStepRefusal> {
        let Some(user) = self.current_user(browser).await? else { return Ok(Err(TwoStepRefusal::Overtaken)) };
        if let Err(refusal) = check_factor_change(&user, &browser.session, ctx.now) {
            return self.refuse_change(ctx, &user, refusal);
        }
        if let Err(refusal) = self.auth.confirm_password(ctx, browser, password).await? {
            return Ok(Err(TwoStepRefusal::Password(refusal)));
        }
        let planned = match self.plan(&mut ctx.moment(), browser, form, &user, change)? {
            Ok(planned) => planned,
            Err(refusal) => return self.refuse_change(ctx, &user, refusal),
        };
        let first = planned.adds.filter(|_| !user.has_second_factor);
        let mut batch = Batch::new();
        batch.push(if first.is_some() {
            self.memory.store.raise_user_epoch(&user)
        } else {
            self.memory.store.hold_user(&user)
        });
        batch.extend(planned.statements);
        let recovery_codes = self.renew_recovery_codes(&mut ctx.moment(), &user, change, &mut batch).await?;
        let event = AuditEvent::done(ctx.now, AuditKind::TwoStepChange, ctx.request)
            .user(user.id)
            .session(browser.session.id)
            .detail(&serde_json::json!({ "what": change.what() }));
        batch.push(AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event));
        let mut cookie = None;
        if let Some(proof) = first {
            // The user has just proved both factors, and need not sign in again to add another.
            let (mut renewed, secret) = browser.renewed(&mut ctx.moment(), user.epoch + 1);
            (renewed.auth_time, renewed.amr) = (ctx.now, proof.amr());
            batch.push(self.memory.store.renew_identity_session(&renewed, &browser.session.secret));
            batch.append(close_sessions(
                &self.memory.store,
                SessionsToClose::OfUser(user.id),
                CloseReason::TwoStepOn,
                &mut ctx.moment(),
            ));
            cookie = Some(secret);
        }
        let changed = Change { kind: ChangeKind::User, subject: user.id.0 };
        batch.announce(changed, ctx.now);
        match self.memory.commit(batch, ctx.now).await? {
            CommitOutcome::Committed => {
                self.mail.write_to(&user, |letter| letter.two_step_changed(change.told()));
                Ok(Ok(TwoStepChanged { recovery_codes, cookie }))
            }
            CommitOutcome::GuardFailed { statement: 1 } => self.refuse_change(ctx, &user, planned.if_guarded),
            CommitOutcome::GuardFailed { statement: 2 } if matches!(change, TwoStepChange::AddPasskey { .. }) => {
                self.refuse_change(ctx, &user, TwoStepRefusal::TooManyPasskeys)
            }
            CommitOutcome::GuardFailed { .. } => self.refuse_change(ctx, &user, TwoStepRefusal::Overtaken),
        }
    }

    fn plan(
        &self,
        moment: &mut Moment<'_>,
        browser: &SignedIn,
        form: &str,
        user: &User,
        change: TwoStepChange<'_>,
    ) -> Result<Result<PlannedChange, TwoStepRefusal>, Fault> {
        let planned = |statements, adds, if_guarded| Ok(Ok(PlannedChange { statements, adds, if_guarded }));
        match change {
            TwoStepChange::AddApp { offer, code } => {
                let Some(secret) = self.offered(offer, browser, form, moment.now) else {
                    return Ok(Err(TwoStepRefusal::OfferStale));
                };
                let step = match secret.check(&code_as_typed(code), moment.now, None) {
                    Ok(step) => step,
                    Err(CodeRefusal::Wrong | CodeRefusal::Used) => return Ok(Err(TwoStepRefusal::WrongCode)),
                };
                let sealed = self.memory.master.seal(
                    *self.memory.store.instance(),
                    SealedSecret::AuthenticatorApp(user.id),
                    secret.as_bytes(),
                );
                let insert = self.memory.store.insert_authenticator_app(user.id, sealed, step, moment.now);
                planned(vec![insert], Some(AuthenticationMethod::Code), TwoStepRefusal::Overtaken)
            }
            TwoStepChange::RemoveApp => {
                let delete = self.memory.store.delete_authenticator_app(user.id).expect(1);
                let needless = self.memory.store.delete_needless_recovery_codes(user.id);
                planned(vec![delete, needless], None, TwoStepRefusal::Overtaken)
            }
            TwoStepChange::AddPasskey { answer, name } => {
                let Some(name) = passkey_name(name) else { return Ok(Err(TwoStepRefusal::PasskeyName)) };
                let RegisteredPasskey { credential, record, spend } =
                    match self.auth.judge_registration(registering(browser, form), answer, moment.now)? {
                        Ok(made) => made,
                        Err(refusal) => return Ok(Err(TwoStepRefusal::Passkey(refusal))),
                    };
                let new = StoredPasskey {
                    id: PasskeyId(moment.id()),
                    user: user.id,
                    credential,
                    name,
                    record,
                    created_at: moment.now,
                    last_used_at: None,
                };
                let room = self.memory.store.expect_passkeys_at_most(user.id, MAX_PASSKEYS);
                let statements = vec![self.memory.store.insert_passkey(&new), room, spend];
                planned(statements, Some(AuthenticationMethod::NewPasskey), TwoStepRefusal::PasskeyTaken)
            }
            TwoStepChange::RemovePasskey(id) => {
                let delete = self.memory.store.delete_passkey(user.id, id);
                let needless = self.memory.store.delete_needless_recovery_codes(user.id);
                planned(vec![delete, needless], None, TwoStepRefusal::Overtaken)
            }
            TwoStepChange::NewRecoveryCodes if !user.has_second_factor => Ok(Err(TwoStepRefusal::NotOn)),
            TwoStepChange::NewRecoveryCodes => {
                planned(vec![self.memory.store.delete_recovery_codes(user.id)], None, TwoStepRefusal::Overtaken)
            }
        }
    }

    /// New recovery codes, with the first factor or on request.
    async fn renew_recovery_codes(
        &self,
        moment: &mut Moment<'_>,
        user: &User,
        change: TwoStepChange<'_>,
        batch: &mut Batch,
    ) -> Result<Vec<Presented<RecoveryCode>>, Fault> {
        let wanted = match change {
            TwoStepChange::NewRecoveryCodes => true,
            TwoStepChange::AddApp { .. } | TwoStepChange::AddPasskey { .. } => {
                self.memory.store.recovery_codes_left(user.id).await? == 0
            }
            TwoStepChange::RemoveApp | TwoStepChange::RemovePasskey(_) => false,
        };
        if !wanted {
            return Ok(Vec::new());
        }
        let draw = |_| {
            let mut bytes = [0; 10];
            moment.rng.fill(&mut bytes);
            recovery_code(bytes)
        };
        let codes: Vec<_> = (0..RECOVERY_CODES).map(draw).collect();
        batch.extend(codes.iter().map(|code| self.memory.store.insert_recovery_code(user.id, code.digest())));
        Ok(codes)
    }

    fn refuse_change<T>(&self, ctx: &mut Ctx<'_>, user: &User, refusal: TwoStepRefusal) -> Answer<T, TwoStepRefusal> {
        let event = AuditEvent::refused(ctx.now, AuditKind::TwoStepChange, ctx.request, Asker::Authenticated, &refusal)
            .user(user.id);
        self.audit.put(event)?;
        Ok(Err(refusal))
    }
}

fn registering<'a>(browser: &SignedIn, form: &'a str) -> Ceremony<'a> {
    Ceremony { purpose: CeremonyPurpose::Register(browser.user.id, browser.session.secret), form }
}

/// Bound to the sign-in: an offer ends with it.
fn offer_parts<'a>(browser: &'a SignedIn, form: &'a str, made_at: &'a str, secret: &'a str) -> [&'a [u8]; 4] {
    [browser.session.secret.as_bytes(), form.as_bytes(), made_at.as_bytes(), secret.as_bytes()]
}

fn passkey_name(text: &str) -> Option<String> {
    let name = text.trim();
    is_line(name, MAX_PASSKEY_NAME).then(|| name.to_owned())
}
