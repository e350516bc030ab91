//! Rotation of the master key, which seals everything, and of an instance's root secret.
//!
//! Rotating the master key changes one row at a time, guarded by the bytes that were read. It may be interrupted
//! anywhere and restarted, beside servers that know both keys. Rows still sealed under the previous key open as before.

use model::Moment;
use store::{Change, ChangeKind, Database, SealedColumn, SealedRow, Store, StoredInstance};

use crate::admin::act::AdminAct;
use crate::admin::{AdminRefusal, ElevatedAdminService};
use crate::platform::Platform;
use crate::platform::feed_health::FUSE;
use crate::platform::seal::{SealedSecret, SealedUnder};
use crate::{Answer, Fault, MasterKey};

/// Rows per page, read and sealed again in one commit.
const PAGE: u32 = 256;

/// Maximum passes over all rows: one to seal them again, more for secrets that servers sealed meanwhile. Needing still
/// more means that a server has not learnt of the rotation.
const MAX_ROUNDS: u32 = 4;

/// Maximum unreadable secrets that are named. The others are only counted.
const MAX_NAMED: usize = 100;

/// A secret that neither key opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableSecret {
    pub instance: String,
    pub table: &'static str,
    /// Identifies the row within the instance.
    pub key: String,
}

/// Number of secrets per key.
#[derive(Clone, Debug, Default)]
pub struct SealCounts {
    pub current: u64,
    pub previous: u64,
    pub neither: u64,
    /// The secrets under neither key, at most [`MAX_NAMED`].
    pub unopened: Vec<UnreadableSecret>,
}

impl SealCounts {
    pub const fn total(&self) -> u64 {
        self.current + self.previous + self.neither
    }

    fn note_unopened(&mut self, unopened: UnreadableSecret) {
        self.neither += 1;
        if self.unopened.len() < MAX_NAMED {
            self.unopened.push(unopened);
        }
    }
}

/// The result of a rotation.
pub struct RotationReport {
    /// Secrets that this run sealed again.
    pub resealed: u64,
    /// Counts after the rotation.
    pub seals: SealCounts,
}

/// A refused rotation of the master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterKeyRotationRefusal {
    /// Only one key is configured.
    NoPreviousKey,
    /// A newer program version stores secrets that this one does not know.
    NewerDatabase,
    Overtaken,
}

/// Counts the secrets under each key. Changes nothing.
pub async fn examine_seals(database: &Database, master: &MasterKey) -> Answer<SealCounts, MasterKeyRotationRefusal> {
    if database.look().await?.is_newer() {
        return Ok(Err(MasterKeyRotationRefusal::NewerDatabase));
    }
    let mut seals = SealCounts::default();
    for instance in database.instances().await? {
        let vault = InstanceSecrets::of(&instance, database, master);
        for column in SealedColumn::ALL {
            let mut last = String::new();
            while let Some(page) = vault.page(column, &mut last).await? {
                vault.judge(column, &page, &mut seals);
            }
        }
    }
    Ok(Ok(seals))
}

/// Seals everything again that is under the previous key. After every commit, `progress` gets the number of secrets
/// sealed so far.
pub async fn rotate_master_key(
    database: &Database,
    master: &MasterKey,
    platform: &dyn Platform,
    mut progress: impl FnMut(u64),
) -> Answer<RotationReport, MasterKeyRotationRefusal> {
    if database.look().await?.is_newer() {
        return Ok(Err(MasterKeyRotationRefusal::NewerDatabase));
    }
    if !master.has_previous() {
        return Ok(Err(MasterKeyRotationRefusal::NoPreviousKey));
    }
    let instances = database.instances().await?;
    let mut resealed = 0;
    for instance in &instances {
        // An instance whose root secret neither key opens is reported at the end. It does not delay the others.
        let Ok(admin) = ElevatedAdminService::for_operator(database, master, instance).await else { continue };
        match admin.reseal_root_secret(master, &mut Moment { now: platform.now(), rng: &mut *platform.rng() }).await? {
            Ok(true) => resealed += 1,
            Ok(false) => {}
            Err(_) => return Ok(Err(MasterKeyRotationRefusal::Overtaken)),
        }
    }
    if resealed > 0 {
        progress(resealed);
    }
    let mut known = 0;
    for _ in 0..MAX_ROUNDS {
        for instance in &instances {
            InstanceSecrets::of(instance, database, master).reseal(&mut resealed, &mut progress).await?;
        }
        if resealed == known {
            break;
        }
        known = resealed;
        // After this pause, every server has followed the feed, or does not trust its memory until it has. The next
        // round finds the secrets that a server sealed under the previous key before it learnt of the rotation.
        tokio::time::sleep(FUSE).await;
    }
    Ok(examine_seals(database, master).await?.map(|seals| RotationReport { resealed, seals }))
}

/// The sealed secrets of one instance.
struct InstanceSecrets<'a> {
    instance: &'a StoredInstance,
    store: Store,
    master: &'a MasterKey,
}

