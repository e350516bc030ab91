//! One-time links: created here, mailed or shown, and used by `account::links`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::link::{LinkCode, LinkLifetime, LinkPurpose};
use model::mail::{EmailAddress, Letter, MailMessage};
use model::{Moment, User};
use oauth::secret::Presented;
use store::{Statement, Store};

use crate::platform::outbox::InstanceMail;

/// A new link, shown or sent once.
pub struct IssuedLink {
    pub user: User,
    pub purpose: LinkPurpose,
    pub life: LinkLifetime,
    pub code: Presented<LinkCode>,
}

impl IssuedLink {
    /// Mails the link to its user, or answers its URL, to be shown to its creator.
    pub fn hand_over(&self, mail: InstanceMail<'_>) -> HandedOver {
        let url = self.purpose.url(&mail.info.root, &self.code);
        match self.letter(&mail.info.name, &url) {
            Some(letter) => {
                let to = letter.to.clone();
                if mail.send(letter) { HandedOver::Mailed(to) } else { HandedOver::Shown(url) }
            }
            None => HandedOver::Shown(url),
        }
    }

    /// The e-mail with the link; `None` if the user has no mailbox.
    pub fn letter(&self, instance: &str, url: &str) -> Option<MailMessage> {
        let to = self.user.mailbox()?;
        let letter = Letter { to, instance, user: &self.user };
        Some(match self.purpose {
            LinkPurpose::SetUp => letter.invitation(url, self.life),
            LinkPurpose::PasswordReset => letter.password_reset(url, self.life),
            LinkPurpose::KnownBrowser => letter.known_browser(url),
        })
    }
}

/// How a link reaches its user.
#[derive(Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// Queued for this address.
    Mailed(EmailAddress),
    /// The URL. The user has no mailbox: the creator of the link gives it to the user.
    Shown(String),
}

pub(crate) fn new_code(moment: &mut Moment<'_>) -> Presented<LinkCode> {
    Presented::new(URL_SAFE_NO_PAD.encode(moment.rng.secret()))
}

/// The link, and the statement that stores it.
pub(crate) fn draw_link(
    store: &Store,
    user: User,
    purpose: LinkPurpose,
    life: LinkLifetime,
    moment: &mut Moment<'_>,
) -> (IssuedLink, Statement) {
    let code = new_code(moment);
    let insert = store.insert_link(code.digest().as_bytes(), purpose, &user, moment.now.plus(life.span()));
    (IssuedLink { user, purpose, life, code }, insert)
}
