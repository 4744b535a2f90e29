//! OAuth 2 tokens (RFC 6749): fetched when a request needs one, and shared by all that need the same.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde_json::Value;
use sspc_policy::{Auth, AuthMethod, MetadataItem, TrustStore, WayOut};
use tokio::time::Instant;
use tracing::Instrument as _;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::secret;
use crate::credentials::OauthClient;
use crate::onward::own::Own;
use crate::onward::{Failure, FailureKind, Onward};

/// Most bytes of an answer with a token.
const ANSWER_MAX: usize = 64 * 1024;
/// For a whole request for a token.
const LIMIT: Duration = Duration::from_secs(30);
/// Tokens that are kept; the oldest goes first. Policies have a handful, but reloads may bring new ones
/// for ever.
const TOKENS_MAX: usize = 64;
/// How long a token is used whose server does not say.
const LIFETIME: Duration = Duration::from_secs(3600);
/// The longest lifetime that is believed.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// How much before its end a token is replaced, so that it does not end on the way.
const MARGIN_MAX: Duration = Duration::from_secs(60);
/// A token that is refused while it is as new as this is not refused for its age.
const NEW: Duration = Duration::from_secs(10);
/// How long nobody asks again after a failure; twice as long after each further one.
const HOLD_OFF: Duration = Duration::from_secs(1);
const HOLD_OFF_MAX: Duration = Duration::from_secs(60);
/// Most characters of an error's code (RFC 6749 §5.2) that is shown.
const CODE_MAX: usize = 64;

/// What a token is asked for with. Requests for which all of this is the same share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(super) auth: Arc<Auth>,
    pub(super) client: OauthClient,
    pub(super) trust_store: Option<Arc<TrustStore>>,
    pub(super) way_out: Option<Arc<WayOut>>,
}

/// A token, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// `Bearer` and the token.
    pub(super) header: HeaderValue,
    since: Instant,
    until: Instant,
}

impl Token {
    /// Whether a peer that refused the one refuses the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.header == other.header
    }

    fn is_new(&self) -> bool {
        self.since.elapsed() < NEW
    }
}

/// All tokens of a proxy.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<Vec<(Source, Arc<Mutex<Kept>>)>>);

type Fetching = Shared<BoxFuture<'static, Result<Token, Failure>>>;

/// What is known of one token.
#[derive(Default)]
struct Kept {
    token: Option<Token>,
    /// The latest refresh token, if the server has replaced the one of the credentials.
    refresh_token: Option<String>,
    fetching: Option<Fetching>,
    failures: u32,
    /// Why there is none, and until when nobody asks.
    failed: Option<(Failure, Instant)>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("failures", &self.failures).finish_non_exhaustive()
    }
}

impl Tokens {
    /// A token that is good for a while; not the one that was `refused`, unless that is new.
    pub(crate) async fn get(
        &self,
        onward: &Arc<Onward>,
        source: &Source,
        refused: Option<&Token>,
    ) -> Result<Token, Failure> {
        let kept = self.kept(source);
        let fetching = {
            let mut state = lock(&kept);
            let stale = refused.filter(|refused| !refused.is_new());
            if let Some(token) = &state.token {
                let is_refused = stale.is_some_and(|stale| stale.is_same(token));
                if !is_refused && Instant::now() < token.until {
                    return Ok(token.clone());
                }
            }
            if let Some((failure, until)) = &state.failed
                && Instant::now() < *until
            {
                return Err(failure.clone());
            }
            match &state.fetching {
                Some(fetching) => fetching.clone(),
                None => {
                    let fetching = fetch(Arc::clone(onward), source.clone(), Arc::clone(&kept));
                    state.fetching = Some(fetching.clone());
                    fetching
                }
            }
        };
        fetching.await
    }

    fn kept(&self, source: &Source) -> Arc<Mutex<Kept>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kept)) = all.iter().find(|(known, _)| known == source) {
            return Arc::clone(kept);
        }
        if all.len() >= TOKENS_MAX {
            all.remove(0);
        }
        let kept = Arc::default();
        all.push((source.clone(), Arc::clone(&kept)));
        kept
    }
}

