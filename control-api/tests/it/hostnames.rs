//! Hostnames of customers: claimed, proven by DNS, looked after, lost and given up.

use std::time::Duration;

use domain::HumanDuration;
use serde_json::{Value, json};
use store::read::*;

use crate::{
    names::{Names, SECOND, names_of, record, state},
    support::{call, get, post},
};

const SHOP: &str = "shop.customer.test";

#[tokio::test]
async fn a_tenant_claims_proves_and_gives_up_a_hostname() {
    let it = Names::new().await;
    let (_, ada) = it.tenant("acme").await;
    let claim = it.claim(&ada, "Shop.Customer.TEST.").await.expect(201);
    assert_eq!((claim.text("hostname").as_str(), state(&claim)), (SHOP, ("pending", None)));
    assert_eq!(claim.body["proof"]["record"], "_portcullis-challenge.shop.customer.test");
    let id = claim.id();

    assert_eq!(state(&it.verify(&ada, &id).await.expect(200)), ("failed", Some("record_missing")));
    it.dns.serve(&["_portcullis-challenge.shop.customer.test. 1 TXT \"portcullis-verify=0\""]);
    assert_eq!(state(&it.verify(&ada, &id).await.expect(200)), ("failed", Some("record_differs")));
    assert!(it.app().store.hostname_by_name(&SHOP.parse().unwrap()).await.unwrap().is_none(), "nobody holds it");

    // Written in another case, among others, and in two pieces.
    let value = claim.body["proof"]["value"].as_str().unwrap();
    let (head, tail) = value.split_at(40);
    let pieces = format!("_PORTCULLIS-challenge.shop.Customer.test. 1 TXT \"{head}\" \"{tail}\"");
    let noise = "_portcullis-challenge.shop.customer.test. 1 TXT \"v=spf1 -all\"";
    it.dns.serve(&[noise, &pieces]);
    let verified = it.verify(&ada, &id).await.expect(200);
    assert_eq!(state(&verified), ("verified", None));
    assert!(verified.body["proof"]["due_at"].is_string(), "it is looked after from now on");
    assert!(it.app().store.hostname_by_name(&SHOP.parse().unwrap()).await.unwrap().is_some());

    let path = format!("/v1/hostnames/{id}");
    it.delete(&ada, &path).await.expect(204);
    get(&path).bearer(&ada).send(&it.world.admin).await.refused(404, "not_found");
    let steps = ["hostname.created", "hostname.verify_failed", "hostname.verified", "hostname.deleted"];
    assert_eq!(it.trail("hostname.").await[1..], steps, "after the one the tenant was made with");
}

