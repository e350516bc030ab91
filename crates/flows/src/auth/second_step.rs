//! The second step of a sign-in, and signing in by a passkey alone (`identity.md` §3.7, §4).

use std::sync::Arc;

use model::pending_authorization::PROOF_LIFETIME;
use model::session::SessionCookie;
pub use model::two_step::SecondStepRefusal;
use model::two_step::{AuthenticationMethod, CodeRefusal, TotpSecret, code_as_typed, recovery_code_as_typed};
use model::{Ctx, Timestamp, User, UserId};
use oauth::secret::Presented;
use store::{AuthenticatorApp, Statement};
use uuid::Uuid;

use crate::auth::Auth;
use crate::auth::guesses::SignInCookies;
use crate::auth::passkeys::{
    Ceremony, CeremonyPurpose, PasskeyAnswer, PasskeyChallenge, PasskeyRefusal, VerifiedPasskey,
};
use crate::auth::reset_requests::ResetRequestKind;
use crate::platform::seal::{MacPurpose, SealedSecret};

use crate::auth::browser_session::NewSession;
use crate::auth::browser_session::SignedIn;
use crate::{Answer, Fault};

/// Attempts before a passkey is refused, if concurrent requests commit first each time.
const MAX_ATTEMPTS: usize = 4;

/// Wrong codes by strangers within a day that make Gatehouse notify the user.
const MANY_WRONG_CODES: u32 = 10;

/// Type of the proof that the user knew the password: `user.made_at.tag`. Valid for [`PROOF_LIFETIME`], at the
/// browser whose form it was, until the user's epoch rises.
pub enum FirstStep {}

/// Factors that the page of the second step offers.
pub struct SecondStep {
    pub login: String,
    pub by_app: bool,
    pub by_passkey: Option<PasskeyChallenge>,
    pub by_recovery_code: bool,
}

