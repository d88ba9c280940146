//! Routes of the file.

use super::{RawAccess, RawRoute, compile::Compiler, ids};
use crate::{
    PathPattern, Permission,
    org_unit::check_route,
    snapshot::{Access, Route, STREAM_TIMES},
};

/// Methods a route may name. The edge lets no others through.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Compiler<'_> {
    /// The routes that can be read, with their numbers in the file. `owner` is the kind and name of what they belong to;
    /// their ids are made of it.
    pub(super) fn routes(&mut self, place: &str, owner: &[&str], routes: &[RawRoute]) -> (Vec<usize>, Vec<Route>) {
        let route = |(at, raw)| Some((at, self.route(&format!("{place}/routes/{at}"), owner, raw)?));
        routes.iter().enumerate().filter_map(route).unzip()
    }

    fn route(&mut self, place: &str, owner: &[&str], raw: &RawRoute) -> Option<Route> {
        let path = self.parsed::<PathPattern>(format!("{place}/path"), &raw.path);
        let mut methods = raw.methods.clone();
        for (at, method) in raw.methods.iter().enumerate() {
            if !METHODS.contains(&method.as_str()) {
                let message = format!("`{method}` is none of {}", METHODS.join(", "));
                self.refuse(format!("{place}/methods/{at}"), message);
            }
        }
        methods.sort_unstable();
        methods.dedup();
        let access = self.access(place, raw);
        let upstream_id = raw.upstream.as_deref().map(|name| self.upstream_named(&format!("{place}/upstream"), name));
        if let (Some(path), Some(access)) = (&path, &access)
            && let Err((member, message)) =
                check_route(path, access, raw.ou_parameter.as_deref(), raw.ou_header.as_deref())
        {
            self.refuse(format!("{place}/{member}"), message);
        }
        if let (Some(require), Some(access)) = (&raw.require, &access)
            && let Err((member, message)) = require.check(access)
        {
            self.refuse(format!("{place}/{member}"), message);
        }
        if raw.max_stream.is_some_and(|longest| !STREAM_TIMES.contains(&longest)) {
            let (least, most) = STREAM_TIMES.into_inner();
            self.refuse(format!("{place}/max_stream"), format!("is not {least} to {most}"));
        }
        let (path, access) = (path?, access?);
        let joined = methods.join(",");
        let name: Vec<&str> = owner.iter().copied().chain([path.as_str(), &joined]).collect();
        Some(Route {
            id: ids::named("route", &name),
            path,
            methods,
            access,
            credentials: raw.credentials.unwrap_or_default(),
            require: raw.require,
            upstream_id: upstream_id.flatten(),
            product: raw.product.clone(),
            ou_parameter: raw.ou_parameter.clone(),
            ou_header: raw.ou_header.clone(),
            on_unproven: raw.on_unproven,
            session: raw.session,
            tenant_api: raw.tenant_api,
            rate_limit: raw.rate_limit,
            max_body: raw.max_body,
            max_stream: raw.max_stream,
        })
    }

    fn access(&mut self, place: &str, raw: &RawRoute) -> Option<Access> {
        match (raw.access, &raw.permission, &raw.platform) {
            (Some(RawAccess::Public), None, None) => Some(Access::Public),
            (Some(RawAccess::Optional), None, None) => Some(Access::Optional),
            (Some(RawAccess::Authenticated), None, None) => Some(Access::Authenticated),
            (None, Some(text), None) => self.asked(format!("{place}/permission"), text).map(Access::Permission),
            (None, None, Some(text)) => self.asked(format!("{place}/platform"), text).map(Access::Platform),
            (None, None, None) => {
                self.refuse(place, "one of `access`, `permission` and `platform` is needed");
                None
            }
            _ => {
                self.refuse(place, "only one of `access`, `permission` and `platform` may be given");
                None
            }
        }
    }

    /// A permission that a request can be asked for: one, not a wildcard.
    fn asked(&mut self, place: String, text: &str) -> Option<Permission> {
        let permission = self.parsed::<Permission>(place.clone(), text)?;
        if permission.is_wildcard() {
            self.refuse(place, format!("`{text}` can be granted but not asked for"));
            return None;
        }
        Some(permission)
    }
}
