//! `/v1/auth/phone/*`: numbers proven by a code, and signed in with.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{PhoneNumber, Secret};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    extract::Body,
    own_password::{Accepted, accepted},
    schema::wire,
    sessions::{Tokens, signed_in, uncached},
};
use crate::{App, app, caller::Principal, context::RequestContext, error::AppError};

/// A number.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phone {
    /// With its country, such as `+1 415 555 0100`.
    phone: String,
}

/// A code that was sent to a number.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowPhoneCode {
    /// The number.
    phone: String,
    /// Its six digits.
    code: Secret<String>,
    /// Slug of the tenant to sign in to, where the hostname does not say it.
    tenant: Option<String>,
}

/// A number that is proven.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProvenPhone {
    /// As it is dialled.
    #[schemars(with = "String")]
    phone: PhoneNumber,
}

wire!(Phone, ShowPhoneCode, ProvenPhone);

/// Sends a code to a number: with a token, to prove that it is one's own, within minutes of the sign-in; without, to sign in with. The
/// answer is the same whoever has the number.
#[utoipa::path(post, path = "/v1/auth/phone/request", tag = "identity", request_body = Phone,
    responses((status = 202, body = Accepted)))]
pub async fn request_phone_code(
    principal: Option<Principal>,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Phone>,
) -> Result<Response, AppError> {
    match principal {
        Some(principal) => app::phone::request_proof(&app, &context, &principal, &body.phone).await?,
        None => app::phone::request_code(&app, &context, &body.phone).await?,
    }
    Ok(accepted())
}

/// Takes a code: with a token, the number is one's own from then on; without, it signs in.
#[utoipa::path(post, path = "/v1/auth/phone/verify", tag = "identity", request_body = ShowPhoneCode,
    responses((status = 200, body = Tokens)))]
pub async fn verify_phone_code(
    principal: Option<Principal>,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<ShowPhoneCode>,
) -> Result<Response, AppError> {
    let shown = (body.phone.as_str(), &body.code);
    match principal {
        Some(principal) => {
            let phone = app::phone::prove(&app, &context, &principal, shown).await?;
            Ok(uncached(Json(ProvenPhone { phone }).into_response()))
        }
        None => app::phone::sign_in(&app, &context, shown, body.tenant.as_deref()).await.map(signed_in),
    }
}

/// Has one have no proven number.
#[utoipa::path(delete, path = "/v1/auth/phone", tag = "identity", responses((status = 204)),
    security(("bearer" = [])))]
pub async fn drop_phone(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
) -> Result<StatusCode, AppError> {
    app::phone::drop_phone(&app, &context, &principal).await?;
    Ok(StatusCode::NO_CONTENT)
}
