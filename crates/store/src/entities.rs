//! Rows of the Domain API: statements compiled from the model.
//!
//! Every identifier in a text comes from the model and is quoted; every value of a caller is a parameter. An amount or
//! a quantity is two columns, `…_value` (millionths in a `BIGINT`, so that it compares exactly) and `…_code`. A text in
//! several languages is a JSON object; beside it, `…_text` holds the same texts without their languages, for searching.

use std::fmt::Write;

use model::entities::{
    Assignment, Attribute, AttributeKind, CHANGED_AT, Column, ColumnPart, EntityType, EntityValue, FieldShape,
    FilterCondition, FixedDecimal, ID, MatchKind, Member, Reference, SelectedField, Selection, Start, VERSION,
    target_of,
};
use model::{Culture, InstanceId, Timestamp};
use odata::Operator;
use uuid::Uuid;

use crate::{Fault, SqlRow, SqlValue as Cell, Statement, Store, statement};

/// A row of a result: its key, and a value for each selected field.
#[derive(Clone, Debug)]
pub struct EntityRow {
    pub key: Uuid,
    pub values: Vec<EntityValue>,
}

/// The version of an aggregate that a write to its root expects, and the stamp that it sets.
#[derive(Clone, Copy, Debug)]
pub struct AggregateVersion {
    /// The `ObjectVersion` that was read. The write increments it.
    pub version: i64,
    pub stamp: Timestamp,
}

/// Maximum parameters of one statement: SQLite's limit is 32 766, PostgreSQL's 65 535.
const MAX_PARAMETERS: usize = 30_000;

pub async fn rows(store: &Store, selection: &Selection) -> Result<Vec<EntityRow>, Fault> {
    let (sql, params) = select(*store.instance(), selection);
    let rows = store.query(sql, params).await?;
    rows.iter().map(|row| record(row, &selection.fields)).collect()
}

pub async fn count(store: &Store, entity: &'static EntityType, conditions: &[FilterCondition]) -> Result<u64, Fault> {
    let mut compiler = Compiler::new(entity, *store.instance());
    let holds = compiler.all(conditions);
    let sql = format!("SELECT count(*) FROM {}{holds}", compiler.from);
    let rows = store.query(sql, compiler.params).await?;
    let row = rows.first().ok_or_else(|| Fault::failed("a count has one row"))?;
    u64::try_from(row.int(0)?).map_err(Fault::failed)
}

/// Inserts a row. `stamp` is the aggregate's, for a root.
pub fn insert(
    store: &Store,
    entity: &'static EntityType,
    key: Uuid,
    assignments: &[Assignment],
    stamp: Timestamp,
) -> Statement {
    let row = new_cells(store, entity, key, assignments, stamp);
    insert_rows(entity, vec![row]).expect(1)
}

/// Inserts many rows with as few statements as the parameter limit allows. All rows have values for the same members.
pub fn insert_all<'a>(
    store: &Store,
    entity: &'static EntityType,
    rows: impl IntoIterator<Item = (Uuid, &'a [Assignment])>,
    stamp: Timestamp,
) -> Vec<Statement> {
    let mut cells: Vec<_> =
        rows.into_iter().map(|(key, assignments)| new_cells(store, entity, key, assignments, stamp)).collect();
    let mut statements = Vec::new();
    while let Some(first) = cells.first() {
        let fitting = (MAX_PARAMETERS / first.len()).min(cells.len());
        let rest = cells.split_off(fitting);
        let expected = u64::try_from(fitting).unwrap_or(u64::MAX);
        statements.push(insert_rows(entity, std::mem::replace(&mut cells, rest)).expect(expected));
    }
    statements
}

/// Updates a row, guarded by `turn` if it is the root of its aggregate. The owner of a part is guarded by [`touch`].
pub fn update(
    store: &Store,
    entity: &'static EntityType,
    key: Uuid,
    assignments: &[Assignment],
    turn: Option<AggregateVersion>,
) -> Statement {
    let mut params = vec![Cell::from(store.instance().0), Cell::from(key)];
    let mut bind = |cell: Cell| {
        params.push(cell);
        params.len()
    };
    let mut sets = Vec::new();
    for (column, cell) in assignments.iter().flat_map(cells) {
        sets.push(format!("{column} = ${}", bind(cell)));
    }
    let mut guard = String::new();
    if let Some(turn) = turn {
        sets.push(format!("\"{VERSION}\" = \"{VERSION}\" + 1"));
        sets.push(format!("\"{CHANGED_AT}\" = ${}", bind(turn.stamp.micros().into())));
        guard = format!(" AND \"{VERSION}\" = ${}", bind(turn.version.into()));
    }
    let (table, sets) = (entity.table, sets.join(", "));
    let sql = format!("UPDATE \"{table}\" SET {sets} WHERE \"instance\" = $1 AND \"{ID}\" = $2{guard}");
    statement(sql, params).expect(1)
}

