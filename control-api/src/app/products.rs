//! Products, what tenants are entitled to, and what they ask for.

use std::time::Duration;

use authz::action::{ManageEntitlements, ManageProductRequests, ManageProducts};
use domain::{
    EntitlementId, Period, ProductId, ProductQuota, ProductRequestId, TenantId, Timestamp,
    model::{
        Entitlement, EntitlementSource, NewEntitlement, NewProduct, NewProductRequest, Product, ProductKey,
        ProductRequest, ProductRequestKind, ProductRequestStatus, Tenant, Version,
    },
    quota::Span,
};
use store::{
    Commit, StoreError,
    list::{CatalogList, EntitlementList, ProductList, ProductRequestList, Selection, Slice},
    read::*,
};

use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// A page of all products.
pub async fn list_products(
    app: &App,
    principal: &Principal,
    asked: &Selection<ProductList>,
) -> Result<Slice<Product>, AppError> {
    principal.may::<ManageProducts>("list")?;
    Ok(app.store.list((), asked).await?)
}

/// One product.
pub async fn read_product(app: &App, principal: &Principal, id: ProductId) -> Result<Product, AppError> {
    principal.may::<ManageProducts>("get")?;
    app.store.product(id).await?.ok_or(AppError::NotFound("product"))
}

/// Makes a product.
pub async fn create_product(app: &App, principal: &Principal, new: NewProduct) -> Result<(Product, Commit), AppError> {
    let by = principal.may::<ManageProducts>("create")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_product(&by, new).await?).await?) }
        })
        .await
}

/// Changes a product; its key stays.
pub async fn update_product(
    app: &App,
    principal: &Principal,
    id: ProductId,
    version: Option<Version>,
    edit: impl Fn(&mut Product) + Send + Sync,
) -> Result<(Product, Commit), AppError> {
    let by = principal.may::<ManageProducts>("update")?;
    let edit = &edit;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                let mut product = tx.product(id).await?.ok_or(AppError::NotFound("product"))?;
                product.version = version.unwrap_or(product.version);
                edit(&mut product);
                Ok(tx.updated(tx.update_product(&by, product).await?).await?)
            }
        })
        .await
}

/// Deletes a product that nobody is or was entitled to.
pub async fn delete_product(app: &App, principal: &Principal, id: ProductId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageProducts>("delete")?;
    let by = &by;
    let deleted = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.deleted(tx.delete_product(by, id).await?).await?)
    });
    deleted.await.map(|(_, commit)| commit)
}

/// A page of what a tenant may ask for.
pub async fn list_catalog(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<CatalogList>,
) -> Result<Slice<Product>, AppError> {
    principal.may_in::<ManageProducts>(site, "list")?;
    Ok(app.store.within(site.scope()).list((), asked).await?)
}

/// A tenant's entitlements, whatever became of them.
pub async fn list_entitlements(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<EntitlementList>,
) -> Result<Slice<Entitlement>, AppError> {
    principal.may_in::<ManageEntitlements>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// The names of the products that a tenant may use now, sorted.
pub async fn entitled(app: &App, site: Site) -> Result<Vec<ProductKey>, AppError> {
    let entitled = app.store.within(site.scope()).entitled(site.tenant, app.now()).await?;
    Ok(entitled.into_iter().map(|it| it.product).collect())
}

/// How a tenant is entitled to a product.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How it comes about.
    pub source: EntitlementSource,
    /// Until when; none: without end.
    pub ends_at: Option<Timestamp>,
    /// How much of it the tenant may use, or that it is as the product says; none: as it was.
    pub quota: Option<Option<ProductQuota>>,
}

/// What a tenant used of a product, in one day or month.
#[derive(Clone, Debug)]
pub struct Used {
    /// The product.
    pub product: ProductKey,
    /// The day or month.
    pub span: Span,
    /// Requests, as far as gateways have told.
    pub used: u64,
    /// How many there may be.
    pub most: Option<u64>,
}

