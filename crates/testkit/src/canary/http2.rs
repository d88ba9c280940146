//! The canary's HTTP/2: enough to record requests with their fields in order, and to answer.

use std::{collections::BTreeMap, io};

use loona_hpack::{Decoder, Encoder};
use tokio::{io::AsyncWriteExt as _, sync::mpsc::UnboundedSender};

use super::{Recorded, Shared};
use crate::{
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
        SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_UPDATE, settings,
    },
    http1::{Reader, Stream},
    raw::Response,
};

const WINDOW: u32 = 1 << 30;
/// The largest body we answer with: it needs no flow control (RFC 9113 §6.9.2) and fits one frame (§4.2).
const ANSWER_BYTES: usize = 16 * 1024;

/// Serves one connection whose preface has been read.
pub(super) async fn serve(
    reader: Reader<Box<dyn Stream>>,
    connection: usize,
    shared: &Shared,
    arrived: &UnboundedSender<Recorded>,
) {
    let (ahead, stream) = reader.into_parts();
    let (read, write) = tokio::io::split(stream);
    let mut read = tokio::io::AsyncReadExt::chain(io::Cursor::new(ahead), read);
    let mut session = Session {
        write,
        encoder: Encoder::new(),
        decoder: Decoder::new(),
        block: Vec::new(),
        block_ends_stream: false,
        open: BTreeMap::new(),
    };
    if session.greet().await.is_err() {
        return;
    }
    // Ends when the client closes, in whatever way.
    while let Ok(frame) = Frame::read(&mut read).await {
        match session.on_frame(frame, connection).await {
            Ok(None) => {}
            Ok(Some((id, request))) => {
                let answer = shared.take(request, arrived);
                if session.answer(id, &Response::parse(&answer)).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

struct Session<W> {
    write: W,
    encoder: Encoder<'static>,
    decoder: Decoder<'static>,
    /// What has come of a block of fields, and whether the stream ends with it.
    block: Vec<u8>,
    block_ends_stream: bool,
    /// Requests that are not complete.
    open: BTreeMap<u32, Recorded>,
}

impl<W: tokio::io::AsyncWrite + Unpin> Session<W> {
    async fn greet(&mut self) -> io::Result<()> {
        self.send(SETTINGS, 0, 0, &settings(&[(SETTINGS_INITIAL_WINDOW_SIZE, WINDOW)])).await?;
        self.send(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes()).await
    }

    /// Takes a frame; gives the request that it completed, with its stream.
    async fn on_frame(&mut self, frame: Frame, connection: usize) -> io::Result<Option<(u32, Recorded)>> {
        let id = frame.stream;
        match frame.kind {
            SETTINGS if !frame.has(ACK) => self.send(SETTINGS, ACK, 0, &[]).await?,
            PING if !frame.has(ACK) => self.send(PING, ACK, 0, &frame.payload).await?,
            GOAWAY => return Err(io::ErrorKind::ConnectionAborted.into()),
            RST_STREAM => {
                self.open.remove(&id);
            }
            DATA => {
                if let Some(request) = self.open.get_mut(&id) {
                    request.body.extend_from_slice(frame.content());
                }
                if frame.has(END_STREAM) {
                    return Ok(self.completed(id));
                }
            }
            HEADERS | CONTINUATION => {
                self.block.extend_from_slice(frame.content());
                if frame.kind == HEADERS {
                    self.block_ends_stream = frame.has(END_STREAM);
                }
                if frame.has(END_HEADERS) {
                    let block = std::mem::take(&mut self.block);
                    let fields = self.decoder.decode(&block).map_err(|e| io::Error::other(format!("{e:?}")))?;
                    self.take_fields(id, fields, connection);
                    if self.block_ends_stream {
                        return Ok(self.completed(id));
                    }
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn completed(&mut self, id: u32) -> Option<(u32, Recorded)> {
        self.open.remove(&id).map(|request| (id, request))
    }

    /// The first block of a stream is its head, the second its trailers.
    fn take_fields(&mut self, id: u32, fields: Vec<(Vec<u8>, Vec<u8>)>, connection: usize) {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let fields = fields.into_iter().map(|(name, value)| (text(name), text(value)));
        if let Some(request) = self.open.get_mut(&id) {
            request.trailers.extend(fields);
            return;
        }
        let (pseudo, headers): (Vec<_>, Vec<_>) = fields.partition(|(name, _)| name.starts_with(':'));
        let pseudo = |name: &str| pseudo.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let request = Recorded {
            method: pseudo(":method").unwrap_or_default(),
            target: pseudo(":path").unwrap_or_default(),
            authority: pseudo(":authority"),
            headers,
            body: Vec::new(),
            trailers: Vec::new(),
            head: Vec::new(),
            raw: Vec::new(),
            connection,
        };
        self.open.insert(id, request);
    }

    async fn answer(&mut self, id: u32, answer: &Response) -> io::Result<()> {
        assert!(answer.body.len() <= ANSWER_BYTES, "the canary's HTTP/2 answers have at most {ANSWER_BYTES} bytes");
        let mut fields = vec![(":status".to_owned(), answer.status.to_string())];
        // RFC 9113 §8.2.2: these belong to an HTTP/1.1 connection.
        let plain = |name: &str| !matches!(name, "connection" | "transfer-encoding" | "keep-alive" | "upgrade");
        let lower = answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        fields.extend(lower.filter(|(name, _)| plain(name)));
        let block = self.encoder.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let last = if answer.body.is_empty() { END_STREAM } else { 0 };
        self.send(HEADERS, END_HEADERS | last, id, &block).await?;
        if answer.body.is_empty() {
            return Ok(());
        }
        self.send(DATA, END_STREAM, id, &answer.body).await
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.write.write_all(&Frame::encode(kind, flags, stream, payload)).await?;
        self.write.flush().await
    }
}
