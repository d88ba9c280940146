//! External issuers of the file.

use serde_json::{Value, json};

use super::{RawIssuer, ReadAs, compile::Compiler};
use crate::snapshot::{Entity, ExternalBinding, Issuer, Origin, TenantBinding};

impl<'f> Compiler<'f> {
    pub(super) fn issuers(&mut self, issuers: &'f [RawIssuer]) {
        for (at, raw) in issuers.iter().enumerate() {
            self.issuer(&format!("/issuers/{at}"), raw);
            if let Some(other) = issuers.iter().take(at).position(|other| confusable(other, raw)) {
                let message = format!(
                    "tokens of `{}` for one audience fit issuer number {} too; let `required_claims` tell them apart",
                    raw.issuer,
                    other + 1
                );
                self.refuse(format!("/issuers/{at}"), message);
            }
        }
    }

    fn issuer(&mut self, place: &str, raw: &RawIssuer) {
        if raw.issuer.is_empty() {
            self.refuse(format!("{place}/issuer"), "it is empty");
        }
        if raw.audiences.is_empty() || raw.audiences.iter().any(String::is_empty) {
            self.refuse(format!("{place}/audiences"), "at least one audience is needed, and none may be empty");
        }
        if raw.algorithms.is_empty() {
            self.refuse(format!("{place}/algorithms"), "at least one algorithm is needed");
        }
        let (tenant, of_tenant) = match (&raw.tenant, &raw.tenant_claim) {
            (Some(slug), None) => match self.tenant(&format!("{place}/tenant"), slug) {
                Some((tenant, project)) => (Some(TenantBinding::Tenant(tenant)), Some(project)),
                None => (None, None),
            },
            (None, Some(claim)) if !claim.is_empty() => (Some(TenantBinding::Claim(claim.clone())), None),
            (None, _) => {
                self.refuse(place, "one of `tenant` and `tenant_claim` is needed");
                (None, None)
            }
            (Some(_), Some(_)) => {
                self.refuse(place, "only one of `tenant` and `tenant_claim` may be given");
                (None, None)
            }
        };
        let project = match (of_tenant, &raw.project) {
            (Some(project), None) => Some(project),
            (of_tenant, named) => {
                let found = self.project(&format!("{place}/project"), named.as_deref());
                if of_tenant.is_some() && found.is_some() && of_tenant != found {
                    self.refuse(format!("{place}/project"), "the tenant belongs to another project");
                }
                found
            }
        };
        let jwks = self.key_set(place, raw);
        let joined = raw.audiences.join(" ");
        let claims = Value::from_iter(raw.required_claims.clone()).to_string();
        let name = [raw.issuer.as_str(), raw.project.as_deref().unwrap_or_default(), &joined, &claims];
        let id = self.id(place, raw.id.as_deref(), "issuer", &name);
        let (Some(id), Some(project_id), Some(tenant), Some(jwks)) = (id, project, tenant, jwks) else { return };
        if let Some(url) = &raw.jwks.url {
            self.declared.jwks_urls.push((id, url.clone()));
        }
        self.add(
            place,
            Entity::Issuer(Issuer {
                id,
                issuer: raw.issuer.clone(),
                project_id,
                origin: Origin::External(ExternalBinding {
                    tenant,
                    subject_claim: raw.subject_claim.clone().unwrap_or_else(|| "sub".into()),
                    roles_claim: raw.roles_claim.clone(),
                    required_claims: raw.required_claims.clone(),
                }),
                audiences: raw.audiences.clone(),
                algorithms: raw.algorithms.clone(),
                jwks,
            }),
        );
    }

    fn key_set(&mut self, place: &str, raw: &RawIssuer) -> Option<Value> {
        match (&raw.jwks.file, &raw.jwks.url, self.read_as) {
            (Some(path), None, ReadAs::EdgeFile) => {
                let place = format!("{place}/jwks/file");
                let text = self.file(&place, path)?;
                match serde_json::from_str::<Value>(&text) {
                    Ok(set) if has_private_part(&set) => {
                        self.refuse(place, format!("file `{path}` holds a private or symmetric key"));
                        None
                    }
                    Ok(set) if set.get("keys").is_some_and(Value::is_array) => Some(set),
                    Ok(_) => {
                        self.refuse(place, format!("file `{path}` is no key set: it has no list `keys`"));
                        None
                    }
                    Err(error) => {
                        self.refuse(place, format!("file `{path}` is no JSON: {error}"));
                        None
                    }
                }
            }
            (None, Some(url), ReadAs::Apply) => {
                if !url.starts_with("https://") {
                    self.refuse(format!("{place}/jwks/url"), format!("`{url}` is not an https URL"));
                }
                Some(json!({ "keys": [] }))
            }
            (Some(_), None, ReadAs::Apply) => {
                self.refuse(
                    format!("{place}/jwks/file"),
                    "the control API takes a `url`; a file is for a gateway on its own",
                );
                None
            }
            (None, Some(_), ReadAs::EdgeFile) => {
                self.refuse(
                    format!("{place}/jwks/url"),
                    "a gateway on its own takes a `file`; only the control API fetches URLs",
                );
                None
            }
            (None, None, _) | (Some(_), Some(_), _) => {
                self.refuse(format!("{place}/jwks"), "exactly one of `file` and `url` is needed");
                None
            }
        }
    }
}

/// Whether a token could be meant for both: one `iss`, a common audience, and no claim that tells them apart.
fn confusable(a: &RawIssuer, b: &RawIssuer) -> bool {
    let told_apart =
        a.required_claims.iter().any(|(claim, value)| b.required_claims.get(claim).is_some_and(|other| other != value));
    a.issuer == b.issuer && a.audiences.iter().any(|audience| b.audiences.contains(audience)) && !told_apart
}

/// `d` of RSA, EC and OKP keys, `k` of symmetric ones (RFC 7518 §6, RFC 8037 §2).
fn has_private_part(set: &Value) -> bool {
    let keys = set.get("keys").and_then(Value::as_array).into_iter().flatten();
    keys.chain([set]).any(|key| key.get("d").is_some() || key.get("k").is_some())
}
