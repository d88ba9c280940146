//! Products, what entitles a tenant to them, and what tenants ask for.
//!
//! A product is sold or tried. The edge is told of what a tenant is entitled to and when that ends, and judges the end by
//! its own clock: nothing has to happen at that moment.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{EntitlementId, ProductId, ProductQuota, ProductRequestId, ProjectId, TenantId, Timestamp, UserId};

/// How long a trial lasts unless its product says otherwise, in days.
pub const TRIAL_DAYS: u32 = 14;

/// The longest trial, in days.
pub const MAX_TRIAL_DAYS: u32 = 365;

/// The name of a product, in routes and in `x-md-global-products`: 1 to 63 of `a-z`, `0-9` and `-`, the first no `-`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[a-z0-9][a-z0-9-]{0,62}$"))]
pub struct ProductKey(Box<str>);

impl ProductKey {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProductKey {
    type Err = ProductKeyError;
    fn from_str(text: &str) -> Result<Self, ProductKeyError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=63).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') {
            Ok(Self(text.into()))
        } else {
            Err(ProductKeyError { text: text.into() })
        }
    }
}

/// Why a text is not a [`ProductKey`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a product: 1 to 63 of a-z, 0-9 and `-`, the first no `-`")]
pub struct ProductKeyError {
    text: String,
}

impl TryFrom<String> for ProductKey {
    type Error = ProductKeyError;
    fn try_from(text: String) -> Result<Self, ProductKeyError> {
        text.parse()
    }
}
impl From<ProductKey> for String {
    fn from(key: ProductKey) -> Self {
        key.0.into()
    }
}
impl fmt::Display for ProductKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something tenants can be entitled to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Its name in routes and headers; never changes.
    pub key: ProductKey,
    /// What people call it.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Whether tenants see it in the catalog and may ask for it.
    pub requestable: bool,
    /// How long it can be tried, in days; none: not at all.
    pub trial_days: Option<u32>,
    /// How much of it a tenant may use, where its entitlement says nothing else.
    pub quota: ProductQuota,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// A product to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "as in `Product`")]
pub struct NewProduct {
    pub id: ProductId,
    pub key: ProductKey,
    pub name: String,
    pub description: String,
    pub requestable: bool,
    pub trial_days: Option<u32>,
    pub quota: ProductQuota,
}

/// How a tenant came to be entitled.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntitlementSource {
    /// It was sold.
    Sale,
    /// It is tried.
    Trial,
}

/// What an entitlement is worth at some moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntitlementStatus {
    /// Tried, and not over yet.
    Trial,
    /// Sold, and not over.
    Active,
    /// Over.
    Expired,
    /// Taken back.
    Revoked,
}

/// That a tenant may use a product. There is at most one for each product, whatever became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entitlement {
    /// Its id.
    pub id: EntitlementId,
    /// The tenant's project.
    pub project_id: ProjectId,
    /// Whose.
    pub tenant_id: TenantId,
    /// To what.
    pub product_id: ProductId,
    /// The product's name.
    pub product: ProductKey,
    /// How it came about.
    pub source: EntitlementSource,
    /// Since when.
    pub starts_at: Timestamp,
    /// Until when; none: without end.
    pub ends_at: Option<Timestamp>,
    /// How much of it this tenant may use; none: as the product says.
    pub quota: Option<ProductQuota>,
    /// How much every tenant may use.
    pub product_quota: ProductQuota,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

impl Entitlement {
    /// How much the tenant may use.
    pub fn allowed(&self) -> ProductQuota {
        self.quota.unwrap_or(self.product_quota)
    }

    /// What it is worth at `now`.
    pub fn status(&self, now: Timestamp) -> EntitlementStatus {
        match self.source {
            _ if self.revoked_at.is_some() => EntitlementStatus::Revoked,
            _ if self.ends_at.is_some_and(|end| end <= now) => EntitlementStatus::Expired,
            EntitlementSource::Trial => EntitlementStatus::Trial,
            EntitlementSource::Sale => EntitlementStatus::Active,
        }
    }

    /// Whether the product may be used at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        matches!(self.status(now), EntitlementStatus::Trial | EntitlementStatus::Active)
    }
}

/// An entitlement to be given. It begins at once.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "as in `Entitlement`")]
pub struct NewEntitlement {
    pub id: EntitlementId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub product_id: ProductId,
    pub source: EntitlementSource,
    pub ends_at: Option<Timestamp>,
    pub quota: Option<ProductQuota>,
}

/// What a tenant asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProductRequestKind {
    /// To be called back by sales.
    Request,
    /// A trial, which began at once.
    Trial,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProductRequestStatus {
    /// Nothing yet.
    Open,
    /// The tenant got it.
    Approved,
    /// The tenant did not.
    Declined,
}

/// A tenant's wish for a product.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProductRequest {
    /// Its id.
    pub id: ProductRequestId,
    /// The tenant's project.
    pub project_id: ProjectId,
    /// Whose.
    pub tenant_id: TenantId,
    /// For what.
    pub product_id: ProductId,
    /// The product's name.
    pub product: ProductKey,
    /// Whether to be called or to try.
    pub kind: ProductRequestKind,
    /// Whom to call, and how.
    pub contact: String,
    /// What else the tenant said.
    pub note: String,
    /// What became of it.
    pub status: ProductRequestStatus,
    /// Who asked; none for staff.
    pub requested_by: Option<UserId>,
    /// When.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// A wish to be noted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "as in `ProductRequest`")]
pub struct NewProductRequest {
    pub id: ProductRequestId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub product_id: ProductId,
    pub kind: ProductRequestKind,
    pub contact: String,
    pub note: String,
    pub status: ProductRequestStatus,
    pub requested_by: Option<UserId>,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_product_has_a_name_that_fits_a_list_in_a_header() {
        for good in ["a", "orders", "orders-2", "0"] {
            assert_eq!(good.parse::<ProductKey>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "Orders", "a,b", "a b", "a_b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<ProductKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entitlement_holds_from_its_beginning_until_its_end() {
        let at = Timestamp::from_millis;
        let mut it = Entitlement {
            id: Uuid::from_u128(1).into(),
            project_id: Uuid::from_u128(2).into(),
            tenant_id: Uuid::from_u128(3).into(),
            product_id: Uuid::from_u128(4).into(),
            product: "orders".parse().unwrap(),
            source: EntitlementSource::Trial,
            starts_at: at(10),
            ends_at: Some(at(20)),
            quota: None,
            product_quota: ProductQuota { per_day: Some(5), per_month: None },
            revoked_at: None,
            created_at: at(10),
            updated_at: at(10),
            version: Version(1),
        };
        assert_eq!((it.status(at(19)), it.holds(at(19))), (EntitlementStatus::Trial, true));
        assert_eq!((it.status(at(20)), it.holds(at(20))), (EntitlementStatus::Expired, false));
        it.source = EntitlementSource::Sale;
        assert_eq!(it.status(at(19)), EntitlementStatus::Active);
        it.ends_at = None;
        assert!(it.holds(at(1_000_000)));
        it.revoked_at = Some(at(15));
        assert_eq!((it.status(at(16)), it.holds(at(16))), (EntitlementStatus::Revoked, false));
        assert_eq!(it.allowed().per_day, Some(5));
        it.quota = Some(ProductQuota::default());
        assert!(it.allowed().is_open(), "all of its own, not part of each");
    }
}