/// Increments the version of an aggregate whose parts change.
pub fn touch(store: &Store, root: &'static EntityType, key: Uuid, turn: AggregateVersion) -> Statement {
    update(store, root, key, &[], Some(turn))
}

/// Deletes a row and its owned children. `version` guards the root of an aggregate.
pub fn delete(store: &Store, entity: &'static EntityType, key: Uuid, version: Option<i64>) -> Statement {
    let mut params = vec![Cell::from(store.instance().0), Cell::from(key)];
    let guard = version.map_or(String::new(), |version| {
        params.push(version.into());
        format!(" AND \"{VERSION}\" = $3")
    });
    let sql = format!("DELETE FROM \"{}\" WHERE \"instance\" = $1 AND \"{ID}\" = $2{guard}", entity.table);
    statement(sql, params).expect(1)
}

fn insert_rows(entity: &EntityType, rows: Vec<Vec<(String, Cell)>>) -> Statement {
    let columns: Vec<&str> = rows.first().into_iter().flatten().map(|(column, _)| column.as_str()).collect();
    let mut sql = format!("INSERT INTO \"{}\" ({}) VALUES ", entity.table, columns.join(", "));
    let mut params = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        sql.push_str(if at == 0 { "(" } else { "), (" });
        for (at, (_, cell)) in row.into_iter().enumerate() {
            params.push(cell);
            let comma = if at == 0 { "" } else { ", " };
            write!(sql, "{comma}${}", params.len()).expect("a String takes every write");
        }
    }
    sql.push(')');
    statement(sql, params)
}

fn new_cells(
    store: &Store,
    entity: &'static EntityType,
    key: Uuid,
    assignments: &[Assignment],
    stamp: Timestamp,
) -> Vec<(String, Cell)> {
    let mut row = vec![(quoted("instance"), Cell::from(store.instance().0)), (quoted(ID), Cell::from(key))];
    if entity.owner().is_none() {
        row.push((quoted(VERSION), Cell::Int(1)));
        row.push((quoted(CHANGED_AT), Cell::Int(stamp.micros())));
    }
    row.extend(assignments.iter().flat_map(cells));
    row
}

/// The columns of a member's value.
fn cells(assignment: &Assignment) -> Vec<(String, Cell)> {
    let name = assignment.member.name();
    let cell = |part, cell| (column_name(name, part), cell);
    match (assignment.member, &assignment.value) {
        (Member::Attribute(Attribute { kind: AttributeKind::Names(_), .. }), value) => {
            let (json, text) = names(value);
            vec![cell(ColumnPart::Plain, json), cell(ColumnPart::Text, text)]
        }
        (Member::Attribute(Attribute { kind: AttributeKind::Amount | AttributeKind::Quantity, .. }), value) => {
            let (number, code) = match value {
                EntityValue::Measure { value, code } => (Cell::Int(value.0), Cell::from(code)),
                _ => (Cell::Null, Cell::Null),
            };
            vec![cell(ColumnPart::Value, number), cell(ColumnPart::Code, code)]
        }
        (_, value) => vec![cell(ColumnPart::Plain, scalar(value))],
    }
}

/// Separates the texts in the searched column: no keyboard produces it.
const BETWEEN: &str = "\u{1f}";

fn names(value: &EntityValue) -> (Cell, Cell) {
    let EntityValue::Names(names) = value else {
        return (Cell::Null, Cell::Null);
    };
    let object: serde_json::Map<_, _> =
        names.iter().map(|(language, text)| (language.clone(), text.as_str().into())).collect();
    let texts: Vec<&str> = names.iter().map(|(_, text)| text.as_str()).collect();
    (serde_json::Value::Object(object).to_string().into(), texts.join(BETWEEN).into())
}

