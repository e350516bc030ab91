//! Device cookies: which accounts a browser signed in to before (`identity.md` §4.1).
//!
//! A cookie is not a sign-in, and does not replace the password. It only makes the browser's attempts count separately
//! from strangers'. It is a list of entries under one MAC of the instance: `base64url(entries).tag`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Login, Moment, Timestamp};
use oauth::secret::Presented;

use crate::auth::Auth;
use crate::auth::throttle::AccountKey;
use crate::platform::seal::MacPurpose;

/// Type of the device cookie.
pub enum DeviceCookie {}

/// How long after its last sign-in a browser stays known.
pub const DEVICE_LIFETIME: Duration = Duration::from_hours(180 * 24);

/// Accounts that one browser is known for. Only the newest are kept.
const MAX_ACCOUNTS: usize = 4;

const ID: usize = 8;
const ENTRY: usize = 16 + ID + 8;

/// One account that a browser signed in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KnownDevice {
    account: AccountKey,
    id: [u8; ID],
    /// Unix time, in whole seconds.
    at: i64,
}

impl KnownDevice {
    fn to_bytes(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..16].copy_from_slice(&self.account);
        bytes[16..24].copy_from_slice(&self.id);
        bytes[24..].copy_from_slice(&self.at.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY]) -> Self {
        let part = |at: usize| bytes[at..at + 8].try_into().expect("eight bytes");
        let account = bytes[..16].try_into().expect("an entry has more than 16 bytes");
        Self { account, id: part(16), at: i64::from_be_bytes(part(24)) }
    }

    fn is_live(self, now: Timestamp) -> bool {
        now.since(Timestamp::from_seconds(self.at)) < DEVICE_LIFETIME
    }
}

impl Auth<'_> {
    /// Valid entries of the browser's cookies. Anything else in them is ignored.
    fn devices(&self, shown: &[Presented<DeviceCookie>], now: Timestamp) -> Vec<KnownDevice> {
        let read = |cookie: &Presented<DeviceCookie>| {
            let (entries, tag) = cookie.expose().split_once('.')?;
            let entries = URL_SAFE_NO_PAD.decode(entries).ok()?;
            let is_ours = self.memory.current().secret.load().verify(MacPurpose::DeviceCookie, &[&entries], tag);
            let (devices, rest) = entries.as_chunks::<ENTRY>();
            (is_ours && rest.is_empty()).then(|| devices.iter().map(KnownDevice::from_bytes).collect::<Vec<_>>())
        };
        shown.iter().filter_map(read).flatten().filter(|device| device.is_live(now)).collect()
    }

    /// The browser's id for an account, if it signed in to the account recently.
    pub(crate) fn device(
        &self,
        account: &AccountKey,
        shown: &[Presented<DeviceCookie>],
        now: Timestamp,
    ) -> Option<[u8; ID]> {
        let mut devices = self.devices(shown, now);
        devices.retain(|device| device.account == *account);
        devices.iter().max_by_key(|device| device.at).map(|device| device.id)
    }

    /// The cookie of a browser that is now known for another account, too. The browser keeps its id for an account, so
    /// that its failures continue to count.
    pub fn device_cookie(
        &self,
        login: &Login,
        shown: &[Presented<DeviceCookie>],
        moment: &mut Moment<'_>,
    ) -> Presented<DeviceCookie> {
        let account = self.account_key(login);
        let mut devices = self.devices(shown, moment.now);
        let id = self.device(&account, shown, moment.now).unwrap_or_else(|| {
            let mut id = [0; ID];
            moment.rng.fill(&mut id);
            id
        });
        devices.retain(|device| device.account != account);
        devices.push(KnownDevice { account, id, at: moment.now.seconds() });
        devices.sort_by_key(|device| device.at);
        let kept = devices.len().saturating_sub(MAX_ACCOUNTS);
        let entries: Vec<u8> = devices[kept..].iter().flat_map(|device| device.to_bytes()).collect();
        let tag = self.memory.current().secret.load().sign(MacPurpose::DeviceCookie, &[&entries]);
        Presented::new(format!("{}.{tag}", URL_SAFE_NO_PAD.encode(entries)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_as_written() {
        let device = KnownDevice { account: [1; 16], id: [2; ID], at: 1_800_000_000 };
        assert_eq!(KnownDevice::from_bytes(&device.to_bytes()), device);
        assert!(device.is_live(Timestamp::from_seconds(device.at)) && device.is_live(Timestamp::from_seconds(0)));
        assert!(!device.is_live(Timestamp::from_seconds(device.at).plus(DEVICE_LIFETIME)));
    }
}
