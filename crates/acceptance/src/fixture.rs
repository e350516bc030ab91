//! A database written by a released version of Gatehouse, as text. It can be loaded into tables of that version on
//! either database.
//!
//! Each line is JSON: first the secrets and tokens that tests know, then for each table a line with its columns and a
//! line per row. Bytes are `{"hex": "…"}`.

use std::path::Path;

use flows::{Database, DatabaseUrl};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};
use store::{Batch, CommitOutcome, statement};

use crate::TestDatabase;

/// A parsed fixture.
pub struct Fixture {
    /// The newest migration of the version that wrote the fixture.
    pub version: i32,
    /// Known contents: the time, secrets and tokens.
    pub held: Value,
    tables: Vec<Table>,
}

struct Table {
    name: String,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// Only a sample of the demo's business data is kept.
const MAX_ENTITIES: usize = 60;

const HISTORY: &str = "refinery_schema_history";

impl Fixture {
    /// Reads an SQLite file that no process has open.
    pub fn of(file: &Path, held: Value) -> Self {
        let database = Connection::open(file).expect("the file of a test opens");
        let version = database.query_row(&format!("SELECT MAX(version) FROM {HISTORY}"), [], |row| row.get(0));
        let mut tables: Vec<Table> = Vec::new();
        for name in in_order(&database) {
            let mut table = Table::read(&database, &name);
            if table.name.starts_with(char::is_uppercase) {
                let references = references(&database, &table.name);
                table.sample(&references, &tables);
            }
            tables.push(table);
        }
        tables.retain(|table| !table.rows.is_empty());
        Self { version: version.expect("it was migrated"), held, tables }
    }

    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let mut head = lines.next().expect("a first line");
        let mut tables: Vec<Table> = Vec::new();
        for line in lines {
            match line {
                Value::Array(row) => tables.last_mut().expect("a table comes before its rows").rows.push(row),
                line => tables.push(Table {
                    name: line["table"].as_str().expect("a name").to_owned(),
                    columns: serde_json::from_value(line["columns"].clone()).expect("names"),
                    rows: Vec::new(),
                }),
            }
        }
        let version = head["version"].as_i64().and_then(|version| version.try_into().ok()).expect("a version");
        Self { version, held: head["held"].take(), tables }
    }

    pub fn text(&self) -> String {
        let mut lines = vec![json!({ "version": self.version, "held": self.held })];
        for table in &self.tables {
            lines.push(json!({ "table": table.name, "columns": table.columns }));
            lines.extend(table.rows.iter().map(|row| json!(row)));
        }
        lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect()
    }

    /// Fills an empty database with the old tables and the rows. The caller migrates it.
    pub async fn load(&self, place: &TestDatabase) {
        let database = Database::open(&DatabaseUrl::parse(&place.url).expect("a URL")).await.expect("it opens");
        database.migrate_to(self.version).await.expect("an empty database migrates");
        for table in &self.tables {
            for rows in table.rows.chunks(200) {
                let mut batch = Batch::new();
                for row in rows {
                    batch.push(statement(table.insert(), row.iter().map(value).collect()).expect(1));
                }
                assert_eq!(
                    database.commit(batch).await.expect("the rows fit"),
                    CommitOutcome::Committed,
                    "{}",
                    table.name
                );
            }
        }
        database.close().await;
    }
}

impl Table {
    fn read(database: &Connection, name: &str) -> Self {
        let mut select = database.prepare(&format!("SELECT * FROM \"{name}\"")).expect("there is such a table");
        let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
        let mut found = select.query([]).expect("it can be read");
        let mut rows = Vec::new();
        while let Some(row) = found.next().expect("it can be read") {
            let cell = |column| match row.get_ref(column).expect("there is such a column") {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => json!(number),
                ValueRef::Text(text) => json!(std::str::from_utf8(text).expect("UTF-8")),
                ValueRef::Blob(bytes) => json!({ "hex": hex(bytes) }),
                ValueRef::Real(_) => panic!("{name} keeps a fraction"),
            };
            rows.push((0..columns.len()).map(cell).collect());
        }
        Self { name: name.to_owned(), columns, rows }
    }

    fn cell(&self, column: &str, row: usize) -> &Value {
        let at = self.columns.iter().position(|name| name == column).expect("there is such a column");
        &self.rows[row][at]
    }

    fn has(&self, id: &Value) -> bool {
        (0..self.rows.len()).any(|row| self.cell("Id", row) == id)
    }

    /// Keeps a sample of the entities whose references lead to kept rows only.
    fn sample(&mut self, references: &[(String, String)], kept: &[Self]) {
        let whole = |row: usize| {
            references.iter().all(|(column, table)| {
                let id = self.cell(column, row);
                id.is_null() || kept.iter().any(|other| other.name == *table && other.has(id))
            })
        };
        let stay: Vec<usize> = (0..self.rows.len()).filter(|row| whole(*row)).take(MAX_ENTITIES).collect();
        self.rows = stay.into_iter().map(|row| self.rows[row].clone()).collect();
    }

    fn insert(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| format!("\"{column}\"")).collect();
        let marks: Vec<String> = (1..=self.columns.len()).map(|mark| format!("${mark}")).collect();
        format!("INSERT INTO \"{}\" ({}) VALUES ({})", self.name, columns.join(", "), marks.join(", "))
    }
}

/// The tables, each after those that it references.
fn in_order(database: &Connection) -> Vec<String> {
    let names = |sql: &str| -> Vec<String> {
        let mut asked = database.prepare(sql).expect("good SQL");
        let found = asked.query_map([], |row| row.get(0)).expect("it can be read");
        found.collect::<Result<_, _>>().expect("names are text")
    };
    let mut rest = names(&format!(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> '{HISTORY}' ORDER BY name"
    ));
    let mut ordered: Vec<String> = Vec::new();
    while !rest.is_empty() {
        let (ready, later): (Vec<String>, Vec<String>) = rest.into_iter().partition(|table| {
            let wanted = names(&format!("SELECT \"table\" FROM pragma_foreign_key_list('{table}')"));
            wanted.iter().all(|other| other == table || ordered.contains(other))
        });
        assert!(!ready.is_empty(), "tables refer to one another in a circle: {later:?}");
        ordered.extend(ready);
        rest = later;
    }
    ordered
}

/// The columns of an entity that reference another one, with the referenced tables.
fn references(database: &Connection, table: &str) -> Vec<(String, String)> {
    let sql = "SELECT \"from\", \"table\" FROM pragma_foreign_key_list(?1) WHERE \"to\" = 'Id'";
    let mut asked = database.prepare(sql).expect("good SQL");
    let found = asked.query_map([table], |row| Ok((row.get(0)?, row.get(1)?))).expect("it can be read");
    found.collect::<Result<_, _>>().expect("names are text")
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).expect("below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn value(cell: &Value) -> store::SqlValue {
    match cell {
        Value::Null => store::SqlValue::Null,
        Value::Number(number) => store::SqlValue::Int(number.as_i64().expect("a whole number")),
        Value::String(text) => store::SqlValue::Text(text.clone()),
        cell => {
            let text = cell["hex"].as_str().expect("bytes");
            let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
            store::SqlValue::Bytes((0..text.len()).step_by(2).map(byte).collect())
        }
    }
}
