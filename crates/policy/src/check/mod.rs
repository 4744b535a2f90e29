//! What is wrong with a streamtype although each of its values is valid.

mod mqtt;
pub(crate) mod reference;
pub(crate) mod undone;
pub(crate) mod unused;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::diagnostics::{Code, Diagnostic, Report};
use crate::draft::{Draft, key_of};
use crate::endpoint::{EndpointError, Target, names_in_authority, names_socket};
use crate::keys::STREAM_KEYS;
use crate::quote::quote;
use crate::source::Location;
use crate::template::{ExpandError, Template};
use crate::types::{MetadataItem, Policy, Protocol, RIDESHARE_MAX, StreamType};

/// Bytes of names that clients have room for at creation, the separators included.
const NAME_LIST_MAX: usize = 127;
/// Names that clients have room for at creation.
const NAME_LIST_ENTRIES: usize = 4;

/// Checks every streamtype.
///
/// What is wrong with those that no document mentions is there because of one all the same: an
/// overlay may remove what they need. It is said at `elsewhere`, and only if it is an error.
pub(crate) fn all(
    drafts: &BTreeMap<String, Draft>,
    policy: &Policy,
    elsewhere: Option<&Location>,
    report: &mut Report,
) {
    let parts: BTreeSet<&str> =
        drafts.values().filter_map(|draft| draft.streamtype.rideshare.as_deref()).collect();
    for draft in drafts.values() {
        let is_part = parts.contains(draft.streamtype.name.as_str());
        if draft.location.is_some() {
            Check { draft, streamtype: &draft.streamtype, report }.all(drafts, policy, is_part);
        } else if elsewhere.is_some() && !draft.unreadable {
            let located = Draft { location: elsewhere.cloned(), ..draft.clone() };
            let mut found = Report::default();
            Check { draft: &located, streamtype: &located.streamtype, report: &mut found }
                .all(drafts, policy, is_part);
            found.errors().for_each(|error| report.push(error.clone()));
        }
    }
}

struct Check<'a> {
    draft: &'a Draft,
    streamtype: &'a StreamType,
    report: &'a mut Report,
}

/// Keys that put headers into requests.
const DEVICE_HEADERS: [&str; 4] =
    ["http_auth_header", "http_dsn_header", "http_fwv_header", "http_devtype_header"];

const ADD_WS_HEADERS: &str = "it is ignored; add `\"ws_headers\": true` to send it";

