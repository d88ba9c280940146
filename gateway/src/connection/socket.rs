//! An accepted TCP connection in Pingora's terms.

use std::{
    io,
    net::SocketAddr,
    os::fd::AsRawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter, ReadBuf},
    net::TcpStream,
};

/// Bytes read at once: a TLS record (RFC 8446 §5.1).
const READ: usize = 16 * 1024;

/// Bytes that wait for a flush: a segment.
const WRITE: usize = 1460;

/// A TCP connection and who it is with.
#[derive(Debug)]
pub(super) struct Socket {
    stream: BufReader<BufWriter<TcpStream>>,
    digest: Arc<SocketDigest>,
}

impl Socket {
    /// `client` is who everything behind takes for the other end.
    pub(super) fn new(stream: TcpStream, client: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let mut digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        digest.peer_addr = Some(client.into()).into();
        let stream = BufReader::with_capacity(READ, BufWriter::with_capacity(WRITE, stream));
        Ok(Self { stream, digest: Arc::new(digest) })
    }
}

impl Drop for Socket {
    /// Last words, such as the alert of a handshake that failed: who said them did not flush.
    fn drop(&mut self) {
        let writer = self.stream.get_ref();
        if !writer.buffer().is_empty() {
            // A client that does not take them is none to tell.
            let _ = writer.get_ref().try_write(writer.buffer());
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Socket {
    async fn shutdown(&mut self) {
        if let Err(error) = self.stream.shutdown().await {
            tracing::debug!(%error, "the client was gone already");
        }
    }
}

impl UniqueID for Socket {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().get_ref().as_raw_fd()
    }
}

impl Ssl for Socket {}

impl GetTimingDigest for Socket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Socket {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Socket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.digest = Arc::new(digest);
    }
}

impl Peek for Socket {}
