//! What every start ensures, by several replicas at once.

use std::sync::Arc;

use control_api::{App, Config, bootstrap};
use domain::snapshot::Peer;
use futures::future::join_all;
use link::log::MemoryCarrier;
use serde_json::json;
use store::{
    Page, Store,
    list::{ProjectList, Selection},
    read::*,
};
use testkit::FixedClock;

use crate::support::{World, on_empty_postgres, sealer};

async fn each_thing_is_made_once(store: Store) {
    store.migrate().await.unwrap();
    let clock = Arc::new(FixedClock::default());
    let console = json!({ "bootstrap": { "console_hostname": "console.localhost" } });
    let config: Config = serde_json::from_value(console).unwrap();
    let replica = || {
        let carrier = Arc::new(MemoryCarrier::default());
        App::new(config.clone(), store.clone(), carrier, Arc::clone(&clock) as _).unwrap()
    };
    let replicas: Vec<App> = (0..4).map(|_| replica()).collect();
    let peer = Peer::Socket("127.0.0.1:9081".parse().unwrap());
    let way = bootstrap::WayIn { peer, tls: None };
    let made = join_all(replicas.iter().map(|app| bootstrap::ensure(app, Some(way.clone())))).await;
    let passwords: Vec<_> = made.into_iter().filter_map(|made| made.unwrap().platform_admin).collect();
    let [(_, password)] = &passwords[..] else { panic!("{} administrators were made", passwords.len()) };
    assert_eq!(store.list::<ProjectList>((), &Selection::default()).await.unwrap().rows.len(), 2);
    assert_eq!(store.tenants(Page::WIDEST).await.unwrap().len(), 1);
    assert_eq!(store.upstreams(Page::WIDEST).await.unwrap().len(), 1);
    assert_eq!(store.services(Page::WIDEST).await.unwrap().len(), 1);
    World::over(replicas[0].clone(), clock, password.expose()).staff().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_make_each_thing_once_on_sqlite() {
    each_thing_is_made_once(Store::sqlite_in_memory(sealer()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_make_each_thing_once_on_postgres() {
    on_empty_postgres(each_thing_is_made_once).await;
}
