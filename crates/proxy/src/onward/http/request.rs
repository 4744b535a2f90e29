//! From policy and metadata to a request: where to, and what it says.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use sspc_policy::{AuthMethod, Protocol, path_for};
use url::Url;

use super::auth::{Authorization, Line, oauth2};
use super::multipart_encode::Parts;
use super::{head, response};
use crate::config::DeviceCredentials;
use crate::identity::Identity;
use crate::observe::trace;
use crate::onward::connect::{Reach, Route, Scope, Trust};
use crate::onward::cookies::Asked;
use crate::onward::{Attempt, Failure, FailureKind, OnwardConfig};

/// A request, independent of the version of HTTP that will carry it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) route: Route,
    /// Whether the policy asks for h3,
    pub(crate) h3: bool,
    /// and whether for h2, which is also what takes the place of h3.
    pub(crate) h2: bool,
    pub(crate) method: Method,
    /// With exactly one slash in front.
    path: String,
    /// All but Host, Origin, those of `use_auth` and those that frame the body.
    headers: HeaderMap,
    /// What the client asks to be sent as Host instead of the endpoint.
    host: Option<HeaderValue>,
    /// How the body is framed; `None` if there is none.
    pub(crate) body: Option<BodyPlan>,
    /// How to encrypt if a redirect asks for it.
    trust: Trust,
    /// Whether the policy has metadata that may come behind the body.
    asks_for_trailers: bool,
    /// Whether servers may redirect it to private addresses.
    allow_private: bool,
    /// What `use_auth` asks for, until a redirect leads away.
    auth: Option<Authorization>,
    /// Headers that are for the first peer's eyes only.
    secrets: Vec<HeaderName>,
    /// What the server asked to get back, for the next request.
    cookie: Option<HeaderValue>,
    /// Bytes of path and headers without that, and the most that they may be.
    head: usize,
    head_max: u32,
}

/// How a request's body is framed.
#[derive(Debug)]
pub(crate) struct BodyPlan {
    /// Bytes on the wire, announced by content-length; `None` if only the end will tell.
    pub(crate) announced: Option<u64>,
    /// Set if the body is multipart.
    pub(crate) parts: Option<Parts>,
}

/// Names that are for the first peer only even if the policy does not call them credentials.
const SECRETS: [HeaderName; 3] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

impl Plan {
    /// The request that an attempt starts with.
    pub(crate) fn new(attempt: &Attempt, config: &OnwardConfig) -> Result<Self, Failure> {
        let stream = &*attempt.stream;
        let target = attempt.target()?;
        let path = path_for(stream, &target, |name| attempt.lookup(name))
            .map_err(|error| Failure::new(FailureKind::Request, format!("http_url: {error}")))?;
        let method = Method::from_bytes(stream.http.method.as_bytes())
            .ok()
            .filter(|method| *method != Method::CONNECT)
            .ok_or_else(|| {
                Failure::new(
                    FailureKind::Policy,
                    format!("http_method {:?} cannot be sent", stream.http.method),
                )
            })?;
        let mut headers = Headers::new();
        let credentials = config.credentials.get();
        headers.credentials(attempt, &credentials)?;
        headers.metadata(attempt)?;
        headers.trace(attempt);
        let body = body_plan(attempt, &mut headers)?;
        let route = config.route(attempt, &target);
        let trust = Trust::of(stream);
        let auth = Authorization::of(attempt, &credentials, body.is_some(), route.tls.is_some())?;
        let mut plan = Self {
            route,
            h3: stream.protocol == Protocol::H3,
            h2: matches!(stream.protocol, Protocol::H2 | Protocol::H3),
            method,
            path,
            host: headers.map.remove(header::HOST),
            headers: headers.map,
            body,
            trust,
            asks_for_trailers: response::asks_for_headers(stream),
            allow_private: stream.allow_private,
            auth,
            secrets: headers.secrets,
            cookie: None,
            head: 0,
            head_max: config.limits.request_head,
        };
        plan.head = plan.head_at(&plan.path, &plan.route)?;
        head::check(attempt, plan.head, plan.head_max)?;
        Ok(plan)
    }

    /// The bytes of path and headers if they were for this.
    fn head_at(&self, path: &str, route: &Route) -> Result<usize, Failure> {
        let host = match &self.host {
            Some(host) => host.clone(),
            None => host_of(route)?,
        };
        let mut headers = self.all_headers(path, route, Some(host))?;
        headers.extend(self.h2_headers().filter(|_| self.h2));
        Ok(head::size(path, &headers))
    }

