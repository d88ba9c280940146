//! Sign-ins that one device asks for and another approves. Each step is taken by compare-and-swap: of many that approve one, or
//! take what was approved, one does.

use authz::Scope;
use domain::{
    QrLoginId, Timestamp,
    model::{QrApproval, QrLogin, QrState},
};

use crate::{
    SessionTx, Store, StoreError,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

fn read(row: &Row) -> Result<QrLogin, StoreError> {
    let ip = row.at::<Option<String>>("ip")?.map(|text| text.parse()).transpose();
    let state: QrState = row.word("state")?;
    let approval = match row.at("user_id")? {
        Some(user_id) => Some(QrApproval {
            user_id,
            tenant_id: row.at("tenant_id")?,
            sid: row.at("sid")?,
            generations: (row.at("user_generation")?, row.at("tenant_generation")?),
        }),
        None => None,
    };
    Ok(QrLogin {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        poll_hash: row.at("poll_hash")?,
        code: row.at("code")?,
        state,
        ip: ip.map_err(|e| StoreError::corrupt("ip", e))?,
        user_agent: row.at("user_agent")?,
        approval,
        created_at: row.at("created_at")?,
        expires_at: row.at("expires_at")?,
    })
}

/// Reads of sign-ins that a device asks for.
pub trait QrLogins: Reader {
    /// The one of this id, unless its time is over.
    fn qr_login(
        &self,
        id: QrLoginId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<QrLogin>, StoreError>> + Send {
        async move {
            let sql = "SELECT * FROM qr_logins WHERE id = $1 AND expires_at > $2";
            self.view().await?.first(sql, values![id, now], read).await
        }
    }
}
impl<R: Reader> QrLogins for R {}

impl SessionTx {
    /// Keeps one that is asked for.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without its project or tenant.
    pub async fn insert_qr_login(&self, new: &QrLogin) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO qr_logins (id, project_id, tenant_id, poll_hash, code, state, ip, user_agent, created_at,
                       expires_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let mut all = values![new.id, new.project_id, new.tenant_id, new.poll_hash, &new.code];
        all.push(Value::word(&new.state));
        all.extend(values![new.ip.map(|ip| ip.to_string()), new.user_agent.as_ref(), new.created_at, new.expires_at]);
        self.work.view.execute(sql, all).await.map(|_| ())
    }

    /// Approves one that waits, by the code it shows. None when somebody said something before, its time is over, or its code is another.
    ///
    /// # Errors
    /// Of the database.
    pub async fn approve_qr_login(
        &self,
        id: QrLoginId,
        code: &str,
        by: &QrApproval,
    ) -> Result<Option<QrLogin>, StoreError> {
        let Work { view, now, .. } = &self.work;
        let sql =
            "UPDATE qr_logins SET state = 'approved', user_id = $3, tenant_id = $4, sid = $5, user_generation = $6,
                       tenant_generation = $7
                   WHERE id = $1 AND state = 'pending' AND expires_at > $2 AND (tenant_id IS NULL OR tenant_id = $4)
                       AND code = $8
                   RETURNING *";
        let all = values![id, *now, by.user_id, by.tenant_id, by.sid, by.generations.0, by.generations.1, code];
        view.first(sql, all, read).await
    }

    /// Rejects one that waits. None when somebody said something before, or its time is over.
    ///
    /// # Errors
    /// Of the database.
    pub async fn reject_qr_login(&self, id: QrLoginId) -> Result<Option<QrLogin>, StoreError> {
        let Work { view, now, .. } = &self.work;
        let sql = "UPDATE qr_logins SET state = 'rejected' WHERE id = $1 AND state = 'pending' AND expires_at > $2
                   RETURNING *";
        view.first(sql, values![id, *now], read).await
    }

    /// Takes what was approved: of any number who do, one. None when another did, or it is not approved, too old, or of another
    /// secret.
    ///
    /// # Errors
    /// Of the database.
    pub async fn consume_qr_login(&self, id: QrLoginId, poll_hash: [u8; 32]) -> Result<Option<QrApproval>, StoreError> {
        let Work { view, now, .. } = &self.work;
        let sql = "UPDATE qr_logins SET state = 'consumed'
                   WHERE id = $1 AND poll_hash = $2 AND state = 'approved' AND expires_at > $3 RETURNING *";
        Ok(view.first(sql, values![id, poll_hash, *now], read).await?.and_then(|it| it.approval))
    }
}

impl Store {
    /// Forgets up to `limit` that are over at `then`; answers how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn sweep_qr_logins(&self, then: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write_session(Scope::Platform, then, |tx| async move {
            let sql = "DELETE FROM qr_logins WHERE id IN (
                           SELECT id FROM qr_logins WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
            tx.work.view.execute(sql, values![then, limit]).await
        })
        .await
    }
}
