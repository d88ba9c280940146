//! HTTP/1.1 messages as bytes (RFC 9112): read naively and kept whole, so that a test sees what was on the wire.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

/// Anything a message can be read from and written to.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A header field as it stood on the wire: the name in its letter case, the value without surrounding whitespace.
pub(crate) type Field = (String, String);

/// One message, whole and in parts. Bytes outside ASCII appear as U+FFFD in the texts and as they are in `raw`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) start_line: String,
    pub(crate) head: Vec<u8>,
    pub(crate) fields: Vec<Field>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<Field>,
    pub(crate) raw: Vec<u8>,
}

/// What says where a message ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A request: without `Content-Length` and `Transfer-Encoding` it has no body.
    Request,
    /// A response: without both it ends with the connection.
    Response,
    /// A response to HEAD: never a body.
    ResponseToHead,
}

/// Reads messages from a stream and remembers what it has read beyond the last one.
pub(crate) struct Reader<S> {
    pub(crate) stream: S,
    ahead: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    /// The next message; `None` when the stream ended before its first byte.
    ///
    /// # Errors
    /// `UnexpectedEof` when the stream ends within the message, `InvalidData` when a length cannot be read.
    pub(crate) async fn message(&mut self, kind: Kind) -> io::Result<Option<Message>> {
        let Some(head) = self.through(b"\r\n\r\n").await? else { return Ok(None) };
        let (start_line, fields) = split_head(&head);
        let mut message = Message { start_line, raw: head.clone(), head, fields, ..Message::default() };
        match self.content(&mut message, kind).await {
            Ok(()) => Ok(Some(message)),
            Err(e) => {
                // Nothing is lost: what was read of the broken message is unread again.
                self.ahead.splice(..0, message.raw);
                Err(e)
            }
        }
    }

    async fn content(&mut self, message: &mut Message, kind: Kind) -> io::Result<()> {
        match framing(message, kind)? {
            Framing::None => {}
            Framing::Length(length) => {
                message.body = self.exactly(length).await?;
                message.raw.extend_from_slice(&message.body);
            }
            Framing::Chunked => self.chunks(message).await?,
            Framing::UntilClose => {
                message.body = self.rest().await?;
                message.raw.extend_from_slice(&message.body);
            }
        }
        Ok(())
    }

    /// Everything until the peer closes. A reset counts as the end.
    pub(crate) async fn rest(&mut self) -> io::Result<Vec<u8>> {
        self.fill_to_the_end().await?;
        Ok(std::mem::take(&mut self.ahead))
    }

    /// As [`Self::rest`], but leaves what it read in [`Self::unread`], also when reading fails.
    pub(crate) async fn fill_to_the_end(&mut self) -> io::Result<()> {
        while self.fill().await? {}
        Ok(())
    }

    /// Whether the stream begins with these bytes, which are then taken from it. Waits no longer than it must.
    pub(crate) async fn begins_with(&mut self, expected: &[u8]) -> io::Result<bool> {
        loop {
            let common = self.ahead.iter().zip(expected).take_while(|(found, wanted)| found == wanted).count();
            if common == expected.len() {
                self.ahead.drain(..common);
                return Ok(true);
            }
            if common < self.ahead.len() || !self.fill().await? {
                return Ok(false);
            }
        }
    }

    /// What was read ahead, and the stream behind it.
    pub(crate) fn into_parts(self) -> (Vec<u8>, S) {
        (self.ahead, self.stream)
    }

