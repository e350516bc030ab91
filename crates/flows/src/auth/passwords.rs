//! Argon2id on a few threads of its own, never on an async worker.
//!
//! Of an instance's turns, known browsers have the first; strangers take turns by network.

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

/// Passwords that may wait for a free thread, in fair shares of known browsers and strangers of each instance; more are
/// told to come back.
const MAX_WAITING: usize = 512;

/// What comparing a password told.
pub enum PasswordVerdict {
    Right,
    /// Right, and the hash has weaker parameters than today's or is not of the NFC form: here is a better hash.
    RightButWeak(PasswordHash),
    Wrong,
}

/// A password that may be stored, in NFC. Only the rule of [`Passwords::accept`] makes one, or who says that it does not
/// apply; nothing else can be hashed.
pub struct AcceptedPassword(Zeroizing<String>);

impl AcceptedPassword {
    /// A password that is printed for everybody to use, as the demo's are: no rule makes it safer.
    pub fn public(password: &str) -> Self {
        Self(nfc(password))
    }
}

/// Unicode's form NFC (RFC 8265 §4.2.2): keyboards write the same character in different ways.
fn nfc(text: &str) -> Zeroizing<String> {
    // UTF-8 grows threefold at most (Unicode, UAX #15): no part of a password stays behind in memory.
    let mut normal = Zeroizing::new(String::with_capacity(3 * text.len()));
    normal.extend(text.nfc());
    normal
}

/// Is it the same password, however its characters are written?
pub(crate) fn is_same(one: &Presented<Password>, other: &Presented<Password>) -> bool {
    nfc(one.expose()) == nfc(other.expose())
}

/// What a password is compared as. Depends on what was typed alone, so that the time taken tells nothing of the account.
struct PasswordForms {
    nfc: Option<Zeroizing<String>>,
    /// As typed, where that is something else: hashes were made of it before.
    typed: Option<Zeroizing<String>>,
}

impl PasswordForms {
    /// Longer ones are not compared: hashing is work that a stranger orders.
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
        // Both are compared, whichever can be right.
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
    /// Compared where there is no user, so that the time taken tells nothing.
    nobody: PasswordHash,
}

impl Passwords {
    /// The threads end when this is dropped and what waits is done.
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

    /// The same threads, by turns with other instances.
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

    /// The one rule for new passwords, at every door: their length, how hard they are to guess, and that they are not
    /// what others know of the user.
    pub async fn accept(&self, chosen: &Presented<Password>, user: &User) -> Answer<AcceptedPassword, Weakness> {
        let (password, weakness) = self.judge(chosen, user).await?;
        Ok(weakness.map_or(Ok(password), Err))
    }

    /// An operator overrides the rule: what it would have said comes along. The limits of length hold.
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

    /// Those that wait to be hashed.
    pub(crate) fn fill(&self) -> QueueFill {
        self.lanes.fill()
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

/// By the parameters that the hash was made with.
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

    /// Else the time taken would tell who exists.
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

    /// Ä, written by one character and by two.
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

    /// What is compared is decided without looking at the account, so that nobody learns from the time who exists.
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
        // U+0958 is two characters in NFC.
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
