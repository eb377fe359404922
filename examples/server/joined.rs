//! A socket that writes small pieces as one.
#![allow(dead_code, reason = "the servers on axum and on a bare socket do not use it")]

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

/// Above this, copying costs more than it saves.
const SMALL: usize = 1024;

/// hyper writes an event in three pieces: its length, the event, and a line break. To the kernel
/// that is a tenth more work than one piece, so small pieces are joined on the stack.
pub(crate) struct Joined<T>(pub(crate) T);

impl<T: Write + Unpin> Write for Joined<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut joined = [0; SMALL];
        let mut length = 0;
        for piece in pieces {
            match joined.get_mut(length..length + piece.len()) {
                Some(place) => place.copy_from_slice(piece),
                None => return Pin::new(&mut self.0).poll_write_vectored(cx, pieces),
            }
            length += piece.len();
        }
        Pin::new(&mut self.0).poll_write(cx, &joined[..length])
    }

    /// Otherwise hyper would join the pieces itself, in a buffer that it keeps. smol's and
    /// async-std's sockets can write vectored, but do not say so.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<T: Read + Unpin> Read for Joined<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}
