//! What can go wrong in the store, in our words and not a driver's.

use domain::model::{CustomerStateConflict, TenantStateConflict, Version};

use crate::seal::SealError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row to be changed is not there, or not in the caller's scope.
    #[error("there is no such {what}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
    },
    /// A unique value is taken.
    #[error("`{}` of `{table}` is taken", columns.join("`, `"))]
    Conflict {
        /// Table, such as `tenants`.
        table: String,
        /// Columns whose values must be unique together.
        columns: Vec<String>,
    },
    /// What is referred to is not there, or what shall be deleted is still referred to.
    #[error("a row refers to one that is not there, or is still referred to")]
    Reference,
    /// A value breaks a rule of the schema.
    #[error("rule `{rule}` does not hold")]
    Check {
        /// Name of the constraint.
        rule: String,
    },
    /// A rule over several rows forbids it.
    #[error("{detail}")]
    Rule {
        /// Stable code for the API.
        code: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The row was changed since the caller read it (`If-Match`).
    #[error("the {what} has version {}, not {}", found.0, expected.0)]
    VersionMismatch {
        /// Kind of thing.
        what: &'static str,
        /// What the caller thought.
        expected: Version,
        /// What it is.
        found: Version,
    },
    /// The tenant's state does not allow the step (`tenant_state_conflict`).
    #[error(transparent)]
    TenantState(#[from] TenantStateConflict),
    /// The customer's state does not follow the one before (`kyc_state_conflict`, `payment_state_conflict`).
    #[error(transparent)]
    CustomerState(#[from] CustomerStateConflict),
    /// Two routes match the same requests equally well (`route_tie`).
    #[error(transparent)]
    Tie(#[from] authz::Tie),
    /// The write reaches beyond what the caller was authorized for.
    #[error("the change lies outside the scope it was authorized for")]
    OutOfScope,
    /// The request's idempotency key was claimed before: its change was made and is not made again.
    #[error("the idempotency key was used before")]
    Claimed {
        /// Whether by a request with the same body.
        alike: bool,
    },
    /// Something was written and not audited. A mistake of the calling code; nothing was saved.
    #[error("{writes} writes were not audited")]
    Unaudited {
        /// How many.
        writes: usize,
    },
    /// Transactions got in each other's way, more often than retrying helps.
    #[error("the database could not serialize the transaction")]
    Serialization,
    /// The transaction had already ended.
    #[error("the transaction has ended")]
    Finished,
    /// A statement of the transaction failed before: nothing more can be done in it, and it cannot be committed.
    #[error("a statement of the transaction has failed")]
    Failed,
    /// The database cannot be reached or does not answer in time.
    #[error("the database is unavailable")]
    Unavailable(#[source] Source),
    /// The database has no room for what would be written.
    #[error("the database has no room left")]
    Full(#[source] Source),
    /// The address or settings of the database are wrong.
    #[error("the database cannot be opened: {reason}")]
    Configuration {
        /// What is wrong.
        reason: String,
    },
    /// The database was migrated by a newer release.
    #[error("the database has schema {found}; this release knows up to {known}")]
    SchemaNewer {
        /// Version of the database.
        found: u32,
        /// Newest version this release knows.
        known: u32,
    },
    /// The database needs `migrate` first.
    #[error("the database has schema {found}; this release needs {known}: run `migrate up`")]
    SchemaOlder {
        /// Version of the database; 0 for an empty one.
        found: u32,
        /// The version this release needs.
        known: u32,
    },
    /// A migration failed.
    #[error("the database cannot be migrated")]
    Migration(#[source] Source),
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A row does not hold what the schema promises.
    #[error("column `{column}` is unreadable: {reason}")]
    Corrupt {
        /// Which column.
        column: String,
        /// Why.
        reason: String,
    },
    /// Anything else the database says.
    #[error("the database refused a statement")]
    Database(#[source] Source),
}

impl StoreError {
    /// Whether a unique value is taken, by the column that names it, such as `("tenants", "slug")`.
    pub fn is_conflict(&self, on_table: &str, on_column: &str) -> bool {
        matches!(self, Self::Conflict { table, columns } if table == on_table && columns.iter().any(|c| c == on_column))
    }

    pub(crate) fn corrupt(column: &str, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt { column: column.into(), reason: reason.to_string() }
    }

    pub(crate) fn rule(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Rule { code, detail: detail.into() }
    }
}
