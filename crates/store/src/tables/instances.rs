use model::{InstanceId, InstanceSettings, Timestamp};

use crate::{DamagedRow, Database, Fault, SqlRow, Statement, Store, values};

/// A stored instance. Its public address is configuration.
pub struct StoredInstance {
    pub id: InstanceId,
    pub name: String,
    /// Sealed under the master key.
    pub root_secret: Vec<u8>,
}

impl Database {
    pub async fn instances(&self) -> Result<Vec<StoredInstance>, Fault> {
        let rows = self.query("SELECT id, name, root_secret FROM instances ORDER BY name", vec![]).await?;
        let read = |row: &SqlRow| {
            // A root secret of another type opens as little as a damaged one: the instance exists, and cannot be
            // served.
            let (id, name, root_secret) = (InstanceId(row.uuid(0)?), row.text(1)?, row.bytes(2).unwrap_or_default());
            Ok::<_, DamagedRow>(StoredInstance { id, name, root_secret })
        };
        // A row without a readable id and name is skipped: a search by name does not find it.
        Ok(rows.iter().filter_map(|row| read(row).ok()).collect())
    }
}

impl Store {
    /// Guarded: a name is used once.
    pub fn insert_instance(
        &self,
        name: &str,
        settings: &InstanceSettings,
        sealed_root_secret: Vec<u8>,
        now: Timestamp,
    ) -> Statement {
        self.bound(
            "INSERT INTO instances (id, name, settings, root_secret, feed, created_at) VALUES ($1, $2, $3, $4, 0, $5) \
             ON CONFLICT DO NOTHING",
            values![
                name,
                serde_json::to_string(settings).expect("settings are strings and numbers"),
                sealed_root_secret,
                now.micros()
            ],
        )
        .expect(1)
    }

    pub async fn settings(&self) -> Result<InstanceSettings, Fault> {
        self.settings_as_written().await.map(|(settings, _)| settings)
    }

    /// The settings that cannot be read, with the reasons.
    pub async fn settings_problems(&self) -> Result<Vec<String>, Fault> {
        let (_, text) = self.settings_as_written().await?;
        Ok(InstanceSettings::restore(&text).problems.iter().map(ToString::to_string).collect())
    }

    /// The settings, with the text they were read from.
    pub async fn settings_as_written(&self) -> Result<(InstanceSettings, String), Fault> {
        let row = self.row("SELECT settings FROM instances WHERE id = $1", vec![]).await?;
        let text = row.ok_or_else(|| super::damaged("the instance is gone"))?.text(0)?;
        Ok((InstanceSettings::restore(&text).value, text))
    }

    /// Sealed under the master key.
    pub async fn root_secret(&self) -> Result<Vec<u8>, Fault> {
        let row = self.row("SELECT root_secret FROM instances WHERE id = $1", vec![]).await?;
        row.ok_or_else(|| super::damaged("the instance is gone"))?.bytes(0).map_err(Fault::from)
    }

    /// Guarded by the sealed bytes that were read.
    pub fn replace_root_secret(&self, old: &[u8], new: Vec<u8>) -> Statement {
        self.bound("UPDATE instances SET root_secret = $3 WHERE id = $1 AND root_secret = $2", values![old, new])
            .expect(1)
    }

    /// Guarded by the text that was read.
    pub fn update_settings(&self, settings: &InstanceSettings, as_written: &str) -> Statement {
        let json = settings.written_over(as_written);
        self.bound("UPDATE instances SET settings = $2 WHERE id = $1 AND settings = $3", values![json, as_written])
            .expect(1)
    }
}