    /// What was read beyond the last message.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.ahead
    }

    /// Chunks and trailers (RFC 9112 §7.1).
    async fn chunks(&mut self, message: &mut Message) -> io::Result<()> {
        loop {
            let line = self.line(message).await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| invalid("chunk size", &line))?;
            if size == 0 {
                break;
            }
            let chunk = self.exactly(size).await?;
            message.body.extend_from_slice(&chunk);
            message.raw.extend_from_slice(&chunk);
            if !self.line(message).await?.is_empty() {
                return Err(invalid("end of chunk", "more bytes"));
            }
        }
        loop {
            let line = self.line(message).await?;
            if line.is_empty() {
                return Ok(());
            }
            message.trailers.push(field(&line));
        }
    }

    async fn line(&mut self, message: &mut Message) -> io::Result<String> {
        let line = self.through(b"\r\n").await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        message.raw.extend_from_slice(&line);
        Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
    }

    /// Reads up to and with `end`.
    async fn through(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.ahead.windows(end.len()).position(|window| window == end) {
                return Ok(Some(self.ahead.drain(..at + end.len()).collect()));
            }
            if !self.fill().await? {
                return if self.ahead.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.ahead.drain(..length).collect())
    }

    async fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        let read = match self.stream.read(&mut chunk).await {
            Ok(read) => read,
            // A peer that refuses a request closes with unread bytes, or without TLS's farewell. What it said counts.
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => 0,
            Err(e) => return Err(e),
        };
        self.ahead.extend_from_slice(&chunk[..read]);
        Ok(read > 0)
    }
}

enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// RFC 9112 §6.3, without its refusals: what is wrong shall be seen by the test.
fn framing(message: &Message, kind: Kind) -> io::Result<Framing> {
    if kind != Kind::Request {
        let status = status(&message.start_line);
        if kind == Kind::ResponseToHead || matches!(status, 100..=199 | 204 | 304) {
            return Ok(Framing::None);
        }
    }
    if values(&message.fields, "transfer-encoding").any(|v| v.to_ascii_lowercase().contains("chunked")) {
        return Ok(Framing::Chunked);
    }
    if let Some(length) = values(&message.fields, "content-length").next() {
        return length.parse().map(Framing::Length).map_err(|_| invalid("content-length", length));
    }
    Ok(if kind == Kind::Request { Framing::None } else { Framing::UntilClose })
}

/// The status of a response; 0 when its first line has none.
pub(crate) fn status(start_line: &str) -> u16 {
    start_line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// The values of a field, in order; the name in any letter case.
pub(crate) fn values<'f>(fields: &'f [Field], name: &str) -> impl Iterator<Item = &'f str> {
    fields.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

pub(crate) fn split_head(head: &[u8]) -> (String, Vec<Field>) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let start_line = lines.next().unwrap_or_default().to_owned();
    (start_line, lines.filter(|line| !line.is_empty()).map(field).collect())
}

fn field(line: &str) -> Field {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
}

fn invalid(what: &str, found: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: `{found}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_told_apart_by_their_framing() {
        let wire: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nX-A:  1 \r\nx-a: 2\r\n\r\nabc\
            POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n0\r\nX-T: 9\r\n\r\nGET /c HTTP/1.1\r\n\r\n";
        let mut reader = Reader::new(wire);
        let a = reader.message(Kind::Request).await.unwrap().unwrap();
        assert_eq!((a.start_line.as_str(), a.body.as_slice()), ("POST /a HTTP/1.1", &b"abc"[..]));
        assert_eq!(values(&a.fields, "x-a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(a.fields[1].0, "X-A");
        let b = reader.message(Kind::Request).await.unwrap().unwrap();
        assert_eq!((b.body.as_slice(), b.trailers.as_slice()), (&b"de"[..], &[("X-T".into(), "9".into())][..]));
        let c = reader.message(Kind::Request).await.unwrap().unwrap();
        assert_eq!([a.raw, b.raw, c.raw].concat(), wire);
        assert!(reader.message(Kind::Request).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_message_that_breaks_off_is_left_unread() {
        for wire in [
            &b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"[..],
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nxyz\r\n",
            b"GET / HT",
        ] {
            let mut reader = Reader::new(wire);
            assert!(reader.message(Kind::Request).await.is_err());
            assert_eq!(reader.unread().escape_ascii().to_string(), wire.escape_ascii().to_string());
        }
    }

    #[tokio::test]
    async fn a_response_without_a_length_ends_with_the_connection() {
        let mut reader = Reader::new(&b"HTTP/1.1 200 OK\r\n\r\nall of it"[..]);
        assert_eq!(reader.message(Kind::Response).await.unwrap().unwrap().body, b"all of it");
        let mut reader = Reader::new(&b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"[..]);
        assert!(reader.message(Kind::ResponseToHead).await.unwrap().unwrap().body.is_empty());
    }
}
