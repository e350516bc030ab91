//! Argon2id password hashing, on a few threads of its own, never on an async worker.
//!
//! Within an instance, known browsers come first, and strangers take turns by network.

mod lanes;

use std::num::NonZeroUsize;
use std::thread;

use argon2::password_hash::PasswordVerifier;
use argon2::{Argon2, PasswordHash as Phc};
use model::user::{Password, PasswordHash};
use model::{InstanceId, User};
use oauth::secret::Presented;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use self::lanes::HashingLanes;
pub use self::lanes::HashingTurn;
use crate::auth::strength::{MAX_PASSWORD_BYTES, Weakness, weakness};
use crate::platform::PasswordCost;
use crate::platform::meters::QueueFill;
use crate::platform::pool::{Pool, PoolKind, Priority};
use crate::{Answer, Fault};

/// Passwords that may wait for a free thread, in fair shares of known browsers and strangers of each instance. Further
/// callers are told to try again.
const MAX_WAITING: usize = 512;

/// Result of comparing a password.
pub enum PasswordVerdict {
    Right,
    /// Right, but the hash has weaker parameters than today's or was not made of the NFC form. Carries a better hash.
    RightButWeak(PasswordHash),
    Wrong,
}

/// A password that may be stored, in NFC. Made only by the rule of [`Passwords::accept`], or by code that states that
/// the rule does not apply. Nothing else can be hashed.
pub struct AcceptedPassword(Zeroizing<String>);

impl AcceptedPassword {
    /// A published password, such as the demo's: no rule makes it safer.
    pub fn public(password: &str) -> Self {
        Self(nfc(password))
    }
}

/// Unicode Normalization Form C (RFC 8265 §4.2.2): keyboards encode the same character in different ways.
fn nfc(text: &str) -> Zeroizing<String> {
    // UTF-8 grows at most threefold (Unicode, UAX #15), so the buffer is never reallocated and leaves no copy of the
    // password in memory.
    let mut normal = Zeroizing::new(String::with_capacity(3 * text.len()));
    normal.extend(text.nfc());
    normal
}

/// Whether two passwords are the same, however their characters are encoded.
pub(crate) fn is_same(one: &Presented<Password>, other: &Presented<Password>) -> bool {
    nfc(one.expose()) == nfc(other.expose())
}

/// The forms of a typed password that are compared. They depend on the typed text alone, so that timing reveals nothing
/// about the account.
struct PasswordForms {
    nfc: Option<Zeroizing<String>>,
    /// As typed, if that differs from NFC: older hashes were made of it.
    typed: Option<Zeroizing<String>>,
}

impl PasswordForms {
    /// Forms that are too long are not compared: anybody can request this work.
    fn new(shown: &Presented<Password>) -> Self {
        let fits = |text: &Zeroizing<String>| text.len() <= MAX_PASSWORD_BYTES;
        let (nfc, typed) = (nfc(shown.expose()), Zeroizing::new(shown.expose().to_owned()));
        Self { typed: Some(typed).filter(|typed| *typed != nfc).filter(fits), nfc: Some(nfc).filter(fits) }
    }

    const fn is_empty(&self) -> bool {
        self.nfc.is_none() && self.typed.is_none()
    }

    fn verify(&self, kept: &PasswordHash, cost: PasswordCost, salt: &[u8; 16]) -> PasswordVerdict {
        let is = |text: &Option<Zeroizing<String>>| text.as_ref().is_some_and(|text| matches(kept, text.as_bytes()));
        // Compares both forms, even if only one can match.
        let (in_nfc, as_typed) = (is(&self.nfc), is(&self.typed) && !kept.is_nfc());
        if !in_nfc && !as_typed {
            return PasswordVerdict::Wrong;
        }
        let better = self.nfc.as_ref().filter(|_| !in_nfc || !cost.is_of(kept));
        better.map_or(PasswordVerdict::Right, |nfc| PasswordVerdict::RightButWeak(cost.hash(nfc.as_bytes(), salt)))
    }
}

