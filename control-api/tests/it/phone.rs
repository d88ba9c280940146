//! Phone numbers: proven, signed in with, and what a text may cost.

use std::{collections::BTreeSet, time::Duration};

use control_api::{Config, config::SmsWebhook, outbox, sms, webhooks::sign};
use domain::{HumanDuration, Secret, Timestamp};
use serde_json::{Value, json};

use crate::{
    letters::Acme,
    receiver::Receiver,
    support::{Answer, World, call, get, on_postgres_with, post},
};

const NUMBER: &str = "+1 415 555 0100";
const E164: &str = "+14155550100";

fn config() -> Config {
    let mut config = Config::default();
    config.sms.countries = vec!["+1".into(), "+49".into()];
    config.identity.rates.phone = 0;
    config
}

/// The same, for who asks all day.
fn eager() -> Config {
    let mut config = config();
    (config.sms.number_a_day, config.sms.user_a_day) = (100, 100);
    config
}

/// Acme, where texts go to America and Germany, and people sign in by one as by a password.
struct Phones {
    it: Acme,
}

impl Phones {
    async fn new() -> Self {
        Self::in_world(World::with(config()).await).await
    }

    async fn in_world(world: World) -> Self {
        let phones = Self { it: Acme::in_world(world).await };
        phones.policy("PUT", &json!({ "methods": ["password", "phone_code", "email_code"] })).await.expect(200);
        phones
    }

    async fn policy(&self, method: &str, body: &Value) -> Answer {
        let call = call(method, &format!("/v1/tenants/{}/login-policy", self.it.tenant)).json(body);
        call.bearer(&self.it.staff).send(&self.it.world.admin).await
    }

    /// The texts that lie in the mailbox, the newest first.
    async fn texts(&self, to: &str) -> Vec<String> {
        outbox::run_due(&self.it.world.app, &sms::Messenger, sms::PATIENCE).await.unwrap();
        let path = format!("/dev/mailbox?to={}", to.replace('+', "%2B"));
        let kept = get(&path).send(&self.it.world.admin).await.expect(200);
        kept.body["items"].as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap().to_owned()).collect()
    }

    async fn code(&self, to: &str) -> String {
        self.texts(to).await.first().unwrap_or_else(|| panic!("no text to {to}"))[..6].to_owned()
    }

    async fn request(&self, phone: &str) -> Answer {
        self.it.ask("/v1/auth/phone/request", &json!({ "phone": phone })).await
    }

    async fn show(&self, phone: &str, code: &str) -> Answer {
        self.it.ask("/v1/auth/phone/verify", &json!({ "phone": phone, "code": code })).await
    }

    async fn as_user(&self, token: &str, path: &str, body: Value) -> Answer {
        self.it.ask_as(token, path, &body).await
    }

    /// A member whose number is proven; their token.
    async fn with_phone(&self, name: &str, phone: &str) -> String {
        self.it.member(name).await;
        self.prove(name, phone).await
    }

    /// Proves a member's number; their token.
    async fn prove(&self, name: &str, phone: &str) -> String {
        let token = self.it.world.login("acme", name).await;
        self.as_user(&token, "/v1/auth/phone/request", json!({ "phone": phone })).await.expect(202);
        let code = self.code(&phone.replace(' ', "")).await;
        let proven = self.as_user(&token, "/v1/auth/phone/verify", json!({ "phone": phone, "code": code })).await;
        assert_eq!(proven.expect(200).body, json!({ "phone": phone.replace(' ', "") }));
        self.it.world.clock.advance(Duration::from_secs(60));
        token
    }
}

async fn of_fifty_that_show_a_code_one_signs_in(world: World) {
    let phones = Phones::in_world(world).await;
    phones.with_phone("ada", NUMBER).await;
    phones.request(E164).await.expect(202);
    let code = phones.code(E164).await;
    let answers = futures::future::join_all((0..50).map(|_| phones.show(NUMBER, &code))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 401 | 429)), "{answers:?}");
    let token = answers.iter().find(|answer| answer.status == 200).unwrap().text("access_token");
    get("/v1/me").bearer(&token).send(&phones.it.world.admin).await.expect(200);
    assert_eq!(phones.it.events("phone_verified").await.len(), 1);
    let said = phones.it.events("phone_code_requested").await;
    assert_eq!(said[0]["fields"]["phone"], "+14…00");
}

