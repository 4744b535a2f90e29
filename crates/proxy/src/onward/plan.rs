//! What an attempt would ask for, before its first packet; for [`explain`](crate::explain()).

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Method};
use sspc_policy::Address;

use super::connect::{Perf, Route, permitted};
use super::http::request::Plan;
use super::{Attempt, Failure, OnwardConfig, Runner, mqtt, ws};

/// What an attempt would ask for, made by what runs attempts.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) route: Route,
    /// `None` if the protocol has no requests.
    pub(crate) request: Option<Request>,
    /// The topics of MQTT by their keys, with the metadata that is set now.
    pub(crate) topics: Vec<(&'static str, String)>,
}

/// A request's head.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

impl Planned {
    pub(crate) fn new(config: &OnwardConfig, attempt: &Attempt) -> Result<Self, Failure> {
        let planned = Self::of(config, attempt)?;
        // What a name stands for, only the resolver knows.
        if let Address::Tcp { host, port } = &planned.route.address
            && let Ok(ip) = host.parse::<IpAddr>()
        {
            let addresses = vec![SocketAddr::new(ip, *port)];
            let perf = &mut Perf::default();
            permitted(&config.allow_to, &planned.route, host, addresses, perf)?;
        }
        Ok(planned)
    }

    fn of(config: &OnwardConfig, attempt: &Attempt) -> Result<Self, Failure> {
        match Runner::of(attempt.stream.protocol) {
            Some(Runner::Http) => {
                let plan = Plan::new(attempt, config)?;
                let (head, ()) = if plan.h2 { plan.h2()? } else { plan.h1(())? }.into_parts();
                let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
                let request = Request { method: head.method, path, headers: head.headers };
                Ok(Self { route: plan.route, request: Some(request), topics: Vec::new() })
            }
            Some(Runner::Ws) => ws::plan(config, attempt),
            Some(Runner::Mqtt) => mqtt::plan(config, attempt),
            _ => {
                let target = attempt.target()?;
                let route = config.route(attempt, &target);
                Ok(Self { route, request: None, topics: Vec::new() })
            }
        }
    }
}
