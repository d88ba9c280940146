//! A TCP proxy between our processes and Redis, to be cut and turned.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Dropped, it cuts all connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// Everything is carried there.
    To(SocketAddr),
    /// Connections stay open, and nothing is carried: as when packets are dropped.
    Cut,
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, current) = watch::channel(Mode::To(target));
        tokio::spawn(async move {
            let mut closed = current.clone();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        tokio::spawn(carry(accepted.unwrap().0, current.clone()));
                    }
                    changed = closed.changed() => if changed.is_err() { return },
                }
            }
        });
        Self { address, mode }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing comes through, and nobody is told.
    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// From now on connections lead there. Those that led elsewhere are closed.
    pub(crate) fn turn_to(&self, target: SocketAddr) {
        self.mode.send_replace(Mode::To(target));
    }
}

/// Carries one connection for as long as the mode is what it was; a connection that was cut is held until it changes.
async fn carry(mut client: TcpStream, mut current: watch::Receiver<Mode>) {
    let mode = *current.borrow_and_update();
    let Mode::To(target) = mode else {
        drop(current.changed().await);
        return;
    };
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        // How a connection ends is its two ends' affair.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        changed = current.changed() => if changed.is_ok() && *current.borrow_and_update() == Mode::Cut {
            drop(current.changed().await);
        },
    }
}
