//! An accepted TCP connection in Pingora's terms, which can move from one runtime to another.

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
    stream: BufReader<BufWriter<Movable>>,
    digest: Arc<SocketDigest>,
}

impl Socket {
    /// `client` is who everything behind takes for the other end.
    pub(super) fn new(stream: TcpStream, client: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let mut digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        digest.peer_addr = Some(client.into()).into();
        let stream = BufReader::with_capacity(READ, BufWriter::with_capacity(WRITE, Movable(Some(stream))));
        Ok(Self { stream, digest: Arc::new(digest) })
    }

    /// Makes the runtime this is called in the one that waits for what the client sends. What is buffered stays.
    pub(super) fn moved(&mut self) -> io::Result<()> {
        self.stream.get_mut().get_mut().moved()
    }
}

/// A stream of tokio's belongs to the runtime it was made in; this one can be given to another.
#[derive(Debug)]
struct Movable(
    /// None only after it could not be moved.
    Option<TcpStream>,
);

impl Movable {
    fn moved(&mut self) -> io::Result<()> {
        let stream = self.0.take().ok_or(io::ErrorKind::NotConnected)?.into_std()?;
        self.0 = Some(TcpStream::from_std(stream)?);
        Ok(())
    }

    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        self.get_mut().0.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Movable {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Movable {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

impl Drop for Socket {
    /// Last words, such as the alert of a handshake that failed: who said them did not flush.
    fn drop(&mut self) {
        let writer = self.stream.get_ref();
        if !writer.buffer().is_empty() {
            // A client that does not take them is none to tell.
            let _ = writer.get_ref().0.as_ref().map(|stream| stream.try_write(writer.buffer()));
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
        // As good as any for one that is broken: -1 is no descriptor.
        self.stream.get_ref().get_ref().0.as_ref().map_or(-1, AsRawFd::as_raw_fd)
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt as _,
        net::TcpListener,
        runtime::{Builder, Runtime},
    };

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    #[test]
    fn what_one_runtime_read_ahead_and_what_comes_later_is_read_in_another() {
        let (doors, workers) = (runtime(), runtime());
        let (socket, mut client) = doors.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, from) = listener.accept().await.unwrap();
            let mut socket = Socket::new(stream, from).unwrap();
            client.write_all(b"abc").await.unwrap();
            let mut first = [0];
            socket.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"a");
            (socket, client)
        });
        let fd = socket.id();
        let answer = workers.block_on(async move {
            let mut socket = socket;
            socket.moved().unwrap();
            assert_eq!(socket.id(), fd);
            let mut rest = [0; 4];
            let sent = std::thread::spawn(move || {
                doors.block_on(client.write_all(b"de")).unwrap();
                (doors, client)
            });
            socket.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"bcde");
            socket.write_all(b"fgh").await.unwrap();
            socket.flush().await.unwrap();
            sent
        });
        let (doors, mut client) = answer.join().unwrap();
        let mut seen = [0; 3];
        doors.block_on(client.read_exact(&mut seen)).unwrap();
        assert_eq!(&seen, b"fgh");
    }
}
