//! Sockets from one process to another: `SCM_RIGHTS` of unix(7), with the words that name them.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::fd::AsFd as _,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::{io::Interest, net::UnixStream};

/// Sockets given at most: three listeners, each on two addresses.
const SOCKETS: usize = 6;

/// Bytes of the words at most.
const WORDS: usize = 16 << 10;

/// Sends these words, ended by a line break, and these sockets.
pub(super) async fn send(stream: &UnixStream, words: &[u8], sockets: &[&TcpListener]) -> io::Result<()> {
    let line = [words, b"\n"].concat();
    let sockets: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
    let mut sent = 0;
    while let Some(rest) = line.get(sent..).filter(|rest| !rest.is_empty()) {
        stream.writable().await?;
        let written = stream.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            // With the first byte, once.
            if sent == 0 && !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many sockets"));
            }
            Ok(sendmsg(stream, &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL)?)
        });
        match written {
            Ok(written) => sent += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The words of [`send`], without the line break, and the sockets.
pub(super) async fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<TcpListener>)> {
    let (mut words, mut sockets) = (Vec::new(), Vec::new());
    loop {
        stream.readable().await?;
        // A byte at a time: what comes behind the line is for somebody else.
        let mut byte = [0];
        let read = stream.try_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut byte)];
            let read = recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(given) = message {
                    sockets.extend(given.map(TcpListener::from));
                }
            }
            Ok(read)
        });
        match read {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if byte == *b"\n" => return Ok((words, sockets)),
            Ok(_) if words.len() == WORDS => return Err(io::ErrorKind::InvalidData.into()),
            Ok(_) => words.extend_from_slice(&byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sockets_arrive_with_their_words_and_still_listen() {
        let (here, there) = UnixStream::pair().unwrap();
        let listeners: Vec<_> = (0..SOCKETS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = listeners.iter().map(|it| it.local_addr().unwrap()).collect();
        send(&here, b"words", &listeners.iter().collect::<Vec<_>>()).await.unwrap();
        drop(listeners);
        let (words, sockets) = receive(&there).await.unwrap();
        assert_eq!(words, b"words");
        assert_eq!(sockets.iter().map(|it| it.local_addr().unwrap()).collect::<Vec<_>>(), addresses);
        std::net::TcpStream::connect(addresses[0]).unwrap();
    }

    #[tokio::test]
    async fn more_sockets_than_there_are_listeners_are_not_sent() {
        let (here, _there) = UnixStream::pair().unwrap();
        let listeners: Vec<_> = (0..2 * SOCKETS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        assert!(send(&here, b"words", &listeners.iter().collect::<Vec<_>>()).await.is_err());
    }

    #[tokio::test]
    async fn who_says_nothing_whole_gives_nothing() {
        let (here, there) = UnixStream::pair().unwrap();
        here.try_write(b"half").unwrap();
        drop(here);
        assert!(receive(&there).await.is_err());
    }
}
