//! placeholder
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Endpoint;

/// A byte stream to an endpoint.
pub enum UpstreamStream {
    /// TCP.
    Tcp(TcpStream),
}

/// x
pub(super) struct Connected { pub(super) stream: UpstreamStream, pub(super) is_http2: bool }
/// x
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{0}")]
    Refused(io::Error),
    #[error("it took too long")]
    TimedOut,
}
/// x
pub(super) struct Connector { endpoint: Endpoint, timeout: Duration, is_http2: bool }

impl Connector {
    pub(super) fn new(endpoint: Endpoint, timeout: Duration, is_http2: bool) -> Self { Self { endpoint, timeout, is_http2 } }
    pub(super) async fn connect(&self) -> Result<Connected, ConnectError> {
        let mut c = self.connect_http1().await?;
        c.is_http2 = self.is_http2;
        Ok(c)
    }
    pub(super) async fn connect_http1(&self) -> Result<Connected, ConnectError> {
        let stream = tokio::time::timeout(self.timeout, TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port))).await.map_err(|_| ConnectError::TimedOut)?.map_err(ConnectError::Refused)?;
        stream.set_nodelay(true).map_err(ConnectError::Refused)?;
        Ok(Connected { stream: UpstreamStream::Tcp(stream), is_http2: false })
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() { Self::Tcp(s) => Pin::new(s).poll_read(cx, buf) }
    }
}
impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() { Self::Tcp(s) => Pin::new(s).poll_write(cx, buf) }
    }
    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() { Self::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs) }
    }
    fn is_write_vectored(&self) -> bool { true }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() { Self::Tcp(s) => Pin::new(s).poll_flush(cx) }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() { Self::Tcp(s) => Pin::new(s).poll_shutdown(cx) }
    }
}
