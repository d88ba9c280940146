//! Names of keys in Redis, in one place.
//!
//! `{rev}` is a hash tag: everything a gateway reads together lies on one node of a cluster. The `bl:*` names are older
//! than this product and shared with other services; they have no tag and are read and written one by one.

use domain::{SessionId, TenantId, TokenId, UserId};

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

/// Bindings of a user, in the cache.
pub fn bindings(tenant: TenantId, user: UserId) -> String {
    format!("pb:{tenant}:{user}")
}
