//! Password guessing: leased blocks of an account's guesses, known networks, and e-mails about attacks.

use model::throttle::{GuessCeiling, MAX_KNOWN_NETWORKS};
use model::{Timestamp, UserId};

use crate::{Fault, Statement, Store, values};

fn micros(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl Store {
    /// Leases a block of guesses at an account. Guarded: fails when the ceiling leaves none, over all nodes.
    pub fn lease_guesses(&self, account: &[u8; 16], ceiling: GuessCeiling, now: Timestamp) -> Statement {
        self.bound(
            "INSERT INTO guess_leases AS l (instance, account, full_at) VALUES ($1, $2, $3) \
             ON CONFLICT (instance, account) DO UPDATE SET \
             full_at = CASE WHEN l.full_at > $4 THEN l.full_at + $5 ELSE excluded.full_at END \
             WHERE l.full_at <= $6",
            values![
                account.to_vec(),
                now.plus(ceiling.block()).micros(),
                now.micros(),
                micros(ceiling.block()),
                now.plus(ceiling.capacity()).minus(ceiling.block()).micros()
            ],
        )
        .expect(1)
    }

    /// When the account's bucket is full again.
    pub async fn guesses_full_at(&self, account: &[u8; 16]) -> Result<Option<Timestamp>, Fault> {
        let sql = "SELECT full_at FROM guess_leases WHERE instance = $1 AND account = $2";
        let row = self.row(sql, values![account.to_vec()]).await?;
        Ok(row.map(|row| row.time(0)).transpose()?)
    }

    /// A small batch of full buckets.
    pub fn sweep_guess_leases(&self, now: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM guess_leases WHERE instance = $1 AND account IN \
             (SELECT account FROM guess_leases WHERE instance = $1 AND full_at < $2 ORDER BY full_at LIMIT 500)",
            values![now.micros()],
        )
    }

    /// When a legacy client with this digest of login and network last sent the right password, as far as it was
    /// written.
    pub async fn known_network(&self, network: &[u8; 32]) -> Result<Option<Timestamp>, Fault> {
        let sql = "SELECT seen_at FROM known_networks WHERE instance = $1 AND network = $2";
        let row = self.row(sql, values![*network]).await?;
        Ok(row.map(|row| row.time(0)).transpose()?)
    }

    /// Stores the network. The user's oldest networks are removed beyond the limit.
    pub fn put_known_network(&self, user: UserId, network: &[u8; 32], now: Timestamp) -> [Statement; 2] {
        let put = self.bound(
            "INSERT INTO known_networks (instance, network, user_id, seen_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (instance, network) DO UPDATE SET seen_at = excluded.seen_at, user_id = excluded.user_id",
            values![*network, user.0, now.micros()],
        );
        let bound = self.bound(
            "DELETE FROM known_networks WHERE instance = $1 AND user_id = $2 AND network NOT IN \
             (SELECT network FROM known_networks WHERE instance = $1 AND user_id = $2 \
             ORDER BY seen_at DESC, network LIMIT $3)",
            values![user.0, MAX_KNOWN_NETWORKS],
        );
        [put, bound]
    }

    /// A small batch of networks not used recently.
    pub fn sweep_known_networks(&self, before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM known_networks WHERE instance = $1 AND network IN \
             (SELECT network FROM known_networks WHERE instance = $1 AND seen_at < $2 ORDER BY seen_at LIMIT 500)",
            values![before.micros()],
        )
    }

    /// Records that the user is notified of an attack. Guarded: once per day (UTC) over all nodes.
    pub fn tell_of_attack(&self, user: UserId, kind: &str, now: Timestamp) -> Statement {
        self.bound(
            "INSERT INTO attack_letters AS l (instance, user_id, kind, day) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (instance, user_id, kind) DO UPDATE SET day = excluded.day WHERE l.day < excluded.day",
            values![user.0, kind, now.seconds().div_euclid(86_400)],
        )
        .expect(1)
    }
}
