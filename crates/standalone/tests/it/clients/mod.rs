//! The libraries for services behind the gateway, in Rust and in Go, against what the gateway really sends.

mod exchange;
mod paths;
mod requests;

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

/// Asks the Go library: one question a line, one answer a line (`clients/go/internal/check`).
fn ask_go(questions: &[Value]) -> Vec<Value> {
    let mut child = Command::new("go")
        .args(["run", "./internal/check"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/go"))
        .env("GOFLAGS", "-mod=mod")
        .env("GOTOOLCHAIN", "local")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("Go is not installed: run `make test`, which installs it");
    let mut input = child.stdin.take().unwrap();
    let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let answers = String::from_utf8(output.stdout).unwrap();
    answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