    /// What h2 requests have that others do not.
    fn h2_headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        // Some servers of gRPC refuse requests without it.
        self.asks_for_trailers
            .then_some((header::TE, HeaderValue::from_static("trailers")))
            .into_iter()
    }

    /// Bytes of path and headers.
    pub(crate) fn head(&self) -> usize {
        self.head + self.cookie.as_ref().map_or(0, |cookie| head::COOKIE + cookie.len())
    }

    /// The request as its cookies depend on it.
    pub(crate) fn asked<'a>(&'a self, client: &'a Identity) -> Asked<'a> {
        let host = match &self.host {
            Some(host) => String::from_utf8_lossy(host.as_bytes()),
            None => self.route.authority().into(),
        };
        Asked { client, route: &self.route, host, path: &self.path }
    }

    /// Bytes that cookies may have in the next request. None where the client sets its own, which
    /// take the place of what is kept.
    pub(crate) fn room_for_cookies(&self) -> usize {
        let max = usize::try_from(self.head_max).unwrap_or(usize::MAX);
        if self.headers.contains_key(header::COOKIE) {
            return 0;
        }
        max.saturating_sub(self.head + head::COOKIE)
    }

    /// The next request has these cookies.
    pub(crate) fn set_cookie(&mut self, cookie: Option<HeaderValue>) {
        self.cookie = cookie;
    }

    /// What the token is asked for with, and the one that the request has already.
    pub(crate) fn token_source(&self) -> Option<(&oauth2::Source, Option<&oauth2::Token>)> {
        match &self.auth {
            Some(Authorization::Bearer { source, token }) => Some((&**source, token.as_ref())),
            _ => None,
        }
    }

    /// Takes the token, from now on.
    pub(crate) fn give_token(
        &mut self,
        attempt: &Attempt,
        new: oauth2::Token,
    ) -> Result<(), Failure> {
        if let Some(Authorization::Bearer { token, .. }) = &mut self.auth {
            *token = Some(new);
        }
        self.head = self.head_at(&self.path, &self.route)?;
        head::check(attempt, self.head, self.head_max)
    }

    /// The request for http/1.1: `Host` and the path.
    pub(crate) fn h1<B>(&self, body: B) -> Result<Request<B>, Failure> {
        let uri = Uri::try_from(self.path.as_str()).map_err(|error| self.bad_path(&error))?;
        let host = match &self.host {
            Some(host) => host.clone(),
            None => host_of(&self.route)?,
        };
        self.request(uri, Some(host), body)
    }

    /// The request for h2 and h3: `:authority` and the path in a whole URI.
    pub(crate) fn h2(&self) -> Result<Request<()>, Failure> {
        let authority = match &self.host {
            Some(host) => host.to_str().map_err(|error| self.bad_path(&error))?.to_owned(),
            None => self.route.authority(),
        };
        let uri = Uri::builder()
            .scheme(self.route.scheme())
            .authority(authority)
            .path_and_query(self.path.as_str())
            .build()
            .map_err(|error| self.bad_path(&error))?;
        let mut request = self.request(uri, None, ())?;
        request.headers_mut().extend(self.h2_headers());
        *request.version_mut() = http::Version::HTTP_2;
        Ok(request)
    }

    fn request<B>(
        &self,
        uri: Uri,
        host: Option<HeaderValue>,
        body: B,
    ) -> Result<Request<B>, Failure> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.all_headers(&self.path, &self.route, host)?;
        Ok(request)
    }

    fn all_headers(
        &self,
        path: &str,
        route: &Route,
        host: Option<HeaderValue>,
    ) -> Result<HeaderMap, Failure> {
        let mut headers = usual_headers(route, host)?;
        // The client's own take the place of these.
        headers.extend(self.headers.clone());
        if let Some(cookie) = &self.cookie {
            headers.insert(header::COOKIE, cookie.clone());
        }
        if let Some(length) = self.body.as_ref().and_then(|body| body.announced) {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        if let Some(auth) = &self.auth {
            let host = self.host.clone().map_or_else(|| host_of(route), Ok)?;
            let line = Line { method: &self.method, host: host.as_bytes(), path };
            auth.apply(line, &mut headers)?;
        }
        Ok(headers)
    }

    fn bad_path(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::new(
            FailureKind::Request,
            format!("cannot ask {} for {:?}: {error}", self.route, self.path),
        )
    }

    /// Turns this request into the one that a redirect asks for; says why if it must not.
    /// It leads no further than its server, which has an address of the scope `server`.
    pub(crate) fn redirect(
        &mut self,
        status: StatusCode,
        location: &str,
        server: Scope,
    ) -> Result<(), String> {
        // They are for the server that set them.
        self.cookie = None;
        let base = format!("{}://{}{}", self.route.scheme(), self.route.authority(), self.path);
        let next = Url::parse(&base)
            .and_then(|base| base.join(location))
            .map_err(|error| format!("Location {location:?}: {error}"))?;
        let tls = match next.scheme() {
            "https" => true,
            "http" if self.route.tls.is_none() => false,
            "http" => return Err("it leads from https to http".to_owned()),
            other => return Err(format!("it leads to {other}:")),
        };
        let host = next.host_str().ok_or("its Location has no host")?;
        // An IPv6 host comes in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = next.port_or_known_default().ok_or("its Location has no port")?;
        let query = next.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{query}", next.path());
        let stays = next.scheme() == self.route.scheme()
            && Url::parse(&base).is_ok_and(|base| base.origin() == next.origin());
        let route = if stays {
            self.route.clone()
        } else {
            let address = sspc_policy::Address::Tcp { host: host.to_ascii_lowercase(), port };
            let client = self.route.client.clone();
            let tls = tls.then(|| self.trust.clone());
            let reach = if self.allow_private {
                Reach::Policy
            } else {
                self.route.reach.redirected_from(server)
            };
            let way_out = self.route.way_out.clone();
            // The certificate is not for another origin's eyes.
            Route { client, address, tls, client_cert: None, reach, way_out }
        };
        let size = self.head_at(&path, &route).map_err(|failure| failure.to_string())?;
        if size > usize::try_from(self.head_max).unwrap_or(usize::MAX) {
            let max = self.head_max;
            return Err(format!(
                "its Location of {} bytes makes path and headers {size} bytes, and at most {max} \
                 can be sent",
                location.len()
            ));
        }
        self.path = path;
        self.head = size;
        if !stays {
            self.route = route;
            self.host = None;
            self.auth = None;
            for name in self.secrets.iter().chain(&SECRETS) {
                self.headers.remove(name);
            }
        }
        if status == StatusCode::SEE_OTHER && self.method != Method::HEAD {
            self.method = Method::GET;
            self.body = None;
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
                self.headers.remove(name);
            }
        }
        Ok(())
    }
}

