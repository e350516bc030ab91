//! What a try is counted under.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::hmac;
use model::InstanceSettings;
use model::throttle::{CODES, GuessCeiling, PASSWORDS};

/// An account as it is counted: a digest of the folded login, or of a user and epoch, under the instance's root secret.
/// Nodes share it, and made-up logins are no text at rest.
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

/// A browser, sign-in or client's network that was right before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KnownClient(pub(super) [u8; 16]);

/// Addresses that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NetworkPrefix {
    /// An IPv4 address or an IPv6 /64: one person's IPv6 addresses are as many as they like (RFC 4291 §2.5.4).
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

    /// Tries at a time of accounts that are calm, once the free failures are used up.
    pub(super) const fn turns(self) -> u32 {
        match self {
            Self::Narrow(_) => 1,
            Self::Wide(_) => 4,
        }
    }
}

/// What failures are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FailureCounter {
    Known(KnownClient),
    /// Strangers' tries at an account, from one network.
    AccountFrom(GuessedAccount, IpAddr),
    /// Strangers' tries at an account, from all networks.
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

/// Failures that cost nothing yet, by the instance's settings.
#[derive(Clone, Copy)]
pub(crate) struct FreeFailures {
    pub(super) account: u32,
    pub(super) network: u32,
}

impl FreeFailures {
    /// As many more networks are wide than narrow ones are failures.
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

/// A try, as it waits and is counted. Text that is no login is nobody's account.
#[derive(Clone)]
pub(crate) struct SignInAttempt {
    pub(super) account: Option<GuessedAccount>,
    pub(super) known: Option<KnownClient>,
    pub(super) narrow: IpAddr,
    networks: [NetworkPrefix; 2],
    /// Takes turns with others of its network: the browser, or the account where there is none.
    pub(super) turn: [u8; 16],
    /// Login and password. A repeated one is no other failure.
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

    /// Of a stranger.
    pub(super) fn counters(&self) -> AttemptCounters {
        let [narrow, wide] = self.networks.map(|network| Some(FailureCounter::Network(network)));
        let from = self.account.map(|account| FailureCounter::AccountFrom(account, self.narrow));
        AttemptCounters([from, self.account.map(FailureCounter::Account), narrow, wide])
    }
}

/// What one try is counted under.
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

/// Digests of what is counted, under a key that this process drew: nothing that memory holds is a password.
pub(crate) struct CounterKey(hmac::Key);

impl CounterKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Every part with its length, so that no two lists of parts read the same.
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
