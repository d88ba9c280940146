//! The example configurations load, and the reference of the control API's settings is what the code says.

use std::path::{Path, PathBuf};

use control_api::Config;
use link::file::{Overrides, reference_markdown};
use standalone::config::NodeConfig;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_control_apis_example_loads() {
    let config = Config::load(&root().join("conf/control-api.yaml"), &Overrides::none());
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.environment, control_api::config::Environment::Prod);
}

#[test]
fn the_nodes_example_loads() {
    let config = NodeConfig::load(&root().join("conf/portcullis.yaml"));
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.data_dir, Path::new("/var/lib/portcullis"));
}

#[test]
fn all_mistakes_of_a_node_come_at_once_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.yaml");
    std::fs::write(&file, "data_dri: x\ngateway: { listen: { https: nowhere } }\ncontrol_api: { environment: moon }\n")
        .unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["serve", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    for key in ["data_dri", "gateway.listen.https", "control_api.environment"] {
        assert!(complaint.contains(key), "{key} in {complaint}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn the_reference_of_settings_is_what_the_code_says() {
    let path = root().join("docs/config-control-api.md");
    let now = reference_markdown::<Config>("Settings of the control API");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), now, "run `make bless`");
}