pub struct Passwords {
    lanes: HashingLanes,
    cost: PasswordCost,
    /// Compared if there is no user, so that timing does not reveal which logins exist.
    nobody: PasswordHash,
}

impl Passwords {
    /// The threads end when this is dropped and the waiting work is done.
    pub fn new() -> Self {
        Self::costing(PasswordCost::OWASP)
    }

    pub fn costing(cost: PasswordCost) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let pool = Pool::new(PoolKind {
            name: "passwords",
            threads: cores.div_ceil(2),
            max_waiting: MAX_WAITING,
            full: "too many sign-ins at once",
            priority: Priority::FirstPiece,
        });
        Self { lanes: HashingLanes::new(pool), cost, nobody: cost.dummy_hash() }
    }

    /// The same threads, taking turns with other instances.
    pub(crate) fn of(&self, instance: InstanceId) -> Self {
        Self { lanes: self.lanes.of(instance), cost: self.cost, nobody: self.nobody.clone() }
    }

    pub async fn verify(
        &self,
        turn: HashingTurn,
        kept: Option<&PasswordHash>,
        shown: &Presented<Password>,
        salt: [u8; 16],
    ) -> Result<PasswordVerdict, Fault> {
        let known = kept.is_some();
        let kept = kept.unwrap_or(&self.nobody).clone();
        let (candidates, cost) = (PasswordForms::new(shown), self.cost);
        if candidates.is_empty() {
            return Ok(PasswordVerdict::Wrong);
        }
        self.lanes
            .run(turn, move || {
                let verdict = candidates.verify(&kept, cost, &salt);
                if known { verdict } else { PasswordVerdict::Wrong }
            })
            .await
    }

    pub async fn hash(&self, password: AcceptedPassword, salt: [u8; 16]) -> Result<PasswordHash, Fault> {
        let cost = self.cost;
        self.lanes.run(HashingTurn::Known, move || cost.hash(password.0.as_bytes(), &salt)).await
    }

    /// The one rule for new passwords, wherever they are set: their length, how hard they are to guess, and that they
    /// are not what others know of the user.
    pub async fn accept(&self, chosen: &Presented<Password>, user: &User) -> Answer<AcceptedPassword, Weakness> {
        let (password, weakness) = self.judge(chosen, user).await?;
        Ok(weakness.map_or(Ok(password), Err))
    }

    /// The same for an operator, who may override the rule: also answers the weakness that was found. The length limits
    /// hold.
    pub async fn accept_weak(
        &self,
        chosen: &Presented<Password>,
        user: &User,
    ) -> Answer<(AcceptedPassword, Option<Weakness>), Weakness> {
        let (password, weakness) = self.judge(chosen, user).await?;
        Ok(match weakness {
            Some(limit) if !limit.may_be_overridden() => Err(limit),
            weakness => Ok((password, weakness)),
        })
    }

    async fn judge(
        &self,
        chosen: &Presented<Password>,
        user: &User,
    ) -> Result<(AcceptedPassword, Option<Weakness>), Fault> {
        let password = nfc(chosen.expose());
        let address = user.email.as_ref().map(|email| email.address.as_str());
        let known = [Some(user.login.as_str()), Some(&user.name), address];
        let about: Vec<String> = known.into_iter().flatten().map(|text| text.nfc().collect()).collect();
        self.lanes
            .run(HashingTurn::Known, move || {
                let about: Vec<&str> = about.iter().map(String::as_str).collect();
                let weakness = weakness(&password, &about);
                (AcceptedPassword(password), weakness)
            })
            .await
    }

    /// The number of passwords that wait to be hashed, and their bound.
    pub(crate) fn fill(&self) -> QueueFill {
        self.lanes.fill()
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

/// Uses the parameters that the hash was made with.
fn matches(kept: &PasswordHash, shown: &[u8]) -> bool {
    Phc::new(kept.as_phc()).is_ok_and(|phc| Argon2::default().verify_password(shown, &phc).is_ok())
}

#[cfg(test)]
mod tests {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};

    use super::*;

    fn shown(text: &str) -> Presented<Password> {
        Presented::new(text)
    }

    fn accepted(text: &str) -> AcceptedPassword {
        AcceptedPassword(nfc(text))
    }

    #[tokio::test]
    async fn a_password_is_right_wrong_or_nobodys() {
        let passwords = Passwords::new();
        let kept = passwords.hash(accepted("right"), [1; 16]).await.expect("hashes");
        let verdict = async |kept: Option<&PasswordHash>, text: &str| {
            passwords.verify(HashingTurn::Known, kept, &shown(text), [2; 16]).await.expect("verifies")
        };
        assert!(matches!(verdict(Some(&kept), "right").await, PasswordVerdict::Right));
        assert!(matches!(verdict(Some(&kept), "wrong").await, PasswordVerdict::Wrong));
        assert!(matches!(verdict(None, "right").await, PasswordVerdict::Wrong), "nobody cannot be guessed");
    }

    /// Otherwise the time taken would reveal which logins exist.
    #[test]
    fn nobodys_hash_is_read_and_costs_what_every_hash_costs() {
        let cost = PasswordCost::OWASP;
        let (nobody, real) = (cost.dummy_hash(), cost.hash(b"any", &[1; 16]));
        assert_eq!(nobody.as_phc().len(), real.as_phc().len());
        let (nobody, real) =
            (Phc::new(nobody.as_phc()).expect("readable"), Phc::new(real.as_phc()).expect("made here"));
        assert_eq!((nobody.algorithm, nobody.version), (real.algorithm, real.version));
        assert_eq!(nobody.params, real.params);
        assert!(cost.argon2().verify_password(b"any", &nobody).is_err());
    }

    #[tokio::test]
    async fn a_hash_under_weaker_parameters_is_replaced() {
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8 * 1024, 1, 1, None).expect("valid"));
        let weak = weak.hash_password_with_salt(b"right", &[1; 16]).expect("hashes").to_string();
        let verdict = Passwords::new()
            .verify(HashingTurn::Known, Some(&PasswordHash::of_nfc(weak)), &shown("right"), [2; 16])
            .await;
        let PasswordVerdict::RightButWeak(better) = verdict.expect("verifies") else { panic!("weak, yet kept") };
        assert!(matches(&better, b"right") && PasswordCost::OWASP.is_of(&better));
    }

    /// Ä, encoded as one character and as two.
    const COMPOSED: &str = "r\u{e4}tsel-hafte-Worte";
    const DECOMPOSED: &str = "ra\u{308}tsel-hafte-Worte";

    #[tokio::test]
    async fn a_password_is_right_however_a_keyboard_writes_its_characters() {
        let passwords = Passwords::new();
        for chosen in [COMPOSED, DECOMPOSED] {
            let kept = passwords.hash(accepted(chosen), [1; 16]).await.expect("hashes");
            assert!(kept.is_nfc());
            for typed in [COMPOSED, DECOMPOSED] {
                let verdict =
                    passwords.verify(HashingTurn::Known, Some(&kept), &shown(typed), [2; 16]).await.expect("verifies");
                assert!(matches!(verdict, PasswordVerdict::Right), "{chosen} {typed}");
            }
        }
        assert!(is_same(&shown(COMPOSED), &shown(DECOMPOSED)) && !is_same(&shown(COMPOSED), &shown("other")));
    }

    #[tokio::test]
    async fn a_hash_of_bytes_as_typed_is_replaced_by_one_of_nfc() {
        let passwords = Passwords::new();
        let before = |typed: &str| {
            let hash = PasswordCost::OWASP.hash(typed.as_bytes(), &[1; 16]);
            PasswordHash::of_bytes(hash.as_phc().to_owned())
        };
        let verdict = async |kept: &PasswordHash, typed: &str| {
            passwords.verify(HashingTurn::Known, Some(kept), &shown(typed), [2; 16]).await.expect("verifies")
        };
        let PasswordVerdict::RightButWeak(better) = verdict(&before(DECOMPOSED), DECOMPOSED).await else {
            panic!("the bytes are those that were hashed")
        };
        assert!(better.is_nfc() && matches(&better, COMPOSED.as_bytes()));
        assert!(matches!(verdict(&before(COMPOSED), DECOMPOSED).await, PasswordVerdict::Right), "by its NFC form");
        assert!(matches!(verdict(&before(DECOMPOSED), COMPOSED).await, PasswordVerdict::Wrong), "as it was before");
        let marked = PasswordHash::of_nfc(before(DECOMPOSED).as_phc().to_owned());
        assert!(matches!(verdict(&marked, DECOMPOSED).await, PasswordVerdict::Wrong), "only hashes made before");
    }

    /// The forms to compare are chosen without looking at the account, so that timing does not reveal which logins
    /// exist.
    #[test]
    fn what_is_compared_depends_on_what_was_typed_alone() {
        let compared = |typed: &str| {
            let PasswordForms { nfc, typed } = PasswordForms::new(&shown(typed));
            (nfc.map(|text| text.to_string()), typed.map(|text| text.to_string()))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(compared(COMPOSED), (text(COMPOSED), None), "one comparison");
        assert_eq!(compared(DECOMPOSED), (text(COMPOSED), text(DECOMPOSED)), "two");
        let fits = "\u{e4}".repeat(512);
        assert_eq!(compared(&"a\u{308}".repeat(512)), (Some(fits), None), "1024 bytes in NFC, 1536 as typed");
        assert_eq!(compared(&"x".repeat(1025)), (None, None), "not looked at");
        // U+0958 becomes two characters in NFC.
        let (nfc, typed) = compared(&"\u{958}".repeat(300));
        assert!(nfc.is_none() && typed.is_some_and(|typed| typed.len() == 900));
    }

    fn alice() -> User {
        User {
            id: model::UserId(uuid::Uuid::nil()),
            login: model::Login::parse("alice").expect("valid"),
            user_type: model::UserType::Internal,
            admin_flag: false,
            enabled: true,
            name: "Alicia A\u{308}rcher".to_owned(),
            email: Some(model::Email { address: "blackbird@example.com".to_owned(), verified: true }),
            locale: None,
            permissions: model::entities::Permissions::default(),
            epoch: 0,
            has_second_factor: false,
            updated_at: model::Timestamp::from_seconds(0),
            problems: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_others_know_of_a_person_is_no_password_of_theirs() {
        let passwords = Passwords::new();
        let said = async |chosen: &str| passwords.accept(&shown(chosen), &alice()).await.expect("no fault").err();
        for chosen in ["alice123", "Alice2024!", "blackbird", "blackbird@example.com", "\u{c4}rcher99"] {
            assert!(said(chosen).await.is_some(), "{chosen}");
        }
        assert_eq!(said("Alicia \u{c4}rcher").await, Some(Weakness::AboutYou), "in any form of its characters");
        assert_eq!(said("lantern-otter-quill").await, None);
        assert_eq!(said("a\u{308}o\u{308}u\u{308}a\u{308}").await, Some(Weakness::TooShort), "four characters");
        assert_eq!(said(&"a\u{308}".repeat(513)).await, Some(Weakness::TooLong), "1026 bytes in NFC");
    }

    #[tokio::test]
    async fn an_operator_overrides_the_rule_and_not_its_limits() {
        let passwords = Passwords::new();
        let forced = async |chosen: &str| {
            let answer = passwords.accept_weak(&shown(chosen), &alice()).await.expect("no fault");
            answer.map(|(_, overridden)| overridden)
        };
        assert_eq!(forced("password1").await.map(|overridden| overridden.is_some()), Ok(true));
        assert_eq!(forced("x").await, Ok(Some(Weakness::TooShort)));
        assert_eq!(forced("lantern-otter-quill").await, Ok(None), "nothing to override");
        assert_eq!(forced("").await, Err(Weakness::Empty));
        assert_eq!(forced(&"x".repeat(1025)).await, Err(Weakness::TooLong));
    }
}
