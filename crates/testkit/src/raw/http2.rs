//! An HTTP/2 client that sends any list of header fields: pseudo-headers missing, twice or out of order, names in upper
//! case, values with CR, LF or NUL. No library's client can be talked into that.

use std::{fmt, io, net::SocketAddr};

use loona_hpack::{Decoder, Encoder};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::client::TlsStream;

use super::http1::tls_connect;
use crate::{
    Leaf, PATIENCE,
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE, PUSH_PROMISE,
        RST_STREAM, SETTINGS, SETTINGS_ENABLE_PUSH, SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_UPDATE, settings,
    },
};

/// Largest payload of a frame that every peer takes (RFC 9113 §4.2).
const FRAME_BYTES: usize = 16 * 1024;
const WINDOW: u32 = 1 << 30;

/// One request over its own connection, with the fields as given.
///
/// # Errors
/// What socket and handshake answer; `TimedOut` after [`PATIENCE`].
pub async fn http2(
    addr: SocketAddr,
    sni: &str,
    ca_pem: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Http2Outcome> {
    Http2::connect(addr, sni, ca_pem).await?.request(fields, body).await
}

/// A request as it is sent: nothing is added, ordered or checked.
#[derive(Clone, Default)]
pub struct Http2Request {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Http2Request {
    /// A GET of `path` with the four pseudo-headers.
    pub fn get(authority: &str, path: &str) -> Self {
        Self::new(&[(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path)])
    }

    /// These fields and no others.
    pub fn new(fields: &[(&str, &str)]) -> Self {
        fields.iter().fold(Self::default(), |request, (name, value)| request.field(name, value))
    }

    /// One more field, of any bytes.
    #[must_use]
    pub fn field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The body.
    #[must_use]
    pub fn body(self, body: &[u8]) -> Self {
        Self { body: body.to_vec(), ..self }
    }

    /// One more trailer field, of any bytes.
    #[must_use]
    pub fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.trailers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }
}

/// Fields as text, so that a failed assertion can be read.
impl fmt::Debug for Http2Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |fields: &[(Vec<u8>, Vec<u8>)]| -> Vec<String> {
            fields.iter().map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii())).collect()
        };
        f.debug_struct("Http2Request")
            .field("fields", &text(&self.fields))
            .field("body_bytes", &self.body.len())
            .field("trailers", &text(&self.trailers))
            .finish()
    }
}

/// How a request ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Http2Outcome {
    /// With a response.
    Response {
        /// `:status`.
        status: u16,
        /// Header fields in order, without pseudo-headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
        /// Trailer fields in order.
        trailers: Vec<(String, String)>,
    },
    /// The peer reset the stream with this error code (RFC 9113 §7).
    Reset(u32),
    /// The peer ended the connection, with this error code.
    GoAway(u32),
    /// The peer closed without a word.
    Closed,
}

impl Http2Outcome {
    /// The response's status, if there was a response.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Response { status, .. } => Some(*status),
            Self::Reset(_) | Self::GoAway(_) | Self::Closed => None,
        }
    }

    /// The first value of a response header.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self {
            Self::Response { headers, .. } => headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()),
            Self::Reset(_) | Self::GoAway(_) | Self::Closed => None,
        }
    }

    /// The response's body as JSON.
    ///
    /// # Panics
    /// When there was no response or it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Response { body, .. } => serde_json::from_slice(body).unwrap(),
            other => panic!("no response but {other:?}"),
        }
    }

    /// Refused before any response: reset, connection ended or closed, or 400.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Response { status, .. } if *status != 400)
    }
}

/// An HTTP/2 connection over TLS. Requests go one after the other.
pub struct Http2 {
    stream: TlsStream<TcpStream>,
    encoder: Encoder<'static>,
    decoder: Decoder<'static>,
    next_stream: u32,
    /// What we may still send on the connection, and on a new stream.
    connection_window: i64,
    initial_window: i64,
}

impl Http2 {
    /// Connects with ALPN `h2`, trusting only `ca_pem`.
    ///
    /// # Errors
    /// What socket and handshake answer; `Unsupported` when the peer does not choose `h2`.
    pub async fn connect(addr: SocketAddr, sni: &str, ca_pem: &str) -> io::Result<Self> {
        Self::connect_as(addr, sni, ca_pem, None).await
    }

