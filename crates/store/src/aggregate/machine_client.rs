//! Machine clients. Each has one session, so that however many tokens it gets, they are one row.

use authz::{Authorized, Scope, action::ManageMachineClients};
use domain::{
    MachineClientId, Secret, SessionId, TenantId, Timestamp, UserId,
    model::{MachineClient, NewMachineClient, Version, machine_client::MAX_CLIENTS},
};

use super::{
    generation,
    list::{Filter, Listing, Sortable, folded, sealed::Cells},
    needed, one, swap, within,
};
use crate::{
    SessionTx, StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT * FROM machine_clients";

fn read(row: &Row) -> Result<MachineClient, StoreError> {
    let previous: Option<[u8; 32]> = row.at("previous_hash")?;
    Ok(MachineClient {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        user_id: row.at("user_id")?,
        name: row.at("name")?,
        secret_hash: Secret::new(row.at("secret_hash")?),
        previous_hash: previous.map(Secret::new),
        previous_until: row.at("previous_until")?,
        session: row.at("session")?,
        last_used_at: row.at("last_used_at")?,
        created_at: row.at("created_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of a tenant's machine clients.
#[derive(Debug)]
pub enum MachineClientList {}

impl Listing for MachineClientList {
    type Item = MachineClient;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::search("Whose name holds this, in any case.", "name_fold LIKE ? ESCAPE '!'"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("name", "name_fold"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<MachineClient, StoreError> {
        read(row.0)
    }
}

/// Reads of machine clients.
pub trait MachineClients: Reader {
    /// The client of this id.
    fn machine_client(
        &self,
        id: MachineClientId,
    ) -> impl Future<Output = Result<Option<MachineClient>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// Whether a user is one that a client acts as: no person signs in as it.
    fn is_of_machine(&self, user: UserId) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            let sql = "SELECT id FROM machine_clients WHERE user_id = $1";
            Ok(!self.view().await?.query(sql, values![user]).await?.is_empty())
        }
    }
}
impl<R: Reader> MachineClients for R {}

/// What a program's user is not given: it would outlive the program's secret.
pub(crate) fn nothing_beside() -> StoreError {
    StoreError::rule("user_is_program", "a program has its secret, and nothing that would outlive it")
}

impl Tx {
    /// Makes a client.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`machine_clients_full`) when the tenant has as many as it may; [`StoreError::Conflict`] on
    /// the name; [`StoreError::Reference`] without its user or tenant.
    pub async fn insert_machine_client(
        &self,
        by: &Authorized<ManageMachineClients>,
        new: NewMachineClient,
    ) -> Result<Unaudited<MachineClient>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let view = &self.work.view;
        let sql = "SELECT COUNT(*) AS clients FROM machine_clients WHERE tenant_id = $1";
        let clients = view.first(sql, values![new.tenant_id], |row| row.at::<u64>("clients")).await?;
        if clients.unwrap_or(0) >= MAX_CLIENTS {
            let detail = format!("a tenant has {MAX_CLIENTS} machine clients at most");
            return Err(StoreError::rule("machine_clients_full", detail));
        }
        let sql = "INSERT INTO machine_clients (id, project_id, tenant_id, user_id, name, name_fold, secret_hash,
                       created_at, version)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1) RETURNING *";
        let mut all = values![new.id, new.project_id, new.tenant_id, new.user_id, &new.name, folded(&new.name)];
        all.extend(values![*new.secret_hash.expose(), self.work.now]);
        let made = needed(view.first(sql, all, read).await?, "machine-client")?;
        Ok(self.unaudited(made))
    }

    /// Gives a client another secret. The one it has is accepted until then; where it is not, every token that it has is
    /// refused.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::VersionMismatch`]: of two that rotate it at once, one does.
    pub async fn rotate_machine_client(
        &self,
        by: &Authorized<ManageMachineClients>,
        (id, version): (MachineClientId, Version),
        secret_hash: &Secret<[u8; 32]>,
        previous_until: Option<Timestamp>,
    ) -> Result<Unaudited<MachineClient>, StoreError> {
        let found = needed(self.machine_client(id).await?, "machine-client")?;
        within(by, Scope::Tenant(found.project_id, found.tenant_id))?;
        let key = (id.uuid(), version);
        let assignments = match previous_until {
            Some(_) => "previous_hash = secret_hash, previous_until = $4, secret_hash = $3",
            None => "previous_hash = NULL, previous_until = $4, secret_hash = $3, session = NULL",
        };
        // Generations first, as who gives tokens locks them.
        if previous_until.is_none() {
            generation::raise_everywhere(&self.work, found.user_id).await?;
        }
        let values = values![*secret_hash.expose(), previous_until];
        swap(&self.work.view, "machine-client", "machine_clients", key, assignments, values).await?;
        let rotated = needed(self.machine_client(id).await?, "machine-client")?;
        Ok(self.unaudited(rotated))
    }

    /// Deletes a client. The user that it acts as is deleted in the same transaction ([`Tx::delete_user`]), which refuses its tokens.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_machine_client(
        &self,
        by: &Authorized<ManageMachineClients>,
        id: MachineClientId,
    ) -> Result<Unaudited<MachineClient>, StoreError> {
        let found = needed(self.machine_client(id).await?, "machine-client")?;
        within(by, Scope::Tenant(found.project_id, found.tenant_id))?;
        one(&self.work.view, "machine-client", "DELETE FROM machine_clients WHERE id = $1", values![id]).await?;
        Ok(self.unaudited(found))
    }
}

impl SessionTx {
    /// The client of this id, whose secret and session nobody changes before this transaction ends.
    ///
    /// # Errors
    /// Of the database.
    pub async fn machine_client_alone(&self, id: MachineClientId) -> Result<Option<MachineClient>, StoreError> {
        let view = &self.work.view;
        view.first(&view.locking(&format!("{SELECT} WHERE id = $1")), values![id], read).await
    }

    /// Notes that a client got a token, in this session.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn note_machine_client(&self, id: MachineClientId, session: SessionId) -> Result<(), StoreError> {
        let sql = "UPDATE machine_clients SET session = $2, last_used_at = $3 WHERE id = $1";
        one(&self.work.view, "machine-client", sql, values![id, session, self.work.now]).await
    }

    /// Counts what a client asks for that costs everybody: how much that was in this minute, with this.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn count_machine_client(&self, id: MachineClientId) -> Result<u64, StoreError> {
        let minute = self.work.now.secs().div_euclid(60);
        let sql =
            "UPDATE machine_clients SET in_minute = CASE WHEN minute = $2 THEN in_minute + 1 ELSE 1 END, minute = $2
                   WHERE id = $1 RETURNING in_minute";
        let counted = self.work.view.first(sql, values![id, minute], |row| row.at("in_minute")).await?;
        needed(counted, "machine-client")
    }
}
