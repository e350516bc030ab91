//! Values in statements and rows: the same four kinds on both databases.

use std::fmt;

use uuid::Uuid;

use crate::finding::DamagedRow;

/// A parameter or a column: `BIGINT`, `TEXT`, `BYTEA` or `NULL`.
///
/// `Debug` prints the length of text and bytes, never the content: rows hold digests, keys and personal data.
#[derive(Clone, PartialEq, Eq)]
pub enum SqlValue {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl SqlValue {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Int(_) => "an integer",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        }
    }
}

impl fmt::Debug for SqlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Int(n) => write!(f, "Int({n})"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
        }
    }
}

macro_rules! into_value {
    ($($from:ty: $value:ident => $into:expr;)*) => {$(
        impl From<$from> for SqlValue {
            fn from($value: $from) -> Self {
                $into
            }
        }
    )*};
}

into_value! {
    i64: n => Self::Int(n);
    i32: n => Self::Int(n.into());
    u32: n => Self::Int(n.into());
    bool: flag => Self::Int(flag.into());
    &str: text => Self::Text(text.to_owned());
    &String: text => Self::Text(text.clone());
    String: text => Self::Text(text);
    Vec<u8>: bytes => Self::Bytes(bytes);
    &[u8]: bytes => Self::Bytes(bytes.to_vec());
    [u8; 32]: bytes => Self::Bytes(bytes.to_vec());
    Uuid: id => Self::Text(id.hyphenated().to_string());
}

impl<T: Into<SqlValue>> From<Option<T>> for SqlValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// `values![id, name, now.micros()]`: parameters of a statement, in the order of `$1…`.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::SqlValue::from($value)),*]
    };
}

/// One row of a result. Columns are read by index, in the order of the `SELECT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlRow(Vec<SqlValue>);

impl SqlRow {
    pub(crate) fn new(columns: Vec<SqlValue>) -> Self {
        Self(columns)
    }

    /// A `BIGINT` that cannot be null.
    pub fn int(&self, column: usize) -> Result<i64, DamagedRow> {
        match self.column(column)? {
            SqlValue::Int(n) => Ok(*n),
            other => Err(unexpected(column, other, "an integer")),
        }
    }

    /// A `TEXT` that cannot be null.
    pub fn text(&self, column: usize) -> Result<String, DamagedRow> {
        match self.column(column)? {
            SqlValue::Text(text) => Ok(text.clone()),
            other => Err(unexpected(column, other, "text")),
        }
    }

    /// A `BYTEA` that cannot be null.
    pub fn bytes(&self, column: usize) -> Result<Vec<u8>, DamagedRow> {
        match self.column(column)? {
            SqlValue::Bytes(bytes) => Ok(bytes.clone()),
            other => Err(unexpected(column, other, "bytes")),
        }
    }

    /// A flag, stored as 0 or 1. Any other number is a fault, not `true`.
    pub fn flag(&self, column: usize) -> Result<bool, DamagedRow> {
        match self.int(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DamagedRow::new(format!("column {column} is not a flag"))),
        }
    }

    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, DamagedRow> {
        self.unless_null(column, Self::int)
    }

    pub fn opt_text(&self, column: usize) -> Result<Option<String>, DamagedRow> {
        self.unless_null(column, Self::text)
    }

    pub fn opt_bytes(&self, column: usize) -> Result<Option<Vec<u8>>, DamagedRow> {
        self.unless_null(column, Self::bytes)
    }

    fn unless_null<T>(
        &self,
        column: usize,
        read: fn(&Self, usize) -> Result<T, DamagedRow>,
    ) -> Result<Option<T>, DamagedRow> {
        match self.column(column)? {
            SqlValue::Null => Ok(None),
            _ => read(self, column).map(Some),
        }
    }

    /// The row's name in messages: its first column.
    pub(crate) fn name(&self) -> String {
        match self.0.first() {
            Some(SqlValue::Text(text)) => text.chars().take(128).collect(),
            Some(SqlValue::Int(number)) => number.to_string(),
            _ => "?".to_owned(),
        }
    }

    fn column(&self, column: usize) -> Result<&SqlValue, DamagedRow> {
        self.0.get(column).ok_or_else(|| DamagedRow::new(format!("the row has no column {column}")))
    }
}

fn unexpected(column: usize, found: &SqlValue, wanted: &str) -> DamagedRow {
    DamagedRow::new(format!("column {column} is {}, not {wanted}", found.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_print_what_they_hold() {
        let printed = format!("{:?}", values!["hunter2", b"hunter2".as_slice()]);
        assert!(!printed.contains("hunter2") && !printed.contains("104"), "{printed}");
    }

    #[test]
    fn every_parameter_type_has_its_one_form() {
        let id = Uuid::from_u128(0xABCD);
        assert_eq!(
            values![true, 7_u32, -7_i32, None::<i64>, Some("x"), id, [1; 32]],
            vec![
                SqlValue::Int(1),
                SqlValue::Int(7),
                SqlValue::Int(-7),
                SqlValue::Null,
                SqlValue::Text("x".into()),
                SqlValue::Text("00000000-0000-0000-0000-00000000abcd".into()),
                SqlValue::Bytes(vec![1; 32]),
            ]
        );
    }

    #[test]
    fn a_column_of_another_kind_is_a_fault_not_a_guess() {
        let row = SqlRow::new(values![2_i64, "t", None::<i64>, true]);
        assert!(row.flag(0).is_err(), "2 is not a flag");
        assert!(row.text(0).is_err());
        assert!(row.int(1).is_err());
        assert!(row.bytes(1).is_err());
        assert!(row.int(2).is_err(), "null is not an integer");
        assert!(row.int(4).is_err(), "there is no column 4");
        assert!(row.opt_text(0).is_err());
        assert_eq!(row.opt_int(2).expect("null is allowed"), None);
        assert_eq!(row.opt_text(1).expect("text").as_deref(), Some("t"));
        assert!(row.flag(3).expect("a flag"));
    }
}
