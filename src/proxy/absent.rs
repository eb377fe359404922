//! Stands in for the proxies without the feature `grip`: types of which no value can exist.

use std::convert::Infallible;
use std::future::Pending;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderMap;

use crate::error::{BuildError, PublishError};
use crate::event::{EventId, InvalidEvent};
use crate::hub::{Hub, Start, Tap};
use crate::runtime::{Executor, Timer};
use crate::serve::{Body, BodySettings, Refusal};

pub(crate) enum Proxy {}

pub(crate) struct ProxyTap<'a>(Infallible, PhantomData<&'a Proxy>);

pub(crate) struct Outcome<T>(Infallible, PhantomData<T>);

pub(crate) enum SinkTurn {}

/// How a request came.
#[derive(PartialEq, Eq)]
pub(crate) enum Via {
    Proxy,
}

#[derive(Debug, Default)]
pub(crate) struct Setup {}

impl Setup {
    pub(crate) fn build(
        self,
        _: &dyn Executor,
        _: Arc<dyn Timer>,
        _: &Arc<Hub>,
    ) -> Result<Option<Proxy>, BuildError> {
        Ok(None)
    }
}

impl Proxy {
    pub(crate) fn admit(&self, _: &HeaderMap) -> Result<Via, Refusal> {
        match *self {}
    }

    pub(crate) fn check(&self, _: &Hub, _: &[String]) -> Result<(), Refusal> {
        match *self {}
    }

    pub(crate) fn hold(
        &self,
        _: &Hub,
        _: &BodySettings,
        _: &[String],
        _: Start<'_>,
    ) -> (HeaderMap, Body) {
        match *self {}
    }

    pub(crate) fn tap(&self, _: &str, _: Option<Infallible>) -> ProxyTap<'_> {
        match *self {}
    }

    pub(crate) fn follow<T>(
        &self,
        _: &str,
        _: fn(&T, &str) -> EventId,
    ) -> (ProxyTap<'_>, Outcome<T>) {
        match *self {}
    }

    pub(crate) fn sink_turn(&self) -> SinkTurn {
        match *self {}
    }

    pub(crate) fn close_channel(&self, _: &str) {
        match *self {}
    }

    pub(crate) fn close(&self) -> Pending<()> {
        match *self {}
    }
}

impl Tap for ProxyTap<'_> {
    fn encoded(&mut self, _: &[u8], _: &[u8], _: bool) -> Result<(), InvalidEvent> {
        match self.0 {}
    }

    fn numbered(&mut self, _: impl FnOnce() -> EventId) {
        match self.0 {}
    }
}

impl<T> Outcome<T> {
    pub(crate) fn poll(&mut self, _: &T, _: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        match self.0 {}
    }
}

impl SinkTurn {
    pub(crate) fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        match *self {}
    }

    pub(crate) fn tap<'a>(&mut self, _: &'a Proxy, _: &str) -> ProxyTap<'a> {
        match *self {}
    }

    pub(crate) fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        match *self {}
    }
}
