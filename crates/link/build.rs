//! Compiles the `.proto` files without `protoc`.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let auth = protox::compile(["portcullis/v1/auth.proto"], ["proto"])?;
    // For reflection: what is asked by others than gateways.
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("auth.binpb"), auth.encode_to_vec())?;

    let mut builder = tonic_prost_build::configure();
    for message in auth.file.iter().flat_map(|file| &file.message_type) {
        // `portcullis rpc` reads and writes them as JSON.
        let attribute = "#[derive(serde::Serialize, serde::Deserialize)] #[serde(default, deny_unknown_fields)]";
        builder = builder.type_attribute(format!(".portcullis.v1.{}", message.name()), attribute);
    }
    let all = ["auth", "enrolment", "gateway"].map(|name| format!("portcullis/v1/{name}.proto"));
    builder.compile_fds(protox::compile(all, ["proto"])?)?;
    Ok(())
}
