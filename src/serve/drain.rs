//! Reading a request's body to its end, for answers that need nothing of it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{ready, Poll};
use std::time::Duration;

use bytes::Buf;
use futures::future::BoxFuture;
use http_body::Body;

use super::refusal::Refusal;
use crate::runtime::{nanos, Clock};

/// How many bytes of data are read. A request for a stream needs far fewer.
const MOST: u64 = 1 << 20;
/// How long a body may take.
const LONGEST: Duration = Duration::from_secs(10);
/// How many frames are read before other tasks have their turn: a client can send frames without
/// data for as long as it likes.
const AT_ONCE: usize = 64;

/// Reads the body and drops it. An error is the refusal that the client gets instead of an answer.
pub(crate) async fn drain<B: Body>(body: B, clock: &Clock) -> Result<(), Refusal> {
    // A client that waits for a `100 Continue` need not send what is too large anyway.
    if body.size_hint().lower() > MOST {
        return Err(Refusal::payload_too_large());
    }
    let mut body = pin!(body);
    let mut left = MOST;
    // Most bodies are empty or there already, so they cost no sleep.
    let mut sleep: Option<(u64, BoxFuture<'static, ()>)> = None;
    poll_fn(|cx| {
        for turn in 0.. {
            if body.is_end_stream() {
                return Poll::Ready(Ok(()));
            }
            if turn == AT_ONCE {
                cx.waker().wake_by_ref();
                break;
            }
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.data_ref().map_or(0, |data| data.remaining() as u64);
                    match left.checked_sub(data) {
                        Some(rest) => left = rest,
                        None => return Poll::Ready(Err(Refusal::payload_too_large())),
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Refusal::broken_body())),
                Poll::Pending => break,
            }
        }
        let (end, sleeps) = sleep.get_or_insert_with(|| {
            let now = clock.now();
            (now.saturating_add(nanos(LONGEST)), clock.sleep(LONGEST))
        });
        ready!(sleeps.as_mut().poll(cx));
        let left = end.saturating_sub(clock.now());
        if left == 0 {
            return Poll::Ready(Err(Refusal::request_timeout()));
        }
        // The timer was early.
        *sleeps = clock.sleep(Duration::from_nanos(left));
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
