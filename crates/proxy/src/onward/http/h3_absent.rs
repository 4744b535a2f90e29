//! Stands in for h3 where it is not built in: no server is reached by it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};

use super::exchange::{Exchange, NoResponse};
use super::occupancy::Wanted;
use super::upload::Cursor;
use crate::onward::connect::{Perf, Route, Scope};
use crate::onward::{Failure, Onward};

/// Never a place on a connection.
#[derive(Debug)]
pub(crate) struct Slot(Infallible);

impl Slot {
    pub(crate) fn connection(&self) -> &Self {
        self
    }

    pub(crate) fn peer(&self) -> Scope {
        match self.0 {}
    }

    pub(crate) fn observed(&self) -> Option<u64> {
        match self.0 {}
    }

    pub(crate) fn retire(&self) {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(crate) struct Body(Infallible);

impl Body {
    pub(crate) fn is_over(&self) -> bool {
        match self.0 {}
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, String>> {
        match self.0 {}
    }

    pub(crate) async fn trailers(&mut self) -> Option<HeaderMap> {
        match self.0 {}
    }
}

#[derive(Debug, Default)]
pub(crate) struct Pool {}

impl Pool {
    #[expect(clippy::unused_async, reason = "as with h3")]
    pub(crate) async fn acquire(
        &self,
        _: &Arc<Onward>,
        _: Wanted<'_>,
        _: &mut Perf,
    ) -> Result<Option<Slot>, Failure> {
        Ok(None)
    }

    pub(crate) fn heard(&self, _: &Route, _: &HeaderMap) {}

    pub(crate) fn offered(&self, _: &Route) -> Option<Route> {
        None
    }

    pub(crate) fn close_idle(&self) {}
}

#[expect(clippy::unused_async, reason = "as with h3")]
pub(crate) async fn exchange(
    slot: Slot,
    _: Request<()>,
    _: Option<Cursor>,
) -> Result<Exchange, NoResponse> {
    match slot.0 {}
}
