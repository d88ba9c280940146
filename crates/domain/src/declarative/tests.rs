use super::*;
use crate::HumanDuration;
use crate::snapshot::{
    Access, Assertion, EntityKind, Hostname, Issuer, Origin, Peer, Service, TenantBinding, Upstream,
};

/// The example of the documentation, as JSON.
fn example() -> serde_json::Value {
    serde_json::json!({
        "hostnames": [{ "hostname": "acme.example.test", "tenant": "acme",
            "certificate": { "chain": "acme.crt", "key": "acme.key" }, "services": ["orders"] }],
        "tenants": [{ "slug": "acme", "id": "00000000-0000-0000-0000-000000000001", "status": "active" }],
        "issuers": [{ "issuer": "https://id.example.test", "jwks": { "file": "jwks.json" }, "audiences": ["orders"],
            "algorithms": ["RS256", "ES256"], "tenant_claim": "tid", "roles_claim": "roles" }],
        "roles": [{ "name": "member", "permissions": ["orders:order:list", "orders:order:get"] }],
        "upstreams": [{ "name": "orders", "peers": ["127.0.0.1:3000"], "plaintext": true, "assertion": "off" }],
        "services": [{ "name": "orders", "upstream": "orders", "routes": [
            { "path": "/public/**", "access": "public" },
            { "path": "/orders", "methods": ["GET"], "permission": "orders:order:list" },
            { "path": "/echo/**", "access": "authenticated" },
        ] }],
    })
}

