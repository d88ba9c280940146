//! Codes that were sent: one is live for each address, its right holder is told once, and wrong ones are counted.
//!
//! A code is short, so what is kept of it is an HMAC under a key of its own that is sealed: who has the table alone cannot
//! try all of them.

use aws_lc_rs::hmac;
use domain::{
    ProjectId, Secret, Timestamp,
    model::{CodeKind, CodeShown, GuessPolicy, fold},
};

use crate::{
    SessionTx, StoreError,
    reseal::SealedColumn,
    tx::Work,
    value::{Row, Value, values},
};

const PEPPER_BYTES: usize = 32;

fn place(project: ProjectId, kind: &str, subject: &str) -> String {
    format!("one_time_codes.pepper_enc:{project}:{kind}:{subject}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn = SealedColumn {
    table: "one_time_codes",
    column: "pepper_enc",
    key: &["project_id", "kind", "subject"],
    place: |row| Ok(place(row.at("project_id")?, &row.at::<String>("kind")?, &row.at::<String>("subject")?)),
};

/// Its name in the table.
const fn name(kind: CodeKind) -> &'static str {
    match kind {
        CodeKind::Email => "email",
        CodeKind::PasskeySignup => "passkey_signup",
        CodeKind::Phone => "phone",
        CodeKind::PhoneLogin => "phone_login",
    }
}

fn digest(pepper: &[u8], code: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pepper), code.as_bytes());
    tag.as_ref().first_chunk().copied().unwrap_or_default()
}

struct Kept {
    hash: Option<[u8; 32]>,
    pepper_enc: Vec<u8>,
    expires_at: Timestamp,
    failures: u32,
    locked_until: Option<Timestamp>,
}

fn read(row: &Row) -> Result<Kept, StoreError> {
    Ok(Kept {
        hash: row.at("hash")?,
        pepper_enc: row.at("pepper_enc")?,
        expires_at: row.at("expires_at")?,
        failures: row.at("failures")?,
        locked_until: row.at("locked_until")?,
    })
}

impl SessionTx {
    /// Makes a code the live one of an address. Wrong ones that were counted stay counted.
    ///
    /// # Errors
    /// Of the database; of the master key.
    pub async fn put_one_time_code(
        &self,
        (project, kind): (ProjectId, CodeKind),
        address: &str,
        code: &Secret<String>,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let pepper: [u8; PEPPER_BYTES] = self.work.view.sealer().bytes()?;
        let hash = digest(&pepper, code.expose());
        let replaces = "hash = excluded.hash, pepper_enc = excluded.pepper_enc, expires_at = excluded.expires_at,
                        created_at = excluded.created_at";
        self.keep_code((project, kind), address, (Some(hash), pepper), expires_at, replaces).await
    }

    /// Has wrong codes for an address counted as they are where one was sent; what was sent stays as it is.
    ///
    /// # Errors
    /// Of the database; of the master key.
    pub async fn count_guesses(
        &self,
        (project, kind): (ProjectId, CodeKind),
        address: &str,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let pepper: [u8; PEPPER_BYTES] = self.work.view.sealer().bytes()?;
        let replaces = "hash = NULL, expires_at = excluded.expires_at, created_at = excluded.created_at
                        WHERE one_time_codes.hash IS NULL OR one_time_codes.expires_at <= excluded.created_at";
        self.keep_code((project, kind), address, (None, pepper), expires_at, replaces).await
    }

    async fn keep_code(
        &self,
        (project, kind): (ProjectId, CodeKind),
        address: &str,
        (hash, pepper): (Option<[u8; 32]>, [u8; PEPPER_BYTES]),
        expires_at: Timestamp,
        replaces: &str,
    ) -> Result<(), StoreError> {
        let Work { view, now, .. } = &self.work;
        let (subject, kind) = (fold(address), name(kind));
        let sealed = view.sealer().seal(&place(project, kind, &subject), &pepper)?;
        let sql = format!(
            "INSERT INTO one_time_codes (project_id, kind, subject, hash, pepper_enc, expires_at, failures, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7)
             ON CONFLICT (project_id, kind, subject) DO UPDATE SET {replaces}"
        );
        view.execute(&sql, values![project, kind, subject, hash, sealed, expires_at, *now]).await.map(|_| ())
    }

    /// Judges a code that is shown, and uses it up when it is right: of those who show it at once, one has it.
    ///
    /// # Errors
    /// Of the database; of the master key.
    pub async fn show_one_time_code(
        &self,
        (project, kind): (ProjectId, CodeKind),
        address: &str,
        code: &Secret<String>,
        policy: GuessPolicy,
    ) -> Result<CodeShown, StoreError> {
        let Work { view, now, .. } = &self.work;
        let (subject, kind) = (fold(address), name(kind));
        let found = view.locking("SELECT * FROM one_time_codes WHERE project_id = $1 AND kind = $2 AND subject = $3");
        let key = || values![project, kind, &subject];
        // An address to which nothing was sent has nothing to guess.
        let Some(kept) = view.first(&found, key(), read).await? else { return Ok(CodeShown::Wrong) };
        if let Some(until) = kept.locked_until.filter(|until| until > now) {
            return Ok(CodeShown::Locked(until));
        }
        let pepper = view.sealer().open(&place(project, kind, &subject), &kept.pepper_enc)?;
        let shown = Secret::new(digest(pepper.expose(), code.expose()));
        let live = kept.hash.filter(|_| kept.expires_at > *now).map(Secret::new);
        if live.is_some_and(|live| live == shown) {
            let sql = "UPDATE one_time_codes SET hash = NULL, failures = 0, locked_until = NULL
                       WHERE project_id = $1 AND kind = $2 AND subject = $3";
            view.execute(sql, key()).await?;
            return Ok(CodeShown::Right);
        }
        // A failure after a lock has run out is the first again.
        let failures = if kept.locked_until.is_some() { 1 } else { kept.failures.saturating_add(1) };
        let locked_until = (failures >= policy.after).then(|| *now + policy.lock_for);
        // The code that was guessed at for so long is worth nothing any more.
        let hash = kept.hash.filter(|_| locked_until.is_none());
        let mut all = key();
        all.extend(values![failures, locked_until, hash]);
        let sql = "UPDATE one_time_codes SET failures = $4, locked_until = $5, hash = $6
                   WHERE project_id = $1 AND kind = $2 AND subject = $3";
        view.execute(sql, all).await?;
        Ok(CodeShown::Wrong)
    }

    /// Forgets codes that have expired for longer than locks last, and links, pace and codes that nobody needs: up to `limit` of
    /// each kind; answers how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn sweep_one_time(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let view = &self.work.view;
        let day = before - std::time::Duration::from_secs(24 * 3600);
        let mut swept = 0;
        for (table, key, condition, then) in [
            ("one_time_tokens", "hash", "expires_at < $1", before),
            (
                "one_time_codes",
                "project_id, kind, subject",
                "expires_at < $1 AND COALESCE(locked_until, 0) < $1",
                before,
            ),
            ("mail_requests", "project_id, kind, email_fold", "last_at < $1", day),
            ("mail_addresses", "address_digest", "day_began < $1", day),
            ("text_counts", "digest", "ends_at < $1", before),
        ] {
            let sql = format!(
                "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {condition} ORDER BY {key} LIMIT $2)"
            );
            swept += view.execute(&sql, vec![Value::from(then), limit.into()]).await?;
        }
        Ok(swept)
    }
}