#[tokio::test]
async fn of_fifty_that_show_a_phone_code_one_signs_in_on_sqlite() {
    of_fifty_that_show_a_code_one_signs_in(World::with(config()).await).await;
}

#[tokio::test]
async fn of_fifty_that_show_a_phone_code_one_signs_in_on_postgres() {
    on_postgres_with(config(), of_fifty_that_show_a_code_one_signs_in).await;
}

#[tokio::test]
async fn a_phone_code_is_good_for_five_minutes_and_five_guesses_and_the_next_not_before_a_minute() {
    let phones = Phones::new().await;
    phones.with_phone("ada", NUMBER).await;
    phones.request(NUMBER).await.expect(202);
    assert_eq!(phones.request(E164).await.refused(429, "send_cooldown").headers["retry-after"], "60");
    let code = phones.code(E164).await;
    phones.it.world.clock.advance(Duration::from_secs(300));
    phones.show(NUMBER, &code).await.refused(401, "credentials_invalid");
    phones.request(NUMBER).await.expect(202);
    let code = phones.code(E164).await;
    for _ in 0..4 {
        phones.show(NUMBER, "x").await.refused(401, "credentials_invalid");
    }
    phones.show(NUMBER, &code).await.refused(429, "login_locked");
}

/// Whoever has the number today reads it, an administrator's as well.
#[tokio::test]
async fn a_text_alone_signs_in_only_where_the_tenant_says_so() {
    let phones = Phones::new().await;
    phones.with_phone("ada", NUMBER).await;
    phones.request(NUMBER).await.expect(202);
    let code = phones.code(E164).await;
    let pair = phones.show(NUMBER, &code).await.expect(200);
    phones.policy("DELETE", &json!({})).await.expect(204);
    phones.it.world.clock.advance(Duration::from_secs(60));
    let sent = phones.texts(E164).await.len();
    phones.request(NUMBER).await.refused(403, "login_method_refused");
    phones.show(NUMBER, &code).await.refused(403, "login_method_refused");
    assert_eq!(phones.texts(E164).await.len(), sent);
    let refresh = json!({ "refresh_token": pair.text("refresh_token") });
    assert_eq!(
        phones.it.ask("/api/v1/tenant/auth/refresh", &refresh).await.status,
        401,
        "what it opened does not go on"
    );
}

/// Whoever asks again while nothing may be sent does not take the holder's code away.
#[tokio::test]
async fn a_code_that_is_not_sent_replaces_none_that_was() {
    let mut config = config();
    config.sms.all_a_day = 2;
    let phones = Phones::in_world(World::with(config).await).await;
    phones.with_phone("ada", NUMBER).await;
    phones.request(NUMBER).await.expect(202);
    let code = phones.code(E164).await;
    phones.it.world.clock.advance(Duration::from_secs(60));
    phones.request(NUMBER).await.expect(202);
    assert_eq!(phones.texts(E164).await.len(), 2, "one that proves, one that signs in");
    phones.show(NUMBER, &code).await.expect(200);
}