impl<'a> InstanceSecrets<'a> {
    fn of(instance: &'a StoredInstance, database: &Database, master: &'a MasterKey) -> Self {
        Self { instance, store: Store::new(database.clone(), instance.id), master }
    }

    async fn page(&self, column: SealedColumn, last: &mut String) -> Result<Option<Vec<SealedRow>>, Fault> {
        let page = self.store.sealed_after(column, last, PAGE).await?;
        let Some(row) = page.last() else { return Ok(None) };
        last.clone_from(&row.key);
        Ok(Some(page))
    }

    fn examine(&self, what: Option<SealedSecret>, row: &SealedRow) -> SealedUnder {
        what.map_or(SealedUnder::Neither, |what| self.master.examine(self.instance.id, what, &row.sealed))
    }

    fn judge(&self, column: SealedColumn, page: &[SealedRow], seals: &mut SealCounts) {
        for row in page {
            match self.examine(SealedSecret::of(column, &row.key), row) {
                SealedUnder::Current => seals.current += 1,
                SealedUnder::Previous(_) => seals.previous += 1,
                SealedUnder::Neither => seals.note_unopened(UnreadableSecret {
                    instance: self.instance.name.clone(),
                    table: column.place().0,
                    key: row.key.clone(),
                }),
            }
        }
    }

    /// Seals everything but the root secret again, page by page.
    async fn reseal(&self, resealed: &mut u64, progress: &mut impl FnMut(u64)) -> Result<(), Fault> {
        for column in SealedColumn::ALL.into_iter().filter(|column| *column != SealedColumn::RootSecret) {
            let mut last = String::new();
            while let Some(page) = self.page(column, &mut last).await? {
                let anew: Vec<_> = page.iter().filter_map(|row| self.anew(column, row)).collect();
                let count = anew.len() as u64;
                if count == 0 {
                    continue;
                }
                // No guard: the next round handles rows that changed or disappeared meanwhile.
                let _committed = self.store.commit(anew.into()).await?;
                *resealed += count;
                progress(*resealed);
            }
        }
        Ok(())
    }

    fn anew(&self, column: SealedColumn, row: &SealedRow) -> Option<store::Statement> {
        let what = SealedSecret::of(column, &row.key)?;
        let SealedUnder::Previous(secret) = self.examine(Some(what), row) else { return None };
        let sealed = self.master.seal_under_current(self.instance.id, what, &secret);
        Some(self.store.reseal(column, row, sealed))
    }
}

/// The effect of a new root secret.
#[derive(Clone, Debug)]
pub struct RootSecretView {
    /// Live refresh tokens.
    pub refresh_tokens: u64,
    /// API sessions whose clients must sign in again, at the latest when their access token expires.
    pub live_sessions: u64,
}

impl ElevatedAdminService<'_> {
    /// The effect of [`Self::rotate_root_secret`]. Changes nothing.
    pub async fn preview_root_secret(&self, moment: &Moment<'_>) -> Result<RootSecretView, Fault> {
        Ok(RootSecretView {
            refresh_tokens: self.store().live_families(moment.now).await?,
            live_sessions: self.store().seats_taken().await?.0,
        })
    }

    /// For a compromised root secret: everything derived from it becomes invalid on every node. There is no grace
    /// period, which a thief could use.
    pub async fn rotate_root_secret(&self, master: &MasterKey, moment: &mut Moment<'_>) -> Answer<(), AdminRefusal> {
        let store = self.store();
        let old = store.root_secret().await?;
        // The key that opens the current root secret is the one that the instance seals under.
        master.open(*store.instance(), SealedSecret::RootSecret, &old)?;
        let new = master.seal(*store.instance(), SealedSecret::RootSecret, &moment.rng.secret());
        self.put_root_secret(AdminAct::RotateRootSecret, &old, new, moment).await
    }

    /// The first step of rotating the master key: servers that learn of it seal under the current key from then on.
    /// `false` if the root secret is under the current key already, or under neither.
    async fn reseal_root_secret(&self, master: &MasterKey, moment: &mut Moment<'_>) -> Answer<bool, AdminRefusal> {
        let (store, what) = (self.store(), SealedSecret::RootSecret);
        let old = store.root_secret().await?;
        let SealedUnder::Previous(secret) = master.examine(*store.instance(), what, &old) else { return Ok(Ok(false)) };
        let new = master.seal_under_current(*store.instance(), what, &secret);
        Ok(self.put_root_secret(AdminAct::RotateMasterKey, &old, new, moment).await?.map(|()| true))
    }

    async fn put_root_secret(
        &self,
        act: AdminAct,
        old: &[u8],
        new: Vec<u8>,
        moment: &mut Moment<'_>,
    ) -> Answer<(), AdminRefusal> {
        let instance = self.store().instance();
        let mut batch = store::Batch::from(vec![
            self.store().replace_root_secret(old, new),
            self.events().plain(act, &instance.to_string(), moment),
        ]);
        batch.announce(Change { kind: ChangeKind::RootSecret, subject: instance.0 }, moment.now);
        self.commit(batch, AdminRefusal::Overtaken, moment).await
    }
}
