//! The page that the description is read on.

use crate::support::{World, get};

#[tokio::test]
async fn the_page_shows_every_operation_and_lets_a_browser_do_nothing_else() {
    let world = World::new().await;
    let described = get("/openapi.json").send(&world.admin).await.expect(200).body;
    let page = get("/docs").send(&world.admin).await.expect(200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    let html = get("/docs").text(&world.admin).await;
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let shown = format!("<span class=\"method\">{}</span>{path}</code>", method.to_uppercase());
            assert!(html.contains(&shown), "{method} {path}");
        }
    }
    assert!(!html.contains("<script") && !html.contains("style=") && !html.contains("http://"), "nothing runs");
    let style = get("/docs/style.css").send(&world.admin).await.expect(200);
    assert_eq!(style.headers["content-type"], "text/css; charset=utf-8");
}

/// What the edge forwards to has no use for it; services have their own.
#[tokio::test]
async fn the_page_stands_beside_each_description() {
    let world = World::new().await;
    get("/docs").send(&world.public).await.expect(403);
    let internal = get("/docs").text(&world.internal).await;
    assert!(internal.contains("/v1/internal/api-keys/verify"));
}
