//! A real provider of OpenID Connect, of somebody else's making.

use domain::Clock as _;
use reqwest::Url;
use serde_json::json;
use testkit::OidcProvider;

use super::{APP, Oauth, went_on};

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_through_a_real_provider_and_who_says_no_does_not() {
    let it = Oauth::bare().await;
    // It goes by the time of day.
    it.acme.world.clock.set_unix(link::clock::SystemClock.unix_now());
    let staff = it.acme.world.staff().await;
    let back = "https://acme.localhost/oauth/callback/real";
    let people = json!({
        "ada": { "email": super::ADA, "email_verified": true, "given_name": "Ada", "family_name": "L" },
        "eve": { "email": "eve@mail.example", "email_verified": false },
    });
    let provider = OidcProvider::start(("us", "hunter2"), &[back], &people);
    let it = Oauth { acme: crate::letters::Acme { staff, ..it.acme }, fake: it.fake };
    it.provider("real", "oidc", &json!({ "options": { "issuer": provider.issuer() } })).await.expect(201);
    let visit = async |person: &str| {
        let browser = super::under_way(it.start("real", APP, None).await);
        let sent: Url = provider.visit(browser.url.as_str(), person).parse().unwrap();
        assert!(sent.as_str().starts_with(back), "{sent}");
        let answer: Vec<(String, String)> = sent.query_pairs().into_owned().collect();
        // It names itself (RFC 9207).
        assert!(answer.contains(&("iss".to_owned(), provider.issuer())), "{sent}");
        let answer: Vec<(&str, &str)> = answer.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let onward = went_on(&it.come_back("real", &browser.cookie, &answer).await);
        (browser, onward)
    };
    let (browser, onward) = visit("ada").await;
    let code = onward.strip_prefix("oauth_code=").unwrap_or_else(|| panic!("{onward}"));
    let token = it.redeem(&browser, code).await.expect(200).text("access_token");
    assert_eq!(it.identities(&token).await[0]["email"], super::ADA);
    let (_, again) = visit("ada").await;
    assert!(again.starts_with("oauth_code="), "{again}");
    assert_eq!(visit("eve").await.1, "error=oauth_not_admitted");
    assert_eq!(visit("nobody").await.1, "error=oauth_refused");
}
