//! Stage 2: what a tenant serves in each of its states.

use domain::snapshot::{Entity, KycStatus, PaymentStatus, Tenant, TenantStatus};

use crate::world::{MEMBER, Sent, World, tenant};

fn codes(world: &World) -> [&'static str; 4] {
    let token = world.token(&world.acme, MEMBER);
    [
        Sent::get("acme.localhost", "/me"),
        Sent::new("POST", "acme.localhost", "/me"),
        Sent::new("POST", "acme.localhost", "/login"),
        Sent::get("acme.localhost", "/crm"),
    ]
    .map(|sent| world.code(&sent.bearer(&token)))
}

#[test]
fn each_state_serves_what_it_says() {
    let with = |change: &dyn Fn(&mut Tenant)| {
        let world = World::new();
        let mut acme = tenant(1, world.acme.project, "acme");
        change(&mut acme);
        world.put_one(Entity::Tenant(acme));
        codes(&world)
    };
    let all = ["permit"; 4];
    assert_eq!(with(&|_| {}), all);
    assert_eq!(with(&|t| t.status = TenantStatus::Trial), all);
    assert_eq!(with(&|t| t.status = TenantStatus::Frozen), ["permit", "tenant_frozen", "permit", "permit"]);
    assert_eq!(with(&|t| t.status = TenantStatus::Suspended), ["tenant_suspended"; 4]);
    assert_eq!(with(&|t| t.status = TenantStatus::Deleted), ["tenant_suspended"; 4]);
    assert_eq!(with(&|t| t.payment = PaymentStatus::Blocked), ["payment_required"; 4]);
    assert_eq!(with(&|t| t.payment = PaymentStatus::Overdue), all);
    assert_eq!(with(&|t| t.kyc = KycStatus::Pending), ["permit", "permit", "permit", "kyc_required"]);
    assert_eq!(with(&|t| t.kyc = KycStatus::DueRekyc), all);
    assert_eq!(with(&|t| t.products.clear()), ["permit", "permit", "permit", "entitlement_missing"]);
}

#[test]
fn the_tenant_a_token_names_on_a_shared_hostname_is_judged_too() {
    let world = World::new();
    let alpha = world.token(&world.cloud, MEMBER);
    let me = Sent::new("POST", "cloud.localhost", "/me").bearer(&alpha);
    assert_eq!(world.code(&me), "permit");
    for (status, code) in [(TenantStatus::Frozen, "tenant_frozen"), (TenantStatus::Suspended, "tenant_suspended")] {
        world.put_one(Entity::Tenant(Tenant { status, ..tenant(4, world.cloud.project, "alpha") }));
        assert_eq!(world.code(&me), code);
    }
}
