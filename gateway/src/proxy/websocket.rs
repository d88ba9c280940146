//! Connections to upstreams for WebSockets.
//!
//! Pingora 0.9.1 takes the end of an upgrade request's empty body for the end of the WebSocket when it reads the
//! upstream's 101 first (cloudflare/pingora#946): both are ready, and it looks at them in random order. The body's end is
//! there from the very beginning, so it is enough that the answer is not: what reads from these connections finds nothing
//! the first time after something was written, and is woken at once.
//!
//! They are made for one request each, and are no longer shared when the upstream does not switch.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType,
    connectors::L4Connect,
    protocols::l4::{
        socket::SocketAddr,
        stream::Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
    upstreams::peer::HttpPeer,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// Keeps these connections apart from all others of an upstream.
const GROUP: u64 = 0x7765_6273_6f63_6b65;

/// Makes a peer one for a WebSocket.
pub(super) fn configure(peer: &mut HttpPeer) {
    peer.group_key ^= GROUP;
    peer.options.custom_l4 = Some(std::sync::Arc::new(Connect));
    peer.options.idle_timeout = Some(Duration::ZERO);
}

/// Connects as Pingora does, less options that no upstream of ours has.
#[derive(Debug)]
struct Connect;

#[async_trait]
impl L4Connect for Connect {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let connected = match address {
            SocketAddr::Inet(address) => TcpStream::connect(address).await.map(Unhurried::stream),
            SocketAddr::Unix(path) => match path.as_pathname() {
                Some(path) => UnixStream::connect(path).await.map(Unhurried::stream),
                None => Err(io::ErrorKind::AddrNotAvailable.into()),
            },
        };
        connected.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => ErrorType::ConnectNoRoute,
                _ => ErrorType::ConnectError,
            };
            Error::because(kind, "connecting for a WebSocket", error)
        })
    }
}

/// What sets an option of a socket.
trait NoDelay {
    fn set_no_delay(&self) -> io::Result<()>;
}
impl NoDelay for TcpStream {
    fn set_no_delay(&self) -> io::Result<()> {
        self.set_nodelay(true)
    }
}
impl NoDelay for UnixStream {
    fn set_no_delay(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection whose answers come one turn later than they could.
#[derive(Debug)]
struct Unhurried<S> {
    stream: S,
    /// Something was written since it was last read from.
    written: bool,
}

impl<S: AsyncRead + AsyncWrite + NoDelay + Unpin + Send + Sync + std::fmt::Debug + 'static> Unhurried<S> {
    fn stream(stream: S) -> Stream {
        VirtualSocketStream::new(Box::new(Self { stream, written: false })).into()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unhurried<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.written) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unhurried<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written = true;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + NoDelay + Unpin + Send + Sync + std::fmt::Debug> VirtualSocket for Unhurried<S> {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_no_delay(),
            // Asked for by no upstream.
            _ => Ok(()),
        }
    }
}
