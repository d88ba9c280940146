//! What customers were and became, and the evidence that was looked at.

use authz::{Authorized, Scope, action::ManageCustomers};
use domain::{
    CustomerId,
    model::{Artifact, Customer, CustomerChange, CustomerState, NewArtifact},
};
use uuid::Uuid;

use super::{
    audit,
    customer::Customers,
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, within,
};
use crate::{
    Audited, StoreError, Tx, Unaudited,
    value::{Row, Value, values},
};

/// Most evidence of one customer.
const MOST_ARTIFACTS: u32 = 200;

fn change(row: &Row) -> Result<CustomerChange, StoreError> {
    Ok(CustomerChange {
        id: row.at("id")?,
        customer_id: row.at("customer_id")?,
        from: row.json("before")?,
        to: row.json("after")?,
        reason: row.at("reason")?,
        reference: row.at("reference")?,
        by: row.json("actor")?,
        at: row.at("at")?,
    })
}

fn artifact(row: &Row) -> Result<Artifact, StoreError> {
    Ok(Artifact {
        id: row.at("id")?,
        customer_id: row.at("customer_id")?,
        kind: row.at("kind")?,
        reference: row.at("reference")?,
        sha256: row.at("sha256")?,
        by: row.json("actor")?,
        at: row.at("at")?,
    })
}

/// The list of a customer's steps.
#[derive(Debug)]
pub enum CustomerHistory {}

impl Listing for CustomerHistory {
    type Item = CustomerChange;
    type Of = CustomerId;
    const FILTERS: &'static [Filter] = &[
        Filter::new(
            "kind",
            "Of the identity check, or of payments.",
            Takes::Word(&["kyc", "payment"]),
            "(after ->> 'kind') = ?",
        ),
        Filter::new("reference", "Known by this where it was decided.", Takes::Text, "reference = ?"),
        Filter::since("at >= ?"),
        Filter::until("at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::time("at", "at")];
    fn sql() -> String {
        "SELECT * FROM customer_changes WHERE customer_id = $1".into()
    }
    fn item(row: &Cells<'_>) -> Result<CustomerChange, StoreError> {
        change(row.0)
    }
}

/// The list of a customer's evidence.
#[derive(Debug)]
pub enum ArtifactList {}

impl Listing for ArtifactList {
    type Item = Artifact;
    type Of = CustomerId;
    const FILTERS: &'static [Filter] = &[
        Filter::new("kind", "Of this kind.", Takes::Text, "kind = ?"),
        Filter::new("reference", "Kept there.", Takes::Text, "reference = ?"),
        Filter::since("at >= ?"),
        Filter::until("at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::new("kind", "kind"), Sortable::time("at", "at")];
    fn sql() -> String {
        "SELECT * FROM customer_artifacts WHERE customer_id = $1".into()
    }
    fn item(row: &Cells<'_>) -> Result<Artifact, StoreError> {
        artifact(row.0)
    }
}

impl Tx {
    /// Brings a customer to a KYC or payment state, and keeps the step. Its tenants at the edge follow. The state it is in
    /// is no step: nothing is written.
    ///
    /// # Errors
    /// [`StoreError::CustomerState`] for a state that does not follow; [`StoreError::NotFound`].
    pub async fn set_customer_state(
        &self,
        by: &Authorized<ManageCustomers>,
        id: CustomerId,
        state: CustomerState,
        (reason, reference): (Option<&str>, Option<&str>),
    ) -> Result<Audited<Customer>, StoreError> {
        within(by, Scope::Platform)?;
        let before = needed(self.customer(id).await?, "customer")?;
        let mut changed = before.clone();
        let was = match state {
            CustomerState::Kyc(kyc) => CustomerState::Kyc(std::mem::replace(&mut changed.kyc, kyc)),
            CustomerState::Payment(payment) => CustomerState::Payment(std::mem::replace(&mut changed.payment, payment)),
        };
        if was == state {
            return Ok(Audited::unchanged(before));
        }
        state.follows(was)?;
        let sql = "INSERT INTO customer_changes (id, customer_id, before, after, reason, reference, actor, at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let values = vec![
            self.following("customer_changes", id).await?.into(),
            id.into(),
            Value::json(&was)?,
            Value::json(&state)?,
            reason.into(),
            reference.into(),
            Value::json(by.actor())?,
            self.work.now.into(),
        ];
        self.work.view.execute(sql, values).await?;
        let saved = self.save_customer(by, &before, changed).await?;
        self.done(state.verb(), saved).await
    }

    /// Keeps evidence. The same again is not kept twice; another thing under the same kind and reference is refused.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`artifact_exists`, `artifacts_full`), [`StoreError::NotFound`].
    pub async fn put_artifact(
        &self,
        by: &Authorized<ManageCustomers>,
        new: NewArtifact,
    ) -> Result<Result<Unaudited<Artifact>, Artifact>, StoreError> {
        within(by, Scope::Platform)?;
        needed(self.customer(new.customer_id).await?, "customer")?;
        let view = &self.work.view;
        let sql = "SELECT * FROM customer_artifacts WHERE customer_id = $1 AND kind = $2 AND reference = $3";
        if let Some(found) = view.first(sql, values![new.customer_id, &new.kind, &new.reference], artifact).await? {
            if found.sha256 == new.sha256 {
                return Ok(Err(found));
            }
            let detail = "there is another thing under this kind and reference, and evidence stays as it was put";
            return Err(StoreError::rule("artifact_exists", detail));
        }
        let sql = "SELECT COUNT(*) AS kept FROM customer_artifacts WHERE customer_id = $1";
        let kept: Option<u32> = view.first(sql, values![new.customer_id], |row| row.at("kept")).await?;
        if kept.unwrap_or(0) >= MOST_ARTIFACTS {
            let detail = format!("{MOST_ARTIFACTS} artifacts are kept of a customer, no more");
            return Err(StoreError::rule("artifacts_full", detail));
        }
        let it = Artifact {
            id: self.following("customer_artifacts", new.customer_id).await?.into(),
            customer_id: new.customer_id,
            kind: new.kind,
            reference: new.reference,
            sha256: new.sha256,
            by: by.actor().clone(),
            at: self.work.now,
        };
        let sql = "INSERT INTO customer_artifacts (id, customer_id, kind, reference, sha256, actor, at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let mut all = values![it.id, it.customer_id, &it.kind, &it.reference, it.sha256];
        all.extend([Value::json(&it.by)?, it.at.into()]);
        view.execute(sql, all).await?;
        Ok(Ok(self.unaudited(it)))
    }

    /// An id of now that follows every other of the customer's in a table, also those of the same millisecond: they are
    /// listed in the order of their ids.
    async fn following(&self, table: &'static str, customer: CustomerId) -> Result<Uuid, StoreError> {
        let sql = format!("SELECT id FROM {table} WHERE customer_id = $1 ORDER BY id DESC LIMIT 1");
        let last: Option<Uuid> = self.work.view.first(&sql, values![customer], |row| row.at("id")).await?;
        let fresh = audit::fresh_id::<domain::id::kind::CustomerChange>(self.work.now).uuid();
        Ok(last.map_or(fresh, |last| fresh.max(Uuid::from_u128(last.as_u128().saturating_add(1)))))
    }
}
