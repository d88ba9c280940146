//! Keys that sign: by schedule, by command, from a file.

use std::{path::PathBuf, sync::Arc, time::Duration};

use control_api::{
    App, Config,
    app::key_schedule::run_due,
    keys_file::{KeysFileError, take_over},
    signer,
};
use domain::{
    Clock, ProjectId, SigningKeyId,
    model::{KeyPurpose, KeyState},
    snapshot::Algorithm,
};
use link::log::NoCarrier;
use serde_json::json;
use store::{
    list::{Selection, SigningKeyList},
    read::*,
};
use testkit::{FixedClock, TestKey};

use crate::support::{World, on_postgres, post};

const DAY: Duration = Duration::from_secs(86_400);

fn config() -> Config {
    let mut config = Config::default();
    config.signing.rotate_every = Some(domain::HumanDuration::from_secs(30 * 86_400));
    config
}

/// The keys of the shared project's tokens, oldest first.
async fn keys(app: &App) -> Vec<(SigningKeyId, KeyState)> {
    let oldest_first = Selection::<SigningKeyList>::read([("sort", "created_at")]).unwrap();
    let all = app.store.list(cloud(app).await, &oldest_first).await.unwrap().rows;
    all.into_iter().map(|key| (key.kid, key.state)).collect()
}

async fn cloud(app: &App) -> ProjectId {
    app.store.project_by_slug("cloud").await.unwrap().unwrap().id
}

async fn states(app: &App) -> Vec<KeyState> {
    keys(app).await.into_iter().map(|(_, state)| state).collect()
}

#[tokio::test]
async fn a_key_is_followed_by_schedule_and_stays_published_while_a_token_of_it_may_live() {
    use KeyState::{Active, Pending, Retired, Retiring};
    let world = World::with(config()).await;
    let app = &world.app;
    run_due(app).await.unwrap();
    assert_eq!(states(app).await, [Active]);
    world.clock.advance(DAY * 29);
    run_due(app).await.unwrap();
    run_due(app).await.unwrap();
    assert_eq!(states(app).await, [Active, Pending]);
    world.clock.advance(DAY - Duration::from_secs(1));
    run_due(app).await.unwrap();
    assert_eq!(states(app).await, [Active, Pending]);
    world.clock.advance(Duration::from_secs(1));
    run_due(app).await.unwrap();
    assert_eq!(states(app).await, [Retiring, Active]);
    let (jwks, _) =
        control_api::app::signing_keys::key_set(&app.store, cloud(app).await, KeyPurpose::Tokens).await.unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    world.clock.advance(Duration::from_secs(900));
    run_due(app).await.unwrap();
    assert_eq!(states(app).await, [Retiring, Active], "a token of the last moment has just expired, by our clock");
    world.clock.advance(Duration::from_secs(60));
    run_due(app).await.unwrap();
    assert_eq!(states(app).await, [Retired, Active]);
}

