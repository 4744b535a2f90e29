//! One http transaction: requests until there is a final response, and what the client gets of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::exchange::{Carrier, Download, Exchange, NoResponse, Retryability};
use super::occupancy::Wanted;
use super::request::Plan;
use super::upload::{Fault, Progress, RequestBody, Upload};
use super::{download, h1, h2, h3, head, response};
use crate::onward::attempt::queue::{EventSender, SessionGone};
use crate::onward::connect::{Alpn, Caller, Perf, Scope};
use crate::onward::{Attempt, End, Event, Failure, FailureKind, Onward, Takes, TxChunk};

const TOO_LONG_TO_REPEAT: &str =
    "the request would have to be sent again, and its body is too long for that";
/// Most redirects that are followed.
const HOPS_MAX: u32 = 4;
/// How much longer the body of a request goes on that the peer has refused: a short rest may have
/// its way, so that the connection can be kept; a long one would be sent for nothing.
const REFUSED_REST_MAX: Duration = Duration::from_secs(1);
/// Most times that a request moves to another connection because the first one let it down.
const MOVES_MAX: u32 = 3;
/// After so many the next connection is for this request alone: one of those that died with their
/// connection may be why it died, and must not be the death of the others again.
const SHARED_MOVES_MAX: u32 = 1;
/// Most times that a request moves because its connection had had enough others. Each time the
/// peer worked on at least one of these.
const UNPROCESSED_MAX: u32 = 250;

/// Runs a transaction.
pub(crate) async fn run(
    onward: &Arc<Onward>,
    attempt: &Attempt,
    out: &EventSender,
    chunks: mpsc::Receiver<TxChunk>,
) -> End {
    let mut plan = match Plan::new(attempt, &onward.config) {
        Ok(plan) => plan,
        Err(failure) => return End::Failed(failure),
    };
    if let Err(failure) = authorize(onward, attempt, &mut plan).await {
        return End::Failed(failure);
    }
    attempt.record.leads_to(&plan.route);
    let upload = plan.body.as_mut().map(|body| {
        let held_max = onward.config.limits.buffer_of(&attempt.stream);
        Upload::new(chunks, body.parts.take(), body.announced, held_max)
    });
    let transaction = Transaction {
        onward,
        attempt,
        out,
        plan,
        upload,
        connected: false,
        perf: attempt.stream.perf.then(Perf::default),
        start: Instant::now(),
        hops: 0,
        moves: 0,
        unprocessed: 0,
        tries: 0,
        renewed: false,
    };
    transaction.run().await.unwrap_or_else(End::from)
}

/// Gives the plan the token that it needs: one that was not refused yet.
async fn authorize(
    onward: &Arc<Onward>,
    attempt: &Attempt,
    plan: &mut Plan,
) -> Result<(), Failure> {
    let Some((source, refused)) = plan.token_source() else { return Ok(()) };
    let token = onward.tokens.get(onward, source, refused).await?;
    plan.give_token(attempt, token)
}

struct Transaction<'a> {
    onward: &'a Arc<Onward>,
    attempt: &'a Attempt,
    out: &'a EventSender,
    plan: Plan,
    upload: Option<Upload>,
    /// Whether Connected was reported.
    connected: bool,
    /// `None` once reported, or if the policy does not ask for it.
    perf: Option<Perf>,
    /// When the latest request was sent.
    start: Instant,
    hops: u32,
    /// How often it went to another connection since the latest answer.
    moves: u32,
    unprocessed: u32,
    /// How often a connected peer was found busy.
    tries: u32,
    /// Whether the token was replaced because the peer did not take it.
    renewed: bool,
}

/// Why there is no response.
enum ExchangeError {
    /// The connection failed.
    Peer(NoResponse),
    /// The client's body is not what it announced, or ended early.
    Client(Fault),
}

