//! A bearer text, up to its signature.

use std::sync::{Arc, LazyLock};

use authn::{Issuer, verify::Presented};
use domain::{
    Id, Timestamp,
    snapshot::{self, Algorithm, ExternalBinding, Origin, TenantBinding},
};
use serde_json::json;
use uuid::Uuid;

/// The moment of the seeds.
const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

/// An issuer whose key (RFC 7515, appendix A.3) nobody here can sign with.
static ISSUER: LazyLock<Arc<Issuer>> = LazyLock::new(|| {
    let jwks = json!({"keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }]});
    let issuer = snapshot::Issuer {
        id: Id::new(Uuid::nil()),
        issuer: "https://id.example.test".into(),
        project_id: Id::new(Uuid::nil()),
        origin: Origin::External(ExternalBinding {
            tenant: TenantBinding::Claim("tid".into()),
            subject_claim: "sub".into(),
            roles_claim: Some("roles".into()),
            required_claims: Default::default(),
        }),
        audiences: vec!["orders".into()],
        algorithms: vec![Algorithm::Es256],
        jwks,
    };
    Arc::new(Issuer::compile(&issuer).expect("the key is one"))
});

/// Reads and judges a token.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(presented) = Presented::read(text) else { return };
    assert!(text.is_ascii() && text.matches('.').count() == 2, "a compact JWS has three parts");
    assert!(presented.audiences().count() <= text.len());
    if let Ok(checked) = presented.check(&ISSUER, NOW) {
        assert!(checked.verify().is_err(), "a token is believed that nobody signed");
    }
}