/// Asks for a token, to the end even if those who wait leave: a refresh token may be good for once.
fn fetch(onward: Arc<Onward>, source: Source, kept: Arc<Mutex<Kept>>) -> Fetching {
    let asking = async move {
        let refresh_token = lock(&kept).refresh_token.clone();
        let asked = ask(&onward, &source, refresh_token).await;
        let mut state = lock(&kept);
        state.fetching = None;
        match asked {
            Ok((token, refresh_token)) => {
                if let Some(refresh_token) = refresh_token {
                    state.refresh_token = Some(refresh_token);
                }
                (state.failures, state.failed) = (0, None);
                state.token = Some(token.clone());
                let seconds = token.until.saturating_duration_since(token.since).as_secs();
                tracing::info!(auth = source.auth.name, seconds, "got a token");
                Ok(token)
            }
            Err(failure) => {
                let wait = HOLD_OFF.saturating_mul(1 << state.failures.min(10)).min(HOLD_OFF_MAX);
                state.failures = state.failures.saturating_add(1);
                state.token = None;
                let why = format!("token of `auth` {:?}: {failure}", source.auth.name);
                tracing::warn!(why, "no request that needs it is sent");
                let failure = Failure::new(failure.kind, why);
                state.failed = Some((failure.clone(), Instant::now() + wait));
                Err(failure)
            }
        }
    };
    let task = tokio::spawn(asking.instrument(tracing::warn_span!("token")));
    let ended = |_| Failure::new(FailureKind::Internal, "the request for a token did not end");
    async move { task.await.map_err(ended).and_then(|result| result) }.boxed().shared()
}

/// The token, and the next refresh token.
async fn ask(
    onward: &Arc<Onward>,
    source: &Source,
    refresh_token: Option<String>,
) -> Result<(Token, Option<String>), Failure> {
    let Source { auth, trust_store, way_out, .. } = source;
    let mut stream = auth
        .token_request()
        .map_err(|why| Failure::new(FailureKind::Policy, format!("`token_endpoint`: {why}")))?;
    stream.trust_store.clone_from(trust_store);
    stream.way_out.clone_from(way_out);
    let (metadata, form) = request(source, refresh_token.as_deref());
    for (name, _) in &metadata {
        let header = Some(name.clone());
        stream.metadata.push(MetadataItem { name: name.clone(), header });
    }
    let body = Some(Bytes::from(form));
    let own = Own { stream, metadata, body, answer_max: ANSWER_MAX, limit: LIMIT };
    let since = Instant::now();
    let answer = own.ask(onward).await?;
    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let text = |name: &str| json.as_ref()?.get(name)?.as_str();
    if !(200..300).contains(&answer.status) {
        let code = text("error").filter(|code| {
            code.len() <= CODE_MAX
                && code.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
        });
        let code = code.map(|code| format!(", {code}")).unwrap_or_default();
        let why = format!("the server refused with status {}{code}", answer.status);
        return Err(Failure::new(FailureKind::Refused, why));
    }
    let broken = |why: &str| Failure::new(FailureKind::Protocol, format!("the answer {why}"));
    let token = text("access_token").filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| broken("has no `access_token`"))?;
    if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(broken("has a `token_type` that is not Bearer"));
    }
    let header = secret(&AUTHORIZATION, &format!("Bearer {token}"))
        .map_err(|_| broken("has an `access_token` with control characters"))?;
    let lifetime = json.as_ref().and_then(|json| lifetime(json.get("expires_in")?));
    let lifetime = lifetime.unwrap_or(LIFETIME).min(LIFETIME_MAX);
    let until = since + (lifetime - MARGIN_MAX.min(lifetime / 10));
    let next = text("refresh_token").filter(|token| !token.is_empty()).map(str::to_owned);
    Ok((Token { header, since, until }, next))
}

/// Headers and form of the request for a token.
fn request(source: &Source, refresh_token: Option<&str>) -> (Vec<(String, Bytes)>, String) {
    let Source { auth, client, .. } = source;
    let mut form = Serializer::new(String::new());
    if auth.method() == AuthMethod::RefreshToken {
        let token = refresh_token.unwrap_or(&client.refresh_token);
        form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
    } else {
        form.append_pair("grant_type", "client_credentials");
    }
    if let Some(scope) = &auth.scope {
        form.append_pair("scope", scope);
    }
    let mut headers = vec![("accept".to_owned(), Bytes::from_static(b"application/json"))];
    if client.client_secret.is_empty() {
        form.append_pair("client_id", &client.client_id);
    } else {
        // RFC 6749 §2.3.1
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let both = format!("{}:{}", encode(&client.client_id), encode(&client.client_secret));
        let value = format!("Basic {}", STANDARD.encode(both));
        headers.push((AUTHORIZATION.to_string(), value.into()));
    }
    (headers, form.finish())
}

/// Some servers put the number into quotes.
fn lifetime(value: &Value) -> Option<Duration> {
    let seconds = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    Some(Duration::from_secs(seconds))
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