/// The headers of the device and of the client's metadata, for a request that upgrades its
/// connection. What the upgrade says itself they cannot say.
pub(crate) fn own_headers(attempt: &Attempt, config: &OnwardConfig) -> Result<HeaderMap, Failure> {
    let mut headers = Headers::new();
    headers.credentials(attempt, &config.credentials.get())?;
    headers.metadata(attempt)?;
    headers.trace(attempt);
    let names: Vec<HeaderName> = headers.map.keys().cloned().collect();
    for name in names.iter().filter(|name| name.as_str().starts_with("sec-websocket-")) {
        headers.map.remove(name);
    }
    Ok(headers.map)
}

/// What `Host` says where nobody asks for something else.
fn host_of(route: &Route) -> Result<HeaderValue, Failure> {
    value("Host", route.authority().as_bytes())
}

/// What every request has, a websocket's upgrade too: Host, where it is a header, goes first, as
/// RFC 9110 §7.2 would have it.
pub(crate) fn usual_headers(
    route: &Route,
    host: Option<HeaderValue>,
) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    let origin = format!("{}://{}", route.scheme(), route.authority());
    headers.insert(header::ORIGIN, value("Origin", origin.as_bytes())?);
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(headers)
}

/// A header's value that cannot break the message.
fn value(name: &str, bytes: &[u8]) -> Result<HeaderValue, Failure> {
    HeaderValue::from_bytes(bytes).map_err(|_| {
        Failure::new(
            FailureKind::Request,
            format!("the value for the header {name} has control characters"),
        )
    })
}

/// Headers in the making.
struct Headers {
    map: HeaderMap,
    /// Where the policy puts credentials.
    secrets: Vec<HeaderName>,
    /// Names that metadata has set: further items of the name are added, not exchanged.
    from_client: Vec<HeaderName>,
}

impl Headers {
    fn new() -> Self {
        Self { map: HeaderMap::new(), secrets: Vec::new(), from_client: Vec::new() }
    }

    fn fixed(&mut self, name: HeaderName, text: &'static str) {
        self.map.insert(name, HeaderValue::from_static(text));
    }

    fn name(text: &str) -> Result<HeaderName, Failure> {
        HeaderName::from_bytes(text.trim().trim_end_matches(':').as_bytes()).map_err(|_| {
            Failure::new(
                FailureKind::Policy,
                format!("the policy's header {text:?} is not a header name"),
            )
        })
    }

