//! Watches over as many connections as they need, and apart from all other requests.
//!
//! A connection of HTTP/2 carries 100 requests at once as the API server has it, and a watch takes one of those places for
//! minutes. A client of a single connection keeps what is beyond that waiting without a word, and all that is asked for later
//! behind it. As Go's client does, this one opens another connection then:
//!
//! ```text
//! watches ────────▶ the first connection that has less than WATCHES of them ▮▮▮▮ ▮▮▮▮ ▮
//! other requests ─▶ a connection of their own: each of them ends soon                  ▮
//! ```
//!
//! No connection is opened before there is something for it, and one that no watch is left on is closed with the next watch that
//! begins.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body::{Frame, SizeHint};
use tower::{Service, ServiceExt as _};

/// Watches on one connection. The API server takes 100 requests; what stands before it may take fewer.
const WATCHES: usize = 64;

/// A client of several connections. `S` is one of a single connection, and `F` makes another one.
#[derive(Clone)]
pub(super) struct Spread<S, F> {
    requests: S,
    another: F,
    watches: Arc<Mutex<Vec<Shared<S>>>>,
}

/// A connection for watches.
struct Shared<S> {
    client: S,
    /// One reference more than there are watches on it.
    places: Arc<()>,
}

impl<S> Shared<S> {
    fn taken(&self) -> usize {
        Arc::strong_count(&self.places) - 1
    }
}

/// An answer that takes a place on its connection until it is dropped.
pub(super) struct Placed<B> {
    body: B,
    _place: Option<Arc<()>>,
}

impl<S: Clone, F: Fn() -> S> Spread<S, F> {
    pub(super) fn new(another: F) -> Self {
        Self { requests: another(), another, watches: Arc::default() }
    }

    /// A connection for one more watch, and its place there.
    fn place(&self) -> (S, Arc<()>) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|shared| shared.taken() > 0);
        let free = watches.iter().find(|shared| shared.taken() < WATCHES);
        if let Some(Shared { client, places }) = free {
            return (client.clone(), places.clone());
        }
        let (client, places) = ((self.another)(), Arc::new(()));
        watches.push(Shared { client: client.clone(), places: places.clone() });
        (client, places)
    }
}

fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"))
}

impl<S, F, R, B> Service<Request<R>> for Spread<S, F>
where
    S: Service<Request<R>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    F: Fn() -> S,
    R: Send + 'static,
{
    type Response = Response<Placed<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (client, place) = if is_watch(request.uri()) {
            let (client, place) = self.place();
            (client, Some(place))
        } else {
            (self.requests.clone(), None)
        };
        async move { Ok(client.oneshot(request).await?.map(|body| Placed { body, _place: place })) }.boxed()
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Placed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::Empty;

    use super::*;

    /// Tells which connection it is.
    #[derive(Clone)]
    struct Numbered(usize);

    impl Service<Request<()>> for Numbered {
        type Response = Response<Empty<Bytes>>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _request: Request<()>) -> Self::Future {
            let mut answer = Response::new(Empty::new());
            answer.extensions_mut().insert(self.0);
            ready(Ok(answer))
        }
    }

    /// Answers of so many requests, with the numbers of their connections.
    async fn ask<F: Fn() -> Numbered>(
        of: &mut Spread<Numbered, F>,
        uri: &str,
        times: usize,
    ) -> (Vec<Response<Placed<Empty<Bytes>>>>, Vec<usize>) {
        let mut answers = Vec::new();
        for _ in 0..times {
            answers.push(of.call(Request::get(uri).body(()).unwrap()).await.unwrap());
        }
        let numbers = answers.iter().map(|answer| *answer.extensions().get::<usize>().unwrap()).collect();
        (answers, numbers)
    }

    #[tokio::test]
    async fn no_connection_has_more_watches_than_it_may_and_requests_never_wait_for_them() {
        const WATCH: &str =
            "/api/v1/namespaces/n/configmaps?fieldSelector=metadata.name%3Dcm&watch=true&resourceVersion=7";
        const GET: &str = "/api/v1/namespaces/n/configmaps/cm?limit=1";
        let made = AtomicUsize::new(0);
        let mut spread = Spread::new(|| Numbered(made.fetch_add(1, Ordering::Relaxed)));
        let (mut watches, numbers) = ask(&mut spread, WATCH, 2 * WATCHES + 1).await;
        let on = |number: usize| numbers.iter().filter(|there| **there == number).count();
        assert_eq!([0, 1, 2, 3].map(on), [0, WATCHES, WATCHES, 1]);
        assert_eq!(ask(&mut spread, GET, 300).await.1, vec![0; 300], "answers that are held take no place");
        // A watch that ends leaves its place to the next.
        drop(watches.remove(7));
        let (again, number) = ask(&mut spread, WATCH, 1).await;
        assert_eq!(number, [1]);
        // With the last watch goes the connection.
        drop(watches.drain(WATCHES - 1..2 * WATCHES - 1));
        let (_more, numbers) = ask(&mut spread, WATCH, WATCHES + 1).await;
        assert_eq!((numbers[0], numbers[WATCHES - 2], numbers[WATCHES]), (3, 3, 4));
        assert_eq!(made.load(Ordering::Relaxed), 5);
        drop(again);
    }
}
