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

impl Customer {
    /// Takes over what an earlier release kept in any form, as far as it has the form of this one and nothing stands in its
    /// place; the rest stays aside. Whether anything was.
    pub fn take_over_unchecked(&mut self) -> bool {
        let Some(serde_json::Value::Object(held)) = &mut self.unchecked else { return false };
        let before = held.len();
        // What was kept of nothing is nothing.
        held.retain(|_, kept| !kept.is_null() && kept.as_object().is_none_or(|members| !members.is_empty()));
        if self.address.is_none() {
            self.address = taken(held, "address");
        }
        if self.contact.is_none() {
            self.contact = taken(held, "contact");
        }
        if self.tax_ids.is_empty() {
            self.tax_ids = taken(held, "tax_ids").unwrap_or_default();
        }
        let took = held.len() < before;
        if held.is_empty() {
            self.unchecked = None;
        }
        took
    }
}

/// A member that has the form; the others stay.
fn taken<T: serde::de::DeserializeOwned>(
    held: &mut serde_json::Map<String, serde_json::Value>,
    name: &str,
) -> Option<T> {
    let read = T::deserialize(held.get(name)?).ok()?;
    held.remove(name);
    Some(read)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn customer(unchecked: serde_json::Value) -> Customer {
        Customer {
            id: CustomerId::new(uuid::Uuid::from_u128(1)),
            code: "acme".into(),
            name: "Acme".into(),
            description: String::new(),
            kind: CustomerKind::Company,
            tenancy: Tenancy::Dedicated,
            address: None,
            contact: None,
            tax_ids: TaxIds::default(),
            unchecked: Some(unchecked),
            kyc: KycStatus::None,
            kyc_kind: KycKind::Kyb,
            payment: PaymentStatus::Ok,
            is_root: false,
            break_glass_user_id: None,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            version: Version(1),
        }
    }

    #[test]
    fn what_was_kept_in_any_form_is_taken_over_as_far_as_it_has_this_one() {
        let address = json!({ "lines": ["Hill Road 1"], "city": "Mumbai", "country": "IN" });
        let mut whole = customer(json!({ "address": address, "contact": null, "tax_ids": { "pan": "AAPCA1234C" } }));
        assert!(whole.take_over_unchecked());
        assert_eq!(serde_json::to_value(&whole.address).unwrap(), address);
        assert_eq!((whole.tax_ids.of("pan"), whole.unchecked.as_ref()), (Some("AAPCA1234C"), None));
        assert!(!whole.take_over_unchecked());

        let mut part =
            customer(json!({ "address": "Hill Road 1, Mumbai", "contact": { "name": "Ann" }, "tax_ids": {} }));
        assert!(part.take_over_unchecked());
        assert_eq!(part.contact.as_ref().map(|contact| contact.name.as_str()), Some("Ann"));
        assert_eq!(
            (part.address.is_none(), part.unchecked.clone()),
            (true, Some(json!({ "address": "Hill Road 1, Mumbai" })))
        );
        assert!(!part.take_over_unchecked(), "and the rest stays aside");

        let held = Contact::deserialize(json!({ "name": "Ben" })).unwrap();
        let mut newer = Customer { contact: Some(held.clone()), ..customer(json!({ "contact": { "name": "Ann" } })) };
        assert!(!newer.take_over_unchecked(), "what was said since counts");
        assert_eq!(newer.contact, Some(held));
    }
}
