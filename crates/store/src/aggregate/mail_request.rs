//! How often an address is written to, whoever asks for it: what strangers ask for fills nobody's mailbox.

use std::time::Duration;

use domain::{
    ProjectId, Timestamp,
    model::{MailPace, MailTurn, fold},
};

use crate::{
    SessionTx, StoreError, Tx,
    tx::Work,
    value::{Row, values},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Kept {
    last_at: Timestamp,
    day_began: Timestamp,
    in_day: u32,
}

impl SessionTx {
    /// Notes that something of a kind is to be sent to an address, unless it was asked for too often. Noted whether or not
    /// somebody reads it: the answer tells nobody who exists.
    ///
    /// # Errors
    /// Of the database.
    pub async fn take_mail_turn(
        &self,
        (project, kind): (ProjectId, &str),
        address: &str,
        pace: MailPace,
    ) -> Result<MailTurn, StoreError> {
        let Work { view, now, .. } = &self.work;
        let subject = fold(address);
        // The row is there before it is looked at, so that who asks at the same time waits here.
        let sql = "INSERT INTO mail_requests (project_id, kind, email_fold, last_at, day_began, in_day)
                   VALUES ($1, $2, $3, 0, $4, 0) ON CONFLICT (project_id, kind, email_fold) DO NOTHING";
        view.execute(sql, values![project, kind, &subject, *now]).await?;
        let sql = "SELECT last_at, day_began, in_day FROM mail_requests WHERE project_id = $1 AND kind = $2 AND email_fold = $3";
        let read = |row: &Row| {
            Ok(Kept { last_at: row.at("last_at")?, day_began: row.at("day_began")?, in_day: row.at("in_day")? })
        };
        let key = || values![project, kind, &subject];
        let found = view.first(&view.locking(sql), key(), read).await?;
        let Some(kept) = found else { return Err(StoreError::Serialization) };
        let (began, sent) = if kept.day_began + DAY <= *now { (*now, 0) } else { (kept.day_began, kept.in_day) };
        if sent >= pace.a_day {
            return Ok(MailTurn::Wait(began + DAY));
        }
        let next = kept.last_at + pace.cooldown;
        if next > *now {
            return Ok(MailTurn::Wait(next));
        }
        let mut all = key();
        all.extend(values![*now, began, sent + 1]);
        let sql = "UPDATE mail_requests SET last_at = $4, day_began = $5, in_day = $6
                   WHERE project_id = $1 AND kind = $2 AND email_fold = $3";
        view.execute(sql, all).await?;
        Ok(MailTurn::Now)
    }

    /// Counts a letter to who has no account where it is sent from, whatever project and kind it is of; false where there were enough
    /// within 24 h, and none is to be sent.
    ///
    /// # Errors
    /// Of the database.
    pub async fn count_strangers_letter(&self, address: &str, most: u32) -> Result<bool, StoreError> {
        self.work.count_strangers_letter(address, most).await
    }
}

impl Tx {
    /// As [`SessionTx::count_strangers_letter`].
    ///
    /// # Errors
    /// Of the database.
    pub async fn count_strangers_letter(&self, address: &str, most: u32) -> Result<bool, StoreError> {
        self.work.count_strangers_letter(address, most).await
    }
}

impl Work {
    /// The address itself is not kept: this is no project's.
    async fn count_strangers_letter(&self, address: &str, most: u32) -> Result<bool, StoreError> {
        let Self { view, now, .. } = self;
        let digest = view.sealer().digest("mail_addresses.address_digest", fold(address).as_bytes());
        let sql = "INSERT INTO mail_addresses (address_digest, day_began, in_day) VALUES ($1, $2, 0)
                   ON CONFLICT (address_digest) DO NOTHING";
        view.execute(sql, values![digest.clone(), *now]).await?;
        let sql = "SELECT day_began, in_day FROM mail_addresses WHERE address_digest = $1";
        let read = |row: &Row| Ok((row.at("day_began")?, row.at("in_day")?));
        let found: Option<(Timestamp, u32)> = view.first(&view.locking(sql), values![digest.clone()], read).await?;
        let Some((began, sent)) = found else { return Err(StoreError::Serialization) };
        let (began, sent) = if began + DAY <= *now { (*now, 0) } else { (began, sent) };
        if sent >= most {
            return Ok(false);
        }
        let sql = "UPDATE mail_addresses SET day_began = $2, in_day = $3 WHERE address_digest = $1";
        view.execute(sql, values![digest, began, sent + 1]).await?;
        Ok(true)
    }
}
