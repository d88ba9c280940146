//! Certificates of the test authority, and clients that trust it.

use testkit::{
    Canary, TestCa,
    raw::{self, Response},
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: acme.localhost\r\n\r\n";

#[tokio::test]
async fn a_leaf_is_believed_for_its_names_only() {
    let ca = TestCa::new();
    let canary = Canary::start_tls(&ca.leaf(&["acme.localhost"])).await;
    let answer = raw::tls_http1(canary.addr(), "acme.localhost", &ca.ca_pem(), REQUEST).await.unwrap();
    assert_eq!(Response::parse(&answer).status, 200);
    assert!(raw::tls_http1(canary.addr(), "globex.localhost", &ca.ca_pem(), REQUEST).await.is_err());
    assert_eq!(canary.requests().len(), 1);
}

#[tokio::test]
async fn a_leaf_of_another_authority_or_another_time_is_not_believed() {
    let ca = TestCa::new();
    for leaf in [TestCa::new().leaf(&["acme.localhost"]), ca.expired(&["acme.localhost"])] {
        let canary = Canary::start_tls(&leaf).await;
        let answer = raw::tls_http1(canary.addr(), "acme.localhost", &ca.ca_pem(), REQUEST).await;
        assert_eq!(answer.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
        canary.assert_silent();
    }
}
