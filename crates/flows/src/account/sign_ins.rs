//! The user's sign-ins: listing them and ending them.

use model::seat::SessionKey;
use model::{Ctx, IdentitySession, SessionId, Timestamp};
use store::{ApiSessionRow, SessionsToClose};

use crate::account::Account;
use crate::account::profile::NotOwned;
use crate::auth::browser_session::SignedIn;
use crate::{Answer, Fault};

/// Maximum sign-ins on one page.
const MAX_SHOWN: u32 = 100;

/// A sign-in, as its user sees it.
pub struct SignInView {
    pub session: IdentitySession,
    /// The address of the last authentication; empty if none was recorded.
    pub address: String,
    pub user_agent: String,
    /// Whether it is the sign-in of the requesting browser.
    pub is_this: bool,
    /// The later of its last page view and its last API call.
    pub last_used: Timestamp,
    /// Names of the applications whose API session it holds a seat for.
    pub applications: Vec<String>,
}

impl Account<'_> {
    /// Live sign-ins, most recently used first.
    pub async fn sign_ins(&self, browser: &SignedIn, now: Timestamp) -> Result<Vec<SignInView>, Fault> {
        let user = browser.user.id;
        let calling = self.memory.store.live_api_sessions_of(SessionsToClose::OfUser(user)).await?;
        let lifetimes = self.memory.settings().session_lifetimes();
        let rows = self.memory.store.identity_sessions_of(user, MAX_SHOWN).await?;
        let living = rows
            .into_iter()
            .filter(|row| row.session.is_live(now, lifetimes) && row.session.user_epoch == browser.session.user_epoch);
        let mut views: Vec<SignInView> = living
            .map(|row| {
                let calling = calling.iter().find(|api| api.key == SessionKey::SignIn(row.session.id));
                SignInView {
                    is_this: row.session.id == browser.session.id,
                    last_used: calling.map_or(row.session.last_seen, |api| api.last_call.max(row.session.last_seen)),
                    applications: calling.map(|api| self.names_of(api)).unwrap_or_default(),
                    session: row.session,
                    address: row.address,
                    user_agent: row.user_agent,
                }
            })
            .collect();
        views.sort_by_key(|view| (!view.is_this, std::cmp::Reverse(view.last_used)));
        Ok(views)
    }

    fn names_of(&self, session: &ApiSessionRow) -> Vec<String> {
        let register = self.memory.applications();
        let known = session.applications.iter().filter_map(|id| register.by_id(*id));
        known.map(|application| application.name.clone()).collect()
    }

    /// Ends one of the user's own sign-ins, like a sign-out in its browser. Its seat is free on return.
    pub async fn end_own_sign_in(&self, ctx: &mut Ctx<'_>, browser: &SignedIn, id: SessionId) -> Answer<(), NotOwned> {
        let known = self.memory.store.identity_session(id).await?;
        if known.is_none_or(|session| session.user != browser.user.id) {
            return Ok(Err(NotOwned));
        }
        self.auth.end_sign_in(ctx, id).await.map(Ok)
    }

    /// Ends all sign-ins but the current one. Returns how many ended.
    pub async fn end_other_sign_ins(&self, ctx: &mut Ctx<'_>, browser: &SignedIn) -> Result<usize, Fault> {
        let mut ended = 0;
        loop {
            let rows = self.memory.store.identity_sessions_of(browser.user.id, MAX_SHOWN).await?;
            let others: Vec<_> = rows.iter().map(|row| row.session.id).filter(|id| *id != browser.session.id).collect();
            if others.is_empty() {
                return Ok(ended);
            }
            ended += others.len();
            for id in others {
                self.auth.end_sign_in(ctx, id).await?;
            }
        }
    }
}