    /// As [`Self::connect`], with a client certificate to show when asked.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_as(addr: SocketAddr, sni: &str, ca_pem: &str, identity: Option<&Leaf>) -> io::Result<Self> {
        let mut stream = tls_connect(addr, sni, ca_pem, &["h2"], identity).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the peer does not speak h2"));
        }
        let ours = settings(&[(SETTINGS_ENABLE_PUSH, 0), (SETTINGS_INITIAL_WINDOW_SIZE, WINDOW)]);
        stream.write_all(PREFACE).await?;
        stream.write_all(&Frame::encode(SETTINGS, 0, 0, &ours)).await?;
        stream.write_all(&Frame::encode(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes())).await?;
        stream.flush().await?;
        Ok(Self {
            stream,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            next_stream: 1,
            connection_window: 65_535,
            initial_window: 65_535,
        })
    }

    /// Sends these fields and this body, and waits for the end of the response.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`]; what the socket answers, but a closed connection is [`Http2Outcome::Closed`].
    pub async fn request(&mut self, fields: &[(&str, &str)], body: &[u8]) -> io::Result<Http2Outcome> {
        self.send(&Http2Request::new(fields).body(body)).await
    }

    /// Sends a request and waits for the end of the response.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn send(&mut self, request: &Http2Request) -> io::Result<Http2Outcome> {
        let exchange = timeout(PATIENCE, self.exchange(request)).await;
        match exchange.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no whole response"))? {
            Err(e) if is_closed(&e) => Ok(Http2Outcome::Closed),
            outcome => outcome,
        }
    }

    /// Sends one frame of any kind with any content.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn send_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&Frame::encode(kind, flags, stream, payload)).await?;
        self.stream.flush().await
    }

    /// Begins a request: sends its header fields and no more. Gives its stream.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn begin(&mut self, request: &Http2Request) -> io::Result<u32> {
        let id = self.next_stream;
        self.next_stream += 2;
        self.send_fields(id, &request.fields, false).await?;
        Ok(id)
    }

    /// Sends a whole request without a body, and does not wait. Gives its stream.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn begin_bare(&mut self, request: &Http2Request) -> io::Result<u32> {
        let id = self.next_stream;
        self.next_stream += 2;
        self.send_fields(id, &request.fields, true).await?;
        Ok(id)
    }

    /// Resets a stream with an error code.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn reset(&mut self, stream: u32, code: u32) -> io::Result<()> {
        self.send_frame(RST_STREAM, 0, stream, &code.to_be_bytes()).await
    }

    /// Waits until the peer closes; the error code of its last GOAWAY, if there was one.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`].
    pub async fn closed(&mut self) -> io::Result<Option<u32>> {
        let listen = async {
            let mut code = None;
            // Ends when the peer closes, in whatever way.
            while let Ok(frame) = Frame::read(&mut self.stream).await {
                match frame.kind {
                    GOAWAY => code = Some(frame.number(4)),
                    // A peer that has closed its half need not be answered.
                    PING if !frame.has(ACK) => drop(self.send_frame(PING, ACK, 0, &frame.payload).await),
                    SETTINGS if !frame.has(ACK) => drop(self.send_frame(SETTINGS, ACK, 0, &[]).await),
                    _ => {}
                }
            }
            code
        };
        timeout(PATIENCE, listen).await.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the peer does not close"))
    }

    async fn exchange(&mut self, request: &Http2Request) -> io::Result<Http2Outcome> {
        let id = self.next_stream;
        self.next_stream += 2;
        let bare = request.body.is_empty() && request.trailers.is_empty();
        self.send_fields(id, &request.fields, bare).await?;

        let mut unsent = request.body.as_slice();
        let mut window = self.initial_window;
        let mut open = !bare;
        let mut answer = Answer::default();
        loop {
            let room = usize::try_from(self.connection_window.min(window)).unwrap_or(0);
            if open && unsent.is_empty() {
                if !request.trailers.is_empty() {
                    self.send_fields(id, &request.trailers, true).await?;
                }
                open = false;
            } else if open && room > 0 {
                let (chunk, later) = unsent.split_at(unsent.len().min(room).min(FRAME_BYTES));
                let last = later.is_empty() && request.trailers.is_empty();
                self.send_frame(DATA, if last { END_STREAM } else { 0 }, id, chunk).await?;
                let sent = i64::try_from(chunk.len()).unwrap();
                (self.connection_window, window, unsent) = (self.connection_window - sent, window - sent, later);
                open = !last;
            } else {
                let frame = Frame::read(&mut self.stream).await?;
                if let Some(outcome) = self.on_frame(frame, id, &mut window, &mut answer).await? {
                    return Ok(outcome);
                }
            }
        }
    }

    async fn on_frame(
        &mut self,
        frame: Frame,
        id: u32,
        window: &mut i64,
        answer: &mut Answer,
    ) -> io::Result<Option<Http2Outcome>> {
        match frame.kind {
            SETTINGS if !frame.has(ACK) => {
                for setting in frame.payload.chunks_exact(6) {
                    let value = u32::from_be_bytes(setting[2..].try_into().unwrap());
                    if u16::from_be_bytes([setting[0], setting[1]]) == SETTINGS_INITIAL_WINDOW_SIZE {
                        *window += i64::from(value) - self.initial_window;
                        self.initial_window = i64::from(value);
                    }
                }
                self.send_frame(SETTINGS, ACK, 0, &[]).await?;
            }
            PING if !frame.has(ACK) => self.send_frame(PING, ACK, 0, &frame.payload).await?,
            WINDOW_UPDATE if frame.stream == 0 => self.connection_window += i64::from(frame.number(0)),
            WINDOW_UPDATE if frame.stream == id => *window += i64::from(frame.number(0)),
            GOAWAY if frame.number(4) != 0 || frame.number(0) < id => {
                return Ok(Some(Http2Outcome::GoAway(frame.number(4))));
            }
            RST_STREAM if frame.stream == id => return Ok(Some(Http2Outcome::Reset(frame.number(0)))),
            DATA if frame.stream == id => {
                answer.body.extend_from_slice(frame.content());
                answer.ended |= frame.has(END_STREAM);
            }
            HEADERS | CONTINUATION => {
                answer.block.extend_from_slice(frame.content());
                answer.ended |= frame.kind == HEADERS && frame.stream == id && frame.has(END_STREAM);
                if frame.has(END_HEADERS) {
                    let block = std::mem::take(&mut answer.block);
                    // A block of another stream is decoded too: it changes the decoder's table.
                    let fields = self.decoder.decode(&block).map_err(|e| io::Error::other(format!("HPACK: {e:?}")))?;
                    if frame.stream == id {
                        answer.take_fields(fields);
                    }
                }
            }
            PUSH_PROMISE => return Err(io::Error::other("a push that was switched off")),
            _ => {}
        }
        Ok(answer.ended.then(|| std::mem::take(answer).into_outcome()))
    }

    async fn send_fields(&mut self, id: u32, fields: &[(Vec<u8>, Vec<u8>)], last: bool) -> io::Result<()> {
        let block = self.encoder.encode(fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
        let mut parts = block.chunks(FRAME_BYTES).peekable();
        let mut kind = HEADERS;
        let mut flags = if last { END_STREAM } else { 0 };
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                flags |= END_HEADERS;
            }
            self.send_frame(kind, flags, id, part).await?;
            (kind, flags) = (CONTINUATION, 0);
        }
        Ok(())
    }
}

/// What has arrived of a response.
#[derive(Default)]
struct Answer {
    block: Vec<u8>,
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    trailers: Vec<(String, String)>,
    ended: bool,
}

impl Answer {
    fn take_fields(&mut self, fields: Vec<(Vec<u8>, Vec<u8>)>) {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let fields = fields.into_iter().map(|(name, value)| (text(name), text(value)));
        let (pseudo, plain): (Vec<_>, Vec<_>) = fields.partition(|(name, _)| name.starts_with(':'));
        match pseudo.first() {
            None => self.trailers.extend(plain),
            Some((_, status)) => {
                let status = status.parse().unwrap();
                // Interim responses are passed over.
                if status >= 200 {
                    (self.status, self.headers) = (Some(status), plain);
                }
            }
        }
    }

    fn into_outcome(self) -> Http2Outcome {
        match self.status {
            Some(status) => {
                Http2Outcome::Response { status, headers: self.headers, body: self.body, trailers: self.trailers }
            }
            None => Http2Outcome::Closed,
        }
    }
}

fn is_closed(e: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
