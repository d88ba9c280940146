//! The last answer on a connection: said whole, heard whole.
//!
//! Who closes while the other end still sends makes the kernel answer with a reset, which may overtake the answer. So
//! after the answer the sending side is closed, and what still comes is read and thrown away for a moment.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use gate::Denial;
use pingora::http::ResponseHeader;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::proxy::{Shared, access_log, answer, request_id::request_id};

/// Longest time for a farewell.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes thrown away at most.
const THROWN_AWAY: usize = 1 << 20;

/// What is left to do.
#[derive(Debug)]
enum Step {
    Say(Bytes),
    Close,
    ThrowAway { left: usize },
    Over,
}

/// Says goodbye.
#[derive(Debug)]
pub(super) struct Farewell {
    step: Step,
    timer: Pin<Box<Sleep>>,
}

impl Farewell {
    /// With an answer of HTTP/1.1, or with none.
    pub(super) fn new(answer: Bytes) -> Self {
        Self { step: Step::Say(answer), timer: Box::pin(sleep(PATIENCE)) }
    }

    /// Ready when all is said and done.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.as_mut().poll(cx).is_ready() {
            self.step = Step::Over;
        }
        loop {
            self.step = match &mut self.step {
                Step::Say(answer) if answer.is_empty() => match ready!(Pin::new(&mut *stream).poll_flush(cx)) {
                    Ok(()) => Step::Close,
                    Err(_) => Step::Over,
                },
                Step::Say(answer) => match ready!(Pin::new(&mut *stream).poll_write(cx, answer)) {
                    Ok(0) | Err(_) => Step::Over,
                    Ok(written) => {
                        answer.advance(written);
                        continue;
                    }
                },
                Step::Close => match ready!(Pin::new(&mut *stream).poll_shutdown(cx)) {
                    Ok(()) => Step::ThrowAway { left: THROWN_AWAY },
                    Err(_) => Step::Over,
                },
                Step::ThrowAway { left } => match ready!(throw_away(stream, cx)) {
                    Ok(read) if read > 0 && read <= *left => Step::ThrowAway { left: *left - read },
                    Ok(_) | Err(_) => Step::Over,
                },
                Step::Over => return Poll::Ready(()),
            };
        }
    }
}

fn throw_away<S: AsyncRead + Unpin>(stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut bytes = [0; 4096];
    let mut buf = ReadBuf::new(&mut bytes);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().len()))
}

/// The answer to a head that became no request, noted in metrics and access log.
pub(super) fn answer_to_no_request(shared: &Shared, denial: &Denial, client: Option<IpAddr>) -> Bytes {
    let id = request_id(&*shared.clock);
    let (status, code) = denial.public();
    shared.metrics.no_request(code);
    access_log::write_no_request(id, (status, code), denial, client);
    match answer::refusal(denial, id) {
        Ok((header, body)) => http1(&header, &body),
        // A status and a few fixed fields are a header.
        Err(_) => Bytes::new(),
    }
}

/// An answer as HTTP/1.1 sends it, the connection's last.
fn http1(header: &ResponseHeader, body: &Bytes) -> Bytes {
    let reason = header.status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\nconnection: close\r\n", header.status.as_u16()).into_bytes();
    for (name, value) in &header.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes.into()
}