#[tokio::test]
async fn a_proof_with_many_and_long_records_is_found() {
    let it = Names::new().await;
    let (_, ada) = it.tenant("acme").await;
    let claim = it.claim(&ada, SHOP).await.expect(201);
    // More than a datagram holds: the answer comes over TCP.
    let name = "_portcullis-challenge.shop.customer.test.";
    let mut records: Vec<String> = (0..30).map(|at| format!("{name} 1 TXT \"{at}{}\"", "x".repeat(200))).collect();
    records.push(record(&claim));
    // And from elsewhere: the place of a proof may be an alias.
    let moved: Vec<String> = records.iter().map(|it| it.replacen(name, "proofs.customer.test.", 1)).collect();
    for records in [records, [moved, vec![format!("{name} 1 CNAME proofs.customer.test.")]].concat()] {
        it.dns.serve(&records.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(state(&it.verify(&ada, &claim.id()).await.expect(200)), ("verified", None));
    }
}

#[tokio::test]
async fn a_hostname_has_to_lead_to_us_where_that_is_set() {
    let it = Names::with(|config| {
        config.hostnames.targets = vec!["edge.platform.test".parse().unwrap()];
        config.hostnames.addresses = vec!["192.0.2.1".parse().unwrap()];
    })
    .await;
    let (_, ada) = it.tenant("acme").await;
    let claim = it.claim(&ada, SHOP).await.expect(201);
    let proof = record(&claim);
    let edge = "edge.platform.test. 1 A 192.0.2.2";
    for (records, expected) in [
        (&[][..], ("failed", Some("not_resolved"))),
        (&["shop.customer.test. 1 A 198.51.100.1"], ("failed", Some("points_elsewhere"))),
        (
            &["shop.customer.test. 1 A 198.51.100.1", "shop.customer.test. 1 A 192.0.2.1"],
            ("failed", Some("points_elsewhere")),
        ),
        (
            &["shop.customer.test. 1 CNAME a.test.", "a.test. 1 CNAME b.test.", "b.test. 1 CNAME a.test."],
            ("failed", Some("alias_loop")),
        ),
        (&["shop.customer.test. 1 CNAME shop.customer.test."], ("failed", Some("alias_loop"))),
        (&["shop.customer.test. 1 CNAME edge.platform.test.evil.test."], ("failed", Some("not_resolved"))),
        (&["shop.customer.test. 1 CNAME a.test.", "a.test. 1 CNAME EDGE.Platform.test."], ("verified", None)),
        (&["shop.customer.test. 1 A 192.0.2.1"], ("verified", None)),
        (&["shop.customer.test. 1 A 192.0.2.2"], ("verified", None)),
    ] {
        it.dns.serve(&[records, &[proof.as_str(), edge]].concat());
        assert_eq!(state(&it.verify(&ada, &claim.id()).await.expect(200)), expected, "{records:?}");
    }
}

#[tokio::test]
async fn two_tenants_may_claim_a_name_and_who_proves_it_has_it() {
    let it = Names::new().await;
    let ((_, ada), (_, gus)) = (it.tenant("acme").await, it.tenant("globex").await);
    let (hers, his) = (it.claim(&ada, SHOP).await.expect(201), it.claim(&gus, SHOP).await.expect(201));
    assert_ne!(record(&hers), record(&his));
    assert_eq!(record(&hers).len(), record(&his).len());
    it.claim(&ada, SHOP).await.refused(409, "already_exists");

    // Her proof is not his, and says nothing to him of her.
    it.dns.serve(&[&record(&hers)]);
    assert_eq!(state(&it.verify(&gus, &his.id()).await.expect(200)), ("failed", Some("record_differs")));
    assert_eq!(state(&it.verify(&ada, &hers.id()).await.expect(200)), ("verified", None));
    assert_eq!(state(&it.verify(&gus, &his.id()).await.expect(200)), ("failed", Some("record_differs")));
    it.dns.serve(&[&record(&hers), &record(&his)]);
    it.verify(&gus, &his.id()).await.refused(409, "hostname_taken");
    let body = json!({ "hostname": SHOP, "project_id": it.read(&his.id()).await.body["project_id"] });
    post("/v1/hostnames", &body).bearer(&it.staff).send(&it.world.admin).await.refused(409, "already_exists");

    // M7: given up, it is still not his; later it is.
    it.delete(&ada, &format!("/v1/hostnames/{}", hers.id())).await.expect(204);
    it.verify(&gus, &his.id()).await.refused(409, "hostname_quarantined");
    it.world.clock.advance(Duration::from_secs(30 * 86_400));
    let staff = it.world.staff().await;
    assert_eq!(state(&it.verify(&staff, &his.id()).await.expect(200)), ("verified", None));
}

#[tokio::test]
async fn what_was_proven_is_looked_for_again_and_fails_after_the_grace() {
    let it = Names::with(|config| {
        config.proofs.recheck = HumanDuration::from_secs(60);
        config.proofs.grace = HumanDuration::from_secs(600);
    })
    .await;
    let (_, ada) = it.tenant("acme").await;
    let claim = it.claim(&ada, SHOP).await.expect(201);
    it.dns.serve(&[&record(&claim)]);
    it.verify(&ada, &claim.id()).await.expect(200);
    assert_eq!(it.pass(SECOND * 59).await, 0);
    assert_eq!(it.pass(SECOND * 8).await, 1, "a minute and a tenth");
    assert_eq!(it.pass(SECOND).await, 0, "once");

    // A name server that is cut off takes nothing away, however long.
    it.dns.fall_silent().await;
    for _ in 0..5 {
        assert_eq!(it.pass(SECOND * 3600).await, 1);
    }
    assert_eq!(state(&it.read(&claim.id()).await), ("verified", Some("dns_unavailable")));
    it.dns.speak();

    it.dns.serve(&[]);
    it.pass(SECOND * 3600).await;
    let lost = it.read(&claim.id()).await;
    assert_eq!(state(&lost), ("verified", Some("record_missing")));
    assert!(lost.body["proof"]["lost_at"].is_string());
    it.dns.serve(&[&record(&claim)]);
    it.pass(SECOND * 100).await;
    assert!(it.read(&claim.id()).await.body["proof"]["lost_at"].is_null());
    it.dns.serve(&[]);
    it.pass(SECOND * 100).await;
    it.pass(SECOND * 300).await;
    assert_eq!(state(&it.read(&claim.id()).await), ("verified", Some("record_missing")));
    it.pass(SECOND * 300).await;
    let failed = it.read(&claim.id()).await;
    assert_eq!(state(&failed), ("failed", Some("record_missing")));
    // It is looked for still, and comes back by itself.
    it.dns.serve(&[&record(&claim)]);
    it.pass(SECOND * 100).await;
    assert_eq!(state(&it.read(&claim.id()).await), ("verified", None));
    let steps = ["verified", "proof_lost", "proof_found", "proof_lost", "proof_failed", "verified"];
    assert_eq!(it.trail("hostname.").await[2..], steps.map(|step| format!("hostname.{step}")));
}

#[tokio::test]
async fn a_first_look_that_nobody_answers_is_no_failure() {
    let it = Names::new().await;
    let (_, ada) = it.tenant("acme").await;
    // A zone the name server refuses to answer for.
    let refused = it.claim(&ada, "shop.customer.example").await.expect(201);
    assert_eq!(state(&it.verify(&ada, &refused.id()).await.expect(200)), ("pending", Some("dns_unavailable")));
    let silent = it.claim(&ada, SHOP).await.expect(201);
    it.dns.fall_silent().await;
    assert_eq!(state(&it.verify(&ada, &silent.id()).await.expect(200)), ("pending", Some("dns_unavailable")));
    it.dns.speak();
}

/// M1: another tenant's hostnames, be they claimed or held.
#[tokio::test]
async fn another_tenants_hostnames_do_not_exist() {
    let it = Names::new().await;
    let ((acme, ada), (_, gus)) = (it.tenant("acme").await, it.tenant("globex").await);
    let claim = it.claim(&ada, SHOP).await.expect(201);
    let path = format!("/v1/hostnames/{}", claim.id());
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/verify")),
        ("GET", format!("/v1/hostnames?tenant_id={acme}")),
    ] {
        let answer = call(method, &path).bearer(&gus).send(&it.world.admin).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"), "{method} {path}: {answer:?}");
    }
    let list = get("/v1/hostnames").bearer(&gus).send(&it.world.admin).await.expect(200);
    assert_eq!(names_of(&list), ["globex.localhost"]);
    assert!(!list.body.to_string().contains(claim.body["proof"]["value"].as_str().unwrap()));
    it.read(&claim.id()).await;
    // What a hostname offers is staff's to say.
    let change = call("PATCH", &path).json(&json!({ "max_body": "1GiB" })).bearer(&ada);
    change.send(&it.world.admin).await.refused(403, "permission_denied");
}

