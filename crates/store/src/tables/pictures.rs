use model::UserId;

use crate::{Fault, Statement, Store, values};

impl Store {
    pub async fn picture(&self, user: UserId, size: u32) -> Result<Option<Vec<u8>>, Fault> {
        let sql = "SELECT png FROM pictures WHERE instance = $1 AND user_id = $2 AND size = $3";
        Ok(self.row(sql, values![user.0, size]).await?.map(|row| row.bytes(0)).transpose()?)
    }

    /// Not guarded: the last chosen picture wins.
    pub fn put_picture(&self, user: UserId, size: u32, png: Vec<u8>) -> Statement {
        self.bound(
            "INSERT INTO pictures (instance, user_id, size, png) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (instance, user_id, size) DO UPDATE SET png = excluded.png",
            values![user.0, size, png],
        )
        .expect(1)
    }

    pub fn remove_pictures(&self, user: UserId) -> Statement {
        self.bound("DELETE FROM pictures WHERE instance = $1 AND user_id = $2", values![user.0])
    }
}
