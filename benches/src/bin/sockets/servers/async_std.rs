//! hyper on async-std, whose number of threads is set by the environment.

use std::io;
use std::net::TcpListener;

use eventstream::EventStream;

use super::ours::Ours;
use super::smol::connection;

pub(super) fn ours(listener: TcpListener) -> io::Result<()> {
    let stream = EventStream::builder()
        .runtime(eventstream::runtime::AsyncStd)
        .build()
        .map_err(io::Error::other)?;
    async_std::task::block_on(async {
        let listener = async_std::net::TcpListener::from(listener);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            async_std::task::spawn(connection(socket, Ours(stream.clone())));
        }
    })
}
