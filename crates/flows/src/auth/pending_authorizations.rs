//! Authorization requests while their users sign in (`identity.md` §3.1).
//!
//! Pages carry an id, never the parameters. Before the user has authenticated, the id is the request itself, encrypted,
//! so that unauthenticated requests write nothing. From the first correct password on, the request is a row, if a page
//! is left to answer.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::pending_authorization::{PENDING_LIFETIME, PendingAuthorization, PendingId, RequestSignIn};
use model::session::FormCookie;
use model::{Ctx, Timestamp, UserId};
use oauth::authorize::AuthorizationRequest;
use oauth::secret::{Digest, Presented};
use serde::{Deserialize, Serialize};
use store::{Batch, CommitOutcome, Statement};

use crate::Fault;
use crate::auth::browser_session::SignedIn;
use crate::memory::Believed;
use crate::platform::seal::{MacPurpose, SealingKey};

/// The content of a sealed id.
#[derive(Serialize, Deserialize)]
struct SealedRequest {
    request: AuthorizationRequest,
    /// Unix microseconds.
    expires_at: i64,
}

/// The pending authorization requests of one instance.
#[derive(Clone, Copy)]
pub struct PendingAuthorizations<'a> {
    pub(crate) memory: Believed<'a>,
}

impl PendingAuthorizations<'_> {
    /// A request of the browser with this form cookie. Writes nothing.
    pub fn begin(
        self,
        request: &Arc<AuthorizationRequest>,
        browser: &Presented<FormCookie>,
        now: Timestamp,
    ) -> PendingAuthorization {
        let (browser, expires_at) = (browser.digest(), now.plus(PENDING_LIFETIME));
        let sealed = SealedRequest { request: (**request).clone(), expires_at: expires_at.micros() };
        let content = serde_json::to_vec(&sealed).expect("a request is JSON");
        let sealed = self.pending_key().seal(*self.memory.store.instance(), &purpose(&browser), &content);
        let id = PendingId::Sealed(URL_SAFE_NO_PAD.encode(sealed));
        PendingAuthorization { id, browser, request: Arc::clone(request), sign_in: None, expires_at }
    }

    /// The request with this id, unless it has expired or belongs to another browser. A browser may send several form
    /// cookies.
    pub async fn find(
        self,
        id: PendingId,
        browsers: impl Iterator<Item = Presented<FormCookie>>,
        now: Timestamp,
    ) -> Result<Option<PendingAuthorization>, Fault> {
        let mut browsers = browsers.map(|cookie| cookie.digest());
        let pending = match id {
            PendingId::Stored(id) => {
                let stored = self.memory.store.pending_authorization(id).await?;
                stored.filter(|pending| browsers.any(|browser| browser == pending.browser))
            }
            PendingId::Sealed(text) => browsers.find_map(|browser| self.unseal(&text, browser)),
        };
        Ok(pending.filter(|pending| now < pending.expires_at))
    }

    fn unseal(self, text: &str, browser: Digest<FormCookie>) -> Option<PendingAuthorization> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let content = self.pending_key().open(*self.memory.store.instance(), &purpose(&browser), &sealed).ok()?;
        let SealedRequest { request, expires_at } = serde_json::from_slice(&content).ok()?;
        Some(PendingAuthorization {
            id: PendingId::Sealed(text.to_owned()),
            browser,
            request: Arc::new(request),
            sign_in: None,
            expires_at: Timestamp(expires_at),
        })
    }

    fn pending_key(self) -> SealingKey {
        SealingKey::new(&self.memory.current().secret.load().derive(MacPurpose::PendingAuthorization))
    }

    /// The request as a row of a user who has authenticated, and the statement that writes it.
    pub(crate) fn kept(
        self,
        ctx: &mut Ctx<'_>,
        user: UserId,
        pending: &PendingAuthorization,
    ) -> (PendingAuthorization, Statement) {
        let id = match pending.id {
            PendingId::Stored(id) => id,
            PendingId::Sealed(_) => ctx.id(),
        };
        let kept = PendingAuthorization { id: PendingId::Stored(id), ..pending.clone() };
        let statement = self.memory.store.put_pending_authorization(id, user, &kept);
        (kept, statement)
    }

    /// Stores that this sign-in satisfied the request, so that the consent page need not ask for another.
    pub async fn keep_sign_in(
        self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
        pending: PendingAuthorization,
    ) -> Result<PendingAuthorization, Fault> {
        let sign_in = Some(RequestSignIn { session: browser.session.id, at: ctx.now });
        let (kept, statement) = self.kept(ctx, browser.user.id, &PendingAuthorization { sign_in, ..pending });
        match self.memory.store.commit(Batch::new().with(statement)).await? {
            CommitOutcome::Committed => Ok(kept),
            CommitOutcome::GuardFailed { .. } => Err(Fault::unavailable("a pending request was not stored")),
        }
    }
}

/// Binds the encryption to a browser: a request of one browser cannot be decrypted for another.
fn purpose(browser: &Digest<FormCookie>) -> String {
    format!("pending authorization of {}", browser.to_base64())
}
