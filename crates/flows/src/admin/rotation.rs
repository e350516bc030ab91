//! New keys for old secrets: the master key that everything is sealed under, and an instance's root secret.
//!
//! A rotation of the master key changes one row at a time, each by the bytes that were read, so that it may be cut off
//! anywhere and begun again, beside servers that know both keys. What is left under the previous key opens as before.

use model::Moment;
use store::{Change, ChangeKind, Database, SealedColumn, SealedRow, Store, StoredInstance};

use crate::admin::{AdminRefusal, ElevatedAdminService};
use crate::platform::Platform;
use crate::platform::feed_health::FUSE;
use crate::platform::seal::{SealedSecret, SealedUnder};
use crate::{Answer, Fault, MasterKey};

/// Rows that are read, and sealed anew in one commit.
const PAGE: u32 = 256;

/// How often everything is looked through: once to seal it anew, again for what servers sealed meanwhile. Where more is
/// needed, a server does not hear of the rotation.
const MAX_ROUNDS: u32 = 4;

/// Unopened secrets that are named; the others are counted.
const MAX_NAMED: usize = 100;

/// A secret that neither key opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableSecret {
    pub instance: String,
    pub table: &'static str,
    /// What tells its row from others of the instance.
    pub key: String,
}

/// How many secrets are sealed under which key.
#[derive(Clone, Debug, Default)]
pub struct SealCounts {
    pub current: u64,
    pub previous: u64,
    pub neither: u64,
    /// Of those under neither, at most [`MAX_NAMED`].
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

/// What a rotation did.
pub struct RotationReport {
    /// Secrets that this run sealed anew.
    pub resealed: u64,
    /// As everything stands afterwards.
    pub seals: SealCounts,
}

/// Why the master key is not rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterKeyRotationRefusal {
    /// There is one key only.
    NoPreviousKey,
    /// A newer program keeps secrets that this one does not know.
    NewerDatabase,
    Overtaken,
}

/// Which key everything is under. Changes nothing.
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

/// Seals everything under the current key that is under the previous one. `progress` is told of every commit how many
/// secrets were sealed anew until then.
pub async fn rotate_master_key(
    (database, master): (&Database, &MasterKey),
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
        // One whose root secret opens under neither key is told of in the end; the others are not kept waiting for it.
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
        // By then a server has followed the feed, or does not trust its memory before it has. What it sealed under the
        // previous key until it heard of the rotation is found in the next round.
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

    /// Everything but the root secret, a page at a time.
    async fn reseal(&self, resealed: &mut u64, progress: &mut impl FnMut(u64)) -> Result<(), Fault> {
        for column in SealedColumn::ALL.into_iter().filter(|column| *column != SealedColumn::RootSecret) {
            let mut last = String::new();
            while let Some(page) = self.page(column, &mut last).await? {
                let anew: Vec<_> = page.iter().filter_map(|row| self.anew(column, row)).collect();
                let count = anew.len() as u64;
                if count == 0 {
                    continue;
                }
                // Nothing is guarded: what changed or went meanwhile is for the next round.
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

/// What a new root secret would break.
#[derive(Clone, Debug)]
pub struct RootSecretView {
    /// Refresh tokens that are alive.
    pub refresh_tokens: u64,
    /// API sessions whose clients have to sign in again, at the latest when their access token is over.
    pub live_sessions: u64,
}

impl ElevatedAdminService<'_> {
    /// What [`Self::rotate_root_secret`] would break, and nothing done yet.
    pub async fn preview_root_secret(&self, moment: &Moment<'_>) -> Result<RootSecretView, Fault> {
        Ok(RootSecretView {
            refresh_tokens: self.store().live_families(moment.now).await?,
            live_sessions: self.store().seats_taken().await?.0,
        })
    }

    /// For a root secret that may be in wrong hands: everything that was derived from it is dead on every node, without
    /// a grace in which a thief could go on.
    pub async fn rotate_root_secret(&self, master: &MasterKey, moment: &mut Moment<'_>) -> Answer<(), AdminRefusal> {
        let store = self.store();
        let old = store.root_secret().await?;
        // Which of two keys the instance seals under is known from what it has.
        master.open(*store.instance(), SealedSecret::RootSecret, &old)?;
        let new = master.seal(*store.instance(), SealedSecret::RootSecret, &moment.rng.secret());
        self.put_root_secret("rotate-root-secret", (&old, new), moment).await
    }

    /// The first step of the master key's rotation: servers that hear of it seal under the current key from then on.
    /// `false`: it is under the current key already, or under neither.
    async fn reseal_root_secret(&self, master: &MasterKey, moment: &mut Moment<'_>) -> Answer<bool, AdminRefusal> {
        let (store, what) = (self.store(), SealedSecret::RootSecret);
        let old = store.root_secret().await?;
        let SealedUnder::Previous(secret) = master.examine(*store.instance(), what, &old) else { return Ok(Ok(false)) };
        let new = master.seal_under_current(*store.instance(), what, &secret);
        Ok(self.put_root_secret("rotate-master-key", (&old, new), moment).await?.map(|()| true))
    }

    async fn put_root_secret(
        &self,
        what: &'static str,
        (old, new): (&[u8], Vec<u8>),
        moment: &mut Moment<'_>,
    ) -> Answer<(), AdminRefusal> {
        let instance = self.store().instance();
        let mut batch = store::Batch::from(vec![
            self.store().replace_root_secret(old, new),
            self.event(what, &instance.to_string(), moment),
        ]);
        batch.announce(Change { kind: ChangeKind::RootSecret, subject: instance.0 }, moment.now);
        self.commit(batch, AdminRefusal::Overtaken, moment).await
    }
}
