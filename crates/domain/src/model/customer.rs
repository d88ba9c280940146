//! Customers: who pays.

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{
    Address, Contact, CustomerId, TaxIds, Timestamp, UserId,
    snapshot::{KycStatus, PaymentStatus},
};

/// What a customer is in law.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustomerKind {
    /// A company.
    #[default]
    Company,
    /// A natural person.
    Person,
}

/// Whether a customer's tenants have a project of their own.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tenancy {
    /// A project of its own.
    #[default]
    Dedicated,
    /// Tenants live in the `cloud` project.
    Shared,
}

/// Which check of identity applies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KycKind {
    /// Of a person.
    Kyc,
    /// Of a business.
    #[default]
    Kyb,
}

/// Who pays for tenants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Customer {
    /// Its id.
    pub id: CustomerId,
    /// Unique short name.
    pub code: String,
    /// Display name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Company or person.
    pub kind: CustomerKind,
    /// Dedicated or shared.
    pub tenancy: Tenancy,
    /// Postal address.
    pub address: Option<Address>,
    /// Whom to ask.
    pub contact: Option<Contact>,
    /// Tax ids by kind (`pan`, `tan`, `gstin`, …).
    pub tax_ids: TaxIds,
    /// What an earlier release kept of these three in any form.
    pub unchecked: Option<serde_json::Value>,
    /// State of the identity check.
    pub kyc: KycStatus,
    /// Kind of identity check.
    pub kyc_kind: KycKind,
    /// Whether it pays.
    pub payment: PaymentStatus,
    /// The platform's own customer; undeletable.
    pub is_root: bool,
    /// The emergency administrator, once provisioned.
    pub break_glass_user_id: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// A customer to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `Customer`")]
pub struct NewCustomer {
    pub id: CustomerId,
    pub code: String,
    pub name: String,
    pub description: String,
    pub kind: CustomerKind,
    pub tenancy: Tenancy,
    pub address: Option<Address>,
    pub contact: Option<Contact>,
    pub tax_ids: TaxIds,
    pub kyc: KycStatus,
    pub kyc_kind: KycKind,
    pub payment: PaymentStatus,
    pub is_root: bool,
}