/// What a tenant uses in this day and month of the products it may use, or of one of them.
pub async fn read_usage(
    app: &App,
    principal: &Principal,
    site: Site,
    product: Option<&ProductKey>,
) -> Result<Vec<Used>, AppError> {
    principal.may_in::<ManageEntitlements>(site, "list")?;
    let now = app.now();
    let view = app.store.within(site.scope()).view().await?;
    let entitled = view.entitled(site.tenant, now).await?;
    let spans = Period::ALL.map(|period| Span::at(period, now));
    let used = view.usage(site.tenant, &spans).await?;
    let asked = entitled.into_iter().filter(|it| product.is_none_or(|product| *product == it.product));
    let of = |it: Entitlement| {
        let most = it.allowed();
        spans.map(|span| Used {
            used: used.get(&(it.product.clone(), span)).copied().unwrap_or(0),
            most: most.of(span.period()),
            product: it.product.clone(),
            span,
        })
    };
    Ok(asked.flat_map(of).collect())
}

/// Entitles a tenant to a product, or changes how and until when it is.
///
/// # Errors
/// [`AppError::Invalid`] for a product that is not there, or an end that has passed; [`StoreError::VersionMismatch`] where it
/// is not the version that was seen.
pub async fn put_entitlement(
    app: &App,
    principal: &Principal,
    site: Site,
    product: &ProductKey,
    (version, terms): (Option<Version>, Terms),
) -> Result<(Entitlement, Commit), AppError> {
    let by = principal.may::<ManageEntitlements>("update")?;
    if terms.ends_at.is_some_and(|end| end <= app.now()) {
        return Err(AppError::field("/ends", "invalid", "has passed; take the entitlement back instead"));
    }
    let product = app.store.product_by_key(product).await?;
    let product = product.ok_or_else(|| AppError::field("/product", "unknown", "there is no such product"))?;
    let new = entitlement(app, site, &product, terms);
    app.store
        .write(&by, app.now(), |tx| {
            let (by, mut new) = (by.clone(), new.clone());
            async move {
                let before = tx.entitlement_to(new.tenant_id, new.product_id).await?;
                let found = before.as_ref().map_or(Version(0), |before| before.version);
                if let Some(expected) = version.filter(|seen| *seen != found) {
                    return Err(StoreError::VersionMismatch { what: "entitlement", expected, found }.into());
                }
                if terms.quota.is_none() {
                    new.quota = before.and_then(|before| before.quota);
                }
                Ok(tx.updated(tx.put_entitlement(&by, new).await?).await?)
            }
        })
        .await
}

/// Takes an entitlement back.
pub async fn revoke_entitlement(app: &App, principal: &Principal, id: EntitlementId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageEntitlements>("delete")?;
    let by = &by;
    let revoked = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.done("revoked", tx.revoke_entitlement(by, id).await?).await?)
    });
    revoked.await.map(|(_, commit)| commit)
}

/// What a tenant asks for, as it is asked.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The product.
    pub product: ProductKey,
    /// Whom to call, and how.
    pub contact: String,
    /// What else the tenant says.
    pub note: String,
}

/// Notes that a tenant wants a product, for sales to call back.
///
/// # Errors
/// [`AppError::Invalid`] for a product that is not in the catalog; 409 while an earlier request is open.
pub async fn request_product(
    app: &App,
    principal: &Principal,
    site: Site,
    wish: Wish,
) -> Result<(ProductRequest, Commit), AppError> {
    let by = principal.may_in::<ManageProductRequests>(site, "create")?;
    let product = requestable(app, &wish.product).await?;
    let (kind, status) = (ProductRequestKind::Request, ProductRequestStatus::Open);
    let new = request(app, principal, site, &product, wish, (kind, status));
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_product_request(&by, new).await?).await?) }
        })
        .await
}

