//! One table that mounts and documents every route.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use link::rpc::{Admit, Routes, auth::AuthServer};
use tokio::{runtime::Handle, task::JoinSet};
use utoipa::openapi::{
    Info, OpenApi, RefOr,
    security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    App,
    api::{
        access_log, account, api_keys, apply, audit, audit_export, auth_rpc, break_glass, catalog, certificates,
        client_certificates, customer_states, customers, decisions, docs, email_domains, entitlements, export,
        extract::{MAX_BODY, header_parameter},
        gateways, groups, health, help_requests, hostnames, idempotency, identities, identity_providers,
        identity_verifications, invitations, issuers, keycloak, login_policies, machine_clients, mailbox, me, members,
        menus, my_units, navigation, oauth_login, org_units, own_email, own_password, passkeys, passwordless,
        permissions, phone, products, project_credentials, projects, qr_login, realm, resources, role_bindings, roles,
        routes as route_api, schema, services, sessions, signing_keys, tenant_users, tenants, token_endpoint, totp,
        unit_members, upstreams, user_import, user_lookup, users, webhooks, well_known,
    },
    envelope,
    error::AppError,
    internal::Answers,
    problem, service_caller, unread,
};

/// What the edge forwards to: public, user and tenant operations.
fn public_routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(well_known::read_jwks))
        .routes(routes!(well_known::read_assertion_jwks))
        .routes(routes!(realm::read_realm))
        .routes(routes!(sessions::tenant_login))
        .routes(routes!(sessions::tenant_refresh))
        .routes(routes!(sessions::tenant_logout))
        .routes(routes!(sessions::tenant_info))
        .routes(routes!(sessions::complete_password))
        .routes(routes!(sessions::login))
        .routes(routes!(own_password::sign_up))
        .routes(routes!(own_password::change_password))
        .routes(routes!(own_password::request_password_reset))
        .routes(routes!(own_password::confirm_password_reset))
        .routes(routes!(own_email::send_email_verification))
        .routes(routes!(own_email::verify_email))
        .routes(routes!(own_email::request_email_change))
        .routes(routes!(own_email::confirm_email_change))
        .routes(routes!(passwordless::request_login_code))
        .routes(routes!(passwordless::verify_login_code))
        .routes(routes!(passwordless::request_magic_link))
        .routes(routes!(passwordless::redeem_magic_link))
        .routes(routes!(oauth_login::start_oauth))
        .routes(routes!(oauth_login::oauth_callback, oauth_login::oauth_form_callback))
        .routes(routes!(oauth_login::begin_oauth))
        .routes(routes!(oauth_login::oauth_login))
        .routes(routes!(oauth_login::redeem_oauth))
        .routes(routes!(identities::list_identities, identities::link_identity))
        .routes(routes!(identities::unlink_identity))
        .routes(routes!(phone::request_phone_code))
        .routes(routes!(phone::verify_phone_code))
        .routes(routes!(phone::drop_phone))
        .routes(routes!(help_requests::request_help, help_requests::list_help_requests))
        .routes(routes!(help_requests::settle_help_request))
        .routes(routes!(
            identity_verifications::list_identity_verifications,
            identity_verifications::begin_identity_verification
        ))
        .routes(routes!(identity_verifications::take_identity_event))
        .routes(routes!(identity_verifications::read_identity_verification, identity_verifications::set_identity_state))
        .routes(routes!(sessions::switch_tenant))
        .routes(routes!(totp::set_up_totp))
        .routes(routes!(totp::confirm_totp))
        .routes(routes!(totp::verify_totp))
        .routes(routes!(totp::disable_totp))
        .routes(routes!(totp::replace_recovery_codes))
        .routes(routes!(totp::step_up))
        .routes(routes!(passkeys::begin_passkey))
        .routes(routes!(passkeys::complete_passkey))
        .routes(routes!(passkeys::begin_passkey_login))
        .routes(routes!(passkeys::complete_passkey_login))
        .routes(routes!(passkeys::begin_passkey_step_up))
        .routes(routes!(passkeys::complete_passkey_step_up))
        .routes(routes!(passkeys::begin_passkey_signup))
        .routes(routes!(passkeys::complete_passkey_signup))
        .routes(routes!(passkeys::list_passkeys))
        .routes(routes!(passkeys::rename_passkey, passkeys::delete_passkey))
        .routes(routes!(qr_login::start_qr_login))
        .routes(routes!(qr_login::read_qr_login))
        .routes(routes!(qr_login::settle_qr_login))
        .routes(routes!(qr_login::poll_qr_login))
        .routes(routes!(navigation::tenant_menus))
        .routes(routes!(navigation::tenant_init))
        .routes(routes!(navigation::list_favorites, navigation::set_favorite))
        .routes(routes!(sessions::system_login))
        .routes(routes!(sessions::system_refresh))
        .routes(routes!(sessions::system_logout))
        .routes(routes!(sessions::system_userinfo))
        .routes(routes!(navigation::system_menus))
        .routes(routes!(me::read_me, me::update_me))
        .routes(routes!(account::request_deletion, account::cancel_deletion))
        .routes(routes!(export::export_me))
        .routes(routes!(me::list_my_sessions))
        .routes(routes!(me::end_my_session))
        .routes(routes!(me::end_my_other_sessions))
        .routes(routes!(me::sign_me_out_everywhere))
        .routes(routes!(tenant_users::list_tenant_users, tenant_users::create_tenant_user))
        .routes(routes!(
            tenant_users::read_tenant_user,
            tenant_users::replace_tenant_user,
            tenant_users::update_tenant_user,
            tenant_users::delete_tenant_user
        ))
        .routes(routes!(tenant_users::enable_tenant_user))
        .routes(routes!(tenant_users::disable_tenant_user))
        .routes(routes!(tenant_users::reset_tenant_user_password))
        .routes(routes!(tenant_users::reset_tenant_user_factors))
        .routes(routes!(tenant_users::logout_tenant_user))
        .routes(routes!(tenant_users::list_tenant_user_sessions))
        .routes(routes!(tenant_users::end_tenant_user_session))
        .routes(routes!(tenant_users::list_tenant_user_org_units))
        .routes(routes!(org_units::list_org_units, org_units::create_org_unit))
        .routes(routes!(org_units::read_org_unit, org_units::replace_org_unit, org_units::delete_org_unit))
        .routes(routes!(org_units::restore_org_unit))
        .routes(routes!(unit_members::list_unit_members, unit_members::create_unit_member))
        .routes(routes!(unit_members::put_unit_member, unit_members::delete_unit_member))
        .routes(routes!(access_log::list_access_log))
        .routes(routes!(my_units::list_my_org_units))
        .routes(routes!(my_units::set_my_default_org_unit))
        .routes(routes!(my_units::read_my_preferences, my_units::put_my_preferences))
        .routes(routes!(groups::list_groups, groups::create_group))
        .routes(routes!(groups::read_group, groups::update_group, groups::delete_group))
        .routes(routes!(groups::list_group_members, groups::create_group_member))
        .routes(routes!(groups::delete_group_member))
        .routes(routes!(invitations::list_invitations, invitations::create_invitation))
        .routes(routes!(invitations::revoke_invitation))
        .routes(routes!(invitations::accept_invitation))
        .routes(routes!(
            login_policies::read_login_policy,
            login_policies::put_login_policy,
            login_policies::delete_login_policy
        ))
        .routes(routes!(login_policies::read_password_policy, login_policies::put_password_policy))
        .routes(routes!(identity_providers::list_identity_provider_types))
        .routes(routes!(identity_providers::list_identity_providers, identity_providers::create_identity_provider))
        .routes(routes!(
            identity_providers::read_identity_provider,
            identity_providers::replace_identity_provider,
            identity_providers::delete_identity_provider
        ))
        .routes(routes!(resources::list_resources))
        .routes(routes!(roles::list_roles, roles::create_role))
        .routes(routes!(roles::read_role, roles::replace_role, roles::delete_role))
        .routes(routes!(role_bindings::list_role_bindings, role_bindings::create_role_binding))
        .routes(routes!(role_bindings::delete_role_binding))
        .routes(routes!(
            client_certificates::list_certificate_bindings,
            client_certificates::create_certificate_binding
        ))
        .routes(routes!(client_certificates::read_certificate_binding, client_certificates::delete_certificate_binding))
        .routes(routes!(menus::list_menus, menus::create_menu))
        .routes(routes!(menus::read_menu, menus::replace_menu, menus::delete_menu))
        .routes(routes!(permissions::list_permissions))
        .routes(routes!(api_keys::list_api_keys, api_keys::create_api_key))
        .routes(routes!(api_keys::read_api_key, api_keys::revoke_api_key))
        .routes(routes!(api_keys::enable_api_key))
        .routes(routes!(api_keys::disable_api_key))
        .routes(routes!(api_keys::rotate_api_key))
        .routes(routes!(machine_clients::list_machine_clients, machine_clients::create_machine_client))
        .routes(routes!(machine_clients::read_machine_client, machine_clients::delete_machine_client))
        .routes(routes!(machine_clients::rotate_machine_client))
        .routes(routes!(token_endpoint::issue_client_token))
        .routes(routes!(token_endpoint::introspect_token))
        .routes(routes!(token_endpoint::revoke_client_token))
        .routes(routes!(entitlements::list_entitlements))
        .routes(routes!(entitlements::read_usage))
        .routes(routes!(catalog::list_catalog))
        .routes(routes!(catalog::request_product))
        .routes(routes!(catalog::try_product))
        .routes(routes!(hostnames::list_hostnames, hostnames::create_hostname))
        .routes(routes!(hostnames::read_hostname, hostnames::delete_hostname))
        .routes(routes!(hostnames::verify_hostname))
        .routes(routes!(email_domains::list_email_domains, email_domains::create_email_domain))
        .routes(routes!(email_domains::delete_email_domain))
        .routes(routes!(email_domains::verify_email_domain))
        .routes(routes!(audit::list_audit, audit::append_audit))
        .routes(routes!(audit_export::export_audit))
        .routes(routes!(audit::verify_audit))
        .routes(routes!(audit::read_audit_event))
        .routes(routes!(webhooks::list_webhooks, webhooks::create_webhook))
        .routes(routes!(webhooks::read_webhook, webhooks::update_webhook, webhooks::delete_webhook))
        .routes(routes!(webhooks::rotate_webhook))
        .routes(routes!(webhooks::list_deliveries))
        .routes(routes!(webhooks::replay_webhook))
        .routes(routes!(decisions::read_decision))
}

