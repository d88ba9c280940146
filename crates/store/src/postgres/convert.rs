//! Values, rows and errors between the seam and tokio-postgres.

use std::{error::Error, sync::Arc};

use tokio_postgres::{
    Statement,
    error::SqlState,
    types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};
use uuid::Uuid;

use crate::{
    StoreError,
    value::{Row, Value},
};

/// Each value is written as its own type; integers in the width the statement wants.
impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Bool(it) => it.to_sql_checked(ty, out),
            Self::Int(it) if *ty == Type::INT4 => i32::try_from(*it)?.to_sql_checked(ty, out),
            Self::Int(it) => it.to_sql_checked(ty, out),
            Self::Text(it) => it.to_sql_checked(ty, out),
            Self::Uuid(it) => it.to_sql_checked(ty, out),
            Self::Json(it) => it.to_sql_checked(ty, out),
            Self::Bytes(it) => it.to_sql_checked(ty, out),
        }
    }

    /// Judged by value, above.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

pub(super) fn rows(statement: &Statement, rows: &[tokio_postgres::Row]) -> Result<Vec<Row>, StoreError> {
    let columns: Arc<[String]> = statement.columns().iter().map(|c| c.name().to_owned()).collect();
    rows.iter()
        .map(|row| {
            let types = statement.columns().iter().map(tokio_postgres::Column::type_);
            let cells = types.enumerate().map(|(at, ty)| cell(row, at, ty)).collect::<Result<_, _>>()?;
            Ok(Row::new(Arc::clone(&columns), cells))
        })
        .collect()
}

fn cell(row: &tokio_postgres::Row, at: usize, ty: &Type) -> Result<Value, StoreError> {
    Ok(match *ty {
        Type::BOOL => row.try_get::<_, Option<bool>>(at).map_err(error)?.into(),
        Type::INT8 => row.try_get::<_, Option<i64>>(at).map_err(error)?.into(),
        Type::INT4 => row.try_get::<_, Option<i32>>(at).map_err(error)?.map(i64::from).into(),
        Type::UUID => row.try_get::<_, Option<Uuid>>(at).map_err(error)?.into(),
        Type::TEXT | Type::VARCHAR | Type::NAME => row.try_get::<_, Option<String>>(at).map_err(error)?.into(),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(at).map_err(error)?.into(),
        Type::JSON | Type::JSONB => {
            row.try_get::<_, Option<serde_json::Value>>(at).map_err(error)?.map_or(Value::Null, Value::Json)
        }
        ref other => return Err(StoreError::corrupt(other.name(), "no column is of this type")),
    })
}

/// Our error for the driver's.
pub(super) fn error(error: tokio_postgres::Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        return if error.is_closed() || error.source().is_some_and(<dyn Error>::is::<std::io::Error>) {
            StoreError::Unavailable(error.into())
        } else {
            StoreError::Database(error.into())
        };
    };
    match *db.code() {
        SqlState::FOREIGN_KEY_VIOLATION => StoreError::Reference,
        SqlState::CHECK_VIOLATION => StoreError::Check { rule: db.constraint().unwrap_or_default().into() },
        SqlState::INSUFFICIENT_PRIVILEGE => StoreError::OutOfScope,
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => StoreError::Serialization,
        SqlState::IN_FAILED_SQL_TRANSACTION => StoreError::Failed,
        SqlState::DISK_FULL => StoreError::Full(error.into()),
        SqlState::QUERY_CANCELED
        | SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::TOO_MANY_CONNECTIONS
        | SqlState::READ_ONLY_SQL_TRANSACTION
        | SqlState::INVALID_PASSWORD
        | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        | SqlState::INVALID_CATALOG_NAME => StoreError::Unavailable(error.into()),
        _ => StoreError::Database(error.into()),
    }
}

/// Table and unique index that a statement violated.
pub(super) fn violated_index(error: &tokio_postgres::Error) -> Option<(String, String)> {
    let db = error.as_db_error().filter(|db| *db.code() == SqlState::UNIQUE_VIOLATION)?;
    Some((db.table()?.into(), db.constraint()?.into()))
}
