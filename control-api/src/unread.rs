//! What a request still says when it is answered.
//!
//! A refusal is often there before the body is. The HTTP library then ends the connection as soon as the answer is out, and
//! has not said so: whoever sends the next request on it, as the edge does, finds it reset and cannot know whether it was
//! acted on (RFC 9112 §9.6). So what is left of a body is read before the answer goes out, as far as that takes little, and
//! else the answer says that the connection closes.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, Version, header},
    middleware::Next,
    response::Response,
};
use futures::StreamExt as _;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::oneshot;

/// Bytes of a body that are read for nothing.
const MOST: usize = 64 * 1024;

/// How long an answer waits for them.
const LONGEST: Duration = Duration::from_millis(250);

/// Answers a request once its body was read or the answer says that the connection closes. Over HTTP/2 and with a whole
/// body at hand there is nothing to do.
pub(crate) async fn read(request: Request, next: Next) -> Response {
    if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
        return next.run(request).await;
    }
    // Who asks first whether to send a body is not told to by reading it (RFC 9110 §10.1.1).
    let asks_first = request.headers().contains_key(header::EXPECT);
    let (put_back, mut left) = oneshot::channel();
    let request = request.map(|body| Body::new(Kept { body, put_back: Some(put_back) }));
    let mut answer = next.run(request).await;
    let whole = match left.try_recv() {
        Err(oneshot::error::TryRecvError::Closed) => true,
        Err(oneshot::error::TryRecvError::Empty) => false,
        Ok(body) => !asks_first && is_soon_read(body).await,
    };
    if !whole {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Whether what is left of a body is little, and was read to its end.
async fn is_soon_read(body: Body) -> bool {
    let mut frames = body.into_data_stream();
    let read = async {
        let mut left = MOST;
        while let Some(frame) = frames.next().await {
            let fits = frame.ok().and_then(|bytes| left.checked_sub(bytes.len()));
            let Some(rest) = fits else { return false };
            left = rest;
        }
        true
    };
    tokio::time::timeout(LONGEST, read).await.unwrap_or(false)
}

/// A body that is given back by whoever drops it before its end.
struct Kept {
    body: Body,
    put_back: Option<oneshot::Sender<Body>>,
}

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) {
            self.put_back = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(put_back) = self.put_back.take().filter(|_| !self.body.is_end_stream()) else { return };
        // Nobody wants it where the request was given up.
        drop(put_back.send(std::mem::take(&mut self.body)));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use axum::{Router, middleware, routing::post};
    use futures::channel::mpsc;
    use tower::ServiceExt as _;

    use super::*;

    type Sent = mpsc::UnboundedSender<Result<Bytes, axum::Error>>;

    /// Asks for `path` with a body that is still to be sent.
    fn asked(path: &str, expects: bool) -> (Sent, impl Future<Output = Response>) {
        let (sent, body) = mpsc::unbounded();
        let mut request = Request::post(path).body(Body::from_stream(body)).unwrap();
        if expects {
            request.headers_mut().insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        }
        let router = Router::new()
            .route("/refused", post(async || http::StatusCode::UNAUTHORIZED))
            .route("/read", post(async |_: Bytes| http::StatusCode::OK))
            .layer(middleware::from_fn(read));
        (sent, async { router.oneshot(request).await.unwrap() })
    }

    fn is_waited_for(answer: Pin<&mut impl Future<Output = Response>>) -> bool {
        answer.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    fn closes(answer: &Response) -> bool {
        answer.headers().get(header::CONNECTION).is_some_and(|value| value == "close")
    }

    #[tokio::test]
    async fn a_refusal_waits_for_the_body_and_keeps_the_connection() {
        let (sent, answer) = asked("/refused", false);
        let mut answer = Box::pin(answer);
        assert!(is_waited_for(answer.as_mut()));
        sent.unbounded_send(Ok("{}".into())).unwrap();
        assert!(is_waited_for(answer.as_mut()));
        drop(sent);
        let answer = answer.await;
        assert_eq!((answer.status().as_u16(), closes(&answer)), (401, false));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_closes_the_connection() {
        let (sent, answer) = asked("/refused", false);
        assert!(closes(&answer.await));
        drop(sent);
    }

    #[tokio::test]
    async fn a_body_of_more_than_is_read_closes_the_connection() {
        for (bytes, expected) in [(MOST, false), (MOST + 1, true)] {
            let (sent, answer) = asked("/refused", false);
            sent.unbounded_send(Ok(vec![b' '; bytes].into())).unwrap();
            drop(sent);
            assert_eq!(closes(&answer.await), expected, "{bytes}");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_closes_the_connection() {
        let (sent, answer) = asked("/refused", false);
        sent.unbounded_send(Err(axum::Error::new("cut"))).unwrap();
        assert!(closes(&answer.await));
    }

    #[tokio::test]
    async fn a_body_that_was_asked_about_is_not_read() {
        let (sent, answer) = asked("/refused", true);
        let mut answer = Box::pin(answer);
        assert!(!is_waited_for(answer.as_mut()));
        drop(sent);
    }

    #[tokio::test]
    async fn what_a_handler_has_read_keeps_the_connection() {
        let (sent, answer) = asked("/read", false);
        sent.unbounded_send(Ok("{}".into())).unwrap();
        drop(sent);
        let answer = answer.await;
        assert_eq!((answer.status().as_u16(), closes(&answer)), (200, false));
    }
}