/// What only the `admin` listener serves: platform operations.
fn platform_routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(customers::list_customers, customers::create_customer))
        .routes(routes!(customers::read_customer, customers::update_customer, customers::delete_customer))
        .routes(routes!(customer_states::set_kyc))
        .routes(routes!(customer_states::set_payment))
        .routes(routes!(customer_states::list_customer_history))
        .routes(routes!(customer_states::put_artifact, customer_states::list_artifacts))
        .routes(routes!(customers::list_customer_tenants))
        .routes(routes!(break_glass::break_glass_login))
        .routes(routes!(break_glass::read_break_glass))
        .routes(routes!(break_glass::disable_break_glass))
        .routes(routes!(break_glass::enable_break_glass))
        .routes(routes!(projects::list_projects, projects::create_project))
        .routes(routes!(projects::read_project, projects::update_project))
        .routes(routes!(projects::read_project_config, projects::put_project_config))
        .routes(routes!(project_credentials::list_project_credentials, project_credentials::create_project_credential))
        .routes(routes!(project_credentials::revoke_project_credential))
        .routes(routes!(tenants::list_tenants, tenants::create_tenant))
        .routes(routes!(tenants::read_tenant, tenants::update_tenant, tenants::delete_tenant))
        .routes(routes!(tenants::read_tenant_by_slug))
        .routes(routes!(tenants::activate_tenant))
        .routes(routes!(tenants::cancel_tenant))
        .routes(routes!(tenants::unfreeze_tenant))
        .routes(routes!(tenants::suspend_tenant))
        .routes(routes!(tenants::resume_tenant))
        .routes(routes!(tenants::revoke_tenant_tokens))
        .routes(routes!(tenants::read_provisioning))
        .routes(routes!(tenants::retry_provisioning))
        .routes(routes!(users::list_users, users::create_user))
        .routes(routes!(user_import::import_users))
        .routes(routes!(users::read_user, users::update_user, users::delete_user))
        .routes(routes!(users::set_user_quota))
        .routes(routes!(users::enable_user))
        .routes(routes!(users::disable_user))
        .routes(routes!(users::reset_user_factors))
        .routes(routes!(users::logout_user))
        .routes(routes!(users::list_user_sessions))
        .routes(routes!(users::end_user_session))
        .routes(routes!(users::list_user_org_units))
        .routes(routes!(members::list_members))
        .routes(routes!(members::put_member, members::delete_member))
        .routes(routes!(hostnames::update_hostname))
        .routes(routes!(hostnames::make_primary))
        .routes(routes!(hostnames::upload_certificate))
        .routes(routes!(
            client_certificates::read_client_certificates,
            client_certificates::put_client_certificates,
            client_certificates::delete_client_certificates
        ))
        .routes(routes!(certificates::list_certificates))
        .routes(routes!(upstreams::list_upstreams, upstreams::create_upstream))
        .routes(routes!(upstreams::read_upstream, upstreams::replace_upstream, upstreams::delete_upstream))
        .routes(routes!(upstreams::read_assertion_key))
        .routes(routes!(upstreams::prepare_assertion_key))
        .routes(routes!(upstreams::activate_assertion_key))
        .routes(routes!(upstreams::delete_assertion_key))
        .routes(routes!(services::list_services, services::create_service))
        .routes(routes!(services::read_service, services::update_service, services::delete_service))
        .routes(routes!(route_api::list_routes, route_api::create_route))
        .routes(routes!(route_api::test_route))
        .routes(routes!(route_api::read_route, route_api::replace_route, route_api::delete_route))
        .routes(routes!(signing_keys::list_signing_keys, signing_keys::create_signing_key))
        .routes(routes!(signing_keys::rotate_signing_key))
        .routes(routes!(signing_keys::activate_signing_key))
        .routes(routes!(signing_keys::retire_signing_key))
        .routes(routes!(issuers::list_issuers, issuers::create_issuer))
        .routes(routes!(issuers::read_issuer, issuers::replace_issuer, issuers::delete_issuer))
        .routes(routes!(gateways::list_gateways))
        .routes(routes!(gateways::delete_gateway))
        .routes(routes!(permissions::drop_permission_cache))
        .routes(routes!(products::list_products, products::create_product))
        .routes(routes!(products::read_product, products::update_product, products::delete_product))
        .routes(routes!(entitlements::put_entitlement))
        .routes(routes!(entitlements::revoke_entitlement))
        .routes(routes!(catalog::list_product_requests))
        .routes(routes!(catalog::settle_product_request))
        .routes(routes!(audit::list_erasures, audit::request_erasure))
        .routes(routes!(apply::apply))
        .routes(routes!(mailbox::list_dev_letters))
}

