//! The body of an answer: it goes out in pieces and keeps its room until the last one is taken, so that those who read slowly
//! do not fill the memory; and it ends unfinished when they take too long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// A piece: what a connection takes at a time.
const PIECE_BYTES: usize = 16 << 10;
/// A megabyte takes so long at 17 kB/s.
const TAKEN_MAX: Duration = Duration::from_secs(60);

/// What is sent, and the room that it keeps.
pub struct Held<R> {
    rest: Bytes,
    until: Instant,
    _room: R,
}

/// The receiver takes the answer too slowly.
#[derive(Debug, thiserror::Error)]
#[error("an answer was not taken within {} s", TAKEN_MAX.as_secs())]
pub struct TooSlow;

impl<R> Held<R> {
    /// All of it, from now on.
    pub fn new(bytes: Bytes, room: R) -> Self {
        Self { rest: bytes, until: Instant::now() + TAKEN_MAX, _room: room }
    }
}

impl<R: Unpin> HttpBody for Held<R> {
    type Data = Bytes;
    type Error = TooSlow;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, TooSlow>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if Instant::now() > self.until {
            return Poll::Ready(Some(Err(TooSlow)));
        }
        let piece = PIECE_BYTES.min(self.rest.len());
        let piece = self.rest.split_to(piece);
        // A copy: a slice would keep the whole in memory after the room was given back.
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::{Body, to_bytes};
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn answer_goes_out_whole_and_keeps_its_room_until_then() {
        let room = Arc::new(Semaphore::new(1));
        let whole: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let permit = Arc::clone(&room).try_acquire_owned().expect("it is free");
        let body = Body::new(Held::new(Bytes::from(whole.clone()), permit));
        assert_eq!(body.size_hint().exact(), Some(100_000));
        assert_eq!(room.available_permits(), 0);
        assert_eq!(to_bytes(body, usize::MAX).await.expect("it is sent"), whole);
        assert_eq!(room.available_permits(), 1);
    }

    #[tokio::test]
    async fn answer_that_is_taken_too_slowly_ends_unfinished() {
        let mut held = Held::new(Bytes::from_static(b"x"), ());
        held.until = Instant::now() - Duration::from_millis(1);
        assert!(to_bytes(Body::new(held), usize::MAX).await.is_err());
    }
}
