//! An upstream that answers with what reached it, or fails as the request's query says.
//!
//! `?upstream=reset | cut | garbage | close | hang | slow | big` picks a failure; everything else is answered with the
//! request's nonce and the identity it carried, as JSON.

use std::{io, net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Header with what the answer must repeat.
pub const NONCE: &str = "x-nonce";

/// Bytes of the answer to `?upstream=big`.
pub const BIG: usize = 256 * 1024;

/// Serves on a free loopback port until the task is aborted.
///
/// # Errors
/// No port can be bound.
pub async fn start() -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A peer that goes away ends its own connection only.
            tokio::spawn(async move { drop(serve(stream).await) });
        }
    });
    Ok((address, task))
}

/// Serves on a loopback address, each request without a body at once and alike, as nginx's `return 200 "ok"` does.
///
/// # Errors
/// The address cannot be bound.
pub async fn fast(address: SocketAddr) -> io::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address).await?;
    Ok(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move { drop(serve_alike(stream).await) });
        }
    }))
}

async fn serve_alike(mut stream: TcpStream) -> io::Result<()> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
        Content-Type: text/plain\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok";
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while head(&mut stream, &mut buffer).await?.is_some() {
        stream.write_all(ANSWER).await?;
    }
    Ok(())
}

/// A request's head.
struct Head {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(head) = head(&mut stream, &mut buffer).await? {
        let behaviour = head.target.split_once("upstream=").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        if head.value("upgrade").is_some() {
            return echo_frames(stream, buffer).await;
        }
        match behaviour.as_str() {
            "hang" => {
                std::future::pending::<()>().await;
            }
            "reset" => {
                stream.set_zero_linger()?;
                return Ok(());
            }
            "close" => return Ok(()),
            "garbage" => {
                body(&mut stream, &mut buffer, &head).await?;
                return stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await;
            }
            "cut" => {
                body(&mut stream, &mut buffer, &head).await?;
                return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly a part").await;
            }
            _ => {}
        }
        let read = body(&mut stream, &mut buffer, &head).await?;
        if behaviour == "slow" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let content = if behaviour == "big" { vec![b'b'; BIG] } else { account(&head, read) };
        let length = content.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        if head.method != "HEAD" {
            stream.write_all(&content).await?;
        }
    }
    Ok(())
}

/// What reached it.
fn account(head: &Head, body_bytes: usize) -> Vec<u8> {
    let trusted = head.fields.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("x-md-"));
    let account = json!({
        "nonce": head.value(NONCE),
        "target": head.target,
        "tenant": head.values("x-md-global-tenant-id").collect::<Vec<_>>(),
        "user": head.values("x-md-global-user-id").collect::<Vec<_>>(),
        "credentials": head.value("authorization").is_some(),
        "names": trusted.collect::<Vec<_>>(),
        "body_bytes": body_bytes,
    });
    serde_json::to_vec(&account).unwrap()
}

/// The next request's head; none when the peer has closed.
async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Head>> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(buffer).map_err(io::Error::other)?;
        if let httparse::Status::Complete(length) = parsed {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let head = Head {
                method: request.method.unwrap_or_default().to_owned(),
                target: request.path.unwrap_or_default().to_owned(),
                fields: request.headers.iter().map(|it| (it.name.to_ascii_lowercase(), text(it.value))).collect(),
            };
            buffer.drain(..length);
            return Ok(Some(head));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Reads a request's body; how long it was.
async fn body(stream: &mut TcpStream, buffer: &mut Vec<u8>, head: &Head) -> io::Result<usize> {
    if let Some(length) = head.value("content-length").and_then(|value| value.parse::<usize>().ok()) {
        let mut left = length;
        loop {
            let taken = left.min(buffer.len());
            buffer.drain(..taken);
            left -= taken;
            if left == 0 {
                return Ok(length);
            }
            fill(stream, buffer).await?;
        }
    }
    if head.value("transfer-encoding").is_none() {
        return Ok(0);
    }
    let mut total = 0;
    loop {
        match httparse::parse_chunk_size(buffer).map_err(|_| io::ErrorKind::InvalidData)? {
            httparse::Status::Complete((line, size)) => {
                let size = usize::try_from(size).map_err(io::Error::other)?;
                let end = line + size + 2;
                while buffer.len() < end {
                    fill(stream, buffer).await?;
                }
                buffer.drain(..end);
                total += size;
                if size == 0 {
                    return Ok(total);
                }
            }
            httparse::Status::Partial => fill(stream, buffer).await?,
        }
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(buffer).await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Switches to WebSocket and sends every short frame back, unmasked (RFC 6455 §5.2).
async fn echo_frames(mut stream: TcpStream, mut buffer: Vec<u8>) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await?;
    loop {
        while buffer.len() < 2 || buffer.len() < 6 + usize::from(buffer[1] & 0x7f) {
            fill(&mut stream, &mut buffer).await?;
        }
        let length = usize::from(buffer[1] & 0x7f);
        let frame: Vec<u8> = buffer.drain(..6 + length).collect();
        let mut answer = vec![frame[0], frame[1] & 0x7f];
        answer.extend(frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        stream.write_all(&answer).await?;
    }
}