/// The router of the `public` listener.
pub fn public(app: &App) -> Router {
    let (router, _) = public_routes().split_for_parts();
    inner(router, app)
        .layer(middleware::from_fn_with_state(app.clone(), envelope::public))
        .layer(middleware::from_fn(unread::read))
        .with_state(app.clone())
}

/// The router of the `admin` listener.
pub fn admin(app: &App) -> Router {
    let (router, _) = public_routes().merge(platform_routes()).split_for_parts();
    let router = router.merge(docs::router(openapi()));
    inner(router, app)
        .layer(middleware::from_fn_with_state(app.clone(), envelope::admin))
        .layer(middleware::from_fn(unread::read))
        .with_state(app.clone())
}

/// What the `internal` listener serves to services over REST; its gRPC twin is beside it.
fn internal_routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(auth_rpc::verify_token))
        .routes(routes!(auth_rpc::refresh_token))
        .routes(routes!(auth_rpc::invalidate_token))
        .routes(routes!(auth_rpc::user_permissions))
        .routes(routes!(auth_rpc::check_permission))
        .routes(routes!(user_lookup::lookup_users))
        .routes(routes!(keycloak::tenant_claims))
        .routes(routes!(api_keys::verify_api_key))
        .routes(routes!(customer_states::push_kyc))
        .routes(routes!(customer_states::push_payment))
        .routes(routes!(audit::report_audit))
}

