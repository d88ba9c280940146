//! What a client sends and gets, between TLS and Pingora's HTTP.
//!
//! While a head is read ([`Connection::head`]) the wire meters it: one that is too slow or too large is answered here, in
//! the middle of Pingora's read. What Pingora writes in that time is its own refusal of what it could not parse; ours
//! goes out in its place. While a request is served the wire hands through.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::Bytes;
use gate::Denial;
use http::StatusCode;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
    raw_connect::ProxyDigest,
    tls::{SslDigest, TlsRef},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{
    Connection,
    farewell::{Farewell, answer_to_no_request},
    meter::Meter,
};
use crate::{config::ConnectionConfig, proxy::Shared};

/// A connection's bytes, metered.
pub(super) struct Wire<S> {
    stream: S,
    connection: Arc<Connection>,
    shared: Arc<Shared>,
    http2: bool,
    meter: Meter,
    farewell: Option<Farewell>,
    /// Runs while the client takes nothing of what is written.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S: IO> Wire<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>, shared: Arc<Shared>) -> Self {
        let http2 = stream.selected_alpn_proto() == Some(ALPN::H2);
        Self { stream, connection, shared, http2, meter: Meter::default(), farewell: None, stuck: None }
    }

    fn limits(&self) -> &ConnectionConfig {
        &self.shared.limits
    }

    /// Says goodbye with a refusal, or without a word where there is nothing to answer.
    fn refuse(&mut self, denial: Option<Denial>) {
        let client = self.client();
        let answer = denial.map(|denial| answer_to_no_request(&self.shared, &denial, client));
        self.farewell = Some(Farewell::new(answer.unwrap_or_default()));
    }

    fn client(&self) -> Option<IpAddr> {
        let digest = self.stream.get_socket_digest()?;
        digest.peer_addr().and_then(|address| address.as_inet()).map(|address| address.ip().to_canonical())
    }

    /// Reads of a head. Pingora asks for more while the head is not whole.
    fn poll_head(&mut self, phase: u32, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.meter.phase() != phase {
            self.meter.turn_to(phase);
        }
        if !self.http2
            && let Some(denial) = self.meter.exceeds(&self.shared.limits)
        {
            self.refuse(Some(denial));
            return self.poll_farewell(cx);
        }
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            self.meter.saw(buf.filled().get(before..).unwrap_or_default());
            return Poll::Ready(read);
        }
        ready!(self.meter.poll_late(cx, &self.shared.limits));
        self.refuse((!self.http2 && !self.meter.is_empty()).then_some(Denial::RequestTimeout));
        self.poll_farewell(cx)
    }

    /// A write, as long as the client takes some of it in time. Every way of writing passes here: Pingora has a time for
    /// bodies only.
    fn poll_taken<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = poll(Pin::new(&mut self.stream), cx) {
            if self.stuck.take().is_some() {
                self.connection.taken();
            }
            return Poll::Ready(done);
        }
        let patience = self.shared.limits.write_timeout.get();
        ready!(self.stuck.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what is written")))
    }

    /// Nothing is read any more; once all is said, the connection is dropped by who serves it.
    fn poll_farewell<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(farewell) = &mut self.farewell
            && farewell.poll(&mut self.stream, cx).is_ready()
        {
            self.connection.over.notify_one();
        }
        Poll::Pending
    }
}

impl<S: IO> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.farewell.is_some() {
            return self.poll_farewell(cx);
        }
        match self.connection.head() {
            Some(phase) => self.poll_head(phase, cx, buf),
            None => Pin::new(&mut self.stream).poll_read(cx, buf),
        }
    }
}

impl<S: IO> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.farewell.is_none() && !self.http2 && self.connection.head().is_some() {
            let denial = self.meter.exceeds(self.limits()).unwrap_or_else(|| in_place_of(bytes));
            self.refuse(Some(denial));
        }
        if self.farewell.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.poll_taken(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.farewell.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.poll_taken(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.farewell.is_none() && self.connection.unread.load(Ordering::Acquire) {
            self.farewell = Some(Farewell::new(Bytes::new()));
        }
        let this = &mut *self;
        match &mut this.farewell {
            Some(farewell) => farewell.poll(&mut this.stream, cx).map(Ok),
            None => this.poll_taken(cx, |stream, cx| stream.poll_shutdown(cx)),
        }
    }
}

/// What we say where Pingora says this: 405 to CONNECT, 400 to what it cannot parse.
fn in_place_of(answer: &[u8]) -> Denial {
    let status = answer.get(b"HTTP/1.1 ".len()..).and_then(|rest| rest.get(..3)).map(StatusCode::from_bytes);
    match status {
        Some(Ok(StatusCode::METHOD_NOT_ALLOWED)) => Denial::MethodNotAllowed,
        _ => Denial::RequestMalformed("the request cannot be parsed"),
    }
}

#[async_trait]
impl<S: IO> Shutdown for Wire<S> {
    async fn shutdown(&mut self) {
        if let Err(error) = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_shutdown(cx)).await {
            tracing::debug!(%error, "the client was gone already");
        }
    }
}

impl<S: IO> UniqueID for Wire<S> {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl<S: IO> Ssl for Wire<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl<S: IO> GetTimingDigest for Wire<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl<S: IO> GetProxyDigest for Wire<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl<S: IO> GetSocketDigest for Wire<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

impl<S> Peek for Wire<S> {}

impl<S> std::fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("connection", &self.connection).finish_non_exhaustive()
    }
}