/// Four replicas look at once, at each turn of a key's life.
async fn replicas_rotate_once(world: World) {
    use KeyState::{Active, Pending, Retired, Retiring};
    let replica = || {
        let clock: Arc<dyn Clock> = Arc::<FixedClock>::clone(&world.clock);
        App::new(config(), world.app.store.clone(), Arc::new(NoCarrier), clock).unwrap()
    };
    let replicas = [replica(), replica(), replica(), replica()];
    for (later, expected) in
        [(DAY * 29, &[Active, Pending][..]), (DAY, &[Retiring, Active]), (Duration::from_secs(960), &[Retired, Active])]
    {
        world.clock.advance(later);
        let looks = replicas.iter().map(|app| {
            let app = app.clone();
            tokio::spawn(async move { run_due(&app).await })
        });
        for look in looks.collect::<Vec<_>>() {
            look.await.unwrap().unwrap();
        }
        assert_eq!(states(&world.app).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_rotate_a_key_once_on_sqlite() {
    replicas_rotate_once(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_rotate_a_key_once_on_postgres() {
    on_postgres(replicas_rotate_once).await;
}

#[tokio::test]
async fn a_key_is_rotated_on_request_ahead_of_time_or_at_once() {
    use KeyState::{Active, Pending, Retiring};
    let world = World::new().await;
    let staff = world.staff().await;
    let project = cloud(&world.app).await;
    let rotate = |at_once: bool| {
        // Keys are listed by when they were made.
        world.clock.advance(Duration::from_secs(1));
        let body = json!({ "project_id": project, "at_once": at_once });
        post("/v1/signing-keys/rotate", &body).bearer(&staff).send(&world.admin)
    };
    let ahead = rotate(false).await.expect(201);
    assert_eq!((ahead.text("state"), ahead.text("algorithm")), ("pending".into(), "ES256".into()));
    assert_eq!(states(&world.app).await, [Active, Pending]);
    rotate(true).await.expect(201);
    assert_eq!(states(&world.app).await, [Retiring, Pending, Active]);
    post("/v1/signing-keys/rotate", &json!({ "project_id": project })).send(&world.admin).await.expect(401);
}

struct File {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().join("keys.yaml"), _folder: folder }
    }

    fn write(&self, entries: &[(&str, &TestKey, &str, Option<&str>)]) {
        let entry = |(kid, key, not_before, expires_at): &(&str, &TestKey, &str, Option<&str>)| {
            json!({
                "kid": kid, "project": "cloud", "not_before": not_before, "expires_at": expires_at,
                "private_key_pem": key.private_pem(),
            })
        };
        let keys: Vec<_> = entries.iter().map(entry).collect();
        std::fs::write(&self.path, json!({ "keys": keys }).to_string()).unwrap();
    }

    async fn load(&self, app: &App) -> Result<(), KeysFileError> {
        take_over(app, &self.path).await?;
        run_due(app).await.unwrap();
        Ok(())
    }
}

const A: &str = "00000000-0000-7000-8000-00000000000a";
const B: &str = "00000000-0000-7000-8000-00000000000b";
const C: &str = "00000000-0000-7000-8000-00000000000c";

/// The instant so many days after the clock's.
fn on_day(world: &World, days: u32) -> String {
    (world.clock.unix_now() + DAY * days).to_string()
}

async fn active(app: &App) -> String {
    let (key, _) = app.store.active_key(cloud(app).await, KeyPurpose::Tokens).await.unwrap().unwrap();
    key.kid.to_string()
}

#[tokio::test]
async fn the_latest_key_of_the_file_that_is_in_force_signs() {
    let world = World::new().await;
    let (file, app) = (File::new(), &world.app);
    let (es256, eddsa, rs256) =
        (TestKey::generate(Algorithm::Es256), TestKey::generate(Algorithm::EdDsa), TestKey::generate(Algorithm::Rs256));
    let past = (world.clock.unix_now() - DAY).to_string();
    let (tomorrow, later) = (on_day(&world, 1), on_day(&world, 2));
    file.write(&[(A, &es256, &past, None), (B, &eddsa, &tomorrow, Some(&later))]);
    file.load(app).await.unwrap();
    assert_eq!(active(app).await, A);
    world.clock.advance(DAY);
    run_due(app).await.unwrap();
    assert_eq!(active(app).await, B);
    // Read again: nothing changes. With one more: it takes over when the one before expires.
    file.load(app).await.unwrap();
    file.write(&[(B, &eddsa, &tomorrow, Some(&later)), (C, &rs256, &later, None)]);
    file.load(app).await.unwrap();
    assert_eq!(active(app).await, B);
    world.clock.advance(DAY);
    run_due(app).await.unwrap();
    assert_eq!(active(app).await, C);
    signer::check(app).await.unwrap();
}

#[tokio::test]
async fn a_bad_keys_file_leaves_the_keys_as_they_are_and_no_id_is_used_again() {
    let world = World::new().await;
    let (file, app) = (File::new(), &world.app);
    let (one, two) = (TestKey::generate(Algorithm::Es256), TestKey::generate(Algorithm::Es256));
    let past = (world.clock.unix_now() - DAY).to_string();
    file.write(&[(A, &one, &past, None)]);
    file.load(app).await.unwrap();
    let before = keys(app).await;
    let bad = |text: &str| std::fs::write(&file.path, text).unwrap();
    let pem = two.private_pem();
    bad("keys: [");
    assert!(file.load(app).await.is_err());
    bad(&json!({ "keys": [{ "kid": "not-a-uuid", "project": "cloud", "not_before": past, "private_key_pem": pem }] })
        .to_string());
    assert!(file.load(app).await.is_err());
    bad(&json!({ "keys": [{ "kid": B, "project": "cloud", "not_before": past, "private_key_pem": "secret words" }] })
        .to_string());
    let error = control_api::problem::chain(&file.load(app).await.unwrap_err());
    assert!(error.contains("private_key_pem") && !error.contains("secret words"), "{error}");
    bad(&json!({ "keys": [
        { "kid": B, "project": "cloud", "not_before": past, "private_key_pem": pem },
        { "kid": C, "project": "nowhere", "not_before": past, "private_key_pem": pem },
    ] })
    .to_string());
    assert!(file.load(app).await.is_err());
    file.write(&[(B, &two, &past, None), (B, &two, &past, None)]);
    assert!(file.load(app).await.is_err(), "one id twice");
    file.write(&[(B, &two, &past, Some(&past))]);
    assert!(file.load(app).await.is_err(), "over before it begins");
    file.write(&[(B, &two, &past, None), (A, &two, &past, None)]);
    assert!(file.load(app).await.is_err(), "the id of another key");
    assert_eq!(keys(app).await, before, "all of a file or nothing");
}

#[tokio::test]
async fn nothing_starts_without_an_active_key() {
    let world = World::new().await;
    let (file, app) = (File::new(), &world.app);
    let key = TestKey::generate(Algorithm::Es256);
    let (past, tomorrow) = ((world.clock.unix_now() - DAY).to_string(), on_day(&world, 1));
    file.write(&[(A, &key, &past, Some(&tomorrow))]);
    file.load(app).await.unwrap();
    signer::check(app).await.unwrap();
    world.clock.advance(DAY);
    run_due(app).await.unwrap();
    let refused = signer::check(app).await.unwrap_err();
    let said = control_api::problem::chain(&refused);
    assert!(said.contains("without an active signing key") && said.contains("cloud"), "{said}");
    let staff = world.staff().await;
    let body = json!({ "project_id": cloud(app).await, "at_once": true });
    post("/v1/signing-keys/rotate", &body).bearer(&staff).send(&world.admin).await.expect(201);
    signer::check(app).await.unwrap();
}
