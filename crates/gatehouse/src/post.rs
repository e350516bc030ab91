//! Delivers mail by SMTP (RFC 5321), outside the requests that caused it.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use flows::platform::outbox::OutboxReader;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Envelope, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use model::mail::MailMessage;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use crate::config::{MailSecurity, MailSettings, SmtpLogin};
use crate::problem::StartupProblem;

/// Timeout of connecting.
const PATIENCE: Duration = Duration::from_secs(30);
/// Timeout of the whole SMTP conversation for one e-mail; lettre itself waits for an answer without a limit.
const LONGEST: Duration = Duration::from_mins(2);

/// Pauses after temporary failures, for example while a server restarts or greylists (RFC 6647).
const PAUSES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_mins(1), Duration::from_mins(5), Duration::from_mins(20)];

/// Maximum number of e-mails waiting for another try. At this number, no new e-mail is taken from the queue.
const MAX_RETRIED: usize = 100;

/// SMTP client for the configured mail server.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    name: String,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Post({})", self.name)
    }
}

/// The reason why an e-mail was not accepted. Never contains an address, although mail servers quote them in answers.
#[derive(Debug)]
pub struct Undelivered {
    what: String,
    pub may_pass: bool,
}

impl Undelivered {
    fn silent() -> Self {
        Self { what: "the mail server does not answer".to_owned(), may_pass: true }
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Undelivered {}

impl From<lettre::transport::smtp::Error> for Undelivered {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        let may_pass = !error.is_permanent();
        if let Some(code) = error.status() {
            return Self { what: format!("the mail server answered {code}"), may_pass };
        }
        let mut what = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !what.contains(&text) {
                what = format!("{what}: {text}");
            }
            source = cause.source();
        }
        Self { what, may_pass }
    }
}

impl Mailer {
    /// Prepares the client; does not connect.
    pub fn new(settings: &MailSettings, login: Option<SmtpLogin>) -> Result<Self, StartupProblem> {
        let security = match settings.security {
            MailSecurity::StartTls => Tls::Required(tls(settings)?),
            MailSecurity::Tls => Tls::Wrapper(tls(settings)?),
            MailSecurity::None => Tls::None,
        };
        let domain = settings.from.email.domain().to_owned();
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(security)
            .timeout(Some(PATIENCE))
            .hello_name(ClientId::Domain(domain));
        if let Some(SmtpLogin { name, password }) = login {
            transport = transport.credentials(Credentials::new(name, password.to_string()));
        }
        let name = format!("{}:{}", settings.host, settings.port);
        Ok(Self { transport: transport.build(), from: settings.from.clone(), name })
    }

    /// Greets the server as for an e-mail, signs in, and disconnects.
    pub async fn greet(&self) -> Result<(), Undelivered> {
        match timeout(LONGEST, self.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(false)) | Err(_) => Err(Undelivered::silent()),
        }
    }

    /// Tries once to deliver an e-mail.
    pub async fn send(&self, letter: &MailMessage) -> Result<(), Undelivered> {
        let envelope = self.envelope(letter)?;
        let sent = timeout(LONGEST, self.transport.send(envelope)).await;
        sent.map_err(|_| Undelivered::silent())?.map(drop).map_err(Undelivered::from)
    }

    fn envelope(&self, letter: &MailMessage) -> Result<Envelope, Undelivered> {
        let unfit = |error: &dyn fmt::Display| Undelivered { what: format!("not a letter: {error}"), may_pass: false };
        let to = letter.to.as_str().parse().map_err(|_| unfit(&"its address is unfit"))?;
        let mut envelope = Envelope::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject.clone())
            .message_id(Some(format!("<{}@{}>", Uuid::new_v4(), self.from.email.domain())))
            // Sent as a part, because lettre adds `MIME-Version` (RFC 2045 §4) to parts only.
            .singlepart(SinglePart::plain(letter.text.clone()))
            .map_err(|error| unfit(&error))?;
        // RFC 3834 §5: no automatic answers to an automatic e-mail.
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        envelope.headers_mut().insert_raw(HeaderValue::new(automatic, "auto-generated".to_owned()));
        Ok(envelope)
    }

    /// Delivers until the server is closed and every remaining e-mail was tried once more.
    pub async fn deliver(self, mut letters: OutboxReader) {
        let mut waiting: Vec<WaitingLetters> = Vec::new();
        loop {
            let due = waiting.iter().map(|letter| letter.due).min();
            let next = tokio::select! {
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let first = waiting.iter().position(|letter| Some(letter.due) == due);
                    first.map(|place| waiting.swap_remove(place))
                }
                letter = letters.next(), if waiting.len() < MAX_RETRIED => match letter {
                    Some(letter) => Some(WaitingLetters { letter, tries: 0, due: Instant::now() }),
                    None => break,
                },
            };
            if let Some(letter) = next {
                waiting.extend(self.try_once(letter, &letters).await);
            }
        }
        for letter in waiting {
            let last = WaitingLetters { tries: PAUSES.len(), ..letter };
            let _lost = self.try_once(last, &letters).await;
        }
    }

    /// Tries once, and returns the e-mail if it should be tried again.
    async fn try_once(&self, mut waiting: WaitingLetters, letters: &OutboxReader) -> Option<WaitingLetters> {
        let about = waiting.letter.about;
        match self.send(&waiting.letter).await {
            Ok(()) => {
                tracing::info!(about, "a letter is sent");
                letters.sent();
                None
            }
            Err(undelivered) if undelivered.may_pass && waiting.tries < PAUSES.len() => {
                tracing::warn!(about, %undelivered, "a letter is not sent yet");
                waiting.due = Instant::now() + PAUSES[waiting.tries];
                waiting.tries += 1;
                Some(waiting)
            }
            Err(undelivered) => {
                tracing::error!(about, %undelivered, "a letter is not sent");
                letters.lost();
                None
            }
        }
    }
}

struct WaitingLetters {
    letter: MailMessage,
    tries: usize,
    due: Instant,
}

fn tls(settings: &MailSettings) -> Result<TlsParameters, StartupProblem> {
    let mut parameters = TlsParameters::builder(settings.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
    if let Some(path) = &settings.authority {
        let unusable = |error: &dyn fmt::Display| {
            let what = format!("the mail server's authority in {} cannot be used: {error}", path.display());
            StartupProblem::new(what, "write its certificate there in PEM format, or remove `authority` from [mail]")
        };
        let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
        parameters = parameters.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| unusable(&error))?);
    }
    parameters.build_rustls().map_err(|error| {
        StartupProblem::new(
            format!("no TLS to the mail server {}: {error}", settings.host),
            "check `host` under [mail]",
        )
    })
}
