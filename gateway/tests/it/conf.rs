//! The example configurations load, and the reference of the gateway's settings is what the code says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use domain::{declarative::ReadAs, snapshot::Algorithm};
use gateway::{GatewayConfig, config::Environment};
use link::file::reference_markdown;
use testkit::{TestCa, TestIssuer};

use crate::support::{ACME, write_leaf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_example_of_a_gateway_on_its_own_loads_with_what_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["gateway.yaml", "edge.yaml"] {
        fs::copy(root().join("conf").join(file), folder.path().join(file)).unwrap();
    }
    write_leaf(folder.path(), "acme", &TestCa::new().leaf(&[ACME]));
    let issuer = TestIssuer::new("https://id.example.test", Algorithm::Es256);
    fs::write(folder.path().join("jwks.json"), issuer.jwks().to_string()).unwrap();
    let config = GatewayConfig::load(&folder.path().join("gateway.yaml"));
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let served = config.feed.file.unwrap();
    assert_eq!(served, folder.path().join("edge.yaml"));
    let declared = link::declarative::load(&served, ReadAs::EdgeFile);
    let declared = declared.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(!declared.entities.is_empty());
}

#[test]
fn the_example_of_a_gateway_of_a_fleet_loads() {
    let config = GatewayConfig::load(&root().join("conf/gateway-fleet.yaml"));
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.environment, Environment::Prod);
    assert!(config.feed.control_api.is_some_and(|control_api| control_api.join_token.is_some()));
}

#[test]
fn the_reference_of_settings_is_what_the_code_says() {
    let path = root().join("docs/config-gateway.md");
    let now = reference_markdown::<GatewayConfig>("Settings of the gateway");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &now).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), now, "run `make bless`");
}
