//! Lists stay fast however long they grow: the databases read a page of them by an index, in its order.

use store::{Batch, CommitOutcome, LISTS, Store, statement, values};

use crate::common::Place;
use crate::server;

/// Enough that a planner would rather not sort them.
const MANY: i64 = 20_000;

/// Tables with their columns, and what stands in these; `{id}` grows with the row, `{one}` is one of a hundred.
const ROWS: [(&str, &str); 9] = [
    ("roles (instance, name, permits)", "'role' || {number}, '{}'"),
    (
        "users (instance, id, login, login_folded, user_type, is_admin, enabled, name, email_verified, epoch, \
         created_at, updated_at)",
        "{id}, 'user' || {number}, 'user' || {number}, 'InternalUser', 0, 1, 'x', 0, 0, 0, 0",
    ),
    (
        "authenticator_apps (instance, user_id, sealed_secret, last_step, created_at)",
        "{id}, CAST({number} AS BYTEA), 0, 0",
    ),
    (
        "passkeys (instance, id, user_id, credential, name, record, created_at)",
        "{id}, {id}, CAST({number} AS BYTEA), '', '', 0",
    ),
    ("applications (instance, id, uri, record, epoch, version, created_at)", "{id}, 'app' || {number}, '{}', 0, 1, 0"),
    (
        "application_secrets (instance, id, application, label, digest, created_at)",
        "{id}, {one}, '', CAST({number} AS BYTEA), i",
    ),
    (
        "reference_tokens (instance, id, digest, kind, application, user_id, tail, description, scope, created_by, \
         created_at)",
        "{id}, CAST({number} AS BYTEA), 'personal', {one}, {one}, '', '', 'read', '', 0",
    ),
    ("api_sessions (instance, id, key, user_id, seat, opened_at, last_call)", "{id}, {id}, {one}, 'shared', 0, 0"),
    (
        "audit_seals (instance, number, at, first_at, last_at, events_count, bytes, previous, hash, contents, events, \
         people)",
        "i, i, i, i, 1, 1, '', '', '', '', ''",
    ),
];

async fn fill(store: &Store) {
    let number = "SUBSTR(CAST(1000000000000 + i AS TEXT), 2)";
    let id = format!("'00000000-0000-7000-8000-' || {number}");
    let one = id.replace("+ i", "+ 1 + i % 100");
    for (columns, values) in ROWS {
        let values = values.replace("{id}", &id).replace("{one}", &one).replace("{number}", number);
        let sql = format!(
            "INSERT INTO {columns} WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) \
             SELECT $1, {values} FROM n"
        );
        let rows = statement(sql, values![store.instance().0]);
        let done = store.commit(Batch::new().with(rows)).await.expect("the rows can be written");
        assert_eq!(done, CommitOutcome::Committed);
    }
}

crate::on_both! {
    no_list_is_sorted_as_a_whole
}

async fn no_list_is_sorted_as_a_whole(place: Place) {
    let server = server(&place).await;
    fill(&server.here).await;
    let plans = match place.path() {
        Some(_) => plans_of_sqlite(&server.here).await,
        None => plans_of_postgres(&place, &server.here).await,
    };
    for (sql, plan) in LISTS.iter().zip(plans) {
        let sorts = plan.lines().any(sorts_as_a_whole);
        let scans = plan.contains("SCAN ") || plan.contains("Seq Scan");
        assert!(!sorts && !scans, "{sql}\n{plan}");
        assert!(plan.contains("INDEX") || plan.contains("Index"), "{sql}\n{plan}");
    }
}

/// Rows of one moment are put in order among themselves; that takes no more than those.
fn sorts_as_a_whole(line: &str) -> bool {
    let of_sqlite = line.contains("TEMP B-TREE") && !line.contains("FOR LAST TERM");
    let of_postgres = line.contains("Sort  (") && !line.contains("Incremental Sort");
    of_sqlite || of_postgres
}

async fn plans_of_sqlite(store: &Store) -> Vec<String> {
    let mut plans = Vec::new();
    for sql in LISTS {
        let mut params = values![store.instance().0, "a", "b", 50];
        params.truncate(1 + (2..=4).filter(|n| sql.contains(&format!("${n}"))).count());
        let rows = store.query(format!("EXPLAIN QUERY PLAN {sql}"), params).await.expect("it is explained");
        let lines: Vec<String> = rows.iter().map(|row| row.text(3).expect("what it does")).collect();
        plans.push(lines.join("\n"));
    }
    plans
}

/// As the planner sees it for a page from the middle.
async fn plans_of_postgres(place: &Place, store: &Store) -> Vec<String> {
    let client = place.client().await;
    client.batch_execute("ANALYZE").await.expect("statistics can be made");
    let instance = format!("'{}'", store.instance().0);
    let middle = "'00000000-0000-7000-8000-000000010000'";
    let mut plans = Vec::new();
    for sql in LISTS {
        let of_one = sql.contains("$4") || sql.contains("application = $2");
        let second = if of_one { "'00000000-0000-7000-8000-000000000007'" } else { middle };
        let by_name = ["uri >", "folded >", "name >"].iter().any(|name| sql.contains(name));
        let second = if by_name { "'a'" } else { second };
        let second = if sql.contains("number <") { "10000" } else { second };
        let third = if sql.contains("$4") { middle } else { "50" };
        let asked = sql.replace("$4", "50").replace("$3", third).replace("$2", second).replace("$1", &instance);
        let rows = client.query(&format!("EXPLAIN {asked}"), &[]).await.expect("it is explained");
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        plans.push(lines.join("\n"));
    }
    plans
}