/// The router of the `internal` listener, but for the gateways' own service: REST and gRPC for services. `admit` says
/// which gateways are let in. What it does is done on the runtime that this is called on, whichever serves it: services
/// take no thread from gateways.
pub fn internal(app: &App, admit: Arc<dyn Admit>) -> Router {
    let (router, _) = internal_routes().split_for_parts();
    let router = router
        .merge(docs::router(internal_openapi()))
        .fallback(|| std::future::ready(AppError::NoRoute))
        .method_not_allowed_fallback(|| std::future::ready(AppError::NoMethod))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app.clone());
    let grpc = AuthServer::new(Arc::new(Answers::new(app.clone())));
    grpc.onto(Routes::from(router))
        .into_axum_router()
        .layer(middleware::from_fn_with_state((app.clone(), admit), service_caller::identify))
        .layer(middleware::from_fn_with_state(app.clone(), envelope::internal))
        .layer(middleware::from_fn_with_state(Handle::current(), done_on))
        .layer(middleware::from_fn(unread::read))
}

/// Does the work of a request on another runtime, and ends it there when nobody waits for it any more.
async fn done_on(State(runtime): State<Handle>, request: Request, next: Next) -> Result<Response, AppError> {
    let mut work = JoinSet::new();
    work.spawn_on(next.run(request), &runtime);
    match work.join_next().await {
        Some(Ok(response)) => Ok(response),
        Some(Err(error)) => Err(AppError::internal("a request was not answered", error)),
        None => Err(AppError::internal("a request was not answered", "there was no work")),
    }
}