impl Check<'_> {
    fn all(&mut self, drafts: &BTreeMap<String, Draft>, policy: &Policy, is_part: bool) {
        self.name();
        self.templates();
        self.connection(is_part);
        self.tls();
        self.http();
        self.buffers();
        self.mqtt();
        self.rideshare(drafts);
        self.server(policy);
        self.undone();
    }

    /// An error at a key's value, or at the streamtype's name if no document gave the key.
    fn error(&mut self, code: Code, key: &str, message: String, help: &str) {
        if self.draft.faulty.contains(key) {
            return;
        }
        if let Some(location) = self.draft.value_location(key) {
            let diagnostic = Diagnostic::error(code, location, message);
            self.report.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
        }
    }

    fn warning(&mut self, code: Code, key: &str, message: String, help: &str) {
        if self.draft.faulty.contains(key) {
            return;
        }
        if let Some(location) = self.draft.value_location(key) {
            let diagnostic = Diagnostic::warning(code, location, message);
            self.report.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
        }
    }

    fn what(&self) -> String {
        format!("streamtype {}", quote(&self.streamtype.name))
    }

    fn key(&self, key: &str) -> String {
        key_of(key, self.streamtype)
    }

    fn given(&self, key: &str) -> bool {
        self.draft.settings.contains_key(key)
    }

    fn name(&mut self) {
        let what = self.what();
        if self.streamtype.name == "_lws_smd" {
            let message = format!("{what} can never be reached");
            self.warning(Code::Suspicious, "", message, "the name is the system message bus's");
        }
        if self.streamtype.name.contains(',') {
            let message = format!("{what} has a comma in its name");
            let help = "clients are told names with commas between them";
            self.warning(Code::Suspicious, "", message, help);
        }
    }

    /// Every `${name}` must be able to become something.
    fn templates(&mut self) {
        let streamtype = self.streamtype;
        let declared: HashSet<&str> =
            streamtype.metadata.iter().map(|item| item.name.as_str()).collect();
        for key in STREAM_KEYS {
            if let Some(template) = key.template(streamtype) {
                self.template(key.name, template, &declared);
            }
        }
        if let Some(endpoint) = streamtype.endpoint.as_ref().filter(|text| !names_socket(text)) {
            self.fragment("endpoint", endpoint);
        }
        self.fragment("http_url", &streamtype.http.url);
    }

    fn fragment(&mut self, key: &str, url: &Template) {
        if let (Some(range), true) = (url.fragment(), self.given(key))
            && let Some(location) = self.draft.value_location(key)
        {
            let message = format!("{} has a fragment, which is never sent", self.key(key));
            self.report.push(
                Diagnostic::warning(Code::Suspicious, &location.within(range), message)
                    .help("write `%23` where `#` belongs to the path or the query"),
            );
        }
    }

    fn template(&mut self, key: &str, template: &Template, declared: &HashSet<&str>) {
        if let Err(error @ (ExpandError::Unterminated | ExpandError::NameTooLong(_))) =
            template.expand(|_| Some(b""))
        {
            let message = format!("in {}: {error}", self.key(key));
            self.error(Code::Value, key, message, "");
        }
        for (name, range) in template.names() {
            if self.report.is_closed() {
                return;
            }
            let metadata_known = !self.draft.faulty.contains("metadata");
            if !metadata_known || declared.contains(name) {
                continue;
            }
            let message = format!("{} uses {}, which", self.key(key), quote(name));
            let message = format!("{message} the streamtype's `metadata` does not declare");
            let known = self.streamtype.metadata.iter().map(|item| item.name.as_str());
            let help = self.report.suggest(name, known).unwrap_or_else(|| {
                format!("add `{{\"{}\": \"\"}}` to `metadata`", name.escape_debug())
            });
            let Some(location) = self.draft.value_location(key) else { continue };
            let location = if self.given(key) { location.within(range) } else { location.clone() };
            self.report.push(Diagnostic::error(Code::Undeclared, &location, message).help(help));
        }
    }

    /// What can be known now about connecting.
    fn connection(&mut self, is_part: bool) {
        let what = self.what();
        let streamtype = self.streamtype;
        if streamtype.server || streamtype.local_sink {
            return;
        }
        let Some(endpoint) = &streamtype.endpoint else {
            // The later parts of a multipart body travel on the first one's connection.
            if !is_part {
                let message = format!("{what} has no `endpoint`: it can never connect");
                let help = "add `\"endpoint\": \"host\"`";
                self.error(Code::NeverConnects, "endpoint", message, help);
            }
            return;
        };
        if endpoint.is_dynamic() {
            self.values_in_endpoint(endpoint);
            // Digits may be a host, a part of one, and a port.
            let target = Target::resolve(streamtype, |_| Some(b"1"));
            if target == Err(EndpointError::NoPort) && !is_part {
                let message = format!("{what} has no `port`");
                let help = "it connects only if metadata makes its endpoint a URL";
                self.warning(Code::Suspicious, "port", message, help);
            }
            if endpoint.whole_name().is_none() {
                self.url_replaces(target.ok());
            }
            return;
        }
        match Target::resolve(streamtype, |_| None) {
            Ok(target) => self.url_replaces(Some(target)),
            Err(EndpointError::Expand(_) | EndpointError::Missing) => {}
            Err(EndpointError::NoPort) if is_part => {}
            Err(EndpointError::NoPort) => {
                let message = format!("{what} has no `port`: it can never connect");
                let help = format!("add `\"port\": {}`", if streamtype.tls { 443 } else { 80 });
                self.error(Code::NeverConnects, "port", message, &help);
            }
            Err(fault) => {
                let message = format!("{what} can never connect: {fault}");
                self.error(Code::NeverConnects, "endpoint", message, "");
            }
        }
    }

    /// A path that is never asked for.
    fn url_replaces(&mut self, target: Option<Target>) {
        let discards = target.is_some_and(|target| target.path.is_some());
        if discards && !self.streamtype.http.url.is_empty() {
            let message = format!("{} has no effect", self.key("http_url"));
            let help = "the endpoint is a URL or has a port, and what is behind that is the path";
            self.warning(Code::Suspicious, "http_url", message, help);
        }
    }

    /// What clients may do with the parts of an endpoint that they give.
    fn values_in_endpoint(&mut self, endpoint: &Template) {
        let what = self.what();
        let streamtype = self.streamtype;
        let target = match Target::resolve(streamtype, |_| Some(b"1")) {
            Err(fault @ EndpointError::SchemeFromMetadata) => {
                let message = format!("{what} can never connect: {fault}");
                let help = "write the scheme, or let metadata be the whole endpoint: `${url}`";
                return self.error(Code::NeverConnects, "endpoint", message, help);
            }
            target => target.ok(),
        };
        let Some((name, range)) = names_in_authority(endpoint).into_iter().next() else { return };
        let secrets = streamtype.credentials();
        let Some(location) = self.draft.value_location("endpoint").filter(|_| !secrets.is_empty())
        else {
            return;
        };
        let chosen = match target {
            Some(target) if !target.host_from_client => "a part of the endpoint",
            _ => "the host",
        };
        let keys: Vec<String> = secrets.iter().map(|key| format!("`{key}`")).collect();
        let message = format!(
            "{what} takes the device's credentials ({}) to a peer of the client's choice: metadata {} \
             is {chosen}",
            keys.join(", "),
            quote(name)
        );
        let location =
            if self.given("endpoint") { location.within(range) } else { location.clone() };
        self.report.push(
            Diagnostic::warning(Code::Suspicious, &location, message)
                .help("write the whole host into the policy, or give a streamtype to each"),
        );
    }

    fn tls(&mut self) {
        let streamtype = self.streamtype;
        let what = self.what();
        let endpoint = streamtype.endpoint.as_ref().map_or("", Template::as_str);
        let scheme = endpoint.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some(scheme @ ("http" | "ws" | "mqtt")) if streamtype.tls => {
                let message = format!("{what} connects without TLS: its endpoint says {scheme}:");
                let help = "the endpoint's scheme overrides `tls`";
                self.warning(Code::Suspicious, "endpoint", message, help);
            }
            Some("https" | "wss" | "mqtts") if !streamtype.tls => {
                let message = format!("{what} connects without TLS, whatever its endpoint says");
                self.warning(Code::Suspicious, "endpoint", message, "add `\"tls\": true`");
            }
            Some(_) => {}
            None if streamtype.tls && streamtype.port == 80 => {
                let message = format!("{what} uses TLS on port 80, where servers speak clear HTTP");
                self.warning(Code::Suspicious, "port", message, "TLS usually is on port 443");
            }
            None if !streamtype.tls && streamtype.port == 443 => {
                let message = format!("{what} uses port 443 without TLS");
                self.warning(Code::Suspicious, "port", message, "add `\"tls\": true`");
            }
            None => {}
        }
        let whole = streamtype.endpoint.as_ref().and_then(Template::whole_name);
        if streamtype.allow_clear && (whole.is_none() || !streamtype.tls) {
            let message = format!("{} has no effect", self.key("allow_clear"));
            let help = "it is for an `endpoint` that is one `${name}`, with `tls`";
            self.warning(Code::Suspicious, "allow_clear", message, help);
        }
        // A redirect may lead to TLS, where the certificate is not presented.
        let unused = [
            ("tls_trust_store", streamtype.trust_store.is_some() && !streamtype.allow_redirects),
            ("client_cert", true),
        ];
        for (key, unused) in unused {
            if !streamtype.tls && unused && self.given(key) {
                let message = format!("{} has no effect without `tls`", self.key(key));
                self.warning(Code::Suspicious, key, message, "add `\"tls\": true`");
            }
        }
    }

    fn http(&mut self) {
        let streamtype = self.streamtype;
        let http = &streamtype.http;
        let has_body = streamtype.takes_payload(None)
            || streamtype.metadata.iter().any(MetadataItem::is_content_length);
        if streamtype.is_multipart() && !has_body {
            let message = format!(
                "{} has a multipart body, but {} requests have none",
                self.what(),
                http.method
            );
            self.warning(Code::Suspicious, "http_method", message, "use `POST`");
        }
        if streamtype.protocol.is_http() && http.method == "CONNECT" {
            let message =
                format!("{} never connects: `http_method` `CONNECT` is not supported", self.what());
            let help = "a proxy sends requests, and tunnels nothing";
            self.warning(Code::NotDone, "http_method", message, help);
        }
        if let Some(status) = http.expect.filter(|status| !(100..1000).contains(status)) {
            let message = format!("{} is {status}, which is not a status", self.key("http_expect"));
            self.error(Code::Range, "http_expect", message, "statuses go from 100 to 999");
        }
        if streamtype.use_auth.as_deref().is_some_and(|auth| auth.kind == "sigv4") {
            for (key, item) in
                [("aws_region", &streamtype.aws_region), ("aws_service", &streamtype.aws_service)]
            {
                let fault = match item {
                    None => format!("{} is missing: sigv4 needs it", self.key(key)),
                    Some(name) if streamtype.metadata_item(name).is_none() => {
                        format!(
                            "{} is {}, which is not a metadata item",
                            self.key(key),
                            quote(name)
                        )
                    }
                    Some(_) => continue,
                };
                let help = "give the name of an item of `metadata`";
                self.warning(Code::Suspicious, key, fault, help);
            }
        }
        let is_ws = streamtype.protocol == Protocol::Ws;
        if is_ws && !streamtype.ws.headers {
            let device_headers = DEVICE_HEADERS.map(|key| (key, self.given(key)));
            for (key, _) in device_headers.into_iter().filter(|(_, given)| *given) {
                let message = format!("{} has no effect without `ws_headers`", self.key(key));
                self.warning(Code::Suspicious, key, message, ADD_WS_HEADERS);
            }
        }
        if streamtype.has_headers() {
            for item in streamtype.metadata.iter().filter(|item| item.is_hop_by_hop()) {
                let message = format!(
                    "metadata {} of {} is read from the header of its name, but never sent",
                    quote(&item.name),
                    self.what()
                );
                let help = "only the proxy itself frames messages";
                self.warning(Code::Suspicious, "metadata", message, help);
            }
        } else {
            for item in streamtype.metadata.iter().filter(|item| item.header.is_some()) {
                let message = format!(
                    "the header of metadata {} means nothing to {}, which is {}",
                    quote(&item.name),
                    self.what(),
                    streamtype.protocol
                );
                let help = if is_ws { ADD_WS_HEADERS } else { "it is ignored; it is for h1 h2 h3" };
                self.warning(Code::WrongProtocol, "metadata", message, help);
            }
        }
    }

    fn buffers(&mut self) {
        let &StreamType {
            proxy_buflen: buflen,
            proxy_rxflow_on_above: on,
            proxy_rxflow_off_below: off,
            ..
        } = self.streamtype;
        const BUFLEN: &str = "proxy_buflen";
        const ON: &str = "proxy_buflen_rxflow_on_above";
        const OFF: &str = "proxy_buflen_rxflow_off_below";
        if let (Some(on), Some(buflen)) = (on, buflen)
            && on > buflen
        {
            let message = format!("{} is {on}, more than `{BUFLEN}`", self.key(ON));
            let help = format!("reading stops at {buflen} all the same");
            self.warning(Code::Suspicious, ON, message, &help);
        }
        // What stops reading: the smaller one.
        let stop = [(on, ON), (buflen, BUFLEN)];
        let stop = stop.into_iter().filter_map(|(bytes, key)| Some((bytes?, key))).min();
        match (stop, off) {
            (Some((stop, key)), Some(off)) if off > stop => {
                let message = format!("{} is {off}, more than `{key}`", self.key(OFF));
                let help = format!("reading goes on below {stop}, where it stopped");
                self.warning(Code::Suspicious, OFF, message, &help);
            }
            (_, None) if on.is_some() => {
                let message = format!("{} is not given", self.key(OFF));
                let help = format!("reading goes on below `{ON}`; in libwebsockets it never does");
                self.warning(Code::Suspicious, OFF, message, &help);
            }
            _ => {}
        }
    }

    fn rideshare(&mut self, drafts: &BTreeMap<String, Draft>) {
        let Some(first) = &self.streamtype.rideshare else { return };
        let mut names: Vec<&str> = vec![&self.streamtype.name];
        let mut next = Some(first.as_str());
        while let Some(name) = next {
            if names.contains(&name) {
                let message = format!("{} leads back to {}", self.key("rideshare"), quote(name));
                let help = "the chain ends before it";
                self.warning(Code::Suspicious, "rideshare", message, help);
                break;
            }
            let Some(draft) = drafts.get(name) else {
                if names.len() == 1 {
                    let message = format!(
                        "{} is {}, which is not defined",
                        self.key("rideshare"),
                        quote(name)
                    );
                    let help = self
                        .report
                        .suggest(name, drafts.keys().map(String::as_str))
                        .unwrap_or_else(|| "the chain ends here".to_owned());
                    self.warning(Code::UnknownReference, "rideshare", message, &help);
                }
                break;
            };
            if names.len() == RIDESHARE_MAX {
                break;
            }
            names.push(name);
            next = draft.streamtype.rideshare.as_deref();
        }
        let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
        if names.len() > NAME_LIST_ENTRIES || bytes > NAME_LIST_MAX {
            let message = format!(
                "the chain of {} is longer than clients allow: {} names, {bytes} bytes",
                self.what(),
                names.len()
            );
            let help = format!(
                "they allow {NAME_LIST_ENTRIES} names and {NAME_LIST_MAX} bytes, a comma each included"
            );
            self.warning(Code::Suspicious, "rideshare", message, &help);
        }
    }

    fn server(&mut self, policy: &Policy) {
        let streamtype = self.streamtype;
        let certs =
            [("server_cert", &streamtype.server_cert), ("server_key", &streamtype.server_key)];
        for (key, name) in certs {
            if let Some(name) = name.as_ref().filter(|name| !policy.certs.contains_key(*name)) {
                let message =
                    format!("{} is {}, which `certs` does not have", self.key(key), quote(name));
                self.warning(Code::UnknownReference, key, message, "");
            }
        }
    }
}
