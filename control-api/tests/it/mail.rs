//! Mail: from the outbox to a real server, or into the development mailbox.

use std::{net::TcpListener, path::PathBuf, time::Duration};

use authz::Scope;
use control_api::{
    App, Config,
    config::Environment,
    mail::{
        self, Postman,
        letter::{Letter, LetterKind},
    },
    outbox::run_due,
};
use domain::{Clock, outbox::OutboxKind};
use serde_json::{Value, json};
use store::read::*;
use tempfile::TempDir;
use testkit::{
    TestCa,
    mail::{MailSink, SinkOptions, SinkTls},
};

use crate::support::{World, call, get};

/// Sends what is due.
pub(crate) async fn post_office(app: &App) -> usize {
    run_due(app, &Postman, mail::patience(app)).await.unwrap()
}

async fn leave(world: &World, letter: &Letter) {
    let root = world.app.store.root_project().await.unwrap().unwrap();
    let event = letter.event(&world.app, root.id, None).unwrap();
    let event = &event;
    let left = world
        .app
        .store
        .write_session(Scope::Platform, world.clock.unix_now(), |tx| async move { tx.leave(event).await });
    left.await.map_err(|error: store::StoreError| error).unwrap();
}

fn hello() -> Letter {
    Letter::new(LetterKind::Notice, "ada@acme.example").with("title", "Hello").with("text", "It works.")
}

/// With the authority's certificate in a file.
fn authority() -> (TestCa, TempDir, PathBuf) {
    let (ca, folder) = (TestCa::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, ca.ca_pem()).unwrap();
    (ca, folder, path)
}

async fn world(servers: Value) -> World {
    let config = json!({
        "mail": { "from": "Portcullis <no-reply@portcullis.example>", "servers": servers, "timeout": "1s" },
    });
    World::with(serde_json::from_value::<Config>(config).unwrap()).await
}

fn open(sink: &MailSink) -> Value {
    json!({ "host": "localhost", "port": sink.port(), "tls": "none" })
}

