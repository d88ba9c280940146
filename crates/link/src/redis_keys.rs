//! Names of keys in Redis, in one place.
//!
//! `{rev}` is a hash tag: everything a gateway reads together lies on one node of a cluster. The `bl:*` names are older
//! than this product and shared with other services; they have no tag and are read and written one by one.

use domain::{ApiKeyId, FleetName, SessionId, TenantId, TokenId, UserId, quota::Span};

/// The stream of facts.
pub const FACTS: &str = "{rev}:facts";

/// What a refusal of ours holds; other services write what they like.
pub const OURS: &str = "portcullis";

/// Never written: asked for where there is nobody to ask about. Lies where gateways may read.
pub const NOBODY: &str = "bl:-";

/// "This token is refused", with an expiry.
pub fn refused_token(token: TokenId) -> String {
    format!("bl:jti:{token}")
}

/// "This session has ended", with an expiry.
pub fn ended_session(session: SessionId) -> String {
    format!("bl:sid:{session}")
}

/// "Tokens of this user issued until then are refused": whole seconds since the epoch.
pub fn user_watermark(tenant: TenantId, user: UserId) -> String {
    format!("bl:user:{tenant}:{user}")
}

/// "Tokens of this tenant issued until then are refused": whole seconds since the epoch.
pub fn tenant_watermark(tenant: TenantId) -> String {
    format!("bl:tenant:{tenant}")
}

/// The user's generation in a tenant.
pub fn user_generation(tenant: TenantId, user: UserId) -> String {
    format!("{{rev}}:ug:{tenant}:{user}")
}

/// The tenant's generation.
pub fn tenant_generation(tenant: TenantId) -> String {
    format!("{{rev}}:tg:{tenant}")
}

/// The number of the fact that last named an API key.
pub fn changed_key(key: ApiKeyId) -> String {
    format!("{{rev}}:key:{key}")
}

/// Since when nonces are remembered: milliseconds since the epoch.
pub const NONCES_SINCE: &str = "{rev}:nonces";

/// A nonce that was used with a key. It has no character that could end it.
pub fn nonce(key: ApiKeyId, nonce: &str) -> String {
    format!("{{rev}}:nonce:{key}:{nonce}")
}

/// What a limit of a fleet owes; all of a fleet's lie on one node.
pub fn limit(fleet: &FleetName, bucket: &str) -> String {
    format!("{{rl:{fleet}}}:{bucket}")
}

/// The gateways of a fleet that share limits, by when they were last heard of.
pub fn limit_gateways(fleet: &FleetName) -> String {
    format!("{{rl:{fleet}}}:gateways")
}

/// How often somebody asked a control API for something of late; all of them lie on one node.
pub fn rate(name: &str) -> String {
    format!("{{rate}}:{name}")
}

/// What a tenant used of a product in a day or month; all of them lie on one node.
pub fn usage(tenant: TenantId, span: Span, product: &str) -> String {
    // The product last: of a declarative file it may be any text.
    usages(&format!("{tenant}:{span}:{product}"))
}

/// What begins with this lies with what was used.
pub fn usages(rest: &str) -> String {
    format!("{{usage}}:{rest}")
}

/// Bindings of a user, in the cache.
pub fn bindings(tenant: TenantId, user: UserId) -> String {
    format!("pb:{tenant}:{user}")
}

/// Threat C2: two things never share a key, of one kind or of two.
#[test]
fn c2_no_two_things_share_a_key() {
    use domain::Id;
    use uuid::Uuid;
    let ids = [0, 1, 2, 0x1_0000_0000, u128::MAX, u128::MAX - 1].map(Uuid::from_u128);
    let mut keys = std::collections::HashSet::new();
    for one in ids {
        let tenant = TenantId::new(one);
        for key in [
            refused_token(Id::new(one)),
            ended_session(Id::new(one)),
            tenant_watermark(tenant),
            tenant_generation(tenant),
            changed_key(Id::new(one)),
            nonce(Id::new(one), "n-0123456789"),
            usage(tenant, Span::numbered(domain::Period::Day, 1), "a"),
            usage(tenant, Span::numbered(domain::Period::Month, 1), "a"),
            usage(tenant, Span::numbered(domain::Period::Day, 1), "1970-01:a"),
        ] {
            assert!(keys.insert(key.clone()), "{key}");
        }
        for other in ids {
            let user = UserId::new(other);
            for key in [user_watermark(tenant, user), user_generation(tenant, user), bindings(tenant, user)] {
                assert!(keys.insert(key.clone()), "{key}");
            }
        }
    }
}