fn scalar(value: &EntityValue) -> Cell {
    match value {
        EntityValue::Null => Cell::Null,
        EntityValue::Boolean(flag) => (*flag).into(),
        EntityValue::Integer(number) | EntityValue::Instant(number) | EntityValue::Rank(number) => Cell::Int(*number),
        EntityValue::Decimal(fixed) => Cell::Int(fixed.0),
        EntityValue::Guid(key) => (*key).into(),
        EntityValue::Text(text) => text.into(),
        EntityValue::Names(_) | EntityValue::Measure { .. } => {
            unreachable!("the model compares parts of these, never the whole")
        }
    }
}

fn quoted(name: &str) -> String {
    column_name(name, ColumnPart::Plain)
}

fn column_name(name: &str, part: ColumnPart) -> String {
    let suffix = match part {
        ColumnPart::Plain | ColumnPart::Shown(_) => "",
        ColumnPart::Value => "_value",
        ColumnPart::Code => "_code",
        ColumnPart::Text => "_text",
    };
    format!("\"{name}{suffix}\"")
}

fn select(instance: InstanceId, selection: &Selection) -> (String, Vec<Cell>) {
    let mut compiler = Compiler::new(selection.entity, instance);
    let mut columns = vec![format!("t0.\"{ID}\"")];
    for column in selection.fields.iter().flat_map(|field| &field.columns) {
        columns.push(compiler.column(column));
    }
    let mut holds = compiler.all(&selection.conditions);
    if let Start::At(key) = selection.start {
        write!(holds, " AND t0.\"{ID}\" >= {}", compiler.bind(key.into())).expect("a String takes every write");
    }
    let mut order = String::new();
    for (column, descending) in &selection.order {
        let direction = if *descending { "DESC NULLS LAST" } else { "ASC NULLS FIRST" };
        let key = compiler.column(column);
        // Texts for people sort case-insensitively; identifiers sort as they are.
        let key = if matches!(column.part, ColumnPart::Shown(_)) { format!("lower({key})") } else { key };
        write!(order, "{key} {direction}, ").expect("a String takes every write");
    }
    let limit = compiler.bind(number(selection.limit));
    let offset = match selection.start {
        Start::Skip(rows) if rows > 0 => format!(" OFFSET {}", compiler.bind(number(rows))),
        _ => String::new(),
    };
    let (columns, from) = (columns.join(", "), compiler.from);
    let sql = format!("SELECT {columns} FROM {from}{holds} ORDER BY {order}t0.\"{ID}\" LIMIT {limit}{offset}");
    (sql, compiler.params)
}

