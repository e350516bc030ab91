use model::{InstanceId, InstanceSettings, Timestamp};

use crate::{Database, Fault, Statement, Store, values};

/// An instance as the database knows it; where it is found from outside is configuration.
pub struct StoredInstance {
    pub id: InstanceId,
    pub name: String,
    pub settings: InstanceSettings,
    /// Sealed under the master key.
    pub root_secret: Vec<u8>,
}

impl Database {
    pub async fn instances(&self) -> Result<Vec<StoredInstance>, Fault> {
        let rows = self.query("SELECT id, name, settings, root_secret FROM instances ORDER BY name", vec![]).await?;
        rows.iter()
            .map(|row| {
                Ok(StoredInstance {
                    id: InstanceId(row.uuid(0)?),
                    name: row.text(1)?,
                    settings: serde_json::from_str(&row.text(2)?).map_err(Fault::failed)?,
                    root_secret: row.bytes(3)?,
                })
            })
            .collect()
    }
}

impl Store {
    /// Guarded: a name is given once.
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

    /// Sealed under the master key.
    pub async fn root_secret(&self) -> Result<Vec<u8>, Fault> {
        let row = self.row("SELECT root_secret FROM instances WHERE id = $1", vec![]).await?;
        row.ok_or_else(|| super::damaged("the instance is gone"))?.bytes(0)
    }

    pub async fn settings(&self) -> Result<InstanceSettings, Fault> {
        self.settings_as_written().await.map(|(settings, _)| settings)
    }

    /// The settings, and the text that they were read from.
    pub async fn settings_as_written(&self) -> Result<(InstanceSettings, String), Fault> {
        let row = self.row("SELECT settings FROM instances WHERE id = $1", vec![]).await?;
        let text = row.ok_or_else(|| super::damaged("the instance is gone"))?.text(0)?;
        Ok((serde_json::from_str(&text).map_err(Fault::failed)?, text))
    }

    /// Guarded by the text that was read.
    pub fn update_settings(&self, settings: &InstanceSettings, as_written: &str) -> Statement {
        let json = serde_json::to_string(settings).expect("settings are strings and numbers");
        self.bound("UPDATE instances SET settings = $2 WHERE id = $1 AND settings = $3", values![json, as_written])
            .expect(1)
    }
}
