//! The verifier as a tower layer.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use futures::future::Either;
use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use crate::Verifier;

/// Lets only requests pass that carry a valid assertion, which they then have as an extension
/// (`request.extensions().get::<Assertion>()`). Everything else is answered 403 with an empty body; the error is an
/// extension of the response, for a log around it.
#[derive(Clone, Debug)]
pub struct AssertionLayer {
    verifier: Arc<Verifier>,
}

impl AssertionLayer {
    /// With this verifier and the system's clock.
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier: Arc::new(verifier) }
    }
}

impl<S> Layer<S> for AssertionLayer {
    type Service = AssertionService<S>;
    fn layer(&self, inner: S) -> AssertionService<S> {
        AssertionService { verifier: Arc::clone(&self.verifier), inner }
    }
}

/// What [`AssertionLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct AssertionService<S> {
    verifier: Arc<Verifier>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for AssertionService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    #[expect(clippy::disallowed_methods, reason = "in the service's process there is nobody to be given a clock by")]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let now = SystemTime::now();
        match self.verifier.verify(request.method(), request.uri(), request.headers(), now) {
            Ok(assertion) => {
                request.extensions_mut().insert(assertion);
                Either::Right(self.inner.call(request))
            }
            Err(error) => {
                let mut refused = Response::new(R::default());
                *refused.status_mut() = StatusCode::FORBIDDEN;
                refused.extensions_mut().insert(error);
                Either::Left(ready(Ok(refused)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::{AssertionError, KeySet};

    #[test]
    fn a_request_past_the_gateway_never_reaches_the_service() {
        let inner = service_fn(|_: Request<()>| -> Ready<Result<Response<String>, Infallible>> {
            panic!("the service was called")
        });
        let service = AssertionLayer::new(Verifier::new("orders", KeySet::default())).layer(inner);
        let request = Request::get("/").header("host", "acme.example").body(()).unwrap();
        let answer = futures::executor::block_on(service.oneshot(request)).unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(answer.extensions().get::<AssertionError>(), Some(&AssertionError::Missing));
    }
}