/// Lets a tenant try a product at once, and once. Of any number of calls at the same time one succeeds.
///
/// # Errors
/// [`AppError::Invalid`] for a product that is not in the catalog or cannot be tried; 409 for a tenant that is or was
/// entitled to it.
pub async fn try_product(
    app: &App,
    principal: &Principal,
    site: Site,
    wish: Wish,
) -> Result<(Entitlement, Commit), AppError> {
    let by = principal.may_in::<ManageProductRequests>(site, "create")?;
    let product = requestable(app, &wish.product).await?;
    let Some(days) = product.trial_days else {
        return Err(AppError::field("/product", "not_trialable", "this product cannot be tried"));
    };
    let ends_at = app.now() + Duration::from_secs(u64::from(days) * 86_400);
    let terms = Terms { source: EntitlementSource::Trial, ends_at: Some(ends_at), quota: None };
    let trial = entitlement(app, site, &product, terms);
    let (kind, status) = (ProductRequestKind::Trial, ProductRequestStatus::Approved);
    let request = request(app, principal, site, &product, wish, (kind, status));
    app.store
        .write(&by, app.now(), |tx| {
            let (by, trial, request) = (by.clone(), trial.clone(), request.clone());
            async move {
                tx.created(tx.insert_product_request(&by, request).await?).await?;
                Ok(tx.created(tx.insert_trial(&by, trial).await?).await?)
            }
        })
        .await
}

/// A page of what tenants asked for: one tenant, or all.
pub async fn list_product_requests(
    app: &App,
    principal: &Principal,
    asked: &Selection<ProductRequestList>,
) -> Result<Slice<ProductRequest>, AppError> {
    principal.may::<ManageProductRequests>("list")?;
    Ok(app.store.list((), asked).await?)
}

/// Says what became of a request. What the tenant gets, [`put_entitlement`] says.
pub async fn settle_product_request(
    app: &App,
    principal: &Principal,
    id: ProductRequestId,
    version: Option<Version>,
    status: ProductRequestStatus,
) -> Result<(ProductRequest, Commit), AppError> {
    let by = principal.may::<ManageProductRequests>("update")?;
    let by = &by;
    app.store
        .write(by, app.now(), |tx| async move {
            Ok(tx.updated(tx.update_product_request(by, id, version, status).await?).await?)
        })
        .await
}

/// What is said of a tenant where a token for it is made elsewhere.
#[derive(Clone, Debug)]
pub struct TenantClaims {
    /// The tenant.
    pub tenant: Tenant,
    /// Products it may use now.
    pub products: Vec<ProductKey>,
}

/// The claims of a tenant that is named by id or slug.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn tenant_claims(app: &App, id: Option<TenantId>, slug: Option<&str>) -> Result<TenantClaims, AppError> {
    let found = match (id, slug) {
        (Some(id), _) => app.store.tenant(id).await?,
        (None, Some(slug)) => app.store.tenant_by_slug(slug).await?,
        (None, None) => None,
    };
    let tenant = found.filter(|it| it.deleted_at.is_none()).ok_or(AppError::NotFound("tenant"))?;
    let products = entitled(app, Site { project: tenant.project_id, tenant: tenant.id }).await?;
    Ok(TenantClaims { tenant, products })
}

async fn requestable(app: &App, key: &ProductKey) -> Result<Product, AppError> {
    let found = app.store.product_by_key(key).await?.filter(|product| product.requestable);
    found.ok_or_else(|| AppError::field("/product", "unknown", "the catalog has no such product"))
}

fn entitlement(app: &App, site: Site, product: &Product, terms: Terms) -> NewEntitlement {
    NewEntitlement {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        product_id: product.id,
        source: terms.source,
        ends_at: terms.ends_at,
        quota: terms.quota.flatten(),
    }
}

fn request(
    app: &App,
    principal: &Principal,
    site: Site,
    product: &Product,
    wish: Wish,
    (kind, status): (ProductRequestKind, ProductRequestStatus),
) -> NewProductRequest {
    NewProductRequest {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        product_id: product.id,
        kind,
        contact: wish.contact,
        note: wish.note,
        status,
        requested_by: (!principal.is_system()).then_some(principal.user),
    }
}
