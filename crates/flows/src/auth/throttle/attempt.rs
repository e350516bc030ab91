//! Counters of a sign-in attempt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::hmac;
use model::InstanceSettings;
use model::throttle::{CODES, GuessCeiling, PASSWORDS};

/// Identifies an account in counters: a digest of the folded login, or of a user and epoch, under the instance's root
/// secret. All nodes compute the same digest, and made-up logins are not stored as text.
pub(crate) type AccountKey = [u8; 16];

/// An account at one of its two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GuessedAccount {
    Password(AccountKey),
    SecondStep(AccountKey),
}

impl GuessedAccount {
    pub(crate) const fn key(&self) -> &AccountKey {
        match self {
            Self::Password(key) | Self::SecondStep(key) => key,
        }
    }

    pub(crate) const fn ceiling(self) -> GuessCeiling {
        match self {
            Self::Password(_) => PASSWORDS,
            Self::SecondStep(_) => CODES,
        }
    }
}

/// A browser, sign-in or legacy client's network that was right before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KnownClient(pub(super) [u8; 16]);

/// Addresses that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NetworkPrefix {
    /// An IPv4 address or an IPv6 /64: one subscriber has any number of addresses in a /64 (RFC 4291 §2.5.4).
    Narrow(IpAddr),
    /// An IPv4 /24 or an IPv6 /48.
    Wide(IpAddr),
}

impl NetworkPrefix {
    pub(crate) fn narrow(address: IpAddr) -> IpAddr {
        Self::cut(address, 32, 64)
    }

    fn cut(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
        match address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - v4_bits))).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - v6_bits))).into(),
        }
    }

    fn of(address: IpAddr) -> [Self; 2] {
        [Self::Narrow(Self::narrow(address)), Self::Wide(Self::cut(address, 24, 48))]
    }

    /// Concurrent attempts at accounts without recent failures, once the free failures are used up.
    pub(super) const fn turns(self) -> u32 {
        match self {
            Self::Narrow(_) => 1,
            Self::Wide(_) => 4,
        }
    }
}

/// Key of a failure count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FailureCounter {
    Known(KnownClient),
    /// Strangers' attempts at an account, from one network.
    AccountFrom(GuessedAccount, IpAddr),
    /// Strangers' attempts at an account, from all networks.
    Account(GuessedAccount),
    Network(NetworkPrefix),
}

impl FailureCounter {
    pub(super) const fn max_waiting(&self) -> usize {
        match self {
            Self::Known(_) | Self::AccountFrom(..) | Self::Account(_) => super::MAX_WAITING_PER_ACCOUNT,
            Self::Network(NetworkPrefix::Narrow(_)) => super::MAX_WAITING_PER_NETWORK,
            Self::Network(NetworkPrefix::Wide(_)) => super::MAX_WAITING,
        }
    }
}

/// Failures without a wait, from the instance's settings.
#[derive(Clone, Copy)]
pub(crate) struct FreeFailures {
    pub(super) account: u32,
    pub(super) network: u32,
}

impl FreeFailures {
    /// A wide network has so many times the free failures of a narrow one.
    const WIDE: u32 = 5;

    pub(crate) fn of(settings: &InstanceSettings) -> Self {
        Self { account: settings.free_failures_per_account, network: settings.free_failures_per_address }
    }

    pub(super) const fn by(self, counter: &FailureCounter) -> u32 {
        match counter {
            FailureCounter::Known(_) | FailureCounter::AccountFrom(..) | FailureCounter::Account(_) => self.account,
            FailureCounter::Network(NetworkPrefix::Narrow(_)) => self.network,
            FailureCounter::Network(NetworkPrefix::Wide(_)) => self.network.saturating_mul(Self::WIDE),
        }
    }
}

/// An attempt, as it waits and is counted. It has no account if the text is not a login.
#[derive(Clone)]
pub(crate) struct SignInAttempt {
    pub(super) account: Option<GuessedAccount>,
    pub(super) known: Option<KnownClient>,
    pub(super) narrow: IpAddr,
    networks: [NetworkPrefix; 2],
    /// Takes turns with others of its network: the browser, or the account if there is no browser.
    pub(super) turn: [u8; 16],
    /// Digest of login and password. The same guess again is no further failure.
    pub(super) guess: Option<[u8; 16]>,
}

impl SignInAttempt {
    pub(crate) fn new(account: Option<GuessedAccount>, address: IpAddr) -> Self {
        Self {
            account,
            known: None,
            narrow: NetworkPrefix::narrow(address),
            networks: NetworkPrefix::of(address),
            turn: account.map_or([0; 16], |account| *account.key()),
            guess: None,
        }
    }

    pub(crate) const fn account(&self) -> Option<GuessedAccount> {
        self.account
    }

    pub(crate) fn known(self, known: Option<KnownClient>) -> Self {
        Self { known, ..self }
    }

    pub(crate) fn guessing(self, guess: [u8; 16]) -> Self {
        Self { guess: Some(guess), ..self }
    }

    pub(crate) fn by_browser(self, turn: Option<[u8; 16]>) -> Self {
        Self { turn: turn.unwrap_or(self.turn), ..self }
    }

    /// Counters of a stranger's attempt.
    pub(super) fn counters(&self) -> AttemptCounters {
        let [narrow, wide] = self.networks.map(|network| Some(FailureCounter::Network(network)));
        let from = self.account.map(|account| FailureCounter::AccountFrom(account, self.narrow));
        AttemptCounters([from, self.account.map(FailureCounter::Account), narrow, wide])
    }
}

/// The counters of one attempt.
#[derive(Clone, Copy)]
pub(super) struct AttemptCounters([Option<FailureCounter>; 4]);

impl AttemptCounters {
    pub(super) const fn of_known(known: KnownClient) -> Self {
        Self([Some(FailureCounter::Known(known)), None, None, None])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &FailureCounter> {
        self.0.iter().flatten()
    }
}

/// Key for digests of counted values, drawn by this process: no password is held in memory.
pub(crate) struct CounterKey(hmac::Key);

impl CounterKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Prefixes every part with its length, so that two different lists of parts never read the same.
    fn digest(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        *context.sign().as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes")
    }

    pub(crate) fn known(&self, what: &str, id: &[u8], account: &AccountKey) -> KnownClient {
        KnownClient(self.digest(&[b"known", what.as_bytes(), id, account]))
    }

    pub(crate) fn turn(&self, browser: &str) -> [u8; 16] {
        self.digest(&[b"turn", browser.as_bytes()])
    }

    pub(crate) fn guess(&self, account: &AccountKey, password: &str) -> [u8; 16] {
        self.digest(&[b"guess", account, password.as_bytes()])
    }
}
