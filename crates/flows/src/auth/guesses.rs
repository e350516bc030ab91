//! A try's way to its comparison: counted, held, or let on with a lease of its account's guesses (`identity.md` §4.1).

use std::net::IpAddr;
use std::time::Duration;

use model::audit::RequestInfo;
use model::throttle::Throttled;
use model::user::Password;
use model::{Login, SessionId, Timestamp, User};
use oauth::secret::Presented;
use store::{Batch, CommitOutcome};

use crate::Fault;
use crate::auth::Auth;
use crate::auth::browser_session::SignedIn;
use crate::auth::devices::DeviceCookie;
use crate::auth::reset_requests::{ResetRequest, ResetRequestKind};
use crate::auth::throttle::{
    AccountKey, AttemptPermit, COME_BACK, FreeFailures, GuessedAccount, KnownClient, LeaseRequest, SignInAttempt,
    ThrottleDecision,
};
use crate::platform::seal::MacPurpose;

/// Leases that one try takes before it is told to come back.
const MAX_LEASES: usize = 4;

/// What a browser sends along with a sign-in.
#[derive(Clone, Copy, Default)]
pub struct SignInCookies<'a> {
    /// The page's form token, to which a first step is bound.
    pub form: &'a str,
    pub devices: &'a [Presented<DeviceCookie>],
    /// Who is signed in there.
    pub signed_in: Option<&'a SignedIn>,
}

/// How a password came: what of it may have been right before.
#[derive(Clone, Copy)]
pub(crate) enum PasswordSource<'a> {
    Page(SignInCookies<'a>),
    /// A page of somebody who is signed in.
    SignedIn(SessionId),
    /// A legacy client; whether its network was right lately.
    Client(Option<[u8; 32]>),
}

impl Auth<'_> {
    pub(crate) fn free_failures(&self) -> FreeFailures {
        FreeFailures::of(&self.memory.settings())
    }

    /// Names the account of a login, whether or not it exists.
    pub(crate) fn account_key(&self, login: &Login) -> AccountKey {
        let digest = self.memory.current().secret.load().digest(MacPurpose::Account, &[login.folded().as_bytes()]);
        *digest.first_chunk().expect("32 bytes")
    }

    /// Names a user's second step, until the epoch rises: a new password opens it again.
    fn second_step_key(&self, user: &User) -> AccountKey {
        let parts: [&[u8]; 2] = [user.id.0.as_bytes(), &user.epoch.to_be_bytes()];
        let digest = self.memory.current().secret.load().digest(MacPurpose::SecondStepAccount, &parts);
        *digest.first_chunk().expect("32 bytes")
    }

    /// A try of a password.
    pub(crate) fn attempt(
        &self,
        (login, password): (Option<&Login>, &Presented<Password>),
        address: IpAddr,
        door: PasswordSource<'_>,
        now: Timestamp,
    ) -> SignInAttempt {
        let Some(login) = login else { return SignInAttempt::new(None, address) };
        let account = self.account_key(login);
        let key = &self.state.throttle.key;
        let attempt = SignInAttempt::new(Some(GuessedAccount::Password(account)), address)
            .guessing(key.guess(&account, password.expose()));
        match door {
            PasswordSource::Page(browser) => attempt
                .known(self.known_device(&account, browser.devices, now))
                .by_browser(Some(key.turn(browser.form))),
            PasswordSource::SignedIn(session) => {
                attempt.known(Some(key.known("sign-in", session.0.as_bytes(), &account)))
            }
            PasswordSource::Client(network) => {
                attempt.known(network.map(|network| key.known("network", &network, &account)))
            }
        }
    }

    /// A try of a code at the second step.
    pub(crate) fn attempt_at_second_step(
        &self,
        user: &User,
        address: IpAddr,
        browser: SignInCookies<'_>,
        now: Timestamp,
    ) -> SignInAttempt {
        let account = GuessedAccount::SecondStep(self.second_step_key(user));
        let known = self.device(&self.account_key(&user.login), browser.devices, now);
        let known = known.map(|id| self.state.throttle.key.known("second-step", &id, account.key()));
        SignInAttempt::new(Some(account), address)
            .known(known)
            .by_browser(Some(self.state.throttle.key.turn(browser.form)))
    }

    fn known_device(
        &self,
        account: &AccountKey,
        devices: &[Presented<DeviceCookie>],
        now: Timestamp,
    ) -> Option<KnownClient> {
        let id = self.device(account, devices, now)?;
        Some(self.state.throttle.key.known("device", &id, account))
    }

    /// A question after a forgotten password counts whoever asks it.
    pub(crate) fn count_reset_request(
        &self,
        login: Option<&Login>,
        address: IpAddr,
        now: Timestamp,
    ) -> Option<Duration> {
        let account = login.map(|login| GuessedAccount::Password(self.account_key(login)));
        let attempt = SignInAttempt::new(account, address);
        self.state.reset_failures.lock().count(&attempt, now, self.free_failures())
    }

    /// A place for a try, once its account has a guess left; or how long to stay away.
    pub(crate) async fn begin_attempt(
        &self,
        attempt: &SignInAttempt,
        now: Timestamp,
    ) -> Result<Result<AttemptPermit, Throttled>, Fault> {
        for _ in 0..=MAX_LEASES {
            match self.state.throttle.enter(attempt, now, self.free_failures()).await {
                ThrottleDecision::Place(place) => return Ok(Ok(place)),
                ThrottleDecision::Held(held) => return Ok(Err(held)),
                ThrottleDecision::Lease(lease) => self.take_lease(lease, now).await?,
            }
        }
        Ok(Err(COME_BACK))
    }

    async fn take_lease(&self, lease: LeaseRequest, now: Timestamp) -> Result<(), Fault> {
        let (account, ceiling) = (lease.account, lease.account.ceiling());
        let batch = Batch::new().with(self.memory.store.lease_guesses(account.key(), ceiling, now));
        match self.memory.store.commit(batch).await? {
            CommitOutcome::Committed => lease.granted(now),
            CommitOutcome::GuardFailed { .. } => {
                let full_at = self.memory.store.guesses_full_at(account.key()).await?.unwrap_or(now);
                // Swept meanwhile: asked again in a moment.
                let wait = ceiling.until_block(now, full_at).max(Duration::from_secs(1));
                lease.spent(now.plus(wait));
            }
        }
        Ok(())
    }

    /// Somebody may have to be written to about an attack. It is looked into after the answer, so that neither the answer
    /// nor its time tells who exists.
    pub(crate) fn report_attack(
        &self,
        attempt: &SignInAttempt,
        question: ResetRequestKind,
        (request, now): (&RequestInfo, Timestamp),
    ) {
        if attempt.account().is_some_and(|account| self.state.throttle.tell(account, now)) {
            let asked = ResetRequest { kind: question, request: request.clone(), at: now };
            // A full queue: the next storm tells.
            let _full = self.state.reset_queue.send(*self.memory.store.instance(), asked);
        }
    }
}