/// Whether the process is well.
fn health(app: &App) -> Router {
    Router::new().route("/healthz", get(health::healthz)).route("/readyz", get(health::readyz)).with_state(app.clone())
}

/// The router of the `metrics` listener.
pub fn metrics(app: &App) -> Router {
    let render = async |State(app): State<App>| app.metrics.render(*app.hub.revisions().borrow());
    health(app).merge(Router::new().route("/metrics", get(render)).with_state(app.clone()))
}

fn inner(router: Router<App>, app: &App) -> Router<App> {
    router
        .fallback(|| std::future::ready(AppError::NoRoute))
        .method_not_allowed_fallback(|| std::future::ready(AppError::NoMethod))
        .layer(middleware::from_fn_with_state(app.clone(), idempotency::once))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

/// The description of everything the `admin` listener serves.
pub fn openapi() -> OpenApi {
    let (_, described) = public_routes().merge(platform_routes()).split_for_parts();
    titled(described, "Portcullis control API", "bearer")
}

/// The description of what the `internal` listener serves over REST.
pub fn internal_openapi() -> OpenApi {
    let (_, described) = internal_routes().split_for_parts();
    titled(described, "Portcullis internal API", "service_key")
}

/// With a title, and the one way to authenticate: a bearer, be it a token or a service key.
fn titled(mut described: OpenApi, title: &str, scheme: &str) -> OpenApi {
    described.info = Info::new(title, env!("CARGO_PKG_VERSION"));
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let mut components = described.components.take().unwrap_or_default();
    components.add_security_scheme(scheme, bearer);
    components.schemas.insert("Problem".into(), problem::schema());
    components.schemas.insert("Waiting".into(), schema::of::<envelope::Waiting>());
    described.components = Some(components);
    for item in described.paths.paths.values_mut() {
        let all = [&mut item.get, &mut item.put, &mut item.patch, &mut item.delete, &mut item.post];
        for operation in all.into_iter().flatten() {
            operation.responses.responses.insert("default".into(), RefOr::T(problem::response()));
        }
        let changing = [&mut item.put, &mut item.patch, &mut item.delete, &mut item.post];
        for operation in changing.into_iter().flatten() {
            let waited_for = RefOr::T(envelope::accepted_response());
            operation.responses.responses.entry("202".into()).or_insert(waited_for);
        }
        if let Some(posted) =
            item.post.as_mut().filter(|posted| scheme == "bearer" && posted.responses.responses.contains_key("201"))
        {
            posted.parameters.get_or_insert_default().push(RefOr::T(header_parameter("Idempotency-Key", ONCE)));
        }
    }
    described
}

/// What an idempotency key is, in the description.
const ONCE: &str = "1 to 255 visible ASCII characters. The same request with the same key is done once and answered \
                    alike for 24 hours.";

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn work_is_done_on_the_runtime_it_was_given_to() {
        let builder = || tokio::runtime::Builder::new_multi_thread();
        let work = builder().worker_threads(1).thread_name("services").build().unwrap();
        let serving = builder().worker_threads(1).thread_name("feed").build().unwrap();
        let name = async || std::thread::current().name().unwrap().to_owned();
        let router =
            Router::new().route("/", get(name)).layer(middleware::from_fn_with_state(work.handle().clone(), done_on));
        let answer = serving.block_on(serving.spawn(router.oneshot(Request::new(axum::body::Body::empty()))));
        let body = axum::body::to_bytes(answer.unwrap().unwrap().into_body(), 100);
        assert_eq!(serving.block_on(body).unwrap(), "services");
    }
}
