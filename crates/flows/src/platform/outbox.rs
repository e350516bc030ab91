//! Outgoing mail: flows put e-mails into a bounded queue, and the mailer that holds its other end delivers them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::fair::{FairReceiver, FairSender, channel};
use model::mail::{Letter, MailMessage};
use model::{InstanceId, User};
use parking_lot::Mutex;

use crate::platform::InstanceInfo;

/// E-mails that may wait, in fair shares. More are dropped and counted: a mail server that is away must not delay
/// requests.
const MAX_WAITING: usize = 1000;

/// Queue for e-mails. Without a mailer, flows give links to administrators instead.
#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Option<FairSender<InstanceId, MailMessage>>>,
    counts: MailCounts,
}

/// Counts of e-mails sent and lost.
#[derive(Default)]
struct MailCounts {
    sent: AtomicU64,
    lost: AtomicU64,
}

/// The mailer's end: yields e-mails to deliver, and counts their outcomes.
pub struct OutboxReader {
    waiting: FairReceiver<InstanceId, MailMessage>,
    outbox: Arc<Outbox>,
}

impl OutboxReader {
    /// Takes from all instances in turn. `None` once the outbox is closed and everything was taken.
    pub async fn next(&mut self) -> Option<MailMessage> {
        self.waiting.recv_async().await.map(|(_, message)| message)
    }

    pub fn sent(&self) {
        self.outbox.counts.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an e-mail that will not arrive.
    pub fn lost(&self) {
        self.outbox.counts.lost.fetch_add(1, Ordering::Relaxed);
    }
}

impl Outbox {
    /// Opens the queue: from now on e-mails go to the returned reader.
    pub(crate) fn open(self: &Arc<Self>) -> OutboxReader {
        let (sender, waiting) = channel(MAX_WAITING);
        *self.queue.lock() = Some(sender);
        OutboxReader { waiting, outbox: Arc::clone(self) }
    }

    /// The reader sees the end once it has taken all waiting e-mails.
    pub(crate) fn close(&self) {
        self.queue.lock().take();
    }

    /// Whether a mailer is connected.
    pub fn is_open(&self) -> bool {
        self.queue.lock().is_some()
    }

    /// Answers whether the e-mail was queued.
    pub(crate) fn send(&self, instance: InstanceId, message: MailMessage) -> bool {
        let about = message.about;
        let taken = self.queue.lock().as_ref().is_some_and(|queue| queue.send(instance, message).is_ok());
        if !taken && self.is_open() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!(about, "the queue of letters is full: one is dropped");
        }
        taken
    }

    /// Numbers of e-mails that were delivered, and of e-mails that never will be.
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.sent.load(Ordering::Relaxed), self.counts.lost.load(Ordering::Relaxed))
    }
}

/// E-mails to the users of one instance.
#[derive(Clone, Copy)]
pub struct InstanceMail<'a> {
    pub(crate) info: &'a InstanceInfo,
    pub(crate) id: InstanceId,
    pub(crate) outbox: &'a Outbox,
}

impl InstanceMail<'_> {
    /// Whether a mailer is connected. Without one, links are shown to administrators.
    pub fn is_open(self) -> bool {
        self.outbox.is_open()
    }

    pub(crate) fn send(self, message: MailMessage) -> bool {
        self.outbox.send(self.id, message)
    }

    /// Writes to the user, if the user has a mailbox.
    pub fn write_to<'u>(&'u self, user: &'u User, letter: impl FnOnce(Letter<'u>) -> MailMessage) {
        if let Some(to) = user.mailbox() {
            self.send(letter(Letter { to, instance: &self.info.name, user }));
        }
    }
}

#[cfg(test)]
mod tests {
    use model::mail::EmailAddress;
    use uuid::Uuid;

    use super::*;

    fn message() -> MailMessage {
        let to = EmailAddress::parse("eve@example.com").expect("an address");
        MailMessage { to, subject: String::new(), text: String::new(), about: "invitation" }
    }

    #[tokio::test]
    async fn letters_are_taken_up_to_a_bound_and_only_while_somebody_delivers() {
        let (outbox, instance) = (Arc::new(Outbox::default()), InstanceId(Uuid::from_u128(1)));
        assert!(!outbox.is_open() && !outbox.send(instance, message()));
        assert_eq!(outbox.counts(), (0, 0), "nobody counts on it");
        let mut letters = outbox.open();
        for _ in 0..MAX_WAITING {
            assert!(outbox.send(instance, message()));
        }
        assert!(!outbox.send(instance, message()));
        assert_eq!(outbox.counts(), (0, 1));
        outbox.close();
        for _ in 0..MAX_WAITING {
            assert!(letters.next().await.is_some(), "what was taken is delivered");
        }
        assert!(letters.next().await.is_none());
    }

    #[tokio::test]
    async fn an_instance_that_writes_much_delays_another_by_one_letter() {
        let outbox = Arc::new(Outbox::default());
        let mut letters = outbox.open();
        let [storming, other] = [1, 2].map(|id| InstanceId(Uuid::from_u128(id)));
        while outbox.send(storming, message()) {}
        assert!(outbox.send(other, MailMessage { about: "reset", ..message() }));
        let first = [letters.next().await, letters.next().await].map(|letter| letter.expect("it waits").about);
        assert_eq!(first, ["invitation", "reset"]);
    }
}