    fn credentials(
        &mut self,
        attempt: &Attempt,
        credentials: &DeviceCredentials,
    ) -> Result<(), Failure> {
        let http = &attempt.stream.http;
        // With a method of its own it is not for this header.
        let number = attempt.stream.use_auth.as_ref().map_or(0, |auth| match auth.method() {
            AuthMethod::Blob => auth.blob,
            _ => 0,
        });
        let auth = match credentials.auth_blob(number) {
            // A preamble without what it is for would be a wrong credential.
            [] => Vec::new(),
            auth => [http.auth_preamble.as_deref().unwrap_or_default().as_bytes(), auth].concat(),
        };
        let all: [(&Option<String>, &[u8]); 4] = [
            (&http.auth_header, &auth),
            (&http.dsn_header, &credentials.serial_number),
            (&http.fwv_header, &credentials.firmware_version),
            (&http.devtype_header, &credentials.device_type),
        ];
        for (name, bytes) in all {
            let Some(name) = name else { continue };
            let name = Self::name(name)?;
            // Also where the client's metadata sets it instead.
            self.secrets.push(name.clone());
            if bytes.is_empty() {
                tracing::debug!(%name, "nothing is configured for this header");
                continue;
            }
            let mut value = value(name.as_str(), bytes)?;
            value.set_sensitive(true);
            self.map.insert(&name, value);
        }
        Ok(())
    }

    fn metadata(&mut self, attempt: &Attempt) -> Result<(), Failure> {
        for item in attempt.stream.metadata.iter().rev() {
            let (Some(header), Some(bytes)) = (&item.header, attempt.value(&item.name)) else {
                continue;
            };
            let name = Self::name(header)?;
            // The body's length is announced with the body.
            if bytes.is_empty() || item.is_hop_by_hop() || name == header::CONTENT_LENGTH {
                continue;
            }
            let value = value(name.as_str(), bytes)?;
            if self.from_client.contains(&name) {
                self.map.append(name, value);
            } else {
                self.map.insert(&name, value);
                self.from_client.push(name);
            }
        }
        Ok(())
    }
}

impl Headers {
    /// Which trace the request belongs to, if the policy wants it said.
    fn trace(&mut self, attempt: &Attempt) {
        if attempt.stream.http.traceparent {
            let given = self.map.get(trace::HEADER).and_then(|value| value.to_str().ok());
            let traceparent = attempt.record.traceparent(given).to_string();
            if let Ok(value) = HeaderValue::try_from(traceparent) {
                self.map.insert(trace::HEADER, value);
            }
        }
    }
}

fn body_plan(attempt: &Attempt, headers: &mut Headers) -> Result<Option<BodyPlan>, Failure> {
    let stream = &*attempt.stream;
    let hint = attempt.length_hint.filter(|&hint| hint > 0).map(u64::from);
    let given = given_length(attempt)?;
    let form = stream.http.www_form_urlencoded;
    if !stream.takes_payload(given) {
        return Ok(None);
    }
    let mut announced = given.or(hint);
    let mut parts = None;
    if stream.is_multipart() {
        let framing = Parts::new(stream, &attempt.chain, Parts::random_boundary());
        announced = announced.map(|length| length.saturating_add(framing.overhead()));
        let kind = value("Content-Type", framing.content_type().as_bytes())?;
        headers.map.insert(header::CONTENT_TYPE, kind);
        parts = Some(framing);
    } else if form && !headers.from_client.contains(&header::CONTENT_TYPE) {
        headers.fixed(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if stream.http.no_content_length {
        announced = None;
    }
    Ok(Some(BodyPlan { announced, parts }))
}

/// The length that the client gave as metadata; 0 counts as none.
fn given_length(attempt: &Attempt) -> Result<Option<u64>, Failure> {
    for item in attempt.stream.metadata.iter().rev() {
        let is_length = item.header.as_deref().is_some_and(|header| {
            header.trim_end_matches(':').eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str())
        });
        let Some(bytes) = attempt.value(&item.name).filter(|_| is_length) else { continue };
        let digits = bytes.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(bytes).ok().filter(|_| digits);
        let length: u64 = text.and_then(|text| text.parse().ok()).ok_or_else(|| {
            Failure::new(
                FailureKind::Request,
                format!("metadata {:?}: {:?} is not a length", item.name, bytes),
            )
        })?;
        return Ok((length > 0).then_some(length));
    }
    Ok(None)
}
