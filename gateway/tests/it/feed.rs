//! The declarative file as the source of truth.

use gateway::{Edge, EdgeError, EdgeParts, Source};
use testkit::eventually;

use crate::support::{Ask, Fixture, Protocol, config};

const MORE: &str = "      - { path: /added/**, access: public }\n";

fn revision(fixture: &Fixture) -> u64 {
    fixture.edge.gate().snapshot().revision()
}

#[tokio::test]
async fn a_changed_file_is_in_force_without_a_restart() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.ask(Protocol::Http1, &Ask::get("/added/x")).await.status, Some(401));
    fixture.rewrite(&fixture.upstream(), MORE);
    eventually("the route is served", async || {
        fixture.ask(Protocol::Http1, &Ask::get("/added/x")).await.status == Some(200)
    })
    .await;
    fixture.rewrite(&fixture.upstream(), "");
    eventually("the route is gone", async || {
        fixture.ask(Protocol::Http1, &Ask::get("/added/x")).await.status == Some(401)
    })
    .await;
}

#[tokio::test]
async fn a_file_with_mistakes_leaves_the_old_state_in_force() {
    let fixture = Fixture::start().await;
    let before = revision(&fixture);
    for bad in ["peers: [nowhere]", "peers: [\"127.0.0.1:80\"]", "}}}: ["] {
        fixture.rewrite(bad, "");
        fixture.edge.reload();
        eventually("the file is refused", async || failures(&fixture).await > 0).await;
        assert_eq!(revision(&fixture), before);
        assert_eq!(fixture.ask(Protocol::Http1, &Ask::get("/public/x")).await.status, Some(200));
    }
    fixture.rewrite(&fixture.upstream(), MORE);
    eventually("the mended file is in force", async || revision(&fixture) > before).await;
}

#[tokio::test]
async fn a_file_that_says_the_same_changes_nothing() {
    let fixture = Fixture::start().await;
    let before = revision(&fixture);
    fixture.rewrite(&fixture.upstream(), "# only a comment\n");
    fixture.rewrite(&fixture.upstream(), MORE);
    eventually("the change after it is in force", async || revision(&fixture) > before).await;
    assert_eq!(revision(&fixture), before + 1);
}

#[tokio::test]
async fn a_file_with_mistakes_does_not_start_an_edge_and_all_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    std::fs::write(&file, "hostnames:\n  - { hostname: a.test, tenant: nobody }\n  - { hostname: \"-\" }\n").unwrap();
    let clock = std::sync::Arc::new(testkit::FixedClock::default());
    let started = Edge::start(EdgeParts::new(config(), Source::File(file), clock)).await;
    let Err(EdgeError::File(mistakes)) = started else { panic!("it started") };
    assert!(mistakes.len() >= 2, "{mistakes}");
    assert!(mistakes.to_string().contains("edge.yaml:2"), "{mistakes}");
}

#[tokio::test]
async fn a_port_in_use_is_one_clear_error() {
    let fixture = Fixture::start().await;
    let mut taken = config();
    taken.listen.https = fixture.https().into();
    let clock = std::sync::Arc::new(testkit::FixedClock::default());
    let source = Source::File(fixture.folder.path().join("edge.yaml"));
    let Err(error) = Edge::start(EdgeParts::new(taken, source, clock)).await else { panic!("it started") };
    assert_eq!(error.to_string(), format!("cannot listen on `{}` (`listen.https`)", fixture.https()));
}

#[tokio::test]
async fn a_stopping_edge_finishes_what_it_began() {
    let Fixture { edge, canary, ca, folder: _folder, .. } = Fixture::start().await;
    let https = edge.https()[0];
    let mut client = testkit::raw::Connection::tls(https, crate::support::ACME, &ca.ca_pem(), None).await.unwrap();
    client.send(b"POST /public/x HTTP/1.1\r\nHost: acme.example.test\r\nContent-Length: 2\r\n\r\nh").await.unwrap();
    eventually("the request is at the upstream", async || canary.connections() == 1).await;
    let stop = tokio::spawn(edge.shutdown());
    eventually("nothing is accepted any more", async || tokio::net::TcpStream::connect(https).await.is_err()).await;
    client.send(b"i").await.unwrap();
    let answer = client.response().await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    stop.await.unwrap();
}

async fn failures(fixture: &Fixture) -> u64 {
    let metrics = crate::status::get(fixture, "/metrics").await.1;
    let line = metrics.lines().find(|line| line.starts_with("portcullis_gateway_feed_failures_total ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