#[tokio::test]
async fn a_tenant_says_a_name_and_nothing_that_is_the_platforms() {
    let it = Names::with(|config| {
        config.hostnames.platform_domains = vec!["localhost".parse().unwrap()];
        config.proofs.unproven = 2;
    })
    .await;
    let (tenant, ada) = it.tenant("acme").await;
    for (member, value) in [
        ("kind", json!("platform")),
        ("tenant_id", json!(tenant)),
        ("fleet", json!("other")),
        ("is_primary", json!(true)),
        ("services", json!([tenant])),
        ("max_body", json!("1GiB")),
    ] {
        let body = json!({ "hostname": SHOP, member: value });
        let answer = post("/v1/hostnames", &body).bearer(&ada).send(&it.world.admin).await;
        let answer = answer.refused(422, "validation_failed");
        assert_eq!(answer.body["errors"][0]["code"], "managed_by_platform", "{member}");
    }
    let claim = it.claim(&ada, "new.localhost").await.refused(422, "validation_failed");
    assert_eq!(claim.body["errors"][0]["code"], "platform_domain");
    let long = format!("{}.test", ["a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(50)].join("."));
    it.claim(&ada, &long).await.refused(422, "validation_failed");
    let outside = json!({ "hostname": "acme.elsewhere.test", "tenant_id": tenant });
    let answer = post("/v1/hostnames", &outside).bearer(&it.staff).send(&it.world.admin).await;
    assert_eq!(answer.refused(422, "validation_failed").body["errors"][0]["code"], "not_platform_domain");

    it.claim(&ada, "one.customer.test").await.expect(201);
    it.claim(&ada, "two.customer.test").await.expect(201);
    it.claim(&ada, "three.customer.test").await.refused(409, "too_many_unproven");
    let body = json!({ "hostname": SHOP, "tenant_id": tenant, "kind": "custom", "is_primary": true });
    let answer = post("/v1/hostnames", &body).bearer(&it.staff).send(&it.world.admin).await;
    assert_eq!(answer.refused(422, "validation_failed").body["errors"][0]["code"], "unverified");
}

/// A name more is no way around what another asks for.
#[tokio::test]
async fn a_claimed_hostname_lets_in_nobody_whom_the_others_keep_out() {
    let it = Names::new().await;
    let (tenant, ada) = it.tenant("acme").await;
    let list = get(&format!("/v1/hostnames?tenant_id={tenant}")).bearer(&it.staff).send(&it.world.admin).await;
    let own = list.expect(200).body["items"][0].clone();
    let path = format!("/v1/hostnames/{}", own["id"].as_str().unwrap());
    let closed = json!({ "admission": { "allow": ["192.0.2.0/24"] }, "max_body": "1MiB" });
    call("PATCH", &path).json(&closed).bearer(&it.staff).send(&it.world.admin).await.expect(200);
    let like = it.claim(&ada, SHOP).await.expect(201);
    assert_eq!(like.body["services"], own["services"]);
    assert_eq!(like.body["admission"]["allow"], json!(["192.0.2.0/24"]));
    assert_eq!(like.body["max_body"], "1MiB");
    // Routes of one hostname alone, and hostnames that differ: staff says what another one offers.
    let route = json!({ "hostname_id": own["id"], "path": "/only-here", "access": "authenticated" });
    post("/v1/routes", &route).bearer(&it.staff).send(&it.world.admin).await.expect(201);
    let other = it.claim(&ada, "other.customer.test").await.expect(201);
    assert_eq!(other.body["services"], json!([]));
    assert_eq!(other.body["admission"]["allow"], json!(["192.0.2.0/24"]));
    // Claimed before, and proven after: it is judged again.
    it.dns.serve(&[&record(&like)]);
    let proven = it.verify(&ada, &like.id()).await.expect(200);
    assert_eq!((state(&proven), &proven.body["services"]), (("verified", None), &json!([])));
}

#[tokio::test]
async fn a_tenant_gives_up_its_own_hostnames_only() {
    let it = Names::new().await;
    let (tenant, ada) = it.tenant("acme").await;
    let list = get(&format!("/v1/hostnames?tenant_id={tenant}")).bearer(&it.staff).send(&it.world.admin).await;
    let platforms = list.expect(200).body["items"][0]["id"].as_str().unwrap().to_owned();
    it.delete(&ada, &format!("/v1/hostnames/{platforms}")).await.refused(403, "managed_by_platform");
    let claim = it.claim(&ada, SHOP).await.expect(201);
    it.dns.serve(&[&record(&claim)]);
    it.verify(&ada, &claim.id()).await.expect(200);
    let path = format!("/v1/hostnames/{}", claim.id());
    let primary = call("POST", &format!("{path}/primary")).bearer(&it.staff).send(&it.world.admin).await;
    primary.expect(200);
    it.delete(&ada, &path).await.refused(409, "hostname_primary");
    it.delete(&it.staff, &path).await.expect(204);
}

#[tokio::test]
async fn hostnames_are_listed_by_state_kind_and_tenant() {
    let it = Names::new().await;
    let ((acme, ada), (_, gus)) = (it.tenant("acme").await, it.tenant("globex").await);
    let claim = it.claim(&ada, SHOP).await.expect(201);
    it.claim(&ada, "other.customer.test").await.expect(201);
    it.claim(&gus, SHOP).await.expect(201);
    it.dns.serve(&[&record(&claim)]);
    it.verify(&ada, &claim.id()).await.expect(200);
    for (query, expected) in [
        (format!("tenant_id={acme}"), &["acme.localhost", SHOP, "other.customer.test"][..]),
        (format!("tenant_id={acme}&state=pending"), &["other.customer.test"]),
        (format!("tenant_id={acme}&kind=custom&state=verified"), &[SHOP]),
        ("kind=custom&state=pending".to_owned(), &["other.customer.test", SHOP]),
        ("state=failed".to_owned(), &[]),
    ] {
        let list = get(&format!("/v1/hostnames?{query}")).bearer(&it.staff).send(&it.world.admin).await.expect(200);
        assert_eq!(names_of(&list), expected, "{query}");
    }
    // Page by page it is the same.
    let mut cursor = String::new();
    let mut all = Vec::new();
    loop {
        let path = format!("/v1/hostnames?kind=custom&limit=1{cursor}");
        let page = get(&path).bearer(&it.staff).send(&it.world.admin).await.expect(200);
        all.extend(names_of(&page).into_iter().map(ToOwned::to_owned));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(all, [SHOP, "other.customer.test", SHOP]);
    let wrong = get("/v1/hostnames?state=maybe").bearer(&it.staff).send(&it.world.admin).await;
    wrong.refused(400, "parameter_invalid");
}

#[tokio::test]
async fn a_hostname_says_where_people_sign_in_once_it_is_verified() {
    let it = Names::new().await;
    let (_, ada) = it.tenant("acme").await;
    let claim = it.claim(&ada, SHOP).await.expect(201);
    let realm = || get("/api/v1/realm.json").host(SHOP).send(&it.world.admin);
    realm().await.refused(404, "not_found");
    it.dns.serve(&[&record(&claim)]);
    it.verify(&ada, &claim.id()).await.expect(200);
    let told = realm().await.expect(200);
    let expected = json!({ "endpoint": "https://acme.localhost", "realm": "acme", "clientId": "controller" });
    assert_eq!(told.body, expected);
    get("/api/v1/realm.json").host("nobody.test").send(&it.world.admin).await.refused(404, "not_found");
}

#[tokio::test]
async fn one_hostname_of_a_project_is_primary_and_only_a_verified_one() {
    let it = Names::new().await;
    let (_, ada) = it.tenant("acme").await;
    let claim = it.claim(&ada, SHOP).await.expect(201);
    let primary = async |token: &str| {
        call("POST", &format!("/v1/hostnames/{}/primary", claim.id())).bearer(token).send(&it.world.admin).await
    };
    primary(&it.staff).await.refused(409, "hostname_unverified");
    it.dns.serve(&[&record(&claim)]);
    it.verify(&ada, &claim.id()).await.expect(200);
    primary(&ada).await.refused(403, "permission_denied");
    primary(&it.staff).await.expect(200);
    let list = get("/v1/hostnames").bearer(&ada).send(&it.world.admin).await.expect(200);
    let primaries = list.body["items"].as_array().unwrap().iter().filter(|item| item["is_primary"] == true);
    assert_eq!(primaries.map(|item| item["hostname"].as_str().unwrap()).collect::<Vec<_>>(), [SHOP]);
}

#[tokio::test]
async fn in_the_place_of_a_primary_hostname_that_fails_another_verified_one_becomes_primary() {
    let it = Names::with(|config| {
        config.proofs.recheck = HumanDuration::from_secs(60);
        config.proofs.grace = HumanDuration::from_secs(600);
    })
    .await;
    let (_, ada) = it.tenant("acme").await;
    let claim = it.claim(&ada, SHOP).await.expect(201);
    it.dns.serve(&[&record(&claim)]);
    it.verify(&ada, &claim.id()).await.expect(200);
    let primary = format!("/v1/hostnames/{}/primary", claim.id());
    call("POST", &primary).bearer(&it.staff).send(&it.world.admin).await.expect(200);
    it.dns.serve(&[]);
    it.pass(SECOND * 100).await;
    assert_eq!(it.read(&claim.id()).await.body["is_primary"], true, "its proof was only lost");
    for _ in 0..3 {
        it.pass(SECOND * 300).await;
    }
    let failed = it.read(&claim.id()).await;
    assert_eq!((state(&failed).0, &failed.body["is_primary"]), ("failed", &json!(false)));
    let staff = it.world.staff().await;
    let list = get("/v1/hostnames").bearer(&staff).send(&it.world.admin).await.expect(200);
    let of_project = |item: &&Value| item["project_id"] == failed.body["project_id"] && item["is_primary"] == true;
    let now: Vec<_> = list.body["items"].as_array().unwrap().iter().filter(of_project).collect();
    assert_eq!(now.iter().map(|item| item["hostname"].as_str().unwrap()).collect::<Vec<_>>(), ["acme.localhost"]);
    let trail = it.trail("hostname.").await;
    let told = |step: &str| trail.iter().filter(|it| *it == step).count();
    assert_eq!((told("hostname.proof_failed"), told("hostname.made_primary")), (1, 2), "{trail:?}");
}
