//! Refusals that other services write to Redis become facts of the log.

use std::{collections::HashMap, sync::Arc, time::Duration};

use control_api::{
    config::{DecisionsConfig, LogConfig},
    internal::Hub,
};
use domain::{Clock, Fact, Timestamp, TokenId};
use link::{clock::SystemClock, log::RedisCarrier, redis};
use store::{Store, read::*};
use testkit::eventually;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle};
use uuid::Uuid;

use crate::support::sealer;

/// Commands in Redis' inline form, all at once.
async fn tell(commands: &str) {
    let url = std::env::var("REDIS_URL").expect("REDIS_URL is not set: run `make test`, which starts Redis");
    let address = url.trim_start_matches("redis://").split('/').next().unwrap().rsplit('@').next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut answers, mut says) = stream.split();
    let told = async {
        says.write_all(format!("{commands}QUIT\r\n").as_bytes()).await.unwrap();
    };
    let mut answer = String::new();
    let (_, read) = tokio::join!(told, tokio::io::AsyncReadExt::read_to_string(&mut answers, &mut answer));
    read.unwrap();
    assert!(!answer.contains("-ERR"), "{answer}");
}

/// A replica of the control API's log.
async fn replica(store: &Store, prefix: &str) -> JoinHandle<()> {
    let url = std::env::var("REDIS_URL").expect("REDIS_URL is not set: run `make test`, which starts Redis");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let redis = redis::connect(&url, redis::Role::Revocation).await.unwrap();
    let carrier = RedisCarrier::new(redis, Arc::clone(&clock)).adopting(prefix);
    tokio::spawn(
        Hub::start(store.clone(), store.clone(), clock, Arc::new(carrier))
            .run_jobs(LogConfig::default(), DecisionsConfig::default()),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_foreign_refusals_becomes_one_fact_each_and_outlives_its_keys() {
    const FLOOD: usize = 10_000;
    let prefix = format!("test:{}:", Uuid::new_v4());
    let store = Store::sqlite_in_memory(sealer()).unwrap();
    store.migrate().await.unwrap();
    let replicas = [replica(&store, &prefix).await, replica(&store, &prefix).await];
    let tokens: Vec<TokenId> = (0..FLOOD).map(|_| TokenId::new(Uuid::new_v4())).collect();
    tell(&tokens.iter().map(|jti| format!("SET {prefix}{jti} logout EX 600\r\n")).collect::<String>()).await;
    eventually("every refusal is in the log", async || store.head().await.unwrap().seq.0 >= FLOOD as u64).await;
    tell(&tokens.iter().map(|jti| format!("DEL {prefix}{jti}\r\n")).collect::<String>()).await;
    let late = TokenId::new(Uuid::new_v4());
    tell(&format!("SET {prefix}{late} logout EX 600\r\n")).await;
    eventually("one more is", async || store.head().await.unwrap().seq.0 > FLOOD as u64).await;
    assert_eq!(store.head().await.unwrap().seq.0, FLOOD as u64 + 1, "two replicas, one fact each");
    let now = SystemClock.unix_now();
    let (_, facts) = store.live_facts(now).await.unwrap();
    let refused: HashMap<TokenId, Timestamp> = facts
        .into_iter()
        .filter_map(|fact| match fact {
            Fact::TokenRefused { jti, exp } => Some((jti, exp)),
            _ => None,
        })
        .collect();
    for jti in tokens.iter().chain([&late]) {
        let exp = refused.get(jti).expect("a key that is deleted early leaves its fact");
        assert!(*exp > now && *exp <= now + Duration::from_secs(600), "{exp}");
    }
    replicas.iter().for_each(JoinHandle::abort);
}