impl Transaction<'_> {
    async fn run(mut self) -> Result<End, SessionGone> {
        // Connections that refused this request; it must not come to them again.
        let mut avoid = Vec::new();
        loop {
            let mut exchange = match self.send(&avoid).await {
                Ok(exchange) => exchange,
                Err(failure) => return self.failed(failure).await,
            };
            if self.upload.is_some() && !self.connected {
                if let Some(credit) = exchange.credit {
                    self.out.event(Event::TxCredit(credit)).await?;
                }
                self.connect().await?;
            }
            match self.response(&mut exchange).await {
                Ok(response) => {
                    if let Some(end) = self.take(exchange, response).await? {
                        return Ok(end);
                    }
                    avoid.clear();
                }
                Err(ExchangeError::Client(fault)) => return self.client_fault(&fault).await,
                Err(ExchangeError::Peer(error)) if self.moves_on(&error) => {
                    if error.retryability == Retryability::OverHttp1 {
                        self.onward.h2.remember_http1(&self.plan.route);
                    }
                    // One that went away takes no more of itself.
                    match exchange.carrier {
                        Carrier::H2(slot) if error.retryability != Retryability::Unprocessed => {
                            avoid.push(slot.over());
                        }
                        Carrier::H3(slot) => slot.connection().retire(),
                        _ => {}
                    }
                }
                Err(ExchangeError::Peer(error)) => {
                    let why = format!("{}: {}", self.plan.route, error.why);
                    return self.failed(Failure::new(error.kind, why)).await;
                }
            }
        }
    }

    /// Gets a connection and puts the request on it.
    async fn send(&mut self, avoid: &[h2::Slot]) -> Result<Exchange, Failure> {
        let stream = &self.attempt.stream;
        let caller = Caller::of(self.attempt);
        let mut perf = Perf::default();
        if stream.http.cookies {
            let asked = self.plan.asked(&self.attempt.client);
            let cookie = self.onward.cookies.header(&asked, self.plan.room_for_cookies());
            self.plan.set_cookie(cookie);
        }
        loop {
            let cursor = match &self.upload {
                None => None,
                Some(upload) => Some(
                    upload
                        .cursor()
                        .ok_or_else(|| Failure::new(FailureKind::Closed, TOO_LONG_TO_REPEAT))?,
                ),
            };
            let alone = self.plan.head() > head::SHARED_MAX || self.moves > SHARED_MOVES_MAX;
            let by_h3 = match (self.plan.h3, stream.http.alt_svc) {
                (true, _) => Some(self.plan.route.clone()),
                (false, true) => self.onward.h3.offered(&self.plan.route),
                (false, false) => None,
            };
            if let Some(route) = by_h3 {
                let (route, validity) = (&route, stream.validity());
                let wanted = Wanted { route, caller: &caller, validity, alone };
                let acquired = self.onward.h3.acquire(self.onward, wanted, &mut perf).await;
                if let Some(slot) = acquired? {
                    perf.connection = slot.connection().observed();
                    self.keep_perf(&mut perf);
                    self.start = Instant::now();
                    match h3::exchange(slot, self.plan.h2()?, cursor).await {
                        Ok(exchange) => return Ok(exchange),
                        Err(error) if self.moves_on(&error) => continue,
                        Err(error) => {
                            let why = format!("{}: {}", self.plan.route, error.why);
                            return Err(Failure::new(error.kind, why));
                        }
                    }
                }
            }
            if self.plan.h2 {
                let (route, validity) = (&self.plan.route, stream.validity());
                let wanted = Wanted { route, caller: &caller, validity, alone };
                let acquired = self.onward.h2.acquire(self.onward, wanted, avoid, &mut perf).await;
                if let Ok(Some(slot)) = &acquired {
                    perf.connection = slot.connection().observed();
                }
                self.keep_perf(&mut perf);
                if let Some(slot) = acquired? {
                    self.start = Instant::now();
                    match h2::exchange(slot, self.plan.h2()?, cursor, self.out).await {
                        Ok(exchange) => return Ok(exchange),
                        Err(error) if self.moves_on(&error) => continue,
                        Err(error) => {
                            let why = format!("{}: {}", self.plan.route, error.why);
                            return Err(Failure::new(error.kind, why));
                        }
                    }
                }
            }
            let request = self.plan.h1(RequestBody(cursor))?;
            let connection = match self.onward.h1.take(&self.plan.route).await {
                // A second move goes to a connection that cannot be stale.
                Some(connection) if self.moves == 0 => {
                    self.attempt.record.reuses(connection.observed());
                    connection
                }
                _ => {
                    let route = self.plan.route.clone();
                    let transport = self.onward.connect(&route, &caller, Alpn::H1, &mut perf).await;
                    self.keep_perf(&mut perf);
                    let failed = |why| {
                        Failure::new(FailureKind::Protocol, format!("{}: {why}", self.plan.route))
                    };
                    h1::Connection::open(transport?, route).await.map_err(failed)?
                }
            };
            self.start = Instant::now();
            return Ok(connection.exchange(request));
        }
    }

    fn keep_perf(&mut self, measured: &mut Perf) {
        self.attempt.record.connected(measured);
        if let Some(perf) = &mut self.perf {
            *perf = std::mem::take(measured);
        }
    }

    /// Whether the request goes out on another connection, which counts.
    fn moves_on(&mut self, error: &NoResponse) -> bool {
        let (count, max, allowed) = match error.retryability {
            Retryability::Never => return false,
            Retryability::IfIdempotent => {
                (&mut self.moves, MOVES_MAX, self.plan.method.is_idempotent())
            }
            Retryability::Always | Retryability::OverHttp1 => (&mut self.moves, MOVES_MAX, true),
            Retryability::Unprocessed => (&mut self.unprocessed, UNPROCESSED_MAX, true),
        };
        let possible = self.upload.as_ref().is_none_or(Upload::can_restart);
        let moves = allowed && possible && *count < max;
        if moves {
            *count += 1;
            tracing::debug!(route = %self.plan.route, error = error.why, "sent once more");
        }
        moves
    }

    /// Waits for the response's headers, sending the request's body meanwhile. The peer's time
    /// begins when it has all of the request: before that the client may take as long as it likes.
    /// A peer that is polled has all the time there is.
    async fn response(&self, exchange: &mut Exchange) -> Result<Response<Download>, ExchangeError> {
        let limit = self.onward.config.timeouts.response;
        let patience = async {
            if let Some(upload) = &self.upload
                && let Progress::Failed(fault) = upload.ended().await
            {
                return ExchangeError::Client(fault);
            }
            if self.attempt.stream.http.long_poll {
                return std::future::pending().await;
            }
            sleep(limit).await;
            let why = format!("no response within {} s", limit.as_secs_f32());
            ExchangeError::Peer(NoResponse {
                kind: FailureKind::Silent,
                why,
                retryability: Retryability::Never,
            })
        };
        let result = exchange.pump.beside(async {
            tokio::select! {
                biased;
                result = &mut exchange.response => result.map_err(ExchangeError::Peer),
                error = patience => Err(error),
            }
        });
        match (result.await, self.upload.as_ref().and_then(Upload::fault)) {
            // What the client did comes first: it is why the connection failed.
            (Err(_), Some(fault)) => Err(ExchangeError::Client(fault)),
            (result, _) => result,
        }
    }

    /// Makes the best of a response; `None` if another request has to follow.
    async fn take(
        &mut self,
        exchange: Exchange,
        response: Response<Download>,
    ) -> Result<Option<End>, SessionGone> {
        let (head, download) = response.into_parts();
        let http = &self.attempt.stream.http;
        let status = head.status;
        self.attempt.record.responded(status.as_u16());
        if http.cookies {
            self.onward.cookies.take(&self.plan.asked(&self.attempt.client), &head.headers);
        }
        if http.alt_svc && !matches!(exchange.carrier, Carrier::H3(_)) {
            self.onward.h3.heard(&self.plan.route, &head.headers);
        }
        if self.plan.h2 && matches!(exchange.carrier, Carrier::H1(_)) {
            self.onward.h2.remember_http1(&self.plan.route);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let why = format!("{}: switches protocols unasked", self.plan.route);
            return self.failed(Failure::new(FailureKind::Protocol, why)).await.map(Some);
        }
        let expected = http.expect == Some(status.as_u16());
        if response::is_busy(status) && !expected {
            let retry_after = response::retry_after(&head.headers, SystemTime::now());
            if !self.connected {
                self.finish(exchange, download, true).await;
                let why = format!("{}: {status}", self.plan.route);
                let failure = Failure::new(FailureKind::Busy, why).retry_after(retry_after);
                return self.failed_with(failure, Some(status)).await.map(Some);
            }
            if let Some(wait) = self.next_try(retry_after) {
                self.finish(exchange, download, self.is_sent()).await;
                tracing::info!(route = %self.plan.route, %status, ?wait, "busy, will ask again");
                sleep(wait).await;
                return Ok(None);
            }
        }
        if status == StatusCode::UNAUTHORIZED && !expected && self.renew_token().await {
            let sent = self.is_sent();
            self.finish(exchange, download, sent).await;
            return Ok(None);
        }
        if let Some(location) = response::location(status, &head.headers).filter(|_| !expected) {
            let sent = self.is_sent();
            let server = exchange.carrier.peer();
            match location.and_then(|location| self.redirect(status, location, server)) {
                Ok(()) => {
                    self.report_perf(Some(status)).await?;
                    self.finish(exchange, download, sent).await;
                    return Ok(None);
                }
                Err(why) => {
                    let why = format!("{}: {status}: {why}", self.plan.route);
                    let kind =
                        if http.fail_redirect { FailureKind::Portal } else { FailureKind::Refused };
                    if !self.connected {
                        let failure = Failure::new(kind, why);
                        return self.failed_with(failure, Some(status)).await.map(Some);
                    }
                    tracing::info!(why, "redirect not followed");
                }
            }
        }
        self.deliver(exchange, head, download).await.map(Some)
    }

    /// Whether the request can go out once more with another token than the one that was refused.
    async fn renew_token(&mut self) -> bool {
        let refused = self.plan.token_source().and_then(|(_, token)| token).cloned();
        let (Some(refused), true) =
            (refused, self.upload.as_ref().is_none_or(Upload::can_restart) && !self.renewed)
        else {
            return false;
        };
        self.renewed = true;
        let given = authorize(self.onward, self.attempt, &mut self.plan).await;
        (self.moves, self.unprocessed) = (0, 0);
        // The peer's own answer says more than a failure here, which is logged where it happens.
        let token = self.plan.token_source().and_then(|(_, token)| token);
        given.is_ok() && token.is_some_and(|token| !token.is_same(&refused))
    }

    /// How long to wait before the request goes to a busy peer once more; `None` if it must not.
    ///
    /// The client has heard CONNECTED, and its message is here and nowhere else: so it is this
    /// attempt that tries again, and not the stream's next one.
    fn next_try(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        if !self.upload.as_ref().is_none_or(Upload::can_restart) {
            return None;
        }
        let retry = self.attempt.stream.retry_or_default();
        let delay = Duration::from_millis(retry.delay_ms(self.tries, rand::random()).into());
        self.tries = self.tries.saturating_add(1);
        (self.moves, self.unprocessed) = (0, 0);
        let at_least = retry_after.unwrap_or_default();
        let at_least = at_least.min(self.onward.config.timeouts.retry_after_max);
        retry.allows(self.tries).then(|| delay.max(at_least))
    }

    /// Prepares the request that a redirect asks for, or says why there is none.
    fn redirect(
        &mut self,
        status: StatusCode,
        location: &str,
        server: Scope,
    ) -> Result<(), String> {
        if self.attempt.stream.http.fail_redirect {
            return Err("is there a captive portal? The policy expects no redirects".to_owned());
        }
        if !self.attempt.stream.allow_redirects {
            return Err("the policy does not allow redirects".to_owned());
        }
        if self.hops >= HOPS_MAX {
            return Err(format!("more than {HOPS_MAX} redirects"));
        }
        let replay = status != StatusCode::SEE_OTHER;
        if replay && self.upload.as_ref().is_some_and(|upload| !upload.can_restart()) {
            return Err("the body is too long to be sent again".to_owned());
        }
        self.plan.redirect(status, location, server)?;
        self.attempt.record.leads_to(&self.plan.route);
        if self.plan.body.is_none()
            && let Some(upload) = self.upload.take()
        {
            upload.close();
        }
        self.hops += 1;
        (self.moves, self.unprocessed) = (0, 0);
        Ok(())
    }

    /// Hands a final response to the client.
    async fn deliver(
        &mut self,
        mut exchange: Exchange,
        mut head: http::response::Parts,
        mut download: Download,
    ) -> Result<End, SessionGone> {
        let stream = &self.attempt.stream;
        let found = response::metadata(stream, &head.headers);
        // Nobody knows how long the body takes, and the peer chose how many there are.
        response::keep_what_frames(&mut head.headers);
        download.beside(self.announce(found, head.status)).await?;
        let body = download::Delivery {
            out: self.out,
            stream,
            headers: &head.headers,
            none: response::is_bodyless(&self.plan.method, head.status),
            idle: self.onward.config.timeouts.body_idle,
            upload: self.upload.as_ref(),
        };
        let result = exchange.pump.beside(body.run(&mut download)).await?;
        if let Err(why) = result {
            if let Some(fault) = self.upload.as_ref().and_then(Upload::fault) {
                return self.client_fault(&fault).await;
            }
            let why = format!("{}: {why}", self.plan.route);
            return Ok(End::Failed(Failure::new(FailureKind::Closed, why)));
        }
        let trailers = exchange.pump.beside(body.trailers(&mut download)).await;
        if !trailers.is_empty() {
            self.out.event(Event::Metadata(trailers)).await?;
        }
        let good = stream.http.is_success(head.status.as_u16());
        let is_last = matches!(exchange.carrier, Carrier::H1(_))
            && response::closes_connection(&self.plan.method, &head);
        let is_over = !is_last && self.send_rest(&mut exchange, good).await;
        if let Some(fault) = self.upload.as_ref().and_then(Upload::fault) {
            return self.client_fault(&fault).await;
        }
        self.finish(exchange, download, is_over).await;
        if let Some(upload) = &self.upload {
            // From here on the session's payload belongs to something else.
            upload.close();
        }
        let ends_transaction = true;
        let verdict = if good {
            Event::Acked { ends_transaction }
        } else {
            Event::Nacked { ends_transaction }
        };
        self.out.event(verdict).await?;
        Ok(End::Complete)
    }

    /// Says what a response's head does.
    async fn announce(
        &mut self,
        found: Vec<(String, Bytes)>,
        status: StatusCode,
    ) -> Result<(), SessionGone> {
        let stream = &self.attempt.stream;
        if !found.is_empty() {
            self.out.event(Event::Metadata(found)).await?;
        }
        self.report_perf(Some(status)).await?;
        if let Some(state) = stream.http.mapped_state(status.as_u16()) {
            self.out.event(Event::UserState(state)).await?;
        }
        self.connect().await
    }

    /// Sends what is left of the request once its answer is complete. A peer may answer early and
    /// read on, and then gets all of it (RFC 9112 §9.3, RFC 9113 §8.1); the client cannot hold the
    /// answered request for ever, and neither can a peer that stops reading.
    ///
    /// True if the connection has got all of the request.
    async fn send_rest(&self, exchange: &mut Exchange, good: bool) -> bool {
        let Some(upload) = &self.upload else { return true };
        let idle = self.onward.config.timeouts.body_idle;
        let patience = async {
            if !good {
                return sleep(REFUSED_REST_MAX).await;
            }
            loop {
                let before = upload.passed();
                sleep(idle).await;
                if upload.passed() == before {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = exchange.request_over() => upload.is_complete(),
            () = patience => false,
        }
    }

    /// Whether the connection has got all of the request.
    fn is_sent(&self) -> bool {
        self.upload.as_ref().is_none_or(Upload::is_complete)
    }

    /// Gives the connection back if the exchange is over in both directions; a short rest of the
    /// response is read for that.
    async fn finish(&self, exchange: Exchange, mut download: Download, sent: bool) {
        if !sent || !download::drain(&mut download).await {
            return;
        }
        match exchange.carrier {
            Carrier::H1(connection) => self.onward.h1.give(connection),
            Carrier::H2(slot) => drop(slot.over()),
            Carrier::H3(_) => {}
        }
    }

    async fn connect(&mut self) -> Result<(), SessionGone> {
        if std::mem::replace(&mut self.connected, true) {
            return Ok(());
        }
        let takes = if self.upload.is_some() { Takes::Message } else { Takes::Nothing };
        self.out.event(Event::Connected { takes }).await
    }

    async fn report_perf(&mut self, status: Option<StatusCode>) -> Result<(), SessionGone> {
        let Some(perf) = self.perf.take() else { return Ok(()) };
        let response = status.map(|status| (status.as_u16(), self.start.elapsed()));
        self.out.event(Event::Perf(perf.json(response))).await
    }

    /// There will be no response.
    async fn failed(&mut self, failure: Failure) -> Result<End, SessionGone> {
        self.failed_with(failure, None).await
    }

    async fn failed_with(
        &mut self,
        failure: Failure,
        status: Option<StatusCode>,
    ) -> Result<End, SessionGone> {
        self.report_perf(status).await?;
        Ok(End::Failed(failure))
    }

    /// The client broke its own request, after CONNECTED as ever. A new attempt would not mend it,
    /// so this is the end of the transaction and not a loss.
    async fn client_fault(&mut self, fault: &Fault) -> Result<End, SessionGone> {
        if *fault == Fault::Cut {
            return Ok(End::Failed(Failure::new(FailureKind::Message, fault.to_string())));
        }
        let stream = &self.attempt.stream.name;
        tracing::warn!(stream, route = %self.plan.route, %fault, "request given up");
        self.report_perf(None).await?;
        self.out.event(Event::Nacked { ends_transaction: true }).await?;
        Ok(End::Complete)
    }
}
