//! The ladder's lowest rung: what a proxy on Pingora costs that does nothing but drop `Authorization` and set headers.
//!
//! `floor --listen ADDR --upstream ADDR --cert FILE --key FILE --headers N`: TLS (rustls, AWS-LC), HTTP/1.1 and HTTP/2, one
//! thread, mimalloc. Checks nothing at all.

use std::sync::Arc;

use async_trait::async_trait;
use clap::Parser as _;
use pingora::{
    listeners::tls::TlsSettings,
    prelude::{HttpPeer, ProxyHttp, RequestHeader, Server, Session, http_proxy_service},
    server::configuration::ServerConf,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(clap::Parser)]
struct Arguments {
    #[arg(long)]
    listen: String,
    #[arg(long)]
    upstream: String,
    #[arg(long)]
    cert: String,
    #[arg(long)]
    key: String,
    /// How many headers it sets: as many as the gateway does, for a fair comparison.
    #[arg(long, default_value_t = 3)]
    headers: usize,
}

struct Floor {
    upstream: String,
    headers: Vec<(String, String)>,
}

#[async_trait]
impl ProxyHttp for Floor {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> pingora::Result<()> {
        request.remove_header("authorization");
        for (name, value) in &self.headers {
            request.insert_header(name.clone(), value)?;
        }
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| anyhow::anyhow!("a provider of cryptography is installed already"))?;
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 1024,
        // Told to end, it ends: whoever measures it has stopped asking.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let headers = (0..arguments.headers).map(|n| (format!("x-floor-header-{n}"), "0123456789abcdef-0123456789".into()));
    let floor = Floor { upstream: arguments.upstream, headers: headers.collect() };
    let mut service = http_proxy_service(&Arc::clone(&server.configuration), floor);
    let mut tls = TlsSettings::intermediate(&arguments.cert, &arguments.key)?;
    tls.enable_h2();
    service.add_tls_with_settings(&arguments.listen, None, tls);
    server.add_service(service);
    server.run_forever()
}
