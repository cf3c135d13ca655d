//! Stubs of TLS, for builds without the feature `tls`. The rest of the server reads the same with
//! the feature and without it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::error::TlsError;
use crate::settings::Settings;

/// A certificate, which does not exist in this build.
#[derive(Debug)]
pub(crate) enum TlsGate {}

#[allow(clippy::unused_async)] // as with the feature
impl TlsGate {
    /// Returns `None`. Settings are checked before.
    pub(crate) const fn open(_: &Settings) -> Result<Option<Self>, TlsError> {
        Ok(None)
    }

    pub(crate) fn read_again(&self) -> Result<bool, TlsError> {
        match *self {}
    }

    pub(crate) fn expiry(&self) -> Option<i64> {
        match *self {}
    }

    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        match *self {}
    }

    pub(crate) async fn accept(
        &self,
        _: TcpStream,
    ) -> Result<Box<TlsStream>, (io::Error, TcpStream)> {
        match *self {}
    }
}

/// A TLS connection, which does not exist in this build.
#[derive(Debug)]
pub(crate) enum TlsStream {}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

/// A TLS session, which does not exist in this build.
#[derive(Debug)]
pub(crate) enum Session {}

impl Session {
    pub(crate) fn split(stream: TlsStream) -> (TcpStream, Option<Box<Self>>) {
        match stream {}
    }

    pub(crate) fn has_unsent(&self) -> bool {
        match *self {}
    }

    pub(crate) fn sent(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn encrypt(&self, _: &[io::IoSlice<'_>]) -> usize {
        match *self {}
    }

    pub(crate) fn end(&self) -> bool {
        match *self {}
    }

    pub(crate) fn send(&self, _: &TcpStream) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn poll_read(
        &self,
        _: &mut Context<'_>,
        _: &mut TcpStream,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match *self {}
    }
}
