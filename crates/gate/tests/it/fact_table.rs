//! The table of `docs/revocation.md`, a test a cell: which fact ends which credential.

use domain::{
    Clock as _, Fact, Timestamp,
    fact::Bindings,
    snapshot::{Algorithm, Entity, Issuer, Tenant, TenantBinding, TenantStatus},
};
use testkit::TestIssuer;
use uuid::Uuid;

use crate::world::{MEMBER, Sent, World, id, tenant};

const JTI: u128 = 801;
const SID: u128 = 802;

/// How the external issuer names the tenant.
#[derive(Clone, Copy)]
enum Names {
    Itself,
    Id,
    Slug,
}

/// A world that also believes an external issuer.
struct Table {
    world: World,
    issuer: TestIssuer,
}

impl Table {
    fn new(names: Names) -> Self {
        let world = World::new();
        let issuer = TestIssuer::new("https://id.example.test", Algorithm::EdDsa);
        let binding = match names {
            Names::Itself => TenantBinding::Tenant(world.acme.tenant),
            Names::Id | Names::Slug => TenantBinding::Claim("org".into()),
        };
        world.put_one(Entity::Issuer(Issuer { id: id(39), ..issuer.external_row(world.acme.project, binding) }));
        Self { world, issuer }
    }

    /// An access token of ours, of generation 4.
    fn own(&self) -> Sent {
        let claims = self.world.claims(&self.world.acme, MEMBER);
        let claims = claims.set("jti", Uuid::from_u128(JTI)).set("sid", Uuid::from_u128(SID)).set("ug", 4).set("tg", 4);
        Sent::get("acme.localhost", "/me").bearer(&self.world.acme.issuer.mint(claims))
    }

    /// A token of the external issuer, issued this many seconds after now.
    fn foreign(&self, names: Names, after: i64) -> Sent {
        let claims = self.issuer.external_claims(self.world.clock.unix_now());
        let claims = claims.set("jti", Uuid::from_u128(JTI)).set("sub", Uuid::from_u128(MEMBER));
        let claims = claims.set("iat", self.now() + after).set("nbf", self.now());
        let claims = match names {
            Names::Itself => claims,
            Names::Id => claims.set("org", self.world.acme.tenant),
            Names::Slug => claims.set("org", "acme"),
        };
        Sent::get("acme.localhost", "/me").bearer(&self.issuer.mint(claims))
    }

    fn now(&self) -> i64 {
        self.world.clock.unix_now().secs()
    }

    /// Whether a fact ends a credential that was good before, for the next request and for a stream under way.
    fn ends(&self, sent: &Sent, fact: Fact) -> bool {
        assert_eq!(self.world.code(sent), "permit");
        let permit = self.world.send(sent).unwrap();
        self.world.say(fact);
        let code = self.world.code(sent);
        assert!(matches!(code, "permit" | "token_revoked"), "{code}");
        assert_eq!(self.world.still_holds(&permit, sent).is_err(), code != "permit", "a stream under way");
        code != "permit"
    }
}

/// The facts of the table, each with what it does to an own and to a foreign token.
pub(crate) fn facts() -> [(Fact, bool, bool); 8] {
    let exp = Timestamp::from_secs(4_000_000_000);
    let (tenant, user) = (id(1), id(MEMBER));
    let cutoff = Some(World::new().clock.unix_now());
    [
        (Fact::TokenRefused { jti: id(JTI), exp }, true, true),
        (Fact::TokenRefused { jti: id(JTI + 50), exp }, false, false),
        (Fact::SessionEnded { sid: id(SID), exp }, true, false),
        (Fact::UserGeneration { tenant, user, generation: 5, cutoff }, true, true),
        (Fact::UserGeneration { tenant: id(2), user, generation: 5, cutoff }, false, false),
        (Fact::TenantGeneration { tenant, generation: 5, cutoff }, true, true),
        (Fact::TenantGeneration { tenant: id(2), generation: 5, cutoff }, false, false),
        // Who is signed out may sign in again at once: ours go by generation, whatever the clock says.
        (Fact::UserGeneration { tenant, user, generation: 4, cutoff }, false, true),
    ]
}

