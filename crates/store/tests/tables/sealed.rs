//! What is sealed under the master key: found in one list, changed by the bytes that were read.

use std::collections::BTreeSet;

use store::{SealedColumn, SealedRow, Store};

use crate::common::Place;
use crate::{NOW, done, refused, server, somebody};

crate::on_both! {
    every_column_of_bytes_is_sealed_or_known_not_to_be
    sealed_rows_of_an_instance_read_back_page_by_page
    a_row_is_resealed_by_the_bytes_that_were_read
    a_root_secret_is_replaced_by_the_bytes_that_were_read
}

/// Columns of bytes that need no key to be read: digests, pictures, what is public, and the keys of persons in the audit,
/// which erasing deletes.
const NOT_SEALED: [(&str, &str); 18] = [
    ("application_secrets", "digest"),
    ("audit_memory", "remembered"),
    ("audit_people", "key"),
    ("refusal_memory", "remembered"),
    ("authorizations", "code_digest"),
    ("email_changes", "new_digest"),
    ("email_changes", "old_digest"),
    ("guess_leases", "account"),
    ("identity_sessions", "secret"),
    ("known_networks", "network"),
    ("links", "digest"),
    ("passkeys", "credential"),
    ("pending_authorizations", "browser"),
    ("recovery_codes", "digest"),
    ("reference_tokens", "digest"),
    ("spent_challenges", "digest"),
    ("pictures", "png"),
    ("set_up_links", "digest"),
];

async fn every_column_of_bytes_is_sealed_or_known_not_to_be(place: Place) {
    let database = place.migrated().await;
    let sql = if database.is_embedded() {
        "SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p \
         WHERE m.type = 'table' AND UPPER(p.type) IN ('BYTEA', 'BLOB')"
    } else {
        "SELECT table_name::TEXT, column_name::TEXT FROM information_schema.columns \
         WHERE table_schema = current_schema() AND data_type = 'bytea'"
    };
    let rows = database.query(sql, vec![]).await.expect("no fault");
    let found: BTreeSet<(String, String)> =
        rows.iter().map(|row| (row.text(0).expect("text"), row.text(1).expect("text"))).collect();
    let known = SealedColumn::ALL.map(SealedColumn::place).into_iter().chain(NOT_SEALED);
    let known: BTreeSet<(String, String)> =
        known.map(|(table, column)| (table.to_owned(), column.to_owned())).collect();
    assert_eq!(found, known, "a column that is sealed belongs into SealedColumn, or a rotation leaves it behind");
}

/// One secret in every sealed column of an instance.
async fn fill(store: &Store) {
    let alice = somebody(store, 1, "alice").await;
    let sql = "INSERT INTO signing_keys (instance, kid, algorithm, private_key, signs_from, created_at) \
               VALUES ($1, 'k', 'ES256', $2, 0, 0)";
    let audit = "INSERT INTO audit_keys (instance, kid, private_key, created_at) VALUES ($1, 'a', $2, 0)";
    let memory = "INSERT INTO audit_memory (instance, secret, version, head, signed, remembered) \
                  VALUES ($1, $2, 0, 0, 0, $2)";
    let refusals = "INSERT INTO refusal_memory (instance, secret, version, head, signed, remembered) \
                    VALUES ($1, $2, 0, 0, 0, $2)";
    for (sql, sealed) in [(sql, vec![2_u8]), (audit, vec![3]), (memory, vec![5]), (refusals, vec![6])] {
        done(store, store::statement(sql, store::values![store.instance().0, sealed])).await;
    }
    done(store, store.insert_authenticator_app(alice.id, vec![4], 1, NOW)).await;
}

async fn all(store: &Store, column: SealedColumn) -> Vec<SealedRow> {
    store.sealed_after(column, "", 100).await.expect("no fault")
}

async fn sealed_rows_of_an_instance_read_back_page_by_page(place: Place) {
    let server = server(&place).await;
    fill(&server.here).await;
    let expected = [vec![1, 2, 3], vec![2], vec![3], vec![5], vec![6], vec![4]];
    for (column, sealed) in SealedColumn::ALL.into_iter().zip(expected) {
        let rows = all(&server.here, column).await;
        assert_eq!(rows.iter().map(|row| row.sealed.clone()).collect::<Vec<_>>(), [sealed], "{column:?}");
        let after = server.here.sealed_after(column, &rows[0].key, 100).await.expect("no fault");
        assert!(after.is_empty(), "{column:?}");
        let others = all(&server.there, column).await;
        assert_eq!(others.len(), usize::from(column == SealedColumn::RootSecret), "{column:?}");
    }
    for number in 2..=7 {
        let person = somebody(&server.here, number, &format!("person{number}")).await;
        done(&server.here, server.here.insert_authenticator_app(person.id, vec![9], 1, NOW)).await;
    }
    let (mut last, mut sizes) = (String::new(), Vec::new());
    loop {
        let page = server.here.sealed_after(SealedColumn::AuthenticatorApp, &last, 3).await.expect("no fault");
        let Some(row) = page.last() else { break };
        last.clone_from(&row.key);
        sizes.push(page.len());
    }
    assert_eq!(sizes, [3, 3, 1], "every row once");
}

async fn a_row_is_resealed_by_the_bytes_that_were_read(place: Place) {
    let server = server(&place).await;
    fill(&server.here).await;
    for column in SealedColumn::ALL {
        let row = all(&server.here, column).await.remove(0);
        let other = SealedRow { key: row.key.clone(), sealed: vec![77] };
        refused(&server.here, server.here.reseal(column, &other, vec![8]).expect(1)).await;
        refused(&server.there, server.there.reseal(column, &row, vec![8]).expect(1)).await;
        done(&server.here, server.here.reseal(column, &row, vec![8]).expect(1)).await;
        refused(&server.here, server.here.reseal(column, &row, vec![9]).expect(1)).await;
        assert_eq!(all(&server.here, column).await[0].sealed, [8], "{column:?}");
    }
    assert_eq!(server.there.root_secret().await.expect("no fault"), [4], "the neighbour's is as it was");
}

async fn a_root_secret_is_replaced_by_the_bytes_that_were_read(place: Place) {
    let server = server(&place).await;
    let old = server.here.root_secret().await.expect("no fault");
    assert_eq!(old, [1, 2, 3]);
    refused(&server.here, server.here.replace_root_secret(&[4], vec![5])).await;
    done(&server.here, server.here.replace_root_secret(&old, vec![5])).await;
    refused(&server.here, server.here.replace_root_secret(&old, vec![6])).await;
    assert_eq!(server.here.root_secret().await.expect("no fault"), [5]);
    assert_eq!(server.there.root_secret().await.expect("no fault"), [4]);
}
