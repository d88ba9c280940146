//! Threats J at the edge: what a token says of where to look is not looked at.

use domain::{Clock as _, snapshot::Algorithm};
use futures::FutureExt as _;
use serde_json::json;
use testkit::{TestIssuer, TestKey};
use tokio::net::TcpListener;

use crate::support::{ACME_ID, Ask, BOTH, Fixture};

#[tokio::test]
async fn j3_a_token_that_points_somewhere_makes_nobody_go_there() {
    let fixture = Fixture::start().await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/.well-known/jwks.json", trap.local_addr().unwrap());
    let forger = TestKey::generate(Algorithm::Es256);
    let claims = fixture.claims(ACME_ID, &["member"]);
    let mut tokens = Vec::new();
    for parameter in ["jku", "x5u", "kid", "iss"] {
        let mut header = fixture.issuer.header();
        header[parameter] = json!(url);
        let payload = serde_json::to_vec(&claims).unwrap();
        tokens.push((parameter, forger.sign(header.to_string().as_bytes(), &payload)));
    }
    let elsewhere = TestIssuer::with_key(&url, forger);
    let claims = elsewhere.external_claims(fixture.clock.unix_now()).set("tid", ACME_ID).set("roles", ["member"]);
    tokens.push(("its issuer", elsewhere.mint(claims)));
    for protocol in BOTH {
        for (what, token) in &tokens {
            let reply = fixture.ask(protocol, &Ask::get("/echo/x").bearer(token)).await;
            assert_eq!(reply.status, Some(401), "{protocol:?} {what}: {reply:?}");
        }
    }
    fixture.canary.assert_silent();
    // Whatever they might have begun, a good request that came later is through.
    let good = fixture.token(ACME_ID, &["member"]);
    assert_eq!(fixture.ask(BOTH[0], &Ask::get("/echo/x").bearer(&good)).await.status, Some(200));
    assert!(trap.accept().now_or_never().is_none(), "somebody came");
}
