//! MACs that pages carry: they prove that a form is Gatehouse's own (CSRF), and that a sign-in was for this very
//! request.

use std::time::Duration;

use model::Timestamp;
use oauth::secret::Presented;

use crate::auth::Auth;
use crate::auth::browser_session::SignedIn;
use crate::platform::seal::MacPurpose;

/// How long a user may stay on a consent page.
pub const INTERACTION_LIFETIME: Duration = Duration::from_mins(10);

/// Type of the random value in the browser's form cookie.
pub enum FormCookie {}

impl Auth<'_> {
    /// The token that a form must send back, for the browser with this cookie.
    pub fn form_token(&self, cookie: &Presented<FormCookie>) -> String {
        self.memory.current().secret.load().sign(MacPurpose::Form, &[cookie.expose().as_bytes()])
    }

    pub fn is_form_token(&self, cookie: &Presented<FormCookie>, shown: &str) -> bool {
        self.memory.current().secret.load().verify(MacPurpose::Form, &[cookie.expose().as_bytes()], shown)
    }

    /// The token that forms of a signed-in user must send back. It ends with the sign-in. Another site cannot know it,
    /// whatever cookies it may plant.
    pub fn person_token(&self, browser: &SignedIn) -> String {
        self.memory.current().secret.load().sign(MacPurpose::PersonForm, &[browser.session.secret.as_bytes()])
    }

    pub fn is_person_token(&self, browser: &SignedIn, shown: &str) -> bool {
        self.memory.current().secret.load().verify(MacPurpose::PersonForm, &[browser.session.secret.as_bytes()], shown)
    }

    /// Proves that the user signed in for this request, so that `prompt=login` does not ask twice. Valid for
    /// [`INTERACTION_LIFETIME`], and for this sign-in only.
    pub fn interaction(&self, browser: &SignedIn, query: &str, now: Timestamp) -> String {
        let made_at = now.seconds().to_string();
        let tag = self
            .memory
            .current()
            .secret
            .load()
            .sign(MacPurpose::Interaction, &interaction_parts(browser, query, &made_at));
        format!("{made_at}.{tag}")
    }

    pub fn is_interaction(&self, browser: &SignedIn, query: &str, shown: &str, now: Timestamp) -> bool {
        let Some((made_at, tag)) = shown.split_once('.') else { return false };
        let is_fresh =
            made_at.parse().is_ok_and(|seconds| now < Timestamp::from_seconds(seconds).plus(INTERACTION_LIFETIME));
        is_fresh
            && self.memory.current().secret.load().verify(
                MacPurpose::Interaction,
                &interaction_parts(browser, query, made_at),
                tag,
            )
    }
}

fn interaction_parts<'a>(browser: &'a SignedIn, query: &'a str, made_at: &'a str) -> [&'a [u8]; 3] {
    // The secret's digest changes with every sign-in, so a proof ends with the sign-in it was made for.
    [browser.session.secret.as_bytes(), query.as_bytes(), made_at.as_bytes()]
}