/// The proof that a user submits at the second step.
#[derive(Clone, Copy)]
pub enum SecondFactorProof<'a> {
    Code(&'a str),
    RecoveryCode(&'a str),
    Passkey(PasskeyAnswer<'a>),
}

/// The proofs that can be guessed.
#[derive(Clone, Copy)]
enum TypedCode<'a> {
    Code(&'a str),
    RecoveryCode(&'a str),
}

impl Auth<'_> {
    pub(crate) fn first_step(&self, form: &str, user: &User, now: Timestamp) -> Presented<FirstStep> {
        let made_at = now.seconds().to_string();
        let epoch = user.epoch.to_be_bytes();
        let tag = self
            .memory
            .current()
            .secret
            .load()
            .sign(MacPurpose::FirstStep, &first_step_parts(form, user, &epoch, &made_at));
        Presented::new(format!("{}.{made_at}.{tag}", user.id.0.simple()))
    }

    /// The user of the first step, if a proof of it is still valid. A browser may send several proofs; stale ones are
    /// skipped.
    async fn first_step_of(
        &self,
        form: &str,
        shown: &[Presented<FirstStep>],
        now: Timestamp,
    ) -> Result<Option<Arc<User>>, Fault> {
        for shown in shown {
            if let Some(user) = self.first_step_user(form, shown, now).await? {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    async fn first_step_user(
        &self,
        form: &str,
        shown: &Presented<FirstStep>,
        now: Timestamp,
    ) -> Result<Option<Arc<User>>, Fault> {
        let mut parts = shown.expose().splitn(3, '.');
        let (Some(user), Some(made_at), Some(tag)) = (parts.next(), parts.next(), parts.next()) else {
            return Ok(None);
        };
        let is_fresh = made_at.parse().is_ok_and(|seconds| now < Timestamp::from_seconds(seconds).plus(PROOF_LIFETIME));
        let Some(id) = Uuid::try_parse(user).ok().filter(|_| is_fresh) else { return Ok(None) };
        let Some(user) = self.memory.store.user(UserId(id)).await? else { return Ok(None) };
        let epoch = user.epoch.to_be_bytes();
        let is_ours = self.memory.current().secret.load().verify(
            MacPurpose::FirstStep,
            &first_step_parts(form, &user, &epoch, made_at),
            tag,
        );
        Ok((is_ours && user.may_sign_in() && user.has_second_factor).then(|| Arc::new(user)))
    }

    /// The factors that the user may use now; `None` if the first step must be repeated.
    pub async fn second_step(
        &self,
        form: &str,
        first_steps: &[Presented<FirstStep>],
        now: Timestamp,
    ) -> Result<Option<SecondStep>, Fault> {
        let Some(user) = self.first_step_of(form, first_steps, now).await? else { return Ok(None) };
        let passkeys = self.memory.store.passkeys(user.id).await?;
        let by_passkey = match passkeys.as_slice() {
            [] => None,
            allowed => {
                let ceremony = Ceremony { purpose: CeremonyPurpose::SecondStep(user.id), form };
                self.challenge(ceremony, Some(allowed), now)?
            }
        };
        Ok(Some(SecondStep {
            login: user.login.as_str().to_owned(),
            by_app: self.memory.store.authenticator_app(user.id).await?.is_some(),
            by_passkey,
            by_recovery_code: self.memory.store.recovery_codes_left(user.id).await? > 0,
        }))
    }

    /// Codes are throttled for each user and network, so that an attacker who knows the password does not lock the user
    /// out. A passkey cannot be guessed, and is not throttled.
    pub async fn take_second_step(
        &self,
        ctx: &mut Ctx<'_>,
        first_steps: &[Presented<FirstStep>],
        shown: SecondFactorProof<'_>,
        browser: SignInCookies<'_>,
    ) -> Answer<(SignedIn, Presented<SessionCookie>), SecondStepRefusal> {
        let Some(user) = self.first_step_of(browser.form, first_steps, ctx.now).await? else {
            return self.refuse_sign_in(ctx, None, SecondStepRefusal::FirstStepStale);
        };
        let code = match shown {
            SecondFactorProof::Passkey(answer) => {
                let ceremony = Ceremony { purpose: CeremonyPurpose::SecondStep(user.id), form: browser.form };
                let done = self.open_by_passkey(ctx, ceremony, answer, browser.signed_in).await?;
                return Ok(done.map_err(SecondStepRefusal::Passkey));
            }
            SecondFactorProof::Code(code) => TypedCode::Code(code),
            SecondFactorProof::RecoveryCode(code) => TypedCode::RecoveryCode(code),
        };
        let (id, attempt) = (user.id, self.attempt_at_second_step(&user, ctx.request.address, browser, ctx.now));
        let now = ctx.now;
        let suspect = || self.report_attack(&attempt, ResetRequestKind::SecondStepAttacked(id), ctx.request, now);
        let place = match self.begin_attempt(&attempt, ctx.now).await? {
            Ok(place) => place,
            Err(held) => {
                if held.is_spent {
                    suspect();
                }
                return self.refuse_sign_in(ctx, Some(id), SecondStepRefusal::held(held));
            }
        };
        let opened = self.open_by_code(ctx, user, code, browser.signed_in).await?;
        match &opened {
            Ok(_) => place.right(),
            Err(_) => {
                if place.wrong(ctx.now) >= MANY_WRONG_CODES {
                    suspect();
                }
            }
        }
        Ok(opened)
    }

    async fn open_by_code(
        &self,
        ctx: &mut Ctx<'_>,
        user: Arc<User>,
        code: TypedCode<'_>,
        previous: Option<&SignedIn>,
    ) -> Answer<(SignedIn, Presented<SessionCookie>), SecondStepRefusal> {
        let (proof, if_spent, judged) = match code {
            TypedCode::Code(code) => {
                (AuthenticationMethod::Code, SecondStepRefusal::CodeUsed, self.judge_code(&user, code, ctx.now).await?)
            }
            TypedCode::RecoveryCode(code) => (
                AuthenticationMethod::RecoveryCode,
                SecondStepRefusal::WrongRecoveryCode,
                self.judge_recovery_code(&user, code),
            ),
        };
        let spend = match judged {
            Ok(spend) => spend,
            Err(refusal) => return self.refuse_sign_in(ctx, Some(user.id), refusal),
        };
        let opening = NewSession { user, proof, spends: vec![spend] };
        let Some(opened) = self.open_identity_session(ctx, &opening, previous).await? else {
            return self.refuse_sign_in(ctx, Some(opening.user.id), if_spent);
        };
        Ok(Ok(opened))
    }

    /// Signs in with a passkey alone; `form` is the page's form token. The authenticator verifies its user, so a passkey counts as two factors.
    pub async fn sign_in_by_passkey(
        &self,
        ctx: &mut Ctx<'_>,
        form: &str,
        answer: PasskeyAnswer<'_>,
        previous: Option<&SignedIn>,
    ) -> Answer<(SignedIn, Presented<SessionCookie>), PasskeyRefusal> {
        let ceremony = Ceremony { purpose: CeremonyPurpose::SignIn, form };
        self.open_by_passkey(ctx, ceremony, answer, previous).await
    }

    async fn open_by_passkey(
        &self,
        ctx: &mut Ctx<'_>,
        ceremony: Ceremony<'_>,
        answer: PasskeyAnswer<'_>,
        previous: Option<&SignedIn>,
    ) -> Answer<(SignedIn, Presented<SessionCookie>), PasskeyRefusal> {
        let mut refusal = (PasskeyRefusal::Answered, None);
        for _ in 0..MAX_ATTEMPTS {
            let VerifiedPasskey { passkey, synced, spends } =
                match self.judge_passkey(ceremony, answer, ctx.now).await? {
                    Ok(judged) => judged,
                    Err(refused) => {
                        refusal = (refused, None);
                        break;
                    }
                };
            let Some(user) = self.memory.store.user(passkey.user).await?.filter(User::may_sign_in) else {
                refusal = (PasskeyRefusal::Unknown, Some(passkey.user));
                break;
            };
            let after_password = matches!(ceremony.purpose, CeremonyPurpose::SecondStep(_));
            let proof = AuthenticationMethod::Passkey { synced, after_password };
            let opening = NewSession { user: Arc::new(user), proof, spends: spends.into() };
            if let Some(opened) = self.open_identity_session(ctx, &opening, previous).await? {
                return Ok(Ok(opened));
            }
            // Either this challenge was answered before, or another answer of the same passkey was first.
            refusal = (PasskeyRefusal::Answered, Some(passkey.user));
        }
        let (refusal, user) = refusal;
        self.refuse_sign_in(ctx, user, refusal)
    }

    /// The statement that spends the code; its guard fails if the code was spent meanwhile.
    async fn judge_code(
        &self,
        user: &User,
        code: &str,
        now: Timestamp,
    ) -> Result<Result<Statement, SecondStepRefusal>, Fault> {
        let Some(app) = self.memory.store.authenticator_app(user.id).await? else {
            return Ok(Err(SecondStepRefusal::NoApp));
        };
        let secret = self.open_totp_secret(user.id, &app)?;
        Ok(match secret.check(&code_as_typed(code), now, Some(app.last_step)) {
            Ok(step) => Ok(self.memory.store.use_authenticator_step(user.id, step)),
            Err(CodeRefusal::Used) => Err(SecondStepRefusal::CodeUsed),
            Err(CodeRefusal::Wrong) => Err(SecondStepRefusal::WrongCode),
        })
    }

    /// The guard decides whether the code is one of the user's.
    fn judge_recovery_code(&self, user: &User, code: &str) -> Result<Statement, SecondStepRefusal> {
        let code = recovery_code_as_typed(code).ok_or(SecondStepRefusal::WrongRecoveryCode)?;
        Ok(self.memory.store.use_recovery_code(user.id, code.digest()))
    }

    pub(crate) fn open_totp_secret(&self, user: UserId, app: &AuthenticatorApp) -> Result<TotpSecret, Fault> {
        let secret = self.memory.master.open(
            *self.memory.store.instance(),
            SealedSecret::AuthenticatorApp(user),
            &app.sealed_secret,
        )?;
        TotpSecret::from_bytes(&secret).ok_or_else(|| Fault::failed("an authenticator app's secret has 20 bytes"))
    }
}

fn first_step_parts<'a>(form: &'a str, user: &'a User, epoch: &'a [u8], made_at: &'a str) -> [&'a [u8]; 4] {
    [form.as_bytes(), user.id.0.as_bytes(), epoch, made_at.as_bytes()]
}
