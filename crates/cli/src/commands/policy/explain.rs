//! `sspc policy explain`

use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, ValueHint};
use sspc_policy::{AuthMethod, Protocol, Retry, StreamType, Template};
use sspc_proxy::{
    AwsKeys, Config, Destination, Explanation, OauthClient, Secret, Timeouts, explain,
};

use super::no_streamtype;
use crate::args::parse_metadata;
use crate::console::{Console, count, labelled, print, printable};
use crate::exit::Failure;
use crate::policy_files;

/// Say what a stream would do, without connecting
///
/// Where it leads, what it sends there, whom it trusts, who shares its connection, how often and how
/// long it tries, and what its states mean; found by the proxy's own code. Secrets are hidden.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct ExplainArgs {
    /// The policy; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// The streamtype
    #[arg(value_name = "STREAMTYPE")]
    streamtype: String,

    /// The client sets this metadata item; may be given several times
    #[arg(short, long = "meta", value_name = "NAME=VALUE", value_parser = parse_metadata)]
    metadata: Vec<(String, String)>,

    /// The client announces a payload of so many bytes
    #[arg(long, value_name = "BYTES")]
    length: Option<u32>,

    /// Apply this policy on top first; may be given several times
    #[arg(short, long = "overlay", value_name = "FILE", value_hint = ValueHint::FilePath)]
    overlays: Vec<PathBuf>,
}

const HELP: &str = "\
Examples:
  sspc policy explain policy.json mintest
  sspc policy explain policy.json weather --meta city=Taipei
  sspc policy explain policy.json upload --overlay site.json --length 1000

Exit codes:
  0  explained
  1  the policy has errors or does not have the streamtype, clients cannot open it, or each of its
     attempts to connect fails
  2  the command line is wrong";