fn number(rows: u64) -> Cell {
    Cell::Int(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// Compiles columns and conditions to SQL. The joins they need are collected in `from`.
struct Compiler {
    from: String,
    params: Vec<Cell>,
    /// Paths already joined. The alias is the index in the list plus one.
    joined: Vec<Vec<&'static str>>,
}

impl Compiler {
    fn new(entity: &EntityType, instance: InstanceId) -> Self {
        Self { from: format!("\"{}\" AS t0", entity.table), params: vec![Cell::from(instance.0)], joined: Vec::new() }
    }

    fn bind(&mut self, cell: Cell) -> String {
        self.params.push(cell);
        format!("${}", self.params.len())
    }

    fn column(&mut self, column: &Column) -> String {
        let alias = self.alias(&column.via);
        let stored = format!("t{alias}.{}", column_name(column.name, column.part));
        match column.part {
            ColumnPart::Shown(culture) => format!("gatehouse_shown({stored}, {})", self.bind(culture.code().into())),
            _ => stored,
        }
    }

    fn alias(&mut self, via: &[&'static Reference]) -> usize {
        let Some((last, before)) = via.split_last() else {
            return 0;
        };
        let path: Vec<_> = via.iter().map(|reference| reference.name).collect();
        if let Some(at) = self.joined.iter().position(|joined| *joined == path) {
            return at + 1;
        }
        let parent = self.alias(before);
        self.joined.push(path);
        let alias = self.joined.len();
        let (table, reference) = (target_of(last.target).table, last.name);
        write!(
            self.from,
            " LEFT JOIN \"{table}\" AS t{alias} ON t{alias}.\"instance\" = t0.\"instance\" \
             AND t{alias}.\"{ID}\" = t{parent}.\"{reference}\""
        )
        .expect("a String takes every write");
        alias
    }

    /// The whole `WHERE` clause, the instance first.
    fn all(&mut self, conditions: &[FilterCondition]) -> String {
        let mut text = " WHERE t0.\"instance\" = $1".to_owned();
        for condition in conditions {
            let condition = self.condition(condition);
            write!(text, " AND {condition}").expect("a String takes every write");
        }
        text
    }

    fn condition(&mut self, condition: &FilterCondition) -> String {
        match condition {
            FilterCondition::Compare { column, operator, value, or_null } => {
                let (column, value) = (self.column(column), self.bind(scalar(value)));
                let sign = match operator {
                    Operator::Equal => "=",
                    Operator::AtLeast => ">=",
                    Operator::AtMost => "<=",
                };
                let null = if *or_null { format!(" OR {column} IS NULL") } else { String::new() };
                format!("({column} {sign} {value}{null})")
            }
            FilterCondition::Null(column) => format!("{} IS NULL", self.column(column)),
            FilterCondition::OneOf(column, values) => {
                let column = self.column(column);
                let values: Vec<_> = values.iter().map(|value| self.bind(scalar(value))).collect();
                format!("{column} IN ({})", values.join(", "))
            }
            FilterCondition::Like(column, how, text) => {
                let column = self.column(column);
                let pattern = self.bind(pattern(*how, text).into());
                format!("lower({column}) LIKE lower({pattern}) ESCAPE '!'")
            }
        }
    }
}

fn pattern(how: MatchKind, text: &str) -> String {
    let (before, after) = match how {
        MatchKind::Contains => ("%", "%"),
        MatchKind::Starts => ("", "%"),
        MatchKind::Ends => ("%", ""),
        MatchKind::Whole => ("", ""),
    };
    let text = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("{before}{text}{after}")
}

fn record(row: &SqlRow, fields: &[SelectedField]) -> Result<EntityRow, Fault> {
    let mut at = 1;
    let mut values = Vec::with_capacity(fields.len());
    for field in fields {
        values.push(value(row, at, field.shape)?);
        at += field.columns.len();
    }
    Ok(EntityRow { key: guid(&row.text(0)?)?, values })
}

fn value(row: &SqlRow, at: usize, shape: FieldShape) -> Result<EntityValue, Fault> {
    let kind = match shape {
        FieldShape::Attribute(kind) => kind,
        FieldShape::Reference(_) => AttributeKind::Guid,
    };
    let read = match kind {
        AttributeKind::Text(_) => row.opt_text(at)?.map(EntityValue::Text),
        AttributeKind::Guid => row.opt_text(at)?.as_deref().map(guid).transpose()?.map(EntityValue::Guid),
        AttributeKind::Names(_) => row.opt_text(at)?.as_deref().map(read_names).transpose()?,
        AttributeKind::Boolean => row.opt_int(at)?.map(|flag| EntityValue::Boolean(flag != 0)),
        AttributeKind::Integer => row.opt_int(at)?.map(EntityValue::Integer),
        AttributeKind::Decimal => row.opt_int(at)?.map(|number| EntityValue::Decimal(FixedDecimal(number))),
        AttributeKind::Instant { .. } => row.opt_int(at)?.map(EntityValue::Instant),
        AttributeKind::Enum(_) => row.opt_int(at)?.map(EntityValue::Rank),
        AttributeKind::Amount | AttributeKind::Quantity => match row.opt_int(at)? {
            Some(number) => Some(EntityValue::Measure { value: FixedDecimal(number), code: row.text(at + 1)? }),
            None => None,
        },
    };
    Ok(read.unwrap_or(EntityValue::Null))
}

fn guid(text: &str) -> Result<Uuid, Fault> {
    Uuid::try_parse(text).map_err(Fault::failed)
}

/// As `gatehouse_shown` on `PostgreSQL` (`migrate`): one language of a text in several languages.
pub(crate) fn shown(names: &str, code: &str) -> Result<String, Fault> {
    let culture = Culture::of_tag(code).ok_or_else(|| Fault::failed("a language has two letters"))?;
    Ok(read_names(names)?.shown(culture).to_owned())
}

fn read_names(json: &str) -> Result<EntityValue, Fault> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).map_err(Fault::failed)?;
    let name = |(language, text): (String, serde_json::Value)| match text {
        serde_json::Value::String(text) => Ok((language, text)),
        _ => Err(Fault::failed("a name is not a text")),
    };
    object.into_iter().map(name).collect::<Result<_, _>>().map(EntityValue::Names)
}

#[cfg(test)]
mod tests {
    use model::entities::{AnswerStyle, Permissions, check_list, find_set};

    use super::*;

    fn compile(set: &str, query: &str) -> (String, Vec<Cell>) {
        let entity = find_set(set).expect("a set of the model").entity;
        let query = odata::Url::parse(set, query).unwrap_or_else(|problem| panic!("{query}: {problem}")).query;
        let style = AnswerStyle::of(&query, Culture::ENGLISH).expect("options");
        let selection = check_list(entity, &query, style, 100, &Permissions::new(&["*"], &[]));
        let selection = selection.unwrap_or_else(|refusal| panic!("{query:?}: {}", refusal.body().message));
        select(InstanceId(Uuid::nil()), &selection)
    }

    /// Filters for every place where a literal can stand; `{}` is that place.
    const TEXTS: &[&str] = &[
        "Number eq '{}'",
        "Number in ('{}','x','{}')",
        "Number ge '{}' and Number le '{}'",
        "contains(Number,'{}')",
        "startswith(Party/PartyCode,'{}')",
        "endswith(CreationUser,'{}') and Active eq true",
        "equalnull(UpdateUser,'{}')",
        "contains(Party/PartyName,'{}') and contains(Party,'{}')",
    ];

    /// A small generator (xorshift), so that a failure is reproducible.
    fn odd_texts() -> impl Iterator<Item = String> {
        const PIECES: &[&str] = &[
            "''", "\"", ";", "--", "/*", "*/", "\\", "%25", "_", "!", "$1", "?1", ")", "(", " OR 1=1", "%01", "é",
            "日", "t0", "NULL", "%26", "%2B", "\u{1f}", "a", "0", "{", "}", ":x", "@x", "`", "[", "]",
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        std::iter::repeat_with(move || {
            let mut text = String::new();
            for _ in 0..12 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = state % u64::try_from(PIECES.len()).expect("a short list");
                text.push_str(PIECES[usize::try_from(at).expect("less than the length")]);
            }
            text
        })
    }

    #[test]
    fn no_byte_of_a_caller_is_in_the_text_of_a_statement() {
        for filter in TEXTS {
            let (plain, _) = compile("Crm_Customers", &format!("$filter={}", filter.replace("{}", "plain")));
            for odd in odd_texts().take(200) {
                let (sql, params) = compile("Crm_Customers", &format!("$filter={}", filter.replace("{}", &odd)));
                assert_eq!(sql, plain, "{odd}");
                let places = 1 + (2..=params.len()).filter(|n| sql.contains(&format!("${n}"))).count();
                assert_eq!(places, params.len(), "every parameter has its place");
            }
        }
        for (one, other) in [
            ("$filter=GracePeriodDays ge 1", "$filter=GracePeriodDays ge -2147483648"),
            ("$filter=CreditLimitValue le 1", "$filter=CreditLimitValue le -0.5e3"),
            ("$filter=FromDate eq 2026-01-01", "$filter=FromDate eq 1999-12-31T23:59:59Z"),
            ("$orderby=Party/PartyName&culture=bg", "$orderby=Party/PartyName&culture=de"),
            ("$top=1&$skip=2", "$top=99&$skip=2147483647"),
            ("$skiptoken=c0000000-0000-4000-8000-000000000001", "$skiptoken=ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ] {
            assert_eq!(compile("Crm_Customers", one).0, compile("Crm_Customers", other).0);
        }
    }

    #[test]
    fn a_reference_crossed_twice_is_joined_once() {
        let filter =
            "$filter=SalesOrder/State eq 30 and SalesOrder/Customer/Number eq 'K' and SalesOrder/Void eq false";
        let (sql, _) = compile("Crm_Sales_SalesOrderLines", filter);
        assert_eq!(sql.matches("LEFT JOIN").count(), 2, "{sql}");
    }

    #[test]
    fn signs_that_like_would_read_are_escaped() {
        assert_eq!(pattern(MatchKind::Contains, "50%_!"), "%50!%!_!!%");
        assert_eq!(pattern(MatchKind::Whole, "a"), "a");
    }
}
