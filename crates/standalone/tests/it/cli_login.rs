//! `portcullis login` where sign-in asks for a second factor.

use control_api::totp::Codes;
use domain::Secret;
use reqwest::Method;
use serde_json::json;

use crate::{
    cli::Operator,
    node::Node,
    step_up::{answer, now, unbase32},
};

#[tokio::test]
async fn a_second_factor_is_given_from_a_file_or_the_standard_input_and_the_session_is_kept() {
    let node = Node::start();
    let access = node.staff().await.access;
    let post = |path: &str| node.admin(Method::POST, path).bearer_auth(&access);
    let set_up = answer(post("/v1/auth/totp/setup").json(&json!({}))).await;
    let codes = Codes::of(&Secret::new(unbase32(set_up["secret"].as_str().unwrap()))).unwrap();
    let code = |steps: i64| codes.code(now().secs() / 30 + steps).unwrap();
    let confirmed = answer(post("/v1/auth/totp/confirm").json(&json!({ "code": code(0) }))).await;
    let recovery = confirmed["recovery_codes"][0].as_str().unwrap();

    let operator = Operator::of(&node);
    let nobody_there = operator.run(&["login"]);
    assert_ne!(nobody_there.code, 0);
    assert!(nobody_there.err.contains("--code-from"), "{}", nobody_there.err);
    let by_password_alone = operator.run(&["tenants", "list"]);
    assert!(by_password_alone.err.contains("`portcullis login`"), "{}", by_password_alone.err);
    let wrong = operator.run_with(&["login", "--code-from", "-"], "no-such-code");
    assert_eq!(wrong.code, 6, "{}", wrong.err);
    assert!(!wrong.err.contains("no-such-code"), "{}", wrong.err);

    // Of an authenticator.
    let file = node.folder.path().join("code");
    std::fs::write(&file, format!("{}\n", code(1))).unwrap();
    let done = operator.run(&["login", "--code-from", file.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{}", done.err);
    let later = Operator::unknown(&node);
    assert_eq!(later.json(&["tenants", "get", "acme"])["slug"], "acme");
    later.out(&["logout"]);

    // For when it is lost; once.
    for (attempt, expected) in [("the first", 0), ("the second", 6)] {
        let done = operator.run_with(&["login", "--code-from", "-"], recovery);
        assert_eq!(done.code, expected, "{attempt}: {}", done.err);
    }
    assert_eq!(later.json(&["tenants", "get", "acme"])["slug"], "acme");
}