#[test]
fn facts_end_own_access_tokens_as_the_table_says() {
    for (fact, ends, _) in facts() {
        let table = Table::new(Names::Itself);
        assert_eq!(table.ends(&table.own(), fact.clone()), ends, "{fact:?}");
    }
}

#[test]
fn facts_end_external_tokens_as_the_table_says_however_they_name_their_tenant() {
    for names in [Names::Itself, Names::Id, Names::Slug] {
        for (fact, _, ends) in facts() {
            let table = Table::new(names);
            assert_eq!(table.ends(&table.foreign(names, 0), fact.clone()), ends, "{fact:?}");
        }
    }
}

#[test]
fn an_external_token_issued_after_the_skew_is_good_again_and_one_without_iat_is_not() {
    for names in [Names::Itself, Names::Slug] {
        let table = Table::new(names);
        let cutoff = Some(table.world.clock.unix_now());
        table.world.say(Fact::TenantGeneration { tenant: id(1), generation: 1, cutoff });
        table.world.clock.advance(std::time::Duration::from_secs(31));
        table.world.prove();
        assert_eq!(table.world.code(&table.foreign(names, 0)), "permit");
        let claims = table.issuer.external_claims(table.world.clock.unix_now()).without("iat").set("org", "acme");
        let undated = Sent::get("acme.localhost", "/me").bearer(&table.issuer.mint(claims));
        assert_eq!(table.world.code(&undated), "token_revoked");
    }
}

#[test]
fn a_tenants_cutoff_in_the_snapshot_binds_as_the_fact_does() {
    let table = Table::new(Names::Slug);
    let foreign = table.foreign(Names::Slug, 0);
    assert_eq!(table.world.code(&foreign), "permit");
    let cutoff = Some(table.world.clock.unix_now());
    table.world.put_one(Entity::Tenant(Tenant { cutoff, ..tenant(1, table.world.acme.project, "acme") }));
    assert_eq!(table.world.code(&foreign), "token_revoked");
    assert_eq!(table.world.code(&table.own()), "permit", "ours go by generation");
}

#[test]
fn a_token_id_that_is_no_uuid_is_refused_by_the_one_it_stands_for() {
    let table = Table::new(Names::Itself);
    let claims = table.issuer.external_claims(table.world.clock.unix_now()).set("jti", "abc:123");
    let sent = Sent::get("acme.localhost", "/me").bearer(&table.issuer.mint(claims));
    let exp = Timestamp::from_secs(4_000_000_000);
    assert!(table.ends(&sent, Fact::TokenRefused { jti: authn::claims::token_id("abc:123"), exp }));
}

#[test]
fn state_ends_every_kind_of_token() {
    for suspend in [true, false] {
        let table = Table::new(Names::Itself);
        let (own, foreign) = (table.own(), table.foreign(Names::Itself, 0));
        assert_eq!((table.world.code(&own), table.world.code(&foreign)), ("permit", "permit"));
        if suspend {
            let suspended = tenant(1, table.world.acme.project, "acme");
            table.world.put_one(Entity::Tenant(Tenant { status: TenantStatus::Suspended, ..suspended }));
            assert_eq!((table.world.code(&own), table.world.code(&foreign)), ("tenant_suspended", "tenant_suspended"));
        } else {
            let seq = table.world.say(Fact::BindingsChanged { tenant: id(1), user: id(MEMBER) });
            let disabled = Bindings { as_of: seq, active: false, ..Bindings::default() };
            table.world.link.bindings.lock().unwrap().insert(id(MEMBER), disabled);
            // An external issuer's users are not ours to disable; disabling raises the generation, which cuts them off.
            assert_eq!((table.world.code(&own), table.world.code(&foreign)), ("principal_inactive", "permit"));
        }
    }
}
