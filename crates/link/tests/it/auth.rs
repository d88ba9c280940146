//! The auth RPC's server: refusals as gRPC carries them, health, reflection, and who may come without a certificate.

use std::sync::Arc;

use async_trait::async_trait;
use domain::Secret;
use link::rpc::{
    AuthClient, CallError, Routes,
    auth::{AuthQuestions, AuthServer, Refusal, RefusalKind, described},
    proto, serve,
};
use serde_json::json;
use tokio::net::TcpListener;
use tonic::Extensions;

use crate::rpc::Authority;

/// Refuses every token, and knows everybody's rights.
struct Fake;

fn refused() -> Refusal {
    Refusal { kind: RefusalKind::Unauthenticated, code: "token_expired", detail: "the token has expired".into() }
}

#[async_trait]
impl AuthQuestions for Fake {
    async fn verify_token(
        &self,
        _: &Extensions,
        _: proto::VerifyTokenRequest,
    ) -> Result<proto::VerifyTokenReply, Refusal> {
        Err(refused())
    }
    async fn get_user_permissions(
        &self,
        _: &Extensions,
        _: proto::GetUserPermissionsRequest,
    ) -> Result<proto::GetUserPermissionsReply, Refusal> {
        Ok(proto::GetUserPermissionsReply { as_of_seq: 7, active: true, ..Default::default() })
    }
    async fn check_permission(
        &self,
        _: &Extensions,
        _: proto::CheckPermissionRequest,
    ) -> Result<proto::CheckPermissionReply, Refusal> {
        Ok(proto::CheckPermissionReply { allowed: true, as_of_seq: 7 })
    }
    async fn batch_check_permission(
        &self,
        _: &Extensions,
        _: proto::BatchCheckPermissionRequest,
    ) -> Result<proto::BatchCheckPermissionReply, Refusal> {
        Ok(proto::BatchCheckPermissionReply::default())
    }
    async fn refresh_token(
        &self,
        _: &Extensions,
        _: proto::RefreshTokenRequest,
    ) -> Result<proto::RefreshTokenReply, Refusal> {
        Err(refused())
    }
    async fn invalidate_token(
        &self,
        _: &Extensions,
        _: proto::InvalidateTokenRequest,
    ) -> Result<proto::InvalidateTokenReply, Refusal> {
        Err(refused())
    }
}

async fn routes() -> Routes {
    described(AuthServer::new(Arc::new(Fake)).onto(Routes::default())).await.unwrap()
}

fn key() -> Secret<String> {
    Secret::new("a-service-key".into())
}

#[tokio::test]
async fn a_service_needs_no_certificate_and_is_told_the_stable_code() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (tls, routes) = (authority.server(), routes().await);
    tokio::spawn(async move { serve(listener, Some(&tls), routes, std::future::pending()).await });
    let client = AuthClient::new(&url, Some(&authority.pem()), &key()).unwrap();
    let answer = client.call("verify-token", json!({ "token": "t" })).await.unwrap_err();
    let CallError::Refused { status, code, detail } = answer else { panic!("{answer:?}") };
    assert_eq!((status.as_str(), code.as_str()), ("Unauthenticated", "token_expired"));
    assert_eq!(detail, "the token has expired");
    let rights = client.call("get-user-permissions", json!({})).await.unwrap();
    assert_eq!((&rights["as_of_seq"], &rights["active"]), (&json!(7), &json!(true)));
    assert!(matches!(client.call("drop-tables", json!({})).await, Err(CallError::Method(_))));
    assert!(matches!(client.call("verify-token", json!({ "tokn": "t" })).await, Err(CallError::Request(_))));
}

#[test]
fn a_service_key_leaves_this_machine_over_tls_only() {
    for (url, ca) in [("http://192.0.2.1:9090", None), ("https://internal.example:9090", None), ("ftp://[::1]", None)] {
        assert!(AuthClient::new(url, ca, &key()).is_err(), "{url}");
    }
}

#[tokio::test]
async fn health_and_reflection_say_what_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = routes().await;
    tokio::spawn(async move { serve(listener, None, routes, std::future::pending()).await });
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect_lazy();

    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let asked = tonic_health::pb::HealthCheckRequest { service: "portcullis.v1.Auth".into() };
    let status = health.check(asked).await.unwrap().into_inner().status();
    assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);

    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let mut answers = reflection.server_reflection_info(tokio_stream::iter([asked])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"portcullis.v1.Auth") && names.contains(&"grpc.health.v1.Health"), "{names:?}");
}