fn file(path: &str) -> Result<String, String> {
    match path {
        "acme.crt" => Ok("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into()),
        "acme.key" => Ok("-----BEGIN PRIVATE KEY-----\nAAECAw==\n-----END PRIVATE KEY-----\n".into()),
        "jwks.json" => Ok(r#"{"keys": []}"#.into()),
        "private.json" => Ok(r#"{"keys": [{"kty": "EC", "d": "secret"}]}"#.into()),
        "hmac.key" => Ok("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n".into()),
        _ => Err("no such file".into()),
    }
}

fn compiled(value: serde_json::Value) -> Result<Declared, Vec<Problem>> {
    compile(&serde_json::from_value(value).unwrap(), ReadAs::EdgeFile, &file)
}

/// What is wrong with the example after a change, as `pointer: message`.
fn problems(change: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
    let mut value = example();
    change(&mut value);
    compiled(value).unwrap_err().into_iter().map(|p| format!("{}: {}", p.pointer, p.message)).collect()
}

fn push(value: &mut serde_json::Value, pointer: &str, element: serde_json::Value) {
    value.pointer_mut(pointer).unwrap().as_array_mut().unwrap().push(element);
}

fn set(value: &mut serde_json::Value, pointer: &str, key: &str, to: serde_json::Value) {
    value.pointer_mut(pointer).unwrap()[key] = to;
}

fn only<'e, T>(declared: &'e Declared, pick: impl Fn(&'e Entity) -> Option<&'e T>) -> &'e T {
    declared.entities.iter().find_map(pick).unwrap()
}

fn hostname(declared: &Declared) -> &Hostname {
    only(declared, |e| if let Entity::Hostname(it) = e { Some(it) } else { None })
}
fn service(declared: &Declared) -> &Service {
    only(declared, |e| if let Entity::Service(it) = e { Some(it) } else { None })
}
fn upstream(declared: &Declared) -> &Upstream {
    only(declared, |e| if let Entity::Upstream(it) = e { Some(it) } else { None })
}
fn issuer(declared: &Declared) -> &Issuer {
    only(declared, |e| if let Entity::Issuer(it) = e { Some(it) } else { None })
}

#[test]
fn the_documented_example_compiles() {
    let declared = compiled(example()).unwrap();
    let kinds: Vec<EntityKind> = declared.entities.iter().map(|e| e.key().kind).collect();
    use EntityKind as K;
    assert_eq!(
        kinds,
        [K::Project, K::Tenant, K::Role, K::Upstream, K::Service, K::Issuer, K::Certificate, K::Hostname]
    );
    let hostname = hostname(&declared);
    assert_eq!(hostname.tenant_id.unwrap().to_string(), "00000000-0000-0000-0000-000000000001");
    assert_eq!(hostname.project_id, ids::default_project());
    assert_eq!(hostname.services, [service(&declared).id]);
    assert!(hostname.certificate_id.is_some());
    let service = service(&declared);
    assert_eq!(service.upstream_id, upstream(&declared).id);
    assert_eq!(service.routes[0].access, Access::Public);
    assert_eq!(service.routes[1].access, Access::Permission("orders:order:list".parse().unwrap()));
    let Origin::External(binding) = &issuer(&declared).origin else { panic!("an external issuer") };
    assert_eq!(binding.tenant, TenantBinding::Claim("tid".into()));
    assert_eq!(binding.subject_claim, "sub");
}

#[test]
fn reading_a_file_twice_gives_the_same_entities() {
    let keys = || compiled(example()).unwrap().entities.iter().map(Entity::key).collect::<Vec<_>>();
    assert_eq!(keys(), keys());
}

#[test]
fn all_problems_are_named_at_once() {
    let found = problems(|file| {
        set(file, "/hostnames/0", "tenant", "acmee".into());
        set(file, "/hostnames/0", "services", serde_json::json!(["orders", "order"]));
        set(file, "/services/0", "upstream", "other".into());
        set(file, "/upstreams/0", "plaintext", false.into());
        set(file, "/issuers/0", "audiences", serde_json::json!([]));
        push(file, "/tenants", serde_json::json!({ "slug": "acme" }));
        push(file, "/upstreams", serde_json::json!({ "name": "orders", "peers": ["a:1"], "plaintext": true }));
    });
    assert_eq!(
        found,
        [
            "/tenants/1/slug: tenant `acme` stands twice (first as number 1)",
            "/upstreams/1/name: upstream `orders` stands twice (first as number 1)",
            "/upstreams/0: either `tls` or `plaintext: true` is needed",
            "/services/0/upstream: there is no upstream `other`",
            "/issuers/0/audiences: at least one audience is needed, and none may be empty",
            "/hostnames/0/tenant: there is no tenant `acmee`",
            "/hostnames/0/services/1: there is no service `order`",
        ]
    );
}

#[test]
fn each_rule_of_a_route_names_its_place() {
    for (route, expected) in [
        (
            serde_json::json!({ "path": "/x" }),
            "/services/0/routes/3: one of `access`, `permission` and `platform` is needed",
        ),
        (
            serde_json::json!({ "path": "/x", "access": "public", "permission": "a:b:c" }),
            "/services/0/routes/3: only one of `access`, `permission` and `platform` may be given",
        ),
        (
            serde_json::json!({ "path": "/x", "permission": "a:b:*" }),
            "/services/0/routes/3/permission: `a:b:*` can be granted but not asked for",
        ),
        (
            serde_json::json!({ "path": "/x", "access": "public", "methods": ["GET", "get"] }),
            "/services/0/routes/3/methods/1: `get` is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        (
            serde_json::json!({ "path": "/x/{ou}", "access": "authenticated", "ou_parameter": "unit" }),
            "/services/0/routes/3/ou_parameter: `/x/{ou}` has no parameter `{unit}`",
        ),
        (
            serde_json::json!({ "path": "/x", "access": "authenticated", "ou_header": "x-md-global-ou-id" }),
            "/services/0/routes/3/ou_header: `x-md-global-ou-id` is no field that can name a unit, such as `x-workspace-id`",
        ),
        (
            serde_json::json!({ "path": "/x/{ou}", "access": "public", "ou_parameter": "ou" }),
            "/services/0/routes/3/ou_parameter: a route of units is for principals of the tenant",
        ),
        (
            serde_json::json!({ "path": "x", "access": "public" }),
            "/services/0/routes/3/path: `x` is not a path pattern: it starts with `/`",
        ),
    ] {
        assert_eq!(problems(|file| push(file, "/services/0/routes", route)), [expected]);
    }
}

#[test]
fn each_rule_of_an_issuer_names_its_place() {
    for (key, value, expected) in [
        ("tenant", serde_json::json!("acme"), "/issuers/0: only one of `tenant` and `tenant_claim` may be given"),
        ("tenant_claim", serde_json::json!(null), "/issuers/0: one of `tenant` and `tenant_claim` is needed"),
        ("algorithms", serde_json::json!([]), "/issuers/0/algorithms: at least one algorithm is needed"),
        ("jwks", serde_json::json!({}), "/issuers/0/jwks: exactly one of `file` and `url` is needed"),
        (
            "jwks",
            serde_json::json!({ "url": "https://id.example.test/jwks" }),
            "/issuers/0/jwks/url: a gateway on its own takes a `file`; only the control API fetches URLs",
        ),
        (
            "jwks",
            serde_json::json!({ "file": "private.json" }),
            "/issuers/0/jwks/file: file `private.json` holds a private or symmetric key",
        ),
        (
            "jwks",
            serde_json::json!({ "file": "absent.json" }),
            "/issuers/0/jwks/file: file `absent.json`: no such file",
        ),
    ] {
        assert_eq!(problems(|file| set(file, "/issuers/0", key, value)), [expected]);
    }
}

#[test]
fn issuers_that_one_token_could_fit_are_told_apart_by_a_claim_or_refused() {
    let second = |claims: serde_json::Value| {
        serde_json::json!({ "issuer": "https://id.example.test", "jwks": { "file": "jwks.json" },
            "audiences": ["other", "orders"], "algorithms": ["ES256"], "tenant": "acme", "required_claims": claims })
    };
    let found = problems(|file| push(file, "/issuers", second(serde_json::json!({ "azp": "b" }))));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("/issuers/1: tokens of `https://id.example.test`"), "{found:?}");
    let mut value = example();
    set(&mut value, "/issuers/0", "required_claims", serde_json::json!({ "azp": "a" }));
    push(&mut value, "/issuers", second(serde_json::json!({ "azp": "b" })));
    compiled(value).unwrap();
}

#[test]
fn each_rule_of_a_hostname_names_its_place() {
    for (key, value, expected) in [
        ("hostname", serde_json::json!("acme_x.test"), "/hostnames/0/hostname: `acme_x.test` is not a hostname"),
        ("platform", serde_json::json!(true), "/hostnames/0/platform: a platform hostname has no tenant"),
        ("project", serde_json::json!("other"), "/hostnames/0/project: there is no project `other`"),
        (
            "certificate",
            serde_json::json!({ "chain": "acme.key", "key": "absent.key" }),
            "/hostnames/0/certificate/chain: file `acme.key` holds no PEM block with `CERTIFICATE-----`",
        ),
        (
            "routes",
            serde_json::json!([{ "path": "/x", "access": "public" }]),
            "/hostnames/0/routes/0: a hostname's own route names its `upstream`",
        ),
    ] {
        let found = problems(|file| set(file, "/hostnames/0", key, value));
        assert!(found[0].starts_with(expected), "{found:?}");
    }
    let twice = serde_json::json!({ "hostname": "ACME.example.test." });
    let found = problems(|file| push(file, "/hostnames", twice));
    assert_eq!(found, ["/hostnames/1/hostname: hostname `acme.example.test` stands twice (first as number 1)"]);
}

#[test]
fn an_id_stands_once() {
    let id = serde_json::json!("00000000-0000-0000-0000-000000000001");
    let found = problems(|file| set(file, "/roles/0", "id", id));
    assert_eq!(found, ["/roles/0/id: id 00000000-0000-0000-0000-000000000001 stands twice"]);
}

#[test]
fn only_platform_roles_grant_everything() {
    let found = problems(|file| set(file, "/roles/0", "permissions", serde_json::json!(["*:*:*"])));
    assert_eq!(found, ["/roles/0/permissions/0: `*:*:*` is for roles of scope `platform`"]);
}

#[test]
fn the_key_of_an_assertion_comes_from_a_file_on_a_gateway_of_its_own_only() {
    let with = |key: Option<&str>, read_as| {
        let mut value = example();
        set(&mut value, "/upstreams/0", "assertion", "hmac".into());
        if let Some(key) = key {
            set(&mut value, "/upstreams/0", "assertion_key", key.into());
        }
        set(&mut value, "/issuers/0", "jwks", serde_json::json!({ "url": "https://id.example.test/jwks" }));
        if read_as == ReadAs::EdgeFile {
            set(&mut value, "/issuers/0", "jwks", serde_json::json!({ "file": "jwks.json" }));
        }
        compile(&serde_json::from_value(value).unwrap(), read_as, &file)
    };
    let declared = with(Some("hmac.key"), ReadAs::EdgeFile).unwrap();
    assert!(matches!(&upstream(&declared).assertion, Assertion::Hmac { key, kid }
        if key.expose().len() == 43 && kid == "orders"));
    assert_eq!(with(None, ReadAs::EdgeFile).unwrap_err()[0].message, "`assertion_key` is missing");
    assert_eq!(with(Some("jwks.json"), ReadAs::EdgeFile).unwrap_err()[0].pointer, "/upstreams/0/assertion_key");
    assert_eq!(with(Some("hmac.key"), ReadAs::Apply).unwrap_err()[0].pointer, "/upstreams/0/assertion_key");
    let applied = with(None, ReadAs::Apply).unwrap();
    assert_eq!(applied.jwks_urls, [(issuer(&applied).id, "https://id.example.test/jwks".to_owned())]);
}

#[test]
fn peers_are_addresses_names_or_sockets() {
    for (text, expected) in [
        ("127.0.0.1:3000", Peer::Socket("127.0.0.1:3000".parse().unwrap())),
        ("[::1]:3000", Peer::Socket("[::1]:3000".parse().unwrap())),
        ("Orders_1.internal:80", Peer::Name("orders_1.internal".into(), 80)),
        ("unix:/run/orders.sock", Peer::Unix("/run/orders.sock".into())),
    ] {
        assert_eq!(upstream::peer(text), Ok(expected), "{text}");
    }
    for bad in [
        "",
        "orders",
        "orders:0",
        "orders:99999",
        "127.0.0.1",
        "127.0.0:80",
        "unix:run",
        "::1:80",
        "a b:80",
        "127.0.0.1:0",
    ] {
        assert!(upstream::peer(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_a_route_demands_of_a_sign_in_older_gateways_would_not_ask_for() {
    let mut value = example();
    set(&mut value, "/services/0/routes/2", "require", serde_json::json!({ "acr": "aal2", "max_age": "5m" }));
    let declared = compiled(value).unwrap();
    let require = service(&declared).routes[2].require.unwrap();
    assert_eq!((require.acr, require.max_age), (Some(crate::Acr::Aal2), Some(HumanDuration::from_secs(300))));
    assert_eq!(Entity::Service(service(&declared).clone()).min_reader(), 5);
    for (wrong, place) in [
        (serde_json::json!({}), "/services/0/routes/2/require: "),
        (serde_json::json!({ "max_age": "31d" }), "/services/0/routes/2/require/max_age: "),
        (serde_json::json!({ "acr": "aal2", "exempt": ["token"] }), "/services/0/routes/2/require/exempt: "),
    ] {
        let found = problems(|file| set(file, "/services/0/routes/2", "require", wrong));
        assert!(found.len() == 1 && found[0].starts_with(place), "{found:?}");
    }
    let public = problems(|file| set(file, "/services/0/routes/0", "require", serde_json::json!({ "acr": "aal2" })));
    assert!(public[0].starts_with("/services/0/routes/0/require: "), "{public:?}");
}

#[test]
fn a_routes_streams_have_a_time_that_older_gateways_would_not_keep() {
    let mut value = example();
    assert_eq!(Entity::Service(service(&compiled(value.clone()).unwrap()).clone()).min_reader(), 1);
    set(&mut value, "/services/0/routes/2", "max_stream", "4h".into());
    let declared = compiled(value).unwrap();
    assert_eq!(service(&declared).routes[2].max_stream, Some(HumanDuration::from_secs(4 * 3600)));
    assert_eq!(Entity::Service(service(&declared).clone()).min_reader(), 3);
    for wrong in ["999ms", "31d"] {
        let found = problems(|file| set(file, "/services/0/routes/2", "max_stream", wrong.into()));
        assert_eq!(found, ["/services/0/routes/2/max_stream: is not 1s to 30d"]);
    }
}

#[test]
fn an_unknown_field_is_refused() {
    let mut value = example();
    set(&mut value, "/hostnames/0", "tenat", "acme".into());
    assert!(serde_json::from_value::<RawFile>(value).is_err());
}
