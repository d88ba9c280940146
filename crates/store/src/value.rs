//! Parameters and rows as they pass the seam between the aggregates and a database.
//!
//! Closed choices are kept as the text of their serde form, ids as UUIDs, instants as milliseconds since the epoch,
//! anything with structure as JSON.

use std::sync::Arc;

use domain::{Id, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::StoreError;

/// A parameter of a statement, or a cell of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Uuid(Uuid),
    Json(serde_json::Value),
    Bytes(Vec<u8>),
}

impl Value {
    /// A closed choice as the text of its serde form.
    pub(crate) fn word<T: Serialize>(choice: &T) -> Self {
        match serde_json::to_value(choice) {
            Ok(serde_json::Value::String(text)) => Self::Text(text),
            _ => Self::Null,
        }
    }

    /// Anything with structure.
    pub(crate) fn json<T: Serialize>(value: &T) -> Result<Self, StoreError> {
        serde_json::to_value(value).map(Self::Json).map_err(|e| StoreError::corrupt("json", e))
    }

    /// The same for what may be missing: SQL `NULL`, not JSON `null`.
    pub(crate) fn json_opt<T: Serialize>(value: Option<&T>) -> Result<Self, StoreError> {
        value.map_or(Ok(Self::Null), Self::json)
    }
}

impl From<bool> for Value {
    fn from(it: bool) -> Self {
        Self::Bool(it)
    }
}
impl From<i64> for Value {
    fn from(it: i64) -> Self {
        Self::Int(it)
    }
}
impl From<u32> for Value {
    fn from(it: u32) -> Self {
        Self::Int(it.into())
    }
}
/// Bit for bit: numbers beyond `i64::MAX` (tags) read back as what they were.
impl From<u64> for Value {
    fn from(it: u64) -> Self {
        Self::Int(it.cast_signed())
    }
}
impl From<&str> for Value {
    fn from(it: &str) -> Self {
        Self::Text(it.into())
    }
}
impl From<String> for Value {
    fn from(it: String) -> Self {
        Self::Text(it)
    }
}
impl From<&String> for Value {
    fn from(it: &String) -> Self {
        Self::Text(it.clone())
    }
}
impl From<Uuid> for Value {
    fn from(it: Uuid) -> Self {
        Self::Uuid(it)
    }
}
impl<K> From<Id<K>> for Value {
    fn from(it: Id<K>) -> Self {
        Self::Uuid(it.uuid())
    }
}
impl From<Timestamp> for Value {
    fn from(it: Timestamp) -> Self {
        Self::Int(it.millis())
    }
}
impl From<Vec<u8>> for Value {
    fn from(it: Vec<u8>) -> Self {
        Self::Bytes(it)
    }
}
impl From<[u8; 32]> for Value {
    fn from(it: [u8; 32]) -> Self {
        Self::Bytes(it.into())
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(it: Option<T>) -> Self {
        it.map_or(Self::Null, Into::into)
    }
}

/// The parameters of a statement, in the order of `$1`, `$2`, ….
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::value::Value::from($value)),*] };
}
pub(crate) use values;

/// One row of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    columns: Arc<[String]>,
    cells: Vec<Value>,
}

impl Row {
    pub(crate) fn new(columns: Arc<[String]>, cells: Vec<Value>) -> Self {
        Self { columns, cells }
    }

    /// The cell of this column.
    pub(crate) fn at<T: Cell>(&self, column: &str) -> Result<T, StoreError> {
        let found = self.columns.iter().position(|c| c == column).and_then(|index| self.cells.get(index));
        let cell = found.ok_or_else(|| StoreError::corrupt(column, "not in the answer"))?;
        T::read(cell).ok_or_else(|| StoreError::corrupt(column, "of another type"))
    }

    /// A cell whose text is read by `FromStr`.
    pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&self, column: &str) -> Result<T, StoreError> {
        self.at::<String>(column)?.parse().map_err(|e| StoreError::corrupt(column, e))
    }

    /// A closed choice.
    pub(crate) fn word<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        let text = serde_json::Value::String(self.at(column)?);
        serde_json::from_value(text).map_err(|e| StoreError::corrupt(column, e))
    }

    /// A closed choice that may be missing.
    pub(crate) fn word_opt<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        match self.at::<Option<String>>(column)? {
            Some(_) => self.word(column).map(Some),
            None => Ok(None),
        }
    }

    /// Something with structure.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_value(self.at(column)?).map_err(|e| StoreError::corrupt(column, e))
    }

    /// Something with structure that may be missing.
    pub(crate) fn json_opt<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        match self.at::<Option<serde_json::Value>>(column)? {
            Some(value) => serde_json::from_value(value).map(Some).map_err(|e| StoreError::corrupt(column, e)),
            None => Ok(None),
        }
    }
}

/// What a cell can be read as. The databases differ in what they call a UUID, a boolean and JSON.
pub(crate) trait Cell: Sized {
    fn read(cell: &Value) -> Option<Self>;
}

impl Cell for Value {
    fn read(cell: &Value) -> Option<Self> {
        Some(cell.clone())
    }
}
impl<T: Cell> Cell for Option<T> {
    fn read(cell: &Value) -> Option<Self> {
        if *cell == Value::Null { Some(None) } else { T::read(cell).map(Some) }
    }
}
impl Cell for bool {
    fn read(cell: &Value) -> Option<Self> {
        match cell {
            Value::Bool(it) => Some(*it),
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}
impl Cell for i64 {
    fn read(cell: &Value) -> Option<Self> {
        if let Value::Int(it) = cell { Some(*it) } else { None }
    }
}
impl Cell for u64 {
    fn read(cell: &Value) -> Option<Self> {
        i64::read(cell).map(i64::cast_unsigned)
    }
}
impl Cell for u32 {
    fn read(cell: &Value) -> Option<Self> {
        i64::read(cell).and_then(|it| it.try_into().ok())
    }
}
impl Cell for String {
    fn read(cell: &Value) -> Option<Self> {
        if let Value::Text(it) = cell { Some(it.clone()) } else { None }
    }
}
impl Cell for Uuid {
    fn read(cell: &Value) -> Option<Self> {
        match cell {
            Value::Uuid(it) => Some(*it),
            Value::Text(it) => Self::try_parse(it).ok(),
            _ => None,
        }
    }
}
impl<K> Cell for Id<K> {
    fn read(cell: &Value) -> Option<Self> {
        Uuid::read(cell).map(Self::new)
    }
}
impl Cell for Timestamp {
    fn read(cell: &Value) -> Option<Self> {
        i64::read(cell).map(Self::from_millis)
    }
}
impl Cell for serde_json::Value {
    fn read(cell: &Value) -> Option<Self> {
        match cell {
            Value::Json(it) => Some(it.clone()),
            Value::Text(it) => serde_json::from_str(it).ok(),
            _ => None,
        }
    }
}
impl Cell for Vec<u8> {
    fn read(cell: &Value) -> Option<Self> {
        if let Value::Bytes(it) = cell { Some(it.clone()) } else { None }
    }
}
impl Cell for [u8; 32] {
    fn read(cell: &Value) -> Option<Self> {
        if let Value::Bytes(it) = cell { it.as_slice().try_into().ok() } else { None }
    }
}