pub(super) fn run(args: &ExplainArgs, console: Console) -> Result<(), Failure> {
    let loaded = policy_files::load(Some(&args.file), &args.overlays)
        .map_err(|error| policy_files::refuse(error, console))?;
    let policy = loaded.policy;
    if policy.streamtype(&args.streamtype).is_none() {
        return Err(no_streamtype(&policy, &args.streamtype));
    }
    let mut config = Config::new(policy);
    config.ways_out = crate::service::ways_out()?;
    stand_in(&mut config, &args.streamtype);
    let metadata: Vec<(String, Bytes)> = args
        .metadata
        .iter()
        .map(|(name, value)| (name.clone(), Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    let explanation =
        explain(&config, &args.streamtype, &metadata, args.length).map_err(Failure::new)?;
    let mut text = Text::default();
    text.explain(&explanation, args, &config.timeouts);
    print(&text.0)?;
    explanation
        .destination
        .map(|_| ())
        .map_err(|why| Failure::new(format!("each attempt to connect fails: {}", printable(&why))))
}

/// Something for the credentials that the proxy has and this command does not, so that what they are
/// for is shown.
fn stand_in(config: &mut Config, streamtype: &str) {
    let credentials = &mut config.credentials;
    let own = "credentials";
    credentials.auth = own.into();
    credentials.more_auth = [own; 3].map(Into::into);
    credentials.serial_number = own.into();
    credentials.firmware_version = own.into();
    credentials.device_type = own.into();
    let auth = config.policy.streamtype(streamtype).and_then(|found| found.use_auth.as_ref());
    if let Some(auth) = auth {
        let mut client = OauthClient::new(own);
        client.refresh_token = own.to_owned();
        credentials.oauth2.insert(auth.blob, client);
        credentials.sigv4.insert(auth.blob, AwsKeys::new(own, own));
    }
}

/// Whether a header says what the credentials have.
fn is_from_credentials(streamtype: &StreamType, header: &str) -> bool {
    let http = &streamtype.http;
    let mut given = [&http.auth_header, &http.dsn_header, &http.fwv_header, &http.devtype_header]
        .into_iter()
        .flatten()
        .map(|given| given.trim().trim_end_matches(':'));
    let method = streamtype.use_auth.as_ref().map_or(AuthMethod::Blob, |auth| auth.method());
    let signs = method != AuthMethod::Blob
        && (header.eq_ignore_ascii_case("authorization") || header.starts_with("x-amz-"));
    signs || given.any(|given| given.eq_ignore_ascii_case(header))
}

/// Lines of a word and what it is about.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, about: &str, text: impl AsRef<str>) {
        labelled(&mut self.0, about, text.as_ref());
    }

    fn explain(&mut self, explanation: &Explanation, args: &ExplainArgs, timeouts: &Timeouts) {
        let Explanation { streamtype, chain, destination, .. } = explanation;
        self.line("streamtype", format!("{}, {}", streamtype.name, streamtype.protocol));
        for name in unset(streamtype, &args.metadata) {
            self.line("unset", format!("metadata {name}; --meta {name}=VALUE sets it"));
        }
        match destination {
            Ok(destination) => self.destination(streamtype, destination),
            Err(why) => self.line("fails", why),
        }
        self.body(streamtype, chain, args.length);
        self.states(streamtype);
        self.line("begins", begins(streamtype));
        self.line("retries", retries(streamtype.retry_or_default()));
        self.silence(streamtype);
        self.timeouts(streamtype, timeouts);
        for undone in streamtype.undone() {
            self.line("ignored", format!("{undone}, as {}", undone.why));
        }
    }

    fn destination(&mut self, streamtype: &StreamType, destination: &Destination) {
        if let Some(request) = &destination.request {
            self.line("request", format!("{} {}", request.method, request.url));
            for (name, value) in &request.headers {
                let value = match value {
                    _ if name == "sec-websocket-key" => "(drawn for each connection)".to_owned(),
                    Secret::Shown(value) => value.clone(),
                    _ if is_from_credentials(streamtype, name) => "(from credentials)".to_owned(),
                    _ => "(hidden)".to_owned(),
                };
                self.line("", format!("{name}: {value}"));
            }
            let auth = streamtype.use_auth.as_ref().filter(|auth| auth.method().is_oauth2());
            if let Some(endpoint) = auth.and_then(|auth| auth.token_endpoint.as_ref()) {
                self.line("", "authorization: (from credentials)");
                self.line("token", format!("of {endpoint}, fetched when it is needed"));
            }
        }
        for (key, topic) in &destination.topics {
            self.line("topic", format!("{topic}, of `{key}`"));
        }
        let whose =
            if destination.is_clients { ", which the client chooses: a public one" } else { "" };
        self.line("connects to", format!("{}{whose}", destination.address));
        if let Some(via) = &destination.via {
            self.line("through", format!("{via}, which resolves the name"));
        }
        match &destination.trust {
            Some(trust) => {
                let name = &destination.server_name;
                self.line("TLS", format!("for {name}, trust: {trust}"));
            }
            None => self.line("TLS", "none"),
        }
        if let Some(number) = destination.client_cert {
            self.line("presents", format!("client certificate {number} (from credentials)"));
        }
        let is_encrypted = destination.trust.is_some();
        if streamtype.protocol == Protocol::H2 && streamtype.http.alt_svc {
            let text = if is_encrypted {
                "goes over to h3 once the server offers that at the same host"
            } else {
                "means nothing without `tls`"
            };
            self.line("Alt-Svc", text);
        }
        let is_tunnel = streamtype.protocol == Protocol::Ws && streamtype.ws.over_h2;
        if is_tunnel {
            let text = if is_encrypted {
                "CONNECT with `:protocol` `websocket` if the server takes that, else the request above"
            } else {
                "never, as that takes `tls`"
            };
            self.line("over h2", text);
        }
        if matches!(streamtype.protocol, Protocol::H2 | Protocol::H3) || (is_tunnel && is_encrypted)
        {
            let shared = match destination.shared_with.as_slice() {
                [] => "no other streamtype; the streams of one client share connections".to_owned(),
                names => format!(
                    "{}, in streams of one client: {}",
                    count(names.len(), "streamtype"),
                    names.join(", ")
                ),
            };
            let about = if streamtype.protocol == Protocol::H3 { "h3 with" } else { "h2 with" };
            self.line(about, shared);
        }
        if streamtype.http.cookies {
            self.line("cookies", "those of the server are kept for the client and sent back");
        }
        let (priority, tos) = (streamtype.priority, streamtype.tos.bits());
        if priority != 0 || tos != 0 {
            self.line("socket", format!("priority {priority}, type of service {tos:#04x}"));
        }
    }

    fn body(
        &mut self,
        streamtype: &StreamType,
        chain: &[std::sync::Arc<StreamType>],
        length: Option<u32>,
    ) {
        let text = match streamtype.protocol {
            Protocol::Ws if streamtype.ws.binary => "binary messages, both ways".to_owned(),
            Protocol::Ws => "text messages out, any back".to_owned(),
            Protocol::Raw => "bytes, both ways".to_owned(),
            Protocol::Mqtt if streamtype.mqtt.topic.is_some() => {
                format!("messages, published with QoS {}", streamtype.mqtt.qos)
            }
            Protocol::Mqtt => "none is taken".to_owned(),
            _ if !streamtype.takes_payload(None) => {
                "taken only if metadata announces a content-length".to_owned()
            }
            _ if streamtype.is_multipart() => {
                let names: Vec<&str> = chain.iter().map(|part| part.name.as_str()).collect();
                format!("the parts of a multipart body, one a message: {}", names.join(", "))
            }
            _ => match length {
                _ if streamtype.http.no_content_length => {
                    "the body, whose length is not announced".to_owned()
                }
                Some(bytes) => format!("the body, {bytes} bytes"),
                None => "the body, chunked or with the length that the client announces".to_owned(),
            },
        };
        let has_length =
            streamtype.metadata.iter().any(sspc_policy::MetadataItem::is_content_length);
        if streamtype.protocol.is_http() && !streamtype.takes_payload(None) && !has_length {
            return self.line("payload", "none is taken");
        }
        self.line("payload", text);
    }

    fn states(&mut self, streamtype: &StreamType) {
        let (connected, acknowledged) = match streamtype.protocol {
            protocol if protocol.is_http() => {
                let connected = if streamtype.takes_payload(None) {
                    "the request is on its way, before the answer"
                } else {
                    "the head of the response is here"
                };
                let success = match streamtype.http.expect {
                    Some(status) => format!("status {status}"),
                    None => "a 2xx status".to_owned(),
                };
                (connected, format!("the response is complete, with {success}; else NACK"))
            }
            Protocol::Ws => ("the server has taken the upgrade", "never".to_owned()),
            Protocol::Raw => ("the connection is there, and TLS", "never".to_owned()),
            _ => {
                let connected = match streamtype.mqtt.subscribe {
                    Some(_) => "the broker has accepted the connection and the subscription",
                    None => "the broker has accepted the connection",
                };
                let acknowledged = match streamtype.mqtt.qos {
                    0 => "a message is written to the broker; else NACK",
                    _ => "the broker has acknowledged a message; else NACK",
                };
                (connected, acknowledged.to_owned())
            }
        };
        self.line("CONNECTED", connected);
        self.line("ACK", acknowledged);
        for (status, state) in &streamtype.http.resp_map {
            self.line("state", format!("{state} at status {status}"));
        }
    }

    fn silence(&mut self, streamtype: &StreamType) {
        if !matches!(
            streamtype.protocol,
            Protocol::H2 | Protocol::H3 | Protocol::Ws | Protocol::Mqtt
        ) {
            return self.line("silence", "not watched: nothing to ping with");
        }
        self.line(
            "silence",
            match streamtype.validity() {
                None => "not watched".to_owned(),
                Some(validity) => {
                    let hangup = validity.hangup.as_secs();
                    match validity.ping {
                        Some(ping) => {
                            format!("pinged after {} s, dropped after {hangup} s", ping.as_secs())
                        }
                        None => format!("dropped after {hangup} s"),
                    }
                }
            },
        );
    }

    /// Those of a proxy with its defaults.
    fn timeouts(&mut self, streamtype: &StreamType, timeouts: &Timeouts) {
        let seconds = |time: std::time::Duration| format!("{} s", time.as_secs_f32());
        let mut parts = vec![format!("connect {}", seconds(timeouts.connect))];
        if streamtype.protocol == Protocol::Ws {
            parts.push(format!("answer to the upgrade {}", seconds(timeouts.response)));
        }
        if streamtype.protocol.is_http() {
            if streamtype.http.long_poll {
                parts.push("response and its body without end (`long_poll`)".to_owned());
            } else {
                parts.push(format!("response {}", seconds(timeouts.response)));
                parts.push(format!("silence in its body {}", seconds(timeouts.body_idle)));
            }
        }
        self.line("timeouts", parts.join(", "));
        let own = match streamtype.timeout_ms {
            0 => "only if the client gives a time".to_owned(),
            ms => format!("{ms} ms after the client asks, unless it gives a time of its own"),
        };
        self.line("TIMEOUT", own);
    }
}

