//! Statements, values and errors between the seam and rusqlite.

use std::sync::Arc;

use rusqlite::{
    ErrorCode, ffi, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};

use crate::{
    StoreError,
    value::{Row, Value},
};

/// `$1` is a name to SQLite; `?1` is the first parameter. Our statements have no other `$`.
pub(super) fn placeholders(sql: &str) -> String {
    sql.replace('$', "?")
}

pub(super) fn query(connection: &rusqlite::Connection, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(error)?;
    let columns: Arc<[String]> = statement.column_names().map(String::from).collect();
    let mut answer = statement.query(params_from_iter(values)).map_err(error)?;
    let mut rows = Vec::new();
    while let Some(row) = answer.next().map_err(error)? {
        let cells =
            (0..columns.len()).map(|at| row.get_ref(at).map_err(error).and_then(cell)).collect::<Result<_, _>>()?;
        rows.push(Row::new(Arc::clone(&columns), cells));
    }
    Ok(rows)
}

pub(super) fn execute(connection: &rusqlite::Connection, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(error)?;
    let touched = statement.execute(params_from_iter(values)).map_err(error)?;
    Ok(u64::try_from(touched).unwrap_or(u64::MAX))
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Bool(it) => ToSqlOutput::Borrowed(ValueRef::Integer((*it).into())),
            Self::Int(it) => ToSqlOutput::Borrowed(ValueRef::Integer(*it)),
            Self::Text(it) => ToSqlOutput::Borrowed(ValueRef::Text(it.as_bytes())),
            Self::Uuid(it) => ToSqlOutput::Owned(it.to_string().into()),
            Self::Json(it) => ToSqlOutput::Owned(it.to_string().into()),
            Self::Bytes(it) => ToSqlOutput::Borrowed(ValueRef::Blob(it)),
        })
    }
}

fn cell(value: ValueRef<'_>) -> Result<Value, StoreError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(it) => Value::Int(it),
        ValueRef::Text(it) => {
            Value::Text(std::str::from_utf8(it).map_err(|e| StoreError::corrupt("text", e))?.to_owned())
        }
        ValueRef::Blob(it) => Value::Bytes(it.to_vec()),
        ValueRef::Real(_) => return Err(StoreError::corrupt("real", "no column holds fractions")),
    })
}

/// Our error for a driver's.
pub(super) fn error(error: rusqlite::Error) -> StoreError {
    let rusqlite::Error::SqliteFailure(code, message) = &error else {
        return StoreError::Database(error.into());
    };
    let message = message.as_deref().unwrap_or_default();
    match (code.code, code.extended_code) {
        (_, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => conflict(message),
        (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => StoreError::Reference,
        (ErrorCode::ConstraintViolation, _) => {
            StoreError::Check { rule: message.rsplit(": ").next().unwrap_or_default().into() }
        }
        (ErrorCode::DiskFull, _) => StoreError::Full(error.into()),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => StoreError::Serialization,
        (
            ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::NotADatabase,
            _,
        ) => StoreError::Unavailable(error.into()),
        _ => StoreError::Database(error.into()),
    }
}

/// Reads `UNIQUE constraint failed: users.project_id, users.email_fold`.
fn conflict(message: &str) -> StoreError {
    let names = message.rsplit(": ").next().unwrap_or_default();
    let pairs: Vec<(&str, &str)> = names.split(", ").filter_map(|name| name.split_once('.')).collect();
    StoreError::Conflict {
        table: pairs.first().map(|(table, _)| (*table).into()).unwrap_or_default(),
        columns: pairs.iter().map(|(_, column)| (*column).into()).collect(),
    }
}

#[test]
fn a_full_disk_is_told_from_a_database_that_is_away() {
    let failure = |code| error(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
    assert!(matches!(failure(ffi::SQLITE_FULL), StoreError::Full(_)));
    assert!(matches!(failure(ffi::SQLITE_IOERR_WRITE), StoreError::Unavailable(_)));
}