/// Whichever of them is first: what a lost number opened is over.
async fn who_drops_a_number_ends_what_it_opens_at_the_same_time(world: World) {
    let phones = Phones::in_world(world).await;
    phones.it.member("ada").await;
    for _ in 0..8 {
        let token = phones.prove("ada", NUMBER).await;
        phones.request(NUMBER).await.expect(202);
        let code = phones.code(E164).await;
        let drop = call("DELETE", "/v1/auth/phone").host("acme.localhost").bearer(&token);
        let (dropped, shown) = tokio::join!(drop.send(&phones.it.world.admin), phones.show(NUMBER, &code));
        dropped.expect(204);
        if shown.status == 200 {
            let opened = get("/v1/me").bearer(&shown.text("access_token"));
            assert_eq!(opened.send(&phones.it.world.admin).await.status, 401);
        } else {
            shown.refused(401, "credentials_invalid");
        }
        phones.it.world.clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn who_drops_a_number_ends_what_it_opens_at_the_same_time_on_sqlite() {
    who_drops_a_number_ends_what_it_opens_at_the_same_time(World::with(eager()).await).await;
}

#[tokio::test]
async fn who_drops_a_number_ends_what_it_opens_at_the_same_time_on_postgres() {
    on_postgres_with(eager(), who_drops_a_number_ends_what_it_opens_at_the_same_time).await;
}

#[tokio::test]
async fn who_has_a_number_is_not_told_by_answers_locks_or_pace() {
    let phones = Phones::new().await;
    phones.with_phone("ada", NUMBER).await;
    for phone in [E164, "+14155550199"] {
        assert_eq!(phones.request(phone).await.expect(202).body, json!({ "status": "accepted" }));
        phones.request(phone).await.refused(429, "send_cooldown");
        for _ in 0..5 {
            phones.show(phone, "000000x").await.refused(401, "credentials_invalid");
        }
        phones.show(phone, "000000x").await.refused(429, "login_locked");
    }
    assert!(phones.texts("+14155550199").await.is_empty(), "nothing is sent to nobody");
}

#[tokio::test]
async fn a_number_is_one_accounts_and_a_code_is_one_users() {
    let phones = Phones::new().await;
    phones.with_phone("ada", NUMBER).await;
    phones.it.member("bob").await;
    let bob = phones.it.world.login("acme", "bob").await;
    phones.as_user(&bob, "/v1/auth/phone/request", json!({ "phone": NUMBER })).await.expect(202);
    let code = phones.code(E164).await;
    // A code that proves signs nobody in, and is nobody else's.
    phones.show(NUMBER, &code).await.refused(401, "credentials_invalid");
    let ada = phones.it.world.login("acme", "ada").await;
    let show = json!({ "phone": NUMBER, "code": code });
    phones.as_user(&ada, "/v1/auth/phone/verify", show.clone()).await.refused(401, "credentials_invalid");
    phones.as_user(&bob, "/v1/auth/phone/verify", show).await.refused(409, "phone_taken");
    // Who has it gives it up.
    let drop = || call("DELETE", "/v1/auth/phone").host("acme.localhost").bearer(&ada);
    let elsewhere = phones.it.world.login("acme", "ada").await;
    drop().send(&phones.it.world.admin).await.expect(204);
    get("/v1/me").bearer(&elsewhere).send(&phones.it.world.admin).await.refused(401, "token_revoked");
    drop().send(&phones.it.world.admin).await.refused(404, "not_found");
    phones.it.world.clock.advance(Duration::from_secs(60));
    phones.request(NUMBER).await.expect(202);
    let sent = phones.texts(E164).await;
    assert!(sent.iter().all(|text| !text.is_empty()));
    assert_eq!(phones.it.events("phone_removed").await.len(), 1);
}

/// A token that somebody found adds no way to sign in.
#[tokio::test]
async fn a_number_is_added_within_minutes_of_the_sign_in_only() {
    let phones = Phones::new().await;
    phones.it.member("ada").await;
    let token = phones.it.world.login("acme", "ada").await;
    phones.it.world.clock.advance(Duration::from_secs(301));
    let asked = phones.as_user(&token, "/v1/auth/phone/request", json!({ "phone": NUMBER })).await;
    asked.refused(401, "insufficient_user_authentication");
    assert!(phones.texts(E164).await.is_empty());
}

/// That who has a second factor shows it first: `passkeys::who_knows_the_password_alone_changes_no_factor_beside_a_passkey`.
#[tokio::test]
async fn who_reads_the_address_is_told_of_a_number_that_is_added_or_dropped() {
    let phones = Phones::new().await;
    phones.it.proven("ada").await;
    let token = phones.it.world.login("acme", "ada").await;
    phones.as_user(&token, "/v1/auth/phone/request", json!({ "phone": NUMBER })).await.expect(202);
    let verify = json!({ "phone": NUMBER, "code": phones.code(E164).await });
    phones.as_user(&token, "/v1/auth/phone/verify", verify).await.expect(200);
    let drop = call("DELETE", "/v1/auth/phone").host("acme.localhost").bearer(&token);
    drop.send(&phones.it.world.admin).await.expect(204);
    let letters = phones.it.letters("ada@acme.example").await;
    for said in ["A phone number was added to your account", "The phone number of your account was removed"] {
        let told = letters.iter().filter(|it| it["text"].as_str().unwrap().contains(said));
        assert_eq!(told.count(), 1, "{said}: {letters:?}");
    }
}

/// Numbers are given to somebody else.
#[tokio::test]
async fn a_number_is_proven_again_after_a_year() {
    let phones = Phones::new().await;
    phones.with_phone("ada", NUMBER).await;
    phones.it.member("bob").await;
    phones.it.world.clock.advance(Duration::from_secs(365 * 86_400));
    phones.request(NUMBER).await.expect(202);
    assert!(phones.texts(E164).await.is_empty(), "it signs nobody in any more");
    phones.it.world.clock.advance(Duration::from_secs(60));
    phones.prove("bob", NUMBER).await;
    assert_eq!(phones.it.events("phone_verified").await.len(), 2);
    phones.request(NUMBER).await.expect(202);
    let code = phones.code(E164).await;
    let token = phones.show(NUMBER, &code).await.expect(200).text("access_token");
    let me = get("/v1/me").bearer(&token).send(&phones.it.world.admin).await.expect(200);
    assert_eq!(me.body["username"], "bob");
}

#[tokio::test]
async fn nothing_is_sent_to_countries_that_are_not_named_nor_beyond_what_is_set_for_a_day() {
    let world = World::new().await;
    let closed = Phones::in_world(world).await;
    closed.request(NUMBER).await.refused(403, "phone_country_refused");
    let mut config = config();
    config.sms.countries.push("-+1876".into());
    (config.sms.number_a_day, config.sms.project_a_day) = (3, 3);
    let phones = Phones::in_world(World::with(config).await).await;
    for refused in ["+44 20 7946 0000", "+1 876 555 0100"] {
        phones.request(refused).await.refused(403, "phone_country_refused");
    }
    for wrong in ["4155550100", "+1", "+1415555010x", "+1\u{0}4155550100", "+49 (0)30 1234567"] {
        phones.request(wrong).await.refused(422, "validation_failed");
    }
    phones.with_phone("ada", NUMBER).await;
    phones.with_phone("bob", "+49 30 1234567").await;
    phones.request(NUMBER).await.expect(202);
    assert_eq!(phones.texts(E164).await.len(), 2);
    phones.it.world.clock.advance(Duration::from_secs(60));
    // The project's are spent: nobody is told by the answer, and the trail is told once.
    for _ in 0..2 {
        phones.request("+49301234567").await.expect(202);
        phones.it.world.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(phones.texts("+49301234567").await.len(), 1);
    let told = phones.it.events("sms_budget_spent").await;
    assert_eq!((told.len(), &told[0]["fields"]["bound"]), (1, &json!("project")), "{told:?}");
}

/// Toll fraud: an account of one's own, and numbers that somebody is paid for.
#[tokio::test]
async fn one_user_proves_so_many_numbers_a_day_and_one_range_gets_so_many_texts_an_hour() {
    let mut config = config();
    (config.sms.user_a_day, config.sms.prefix_an_hour) = (2, 3);
    let phones = Phones::in_world(World::with(config).await).await;
    for name in ["ada", "bob"] {
        phones.it.member(name).await;
    }
    let ada = phones.it.world.login("acme", "ada").await;
    let bob = phones.it.world.login("acme", "bob").await;
    let ask = async |token: &str, phone: &str| {
        phones.as_user(token, "/v1/auth/phone/request", json!({ "phone": phone })).await
    };
    ask(&ada, "+14155550101").await.expect(202);
    ask(&ada, "+14155550102").await.expect(202);
    ask(&ada, "+14155550103").await.refused(429, "send_cooldown");
    ask(&bob, "+14155550104").await.expect(202);
    ask(&bob, "+14155550105").await.expect(202);
    assert_eq!(phones.texts("+14155550104").await.len(), 1);
    assert!(phones.texts("+14155550105").await.is_empty(), "the range had its three");
    let told = phones.it.events("sms_budget_spent").await;
    // Both were told in one second of this clock: neither is the newer.
    let bounds: BTreeSet<&str> = told.iter().map(|it| it["fields"]["bound"].as_str().unwrap()).collect();
    assert_eq!((told.len(), bounds), (2, BTreeSet::from(["prefix", "user"])), "{told:?}");
}

/// Silent requests for a number that nobody has here cost its holder nothing elsewhere.
#[tokio::test]
async fn what_is_asked_and_not_sent_is_not_counted() {
    let mut config = config();
    config.sms.all_a_day = 2;
    let phones = Phones::in_world(World::with(config).await).await;
    for _ in 0..9 {
        phones.request("+14155550199").await.expect(202);
        phones.it.world.clock.advance(Duration::from_secs(60));
    }
    phones.with_phone("ada", NUMBER).await;
    phones.request(NUMBER).await.expect(202);
    assert_eq!(phones.texts(E164).await.len(), 2);
}

#[tokio::test]
async fn texts_go_to_the_operators_service_signed() {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "k".repeat(40)).unwrap();
    let mut config = config();
    // Webhooks of tenants may not go where the operator's service is.
    assert!(!config.webhooks.on_loopback);
    config.sms.webhook = Some(SmsWebhook {
        url: receiver.url(),
        key: link::file::SecretRef::File(path),
        timeout: HumanDuration::from_secs(10),
        allow: Vec::new(),
        ca: None,
        on_loopback: true,
    });
    let phones = Phones::in_world(World::with(config).await).await;
    phones.it.member("ada").await;
    let token = phones.it.world.login("acme", "ada").await;
    phones.as_user(&token, "/v1/auth/phone/request", json!({ "phone": NUMBER })).await.expect(202);
    outbox::run_due(&phones.it.world.app, &sms::Messenger, sms::PATIENCE).await.unwrap();
    let got = receiver.received();
    assert_eq!(got.len(), 1);
    let body = &got[0].body;
    let (id, at) = (got[0].header("webhook-id"), got[0].header("webhook-timestamp").parse().unwrap());
    let key = Secret::new("k".repeat(40).into_bytes());
    let signed = sign::signature(&[key], id, Timestamp::from_secs(at), &got[0].raw);
    assert_eq!(got[0].header("webhook-signature"), signed);
    assert_eq!((&body["to"], &body["type"]), (&json!(E164), &json!("sms")));
    let code = body["text"].as_str().unwrap()[..6].to_owned();
    let verify = json!({ "phone": NUMBER, "code": code });
    phones.as_user(&token, "/v1/auth/phone/verify", verify).await.expect(200);
}

/// What a first proof of the address voids is void.
#[tokio::test]
async fn the_first_proof_of_an_address_voids_a_number_that_was_there_before() {
    let phones = Phones::new().await;
    phones.with_phone("ada", NUMBER).await;
    phones.it.ask("/v1/auth/otp/request", &json!({ "email": "ada@acme.example" })).await.expect(202);
    let code = phones.it.code("ada@acme.example").await;
    let shown = json!({ "email": "ada@acme.example", "code": code });
    post("/v1/auth/otp/verify", &shown).host("acme.localhost").send(&phones.it.world.admin).await.expect(200);
    phones.request(NUMBER).await.expect(202);
    assert_eq!(phones.texts(E164).await.len(), 1, "it is nobody's any more");
}

#[tokio::test]
async fn one_sees_the_number_that_one_proved_and_administrators_its_ends() {
    let phones = Phones::new().await;
    let world = &phones.it.world;
    world.user(&phones.it.staff, &phones.it.tenant, "root", &["admin"]).await;
    let root = world.login("acme", "root").await;
    let ada = phones.it.member("ada").await;
    let path = format!("/api/v1/tenant/users/{ada}");
    let read = async |path: &str, by: &str| get(path).bearer(by).send(&world.admin).await.expect(200).body;
    assert_eq!(read(&path, &root).await["proven_phone"], Value::Null);
    let at = world.app.now();
    let token = phones.prove("ada", NUMBER).await;
    let own = &read("/v1/me", &token).await["proven_phone"];
    assert_eq!(own, &json!({ "number": E164, "verified_at": at.to_string() }));
    let masked = json!({ "number": "+14…00", "verified_at": at.to_string() });
    assert_eq!(read(&path, &root).await["proven_phone"], masked);
    let platform = format!("/v1/tenants/{}/users/{ada}", phones.it.tenant);
    assert_eq!(read(&platform, &phones.it.staff).await["proven_phone"], masked);
    let listed = read("/api/v1/tenant/users?search=ada@", &root).await;
    assert!(!listed.to_string().contains(E164), "{listed}");
}