/// Metadata that the endpoint, the path, topics or a signature need, and that is not given.
fn unset<'s>(streamtype: &'s StreamType, given: &[(String, String)]) -> Vec<&'s str> {
    let mqtt = &streamtype.mqtt;
    let templates: [Option<&Template>; 8] = [
        streamtype.endpoint.as_ref(),
        Some(&streamtype.http.url),
        mqtt.topic.as_ref(),
        mqtt.subscribe.as_ref(),
        mqtt.will.topic.as_ref(),
        mqtt.will.message.as_ref(),
        mqtt.birth.topic.as_ref(),
        mqtt.birth.message.as_ref(),
    ];
    let substituted = templates.into_iter().flatten().flat_map(Template::names);
    let signed: [Option<&String>; 2] = match &streamtype.use_auth {
        Some(auth) if auth.method() == AuthMethod::Sigv4 => {
            [streamtype.aws_region.as_ref(), streamtype.aws_service.as_ref()]
        }
        _ => [None, None],
    };
    let signed = signed.into_iter().flatten().map(String::as_str);
    let mut unset: Vec<&str> = Vec::new();
    for name in substituted.map(|(name, _)| name).chain(signed) {
        if !unset.contains(&name) && !given.iter().any(|(known, _)| known == name) {
            unset.push(name);
        }
    }
    unset
}