#[tokio::test]
async fn a_letter_reaches_its_reader_as_text_and_html_and_smuggles_no_header() {
    let (ca, _folder, _) = authority();
    let sink = MailSink::start(SinkOptions::OPEN, &ca);
    let world = world(json!([open(&sink)])).await;
    let letter = Letter::new(LetterKind::Notice, "ada@acme.example")
        .with("title", "Gr\u{fc}\u{df}e\r\nBcc: eve@evil.example\r\n\r\nbody")
        .with("text", "<b>tea</b>\n.\nstill the same letter");
    leave(&world, &letter).await;
    assert_eq!(post_office(&world.app).await, 1);
    let messages = sink.messages(1).await;
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(
        (message.from.as_str(), message.to.as_slice()),
        ("no-reply@portcullis.example", &["ada@acme.example".to_owned()][..])
    );
    let (head, body) = message.data.split_once("\r\n\r\n").unwrap();
    let names: Vec<&str> =
        head.lines().filter(|line| !line.starts_with([' ', '\t'])).filter_map(|line| line.split(':').next()).collect();
    let mut sorted: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    sorted.sort();
    assert_eq!(
        sorted,
        ["auto-submitted", "content-type", "date", "from", "message-id", "mime-version", "subject", "to"],
        "{head}"
    );
    assert!(
        body.contains("text/plain") && body.contains("text/html") && body.contains("&lt;b&gt;tea&lt;/b&gt;"),
        "{body}"
    );
    assert!(body.contains("still the same letter"), "a lone dot does not end it");
    assert_eq!(world.app.store.outbox_counts(OutboxKind::Mail).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn tls_is_demanded_and_the_servers_certificate_is_checked() {
    let (ca, _folder, path) = authority();
    let (_, _other_folder, other) = authority();
    let login = Some(("portcullis", "s3cret:@"));
    for (tls, name) in [(SinkTls::Starttls, "starttls"), (SinkTls::Implicit, "implicit")] {
        let sink = MailSink::start(SinkOptions { tls, login, answer: 250 }, &ca);
        let password = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password.path(), "s3cret:@\n").unwrap();
        let server = |ca: &PathBuf, user: &str| {
            json!({ "host": "localhost", "port": sink.port(), "tls": name, "ca": ca, "username": user,
                    "password": format!("file:{}", password.path().display()) })
        };
        for refused in [server(&other, "portcullis"), server(&path, "somebody")] {
            let world = world(json!([refused])).await;
            leave(&world, &hello()).await;
            post_office(&world.app).await;
            assert!(sink.taken().is_empty(), "{name}");
            let left = world.app.store.outbox_counts(OutboxKind::Mail).await.unwrap();
            assert_eq!(left, (1, 0), "{name}: somebody mends that, and no letter is lost meanwhile");
        }
        let world = world(json!([server(&path, "portcullis")])).await;
        leave(&world, &hello()).await;
        post_office(&world.app).await;
        assert_eq!(sink.messages(1).await[0].user.as_deref(), Some("portcullis"), "{name}");
    }
    // A server that offers no TLS is given nothing.
    let sink = MailSink::start(SinkOptions::OPEN, &ca);
    let world = world(json!([{ "host": "localhost", "port": sink.port(), "ca": path }])).await;
    leave(&world, &hello()).await;
    post_office(&world.app).await;
    assert!(sink.taken().is_empty());
    assert_eq!(world.app.store.outbox_counts(OutboxKind::Mail).await.unwrap(), (1, 0), "it is tried again");
}

#[tokio::test]
async fn the_next_server_takes_what_one_does_not() {
    let (ca, _folder, _) = authority();
    let busy = MailSink::start(SinkOptions { answer: 451, ..SinkOptions::OPEN }, &ca);
    let never = MailSink::start(SinkOptions { answer: 550, ..SinkOptions::OPEN }, &ca);
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let well = MailSink::start(SinkOptions::OPEN, &ca);
    let server = |port: u16| json!({ "host": "localhost", "port": port, "tls": "none" });
    let all = json!([server(closed), server(silent_port), open(&busy), open(&never), open(&well)]);
    let world = world(all).await;
    leave(&world, &hello()).await;
    post_office(&world.app).await;
    assert_eq!(well.messages(1).await.len(), 1);
    assert_eq!(world.app.store.outbox_counts(OutboxKind::Mail).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn what_no_server_takes_is_tried_again_and_what_all_refuse_is_given_up() {
    let (ca, _folder, _) = authority();
    let busy = MailSink::start(SinkOptions { answer: 451, ..SinkOptions::OPEN }, &ca);
    let never = MailSink::start(SinkOptions { answer: 550, ..SinkOptions::OPEN }, &ca);
    let one = world(json!([open(&never)])).await;
    leave(&one, &hello()).await;
    post_office(&one.app).await;
    assert_eq!(one.app.store.outbox_counts(OutboxKind::Mail).await.unwrap(), (0, 1), "given up");
    let both = world(json!([open(&never), open(&busy)])).await;
    leave(&both, &hello()).await;
    post_office(&both.app).await;
    assert_eq!(both.app.store.outbox_counts(OutboxKind::Mail).await.unwrap(), (1, 0), "tried again");
    assert_eq!(post_office(&both.app).await, 0, "and not before its pause is over");
    both.clock.advance(Duration::from_secs(6));
    assert_eq!(post_office(&both.app).await, 1);
    both.clock.advance(Duration::from_secs(86_400));
    assert_eq!(post_office(&both.app).await, 1);
    assert_eq!(both.app.store.outbox_counts(OutboxKind::Mail).await.unwrap(), (0, 1), "not for ever");
}

#[tokio::test]
async fn a_letter_whose_secret_has_expired_is_not_sent() {
    let (ca, _folder, _) = authority();
    let sink = MailSink::start(SinkOptions::OPEN, &ca);
    let world = world(json!([open(&sink)])).await;
    let letter = Letter::new(LetterKind::LoginCode, "ada@acme.example").with("code", "123456");
    leave(&world, &letter.until(world.clock.unix_now() + Duration::from_secs(300))).await;
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(post_office(&world.app).await, 1);
    assert_eq!(world.app.store.outbox_counts(OutboxKind::Mail).await.unwrap(), (0, 1));
    assert!(sink.taken().is_empty());
}

#[tokio::test]
async fn letters_of_a_developers_machine_lie_in_its_mailbox() {
    let world = World::new().await;
    for to in ["ada@acme.example", "bob@acme.example"] {
        leave(&world, &Letter::new(LetterKind::LoginCode, to).with("code", "123456").with("expires", "soon")).await;
    }
    post_office(&world.app).await;
    let all = get("/dev/mailbox").send(&world.admin).await.expect(200);
    assert_eq!(all.headers["cache-control"], "no-store");
    assert_eq!(all.body["items"].as_array().unwrap().len(), 2);
    let one = get("/dev/mailbox?to=ADA@acme.example").host("127.0.0.1:9080").send(&world.admin).await.expect(200);
    assert_eq!(one.body["items"].as_array().unwrap().len(), 1);
    let subject = one.body["items"][0]["subject"].as_str().unwrap();
    assert!(subject.starts_with("123456 is your code for "), "{subject}");
    assert!(one.body["items"][0]["text"].as_str().unwrap().contains("\n123456\n"));
    world.clock.advance(Duration::from_secs(3600));
    let kept = get("/dev/mailbox").send(&world.admin).await.expect(200);
    assert_eq!(kept.body["items"].as_array().unwrap().len(), 2, "these hold nothing that ends");
    // Not to a page that made a name of its own lead here, and not through the edge.
    get("/dev/mailbox").host("evil.example").send(&world.admin).await.refused(404, "route_not_found");
    let token = world.assertion("GET", "/dev/mailbox", "acme.localhost", None).await;
    let public = get("/dev/mailbox").header("x-md-global-assertion", &token).send(&world.public).await;
    public.refused(404, "route_not_found");
}

#[tokio::test]
async fn elsewhere_there_is_no_mailbox() {
    for environment in [Environment::Stage, Environment::Prod] {
        let world = World::with(Config { environment, ..Config::default() }).await;
        get("/dev/mailbox").send(&world.admin).await.refused(404, "route_not_found");
        assert!(world.app.mail_ready().is_err());
    }
}

#[tokio::test]
async fn a_project_writes_its_own_letters() {
    let world = World::new().await;
    let staff = world.staff().await;
    let root = world.app.store.root_project().await.unwrap().unwrap().id;
    let path = format!("/v1/projects/{root}");
    let patch = async |letters: Value| {
        let body = json!({ "config": { "mail": { "letters": letters } } });
        call("PATCH", &path).json(&body).bearer(&staff).send(&world.admin).await
    };
    let wrong = patch(json!({ "login_code": { "text": "{{ password }}" } })).await.refused(422, "validation_failed");
    assert_eq!(wrong.body["errors"][0]["pointer"], "/config/mail/letters/login_code");
    patch(json!({ "login_code": { "subject": "Your code: {{ code }}" } })).await.expect(200);
    leave(
        &world,
        &Letter::new(LetterKind::LoginCode, "ada@acme.example").with("code", "123456").with("expires", "soon"),
    )
    .await;
    post_office(&world.app).await;
    let kept = get("/dev/mailbox").send(&world.admin).await.expect(200);
    assert_eq!(kept.body["items"][0]["subject"], "Your code: 123456");
}
