//! MACs that pages carry: they prove that a form is Gatehouse's own (CSRF).

use model::session::FormCookie;
use oauth::secret::Presented;

use crate::auth::browser_session::SignedIn;
use crate::memory::Believed;
use crate::platform::seal::MacPurpose;

/// The tokens of the forms of one instance.
#[derive(Clone, Copy)]
pub struct FormTokens<'a> {
    pub(crate) memory: Believed<'a>,
}

impl FormTokens<'_> {
    /// The token that a form must send back, for the browser with this cookie.
    pub fn of_browser(self, cookie: &Presented<FormCookie>) -> String {
        self.memory.current().secret.load().sign(MacPurpose::Form, &[cookie.expose().as_bytes()])
    }

    pub fn is_of_browser(self, cookie: &Presented<FormCookie>, shown: &str) -> bool {
        self.memory.current().secret.load().verify(MacPurpose::Form, &[cookie.expose().as_bytes()], shown)
    }

    /// The token that forms of a signed-in user must send back. It ends with the sign-in. Another site cannot know it,
    /// whatever cookies it may plant.
    pub fn of_user(self, browser: &SignedIn) -> String {
        self.memory.current().secret.load().sign(MacPurpose::PersonForm, &[browser.session.secret.as_bytes()])
    }

    pub fn is_of_user(self, browser: &SignedIn, shown: &str) -> bool {
        self.memory.current().secret.load().verify(MacPurpose::PersonForm, &[browser.session.secret.as_bytes()], shown)
    }
}