fn begins(streamtype: &StreamType) -> String {
    let start =
        if streamtype.nailed_up { "as soon as it is created" } else { "when the client asks" };
    let retries = streamtype.retry_or_default().allows(1);
    let after = if streamtype.opportunistic || !retries {
        "stays disconnected after a loss"
    } else {
        "connects again after a loss, as `retry` allows"
    };
    format!("{start}; {after}")
}

/// How often it tries again, and how long all of that takes.
fn retries(retry: &Retry) -> String {
    if retry.conceal == 0 {
        return "none: ALL_RETRIES_FAILED after the first failure".to_owned();
    }
    let seconds = |ms: u64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
    let least = |n: u32| u64::from(retry.delay_ms(n, 0));
    let most = |n: u32| u64::from(retry.delay_ms(n, u16::MAX));
    if retry.conceal == Retry::CONCEAL_FOREVER {
        let last = u32::MAX;
        let (first, least, most) = (seconds(least(0)), seconds(least(last)), seconds(most(last)));
        return format!("for ever: after {first} at first, then after {least} to {most}");
    }
    let times = u32::from(retry.conceal);
    let (least, most) = ((0..times).map(least).sum(), (0..times).map(most).sum());
    let noun = if times == 1 { "retry" } else { "retries" };
    let mut time = seconds(least);
    let most = seconds(most);
    if most != time {
        time = format!("{time} to {most}");
    }
    format!("{times} {noun} over {time}, then ALL_RETRIES_FAILED")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(backoff_ms: &[u32], conceal: u16) -> Retry {
        let mut retry = Retry::default();
        (retry.backoff_ms, retry.conceal, retry.jitter_percent) =
            (backoff_ms.to_vec(), conceal, 20);
        retry
    }

    #[test]
    fn retries_are_summed_up() {
        let said = |backoff: &[u32], conceal| retries(&retry(backoff, conceal));
        assert_eq!(said(&[], 0), "none: ALL_RETRIES_FAILED after the first failure");
        assert_eq!(
            said(&[1_000, 2_000, 3_200], 3),
            "3 retries over 6.2 s to 7.4 s, then ALL_RETRIES_FAILED"
        );
        assert_eq!(said(&[500], 1), "1 retry over 0.5 s, then ALL_RETRIES_FAILED");
        assert_eq!(
            said(&[1_000, 5_000], u16::MAX),
            "for ever: after 1.0 s at first, then after 5.0 s to 5.9 s"
        );
    }
}
