//! Failed sign-ins, counted per user, and per name for names that nobody has: what is locked must not tell who exists.

use std::time::Duration;

use domain::{ProjectId, Timestamp, UserId, model::fold};

use crate::{
    SessionTx, StoreError,
    tx::Reader,
    value::{Row, values},
};

/// Whose failures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LoginSubject {
    /// A user's, by whatever name they tried, through the edge.
    User(UserId),
    /// A user's, on the control API's own listener: what strangers do at the edge locks nobody out here.
    Direct(UserId),
    /// Of a user's second factor, through the edge.
    Factor(UserId),
    /// The same on the control API's own listener.
    DirectFactor(UserId),
    /// Of a name that nobody has.
    Name(String),
}

impl LoginSubject {
    /// The text it is kept under: equal for equal subjects only.
    pub fn key(&self) -> String {
        match self {
            Self::User(id) => format!("user:{id}"),
            Self::Direct(id) => format!("direct:{id}"),
            Self::Factor(id) => format!("factor:{id}"),
            Self::DirectFactor(id) => format!("direct-factor:{id}"),
            Self::Name(name) => format!("name:{}", fold(name)),
        }
    }
}

/// When sign-in is locked, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LockPolicy {
    /// After this many failures in a row. Default 5.
    pub after: u32,
    /// For this long. Default 900 s.
    pub lock_for: Duration,
}

impl Default for LockPolicy {
    fn default() -> Self {
        Self { after: 5, lock_for: Duration::from_secs(900) }
    }
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LoginFailures {
    /// How many.
    pub failures: u32,
    /// Until when sign-in is locked.
    pub locked_until: Option<Timestamp>,
}

impl LoginFailures {
    /// Whether sign-in is locked, and for how long yet.
    pub fn locked(&self, now: Timestamp) -> Option<Duration> {
        self.locked_until.filter(|until| *until > now).map(|until| until.since(now))
    }
}

fn read(row: &Row) -> Result<LoginFailures, StoreError> {
    Ok(LoginFailures { failures: row.at("failures")?, locked_until: row.at("locked_until")? })
}

/// Reads of failed sign-ins.
pub trait Logins: Reader {
    /// Somebody's failures.
    fn login_failures(
        &self,
        project: ProjectId,
        subject: &LoginSubject,
    ) -> impl Future<Output = Result<LoginFailures, StoreError>> + Send {
        async move {
            let sql = "SELECT failures, locked_until FROM login_failures WHERE project_id = $1 AND subject = $2";
            Ok(self.view().await?.first(sql, values![project, subject.key()], read).await?.unwrap_or_default())
        }
    }
}
impl<R: Reader> Logins for R {}

impl SessionTx {
    /// Counts a failure; locks when there are enough. A failure after a lock has run out is the first again.
    ///
    /// # Errors
    /// Of the database.
    pub async fn count_login_failure(
        &self,
        project: ProjectId,
        subject: &LoginSubject,
        policy: LockPolicy,
    ) -> Result<LoginFailures, StoreError> {
        let (view, now, key) = (&self.work.view, self.work.now, subject.key());
        let sql = "INSERT INTO login_failures (project_id, subject, failures, last_at) VALUES ($1, $2, 1, $3)
                   ON CONFLICT (project_id, subject) DO UPDATE SET
                       failures = CASE WHEN login_failures.locked_until <= $3 THEN 1
                                       ELSE login_failures.failures + 1 END,
                       locked_until = CASE WHEN login_failures.locked_until <= $3 THEN NULL
                                           ELSE login_failures.locked_until END,
                       last_at = $3
                   RETURNING failures, locked_until";
        let mut counted = view.first(sql, values![project, &key, now], read).await?.unwrap_or_default();
        if counted.failures >= policy.after && counted.locked_until.is_none() {
            counted.locked_until = Some(now + policy.lock_for);
            let sql = "UPDATE login_failures SET locked_until = $3 WHERE project_id = $1 AND subject = $2";
            view.execute(sql, values![project, &key, counted.locked_until]).await?;
        }
        Ok(counted)
    }

    /// Forgets somebody's failures: they signed in, or an administrator says so.
    ///
    /// # Errors
    /// Of the database.
    pub async fn clear_login_failures(&self, project: ProjectId, subject: &LoginSubject) -> Result<(), StoreError> {
        let sql = "DELETE FROM login_failures WHERE project_id = $1 AND subject = $2";
        self.work.view.execute(sql, values![project, subject.key()]).await.map(|_| ())
    }
}
