//! How long a request may take and how much it may bring, by the class of the call that makes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use wasmtime_wasi_http::RequestOptions;

use super::failure::Failure;
use crate::defaults::egress as defaults;

/// How much longer than a connection may take to open a request waits for one: the dialler keeps its own time, and knows best what
/// took it.
const SLACK: Duration = Duration::from_secs(1);

/// How long a call can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Patience {
    /// It has a deadline of half a minute or so, and wants an answer.
    Short,
    /// It waits for news and ends by itself.
    Streaming,
    /// It lasts as long as somebody is there.
    Session,
}

/// Bounds of requests; the defaults are in [`crate::defaults::egress`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until there is a connection.
    pub connect: Duration,
    /// From there to the head of an answer, in short calls.
    pub first_byte: Duration,
    /// The same in all others.
    pub first_byte_long: Duration,
    /// Between two pieces of an answer, in short calls.
    pub between_bytes: Duration,
    /// The same in sessions.
    pub between_bytes_session: Duration,
    /// Body of a request of a short call, in bytes.
    pub request_body: u64,
    /// Body of an answer to a short call, in bytes.
    pub response_body: u64,
    /// Connections of one plugin at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: defaults::CONNECT,
            first_byte: defaults::FIRST_BYTE,
            first_byte_long: defaults::FIRST_BYTE_LONG,
            between_bytes: defaults::BETWEEN_BYTES,
            between_bytes_session: defaults::BETWEEN_BYTES_SESSION,
            request_body: defaults::REQUEST_BODY,
            response_body: defaults::RESPONSE_BODY,
            connections: defaults::CONNECTIONS,
        }
    }
}

/// Those of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Of a call that wants an answer and ends.
    pub(super) is_short: bool,
    /// Until there is a connection.
    pub(super) connect: Duration,
    /// From there to the head of the answer.
    pub(super) first_byte: Duration,
    /// none: the call's own end.
    pub(super) between_bytes: Option<Duration>,
    /// In bytes.
    pub(super) request_body: Option<u64>,
    /// In bytes.
    pub(super) response_body: Option<u64>,
}

impl Bounds {
    pub(super) fn new(patience: Patience, limits: &Limits) -> Self {
        let short = patience == Patience::Short;
        Self {
            is_short: short,
            connect: limits.connect + SLACK,
            first_byte: if short { limits.first_byte } else { limits.first_byte_long },
            between_bytes: match patience {
                Patience::Short => Some(limits.between_bytes),
                Patience::Streaming => None,
                Patience::Session => Some(limits.between_bytes_session),
            },
            request_body: short.then_some(limits.request_body),
            response_body: short.then_some(limits.response_body),
        }
    }

    /// With the guest's own wishes, where they ask for less.
    pub(super) fn shortened(self, options: Option<RequestOptions>) -> Self {
        let RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout } = options.unwrap_or_default();
        let shorter = |own: Duration, wish: Option<Duration>| wish.map_or(own, |wish| own.min(wish));
        Self {
            connect: shorter(self.connect, connect_timeout),
            first_byte: shorter(self.first_byte, first_byte_timeout),
            between_bytes: self.between_bytes.into_iter().chain(between_bytes_timeout).min(),
            ..self
        }
    }
}

/// A body that ends with a failure when it stalls or grows too large.
pub(super) struct Bounded<B> {
    body: B,
    /// Bytes that may still come, and what it means when more do.
    room: Option<(u64, Failure)>,
    between: Option<Duration>,
    /// Runs while somebody waits for the next piece.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<B: Body> Bounded<B> {
    /// What a guest sends. It may take its time: the answer's own time runs meanwhile.
    pub(super) fn request(body: B, bounds: &Bounds) -> Self {
        let room = bounds.request_body.map(|limit| (limit, Failure::RequestSize(limit)));
        Self { body, room, between: None, stalled: None }
    }

    /// What a server answers. An error: it says itself that it is too large.
    pub(super) fn response(body: B, bounds: &Bounds) -> Result<Self, Failure> {
        let hint = body.size_hint();
        let room = bounds.response_body.map(|limit| (limit, Failure::ResponseSize { limit, length: hint.exact() }));
        match room {
            Some((limit, failure)) if hint.lower() > limit => Err(failure),
            room => Ok(Self { body, room, between: bounds.between_bytes, stalled: None }),
        }
    }
}

