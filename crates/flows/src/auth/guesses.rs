//! The path of an attempt to its comparison: counted, held, or admitted with a lease of its account's guesses
//! (`identity.md` §4.1).

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

/// Leases that one attempt takes before the client is told to try again.
const MAX_LEASES: usize = 4;

/// Cookies and form token that a browser sends with a sign-in.
#[derive(Clone, Copy, Default)]
pub struct SignInCookies<'a> {
    /// The page's form token. A first step is bound to it.
    pub form: &'a str,
    pub devices: &'a [Presented<DeviceCookie>],
    /// The user already signed in at this browser.
    pub signed_in: Option<&'a SignedIn>,
}

/// Where a password was entered, with what may prove a known browser or client.
#[derive(Clone, Copy)]
pub(crate) enum PasswordSource<'a> {
    Page(SignInCookies<'a>),
    /// A page for a signed-in user.
    SignedIn(SessionId),
    /// A legacy client, with the digest of its network if the network was right recently.
    Client(Option<[u8; 32]>),
}

impl Auth<'_> {
    pub(crate) fn free_failures(&self) -> FreeFailures {
        FreeFailures::of(&self.memory.settings())
    }

    /// Identifies the account of a login, whether or not it exists.
    pub(crate) fn account_key(&self, login: &Login) -> AccountKey {
        let digest = self.memory.current().secret.load().digest(MacPurpose::Account, &[login.folded().as_bytes()]);
        *digest.first_chunk().expect("32 bytes")
    }

    /// Identifies a user's second step until the epoch rises: a new password resets its failures.
    fn second_step_key(&self, user: &User) -> AccountKey {
        let parts: [&[u8]; 2] = [user.id.0.as_bytes(), &user.epoch.to_be_bytes()];
        let digest = self.memory.current().secret.load().digest(MacPurpose::SecondStepAccount, &parts);
        *digest.first_chunk().expect("32 bytes")
    }

    /// An attempt with a password.
    pub(crate) fn attempt(
        &self,
        login: Option<&Login>,
        password: &Presented<Password>,
        address: IpAddr,
        source: PasswordSource<'_>,
        now: Timestamp,
    ) -> SignInAttempt {
        let Some(login) = login else { return SignInAttempt::new(None, address) };
        let account = self.account_key(login);
        let key = &self.state.throttle.key;
        let attempt = SignInAttempt::new(Some(GuessedAccount::Password(account)), address)
            .guessing(key.guess(&account, password.expose()));
        match source {
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

    /// An attempt with a code at the second step.
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

    /// Counts a request for a password reset, by network and by account from that network. Answers how long to wait if
    /// there were too many.
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

    /// A permit for an attempt, once its account has a guess left; or how long to stay away.
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
                // The row was swept meanwhile: the client may try again in a second.
                let wait = ceiling.until_block(now, full_at).max(Duration::from_secs(1));
                lease.spent(now.plus(wait));
            }
        }
        Ok(())
    }

    /// Reports an attack on an account, so that its user can get an e-mail. It is handled after the response, so that
    /// neither the response nor its time reveals which logins exist.
    pub(crate) fn report_attack(
        &self,
        attempt: &SignInAttempt,
        question: ResetRequestKind,
        request: &RequestInfo,
        now: Timestamp,
    ) {
        if attempt.account().is_some_and(|account| self.state.throttle.tell(account, now)) {
            let asked = ResetRequest { kind: question, request: request.clone(), at: now };
            // If the queue is full, the next attack is reported.
            let _full = self.state.reset_queue.send(*self.memory.store.instance(), asked);
        }
    }
}
