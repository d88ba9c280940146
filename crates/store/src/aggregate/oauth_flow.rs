//! Sign-ins that are under way with identity providers, and the codes they end in. Clients know both by random texts of which
//! the hashes are kept; either is used by deleting it, so of any number who use it one does.
//!
//! How many wait in a project is bounded by `oauth_waiting`, a number that is never too small: each beginning adds to it, and an end
//! takes nothing off. At the bound what there is is counted anew, after what is over has made room, once in a while at most.

use std::time::Duration;

use authz::Scope;
use domain::{
    ProjectId, Secret, Timestamp,
    model::{OauthCode, OauthProofs, OauthState},
};
use serde::{Deserialize, Serialize};

use crate::{
    SessionTx, Store, StoreError, View,
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, Value, values},
};

/// Most sign-ins of one browser that are under way at once; the oldest gives way.
const UNDER_WAY: u32 = 20;

/// How often those of a project are counted anew, at most.
const RECOUNTED_EVERY: Duration = Duration::from_secs(1);

/// How many of those that are over make room at once.
const OVER_AT_ONCE: u32 = 1000;

fn place(hash: &[u8]) -> String {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("oauth_states.proofs_enc:{hex}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn = SealedColumn {
    table: "oauth_states",
    column: "proofs_enc",
    key: &["hash"],
    place: |row| Ok(place(&row.at::<Vec<u8>>("hash")?)),
};

/// As they lie under the seal.
#[derive(Deserialize, Serialize)]
struct Proofs {
    #[serde(serialize_with = "domain::secret::exposed")]
    verifier: Secret<String>,
    #[serde(serialize_with = "domain::secret::exposed")]
    nonce: Secret<String>,
}

fn read_state(view: &View, row: &Row) -> Result<OauthState, StoreError> {
    let hash: [u8; 32] = row.at("hash")?;
    let plain = view.sealer().open(&place(&hash), &row.at::<Vec<u8>>("proofs_enc")?)?;
    let proofs: Proofs =
        serde_json::from_slice(plain.expose()).map_err(|e| StoreError::corrupt("proofs_enc", e.to_string()))?;
    Ok(OauthState {
        hash,
        browser: row.at("browser")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        provider_id: row.at("provider_id")?,
        purpose: row.word("purpose")?,
        user_id: row.at("user_id")?,
        redirect_uri: row.at("redirect_uri")?,
        return_to: row.at("return_to")?,
        proofs: OauthProofs { verifier: proofs.verifier, nonce: proofs.nonce },
        anew: row.at("anew")?,
        begun_at: row.at("begun_at")?,
        expires_at: row.at("expires_at")?,
    })
}

fn read_code(row: &Row) -> Result<OauthCode, StoreError> {
    Ok(OauthCode {
        hash: row.at("hash")?,
        browser: row.at("browser")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        identity_id: row.at("identity_id")?,
        user_id: row.at("user_id")?,
        auth_time: row.at("auth_time")?,
        begun_at: row.at("begun_at")?,
        expires_at: row.at("expires_at")?,
    })
}

/// Reads of sign-ins under way.
pub trait OauthFlows: Reader {
    /// The code of this hash, unless its time is over, without using it up.
    fn oauth_code(
        &self,
        hash: [u8; 32],
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<OauthCode>, StoreError>> + Send {
        async move {
            let sql = "SELECT * FROM oauth_codes WHERE hash = $1 AND expires_at > $2";
            self.view().await?.first(sql, values![hash, now], read_code).await
        }
    }
}
impl<R: Reader> OauthFlows for R {}

impl SessionTx {
    /// Keeps a sign-in that is under way, in the place of the browser's oldest where too many are. False, and it is not kept, where
    /// `most` are under way in its project.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without its provider or user.
    pub async fn insert_oauth_state(&self, new: &OauthState, most: u32) -> Result<bool, StoreError> {
        // First of all, so that nobody waits for this who has what is waited for after it.
        if !self.take_oauth_place(new.project_id, most).await? {
            return Ok(false);
        }
        let view = &self.work.view;
        let sql = "DELETE FROM oauth_states WHERE browser = $1 AND hash NOT IN (
                       SELECT hash FROM oauth_states WHERE browser = $1 ORDER BY begun_at DESC, hash LIMIT $2)";
        view.execute(sql, values![new.browser, UNDER_WAY - 1]).await?;
        let OauthProofs { verifier, nonce } = new.proofs.clone();
        let plain = serde_json::to_vec(&Proofs { verifier, nonce });
        let plain = Secret::new(plain.map_err(|e| StoreError::corrupt("proofs_enc", e.to_string()))?);
        let sealed = view.sealer().seal(&place(&new.hash), plain.expose())?;
        let mut all = values![new.hash, new.browser, new.project_id, new.tenant_id, new.provider_id];
        all.push(Value::word(&new.purpose));
        all.extend(values![new.user_id, &new.redirect_uri, new.return_to.as_ref(), sealed]);
        all.extend(values![new.anew, new.begun_at, new.expires_at]);
        let sql = "INSERT INTO oauth_states (hash, browser, project_id, tenant_id, provider_id, purpose, user_id,
                       redirect_uri, return_to, proofs_enc, anew, begun_at, expires_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        view.execute(sql, all).await.map(|_| true)
    }

    /// Counts one more in a project. False where there are `most`.
    async fn take_oauth_place(&self, project: ProjectId, most: u32) -> Result<bool, StoreError> {
        let view = &self.work.view;
        let taken = async || {
            let sql = "UPDATE oauth_waiting SET counted = counted + 1 WHERE project_id = $1 AND counted < $2";
            view.execute(sql, values![project, most]).await.map(|rows| rows == 1)
        };
        if taken().await? {
            return Ok(true);
        }
        self.recount_oauth_places(project, most).await?;
        // Whoever else counted meanwhile made room for this, too.
        taken().await
    }

    /// Counts the places of a project anew, unless that was done a moment ago. Whoever takes one waits until it is done.
    async fn recount_oauth_places(&self, project: ProjectId, most: u32) -> Result<(), StoreError> {
        let (view, now) = (&self.work.view, self.work.now);
        let sql = "INSERT INTO oauth_waiting (project_id, counted, recounted_at) VALUES ($1, 0, 0)
                   ON CONFLICT (project_id) DO NOTHING";
        view.execute(sql, values![project]).await?;
        // A time that is yet to come was noted by a clock that went wrong.
        let sql = "UPDATE oauth_waiting SET recounted_at = $2
                   WHERE project_id = $1 AND (recounted_at <= $3 OR recounted_at > $2)";
        if view.execute(sql, values![project, now, now - RECOUNTED_EVERY]).await? == 0 {
            return Ok(());
        }
        let sql = "DELETE FROM oauth_states WHERE hash IN (
                       SELECT hash FROM oauth_states WHERE project_id = $1 AND expires_at <= $2
                       ORDER BY expires_at LIMIT $3)";
        view.execute(sql, values![project, now, OVER_AT_ONCE]).await?;
        let sql = "UPDATE oauth_waiting SET counted = (
                       SELECT COUNT(*) FROM (SELECT 1 FROM oauth_states WHERE project_id = $1 LIMIT $2) AS waiting)
                   WHERE project_id = $1";
        view.execute(sql, values![project, most]).await.map(|_| ())
    }

    /// Uses a sign-in that is under way. None when another did, it is another browser's, or its time is over.
    ///
    /// # Errors
    /// Of the database; of the master key.
    pub async fn use_oauth_state(
        &self,
        hash: [u8; 32],
        browsers: &[[u8; 32]],
    ) -> Result<Option<OauthState>, StoreError> {
        let view = &self.work.view;
        for browser in browsers {
            let sql = "DELETE FROM oauth_states WHERE hash = $1 AND browser = $2 AND expires_at > $3 RETURNING *";
            let used = view.first(sql, values![hash, *browser, self.work.now], |row| read_state(view, row)).await?;
            if used.is_some() {
                return Ok(used);
            }
        }
        Ok(None)
    }

    /// Keeps a code.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without its user or identity.
    pub async fn insert_oauth_code(&self, new: &OauthCode) -> Result<(), StoreError> {
        let all = values![
            new.hash,
            new.browser,
            new.project_id,
            new.tenant_id,
            new.identity_id,
            new.user_id,
            new.auth_time,
            new.begun_at,
            new.expires_at
        ];
        let sql = "INSERT INTO oauth_codes (hash, browser, project_id, tenant_id, identity_id, user_id, auth_time,
                       begun_at, expires_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        self.work.view.execute(sql, all).await.map(|_| ())
    }

    /// Uses a code. False when another did, or its time is over.
    ///
    /// # Errors
    /// Of the database.
    pub async fn use_oauth_code(&self, hash: [u8; 32]) -> Result<bool, StoreError> {
        let sql = "DELETE FROM oauth_codes WHERE hash = $1 AND expires_at > $2";
        Ok(self.work.view.execute(sql, values![hash, self.work.now]).await? == 1)
    }
}

impl Store {
    /// Forgets up to `limit` sign-ins and codes each that were over at `then`; answers how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn sweep_oauth(&self, then: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write_session(Scope::Platform, then, |tx| async move {
            let mut swept = 0;
            for table in ["oauth_states", "oauth_codes"] {
                let sql = format!(
                    "DELETE FROM {table} WHERE hash IN (
                         SELECT hash FROM {table} WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)"
                );
                swept += tx.work.view.execute(&sql, values![then, limit]).await?;
            }
            Ok(swept)
        })
        .await
    }
}