impl<B> Bounded<B> {
    fn take(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Failure> {
        if let (Some((left, failure)), Some(data)) = (&mut self.room, frame.data_ref()) {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            *left = left.checked_sub(length).ok_or_else(|| failure.clone())?;
        }
        Ok(frame)
    }

    /// Ready with a failure once nothing has come for too long.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        let Some(between) = self.between else { return Poll::Pending };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(between)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Failure::Stalled(between))
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Failure>,
{
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                this.stalled = None;
                Poll::Ready(frame.map(|frame| this.take(frame.map_err(Into::into)?)))
            }
            Poll::Pending => this.poll_stalled(context).map(|failure| Some(Err(failure))),
        }
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
    use std::future::poll_fn;

    use futures::{Stream, StreamExt as _, stream};
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    impl From<Infallible> for Failure {
        fn from(never: Infallible) -> Self {
            match never {}
        }
    }

    fn bounds() -> Bounds {
        Bounds::new(Patience::Short, &Limits::default())
    }

    /// Pieces of ten bytes, each after so long.
    fn pieces(pauses: Vec<Duration>) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
        stream::iter(pauses).then(async |pause| {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(Bytes::from_static(b"0123456789")))
        })
    }

    async fn length(pauses: Vec<Duration>, bounds: &Bounds) -> Result<usize, Failure> {
        let body = StreamBody::new(Box::pin(pieces(pauses)));
        Ok(Bounded::response(body, bounds)?.collect().await?.to_bytes().len())
    }

    #[test]
    fn each_class_has_its_own_patience() {
        let of = |patience| {
            let bounds = Bounds::new(patience, &Limits::default());
            (bounds.first_byte.as_secs(), bounds.between_bytes.map(|d| d.as_secs()), bounds.response_body)
        };
        assert_eq!(of(Patience::Short), (30, Some(10), Some(32 << 20)));
        assert_eq!(of(Patience::Streaming), (300, None, None));
        assert_eq!(of(Patience::Session), (300, Some(4 * 3600), None));
    }

    #[test]
    fn a_guest_can_shorten_and_not_lengthen() {
        let wish = |seconds| {
            let wish = Some(SECOND * seconds);
            RequestOptions { connect_timeout: wish, first_byte_timeout: wish, between_bytes_timeout: wish }
        };
        let short = bounds().shortened(Some(wish(2)));
        assert_eq!((short.connect, short.first_byte, short.between_bytes), (SECOND * 2, SECOND * 2, Some(SECOND * 2)));
        assert_eq!(bounds().shortened(Some(wish(100_000))), bounds());
        assert_eq!(bounds().shortened(None), bounds());
        let streaming = Bounds::new(Patience::Streaming, &Limits::default());
        assert_eq!(streaming.shortened(Some(wish(7))).between_bytes, Some(SECOND * 7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_cut_and_one_that_goes_on_is_not() {
        assert_eq!(length(vec![SECOND * 9; 5], &bounds()).await, Ok(50));
        assert_eq!(length(vec![SECOND, SECOND * 11, SECOND], &bounds()).await, Err(Failure::Stalled(SECOND * 10)));
        let streaming = Bounds::new(Patience::Streaming, &Limits::default());
        assert_eq!(length(vec![SECOND * 100_000; 2], &streaming).await, Ok(20));
    }

    /// The time that a guest does something else is not the server's.
    #[tokio::test(start_paused = true)]
    async fn who_does_not_wait_finds_what_came_meanwhile() {
        let mut body = Bounded::response(StreamBody::new(Box::pin(pieces(vec![SECOND * 5]))), &bounds()).unwrap();
        let mut once = async || poll_fn(|context| Poll::Ready(Pin::new(&mut body).poll_frame(context))).await;
        assert!(once().await.is_pending());
        tokio::time::sleep(SECOND * 60).await;
        assert!(matches!(once().await, Poll::Ready(Some(Ok(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_cut_when_it_grows_too_large_and_before_where_it_says_so() {
        let bounds = Bounds { response_body: Some(25), ..bounds() };
        let failure = |length| Failure::ResponseSize { limit: 25, length };
        assert_eq!(length(vec![SECOND; 2], &bounds).await, Ok(20));
        assert_eq!(length(vec![SECOND; 3], &bounds).await, Err(failure(None)));
        let said = Bounded::response(Full::new(Bytes::from_static(&[0; 26])), &bounds);
        assert_eq!(said.err(), Some(failure(Some(26))));
        assert!(Bounded::response(Full::new(Bytes::from_static(&[0; 25])), &bounds).is_ok());
    }

    #[tokio::test]
    async fn a_request_is_cut_too() {
        let bounds = Bounds { request_body: Some(25), ..bounds() };
        let body = Bounded::request(Full::new(Bytes::from_static(&[0; 26])), &bounds);
        assert_eq!(body.size_hint().exact(), Some(26), "its length goes into the head");
        assert_eq!(body.collect().await.err(), Some(Failure::RequestSize(25)));
    }
}
