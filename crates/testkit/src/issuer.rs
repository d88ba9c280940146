//! A token issuer: a name, its keys, and what it signs.

use std::collections::BTreeMap;

use domain::{
    IssuerId, ProjectId, Timestamp,
    snapshot::{Algorithm, Issuer, Origin},
};
use jsonwebtoken::Header;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Claims, TestKey};

/// An issuer with one signing key, and the keys it signed with before.
#[derive(Debug)]
pub struct TestIssuer {
    issuer: String,
    audience: String,
    current: TestKey,
    former: Vec<TestKey>,
}

impl TestIssuer {
    /// An issuer with a fresh key. Its audience is its own name, as our control plane's is by default.
    pub fn new(issuer: &str, algorithm: Algorithm) -> Self {
        Self::with_key(issuer, TestKey::generate(algorithm))
    }

    /// An issuer that signs with this key.
    pub fn with_key(issuer: &str, key: TestKey) -> Self {
        Self { issuer: issuer.to_owned(), audience: issuer.to_owned(), current: key, former: Vec::new() }
    }

    /// The same issuer, speaking to another audience.
    #[must_use]
    pub fn with_audience(self, audience: &str) -> Self {
        Self { audience: audience.to_owned(), ..self }
    }

    /// Its `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The `aud` of its tokens.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The key it signs with.
    pub fn key(&self) -> &TestKey {
        &self.current
    }

    /// Signs with `key` from now on; the key set keeps the former one.
    pub fn rotate(&mut self, key: TestKey) {
        self.former.push(std::mem::replace(&mut self.current, key));
    }

    /// Takes the former keys out of the key set: their tokens are no longer believed.
    pub fn retire_former_keys(&mut self) -> Vec<TestKey> {
        std::mem::take(&mut self.former)
    }

    /// The key set (RFC 7517 §5): the current key first.
    pub fn jwks(&self) -> Value {
        json!({ "keys": std::iter::once(&self.current).chain(&self.former).map(TestKey::jwk).collect::<Vec<_>>() })
    }

    /// Claims of a valid access token of ours.
    pub fn claims(&self, now: Timestamp) -> Claims {
        Claims::own(&self.issuer, &self.audience, now)
    }

    /// Claims of a valid token of somebody else's issuer.
    pub fn external_claims(&self, now: Timestamp) -> Claims {
        Claims::external(&self.issuer, &self.audience, now)
    }

    /// A signed access token (`typ: at+jwt`, RFC 9068) with these claims.
    pub fn mint(&self, claims: impl Serialize) -> String {
        self.mint_as("at+jwt", claims)
    }

    /// A signed token of another `typ`, such as `JWT`.
    pub fn mint_as(&self, typ: &str, claims: impl Serialize) -> String {
        let mut header = Header::new(self.current.signing());
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.current.kid().to_owned());
        jsonwebtoken::encode(&header, &claims, &self.current.encoding_key()).unwrap()
    }

    /// A signed token with exactly this header, whatever it claims about algorithm and key.
    pub fn mint_with_header(&self, header: &Value, claims: impl Serialize) -> String {
        self.current.sign(header.to_string().as_bytes(), &serde_json::to_vec(&claims).unwrap())
    }

    /// The header of an ordinary token, to be changed and given to [`Self::mint_with_header`].
    pub fn header(&self) -> Value {
        json!({ "alg": self.current.algorithm(), "typ": "at+jwt", "kid": self.current.kid() })
    }

    /// The issuer as a snapshot row of `project`, origin own.
    pub fn row(&self, project: ProjectId) -> Issuer {
        Issuer {
            id: IssuerId::new(Uuid::new_v4()),
            issuer: self.issuer.clone(),
            project_id: project,
            origin: Origin::Own,
            audiences: vec![self.audience.clone()],
            algorithms: vec![self.current.algorithm()],
            jwks: self.jwks(),
        }
    }

    /// The issuer as a snapshot row of `project`, bound to one tenant and to the roles that `roles` names.
    pub fn external_row(&self, project: ProjectId, tenant: domain::snapshot::TenantBinding) -> Issuer {
        let binding = domain::snapshot::ExternalBinding {
            tenant,
            subject_claim: "sub".to_owned(),
            roles_claim: Some("roles".to_owned()),
            required_claims: BTreeMap::new(),
        };
        Issuer { origin: Origin::External(binding), ..self.row(project) }
    }
}

#[cfg(test)]
mod tests {
    use domain::Clock as _;
    use jsonwebtoken::{DecodingKey, Validation, jwk::Jwk};

    use super::*;
    use crate::FixedClock;

    #[test]
    fn a_minted_token_verifies_under_the_published_key() {
        for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
            let issuer = TestIssuer::new("https://id.example.test", algorithm);
            let token = issuer.mint(issuer.claims(FixedClock::default().unix_now()).set("username", "bob"));
            let jwk: Jwk = serde_json::from_value(issuer.jwks()["keys"][0].clone()).unwrap();
            let mut validation = Validation::new(issuer.key().signing());
            validation.set_audience(&[issuer.audience()]);
            validation.validate_exp = false;
            let read = jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation);
            let read = read.unwrap();
            assert_eq!(read.claims["username"], "bob", "{algorithm:?}");
            assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
            assert_eq!(read.header.kid.as_deref(), Some(issuer.key().kid()));
        }
    }

    #[test]
    fn a_rotated_key_stays_published_until_it_is_retired() {
        let mut issuer = TestIssuer::new("https://id.example.test", Algorithm::EdDsa);
        issuer.rotate(TestKey::generate(Algorithm::Es256));
        assert_eq!(issuer.jwks()["keys"].as_array().unwrap().len(), 2);
        assert_eq!(issuer.jwks()["keys"][0]["alg"], "ES256");
        issuer.retire_former_keys();
        assert_eq!(issuer.jwks()["keys"].as_array().unwrap().len(), 1);
    }
}
