//! What the reference would do otherwise with a policy that is right here.
//!
//! What it would read otherwise is said where it is parsed.

use std::collections::BTreeMap;

use crate::diagnostics::{Diagnostic, Report};
use crate::draft::{Draft, key_of};
use crate::endpoint::Target;
use crate::keys::STREAM_KEYS;
use crate::parse::Places;
use crate::quote::quote;
use crate::source::Location;
use crate::template::Template;
use crate::types::Protocol;

/// Methods that the reference knows.
const METHODS: [&str; 8] = ["GET", "POST", "OPTIONS", "HEAD", "PUT", "PATCH", "DELETE", "CONNECT"];
/// An endpoint of this length is too long for the reference, bytes.
const ENDPOINT_MAX: usize = 96;

/// A reference to a definition.
pub(crate) struct Use {
    /// What it refers to, in the words of messages.
    pub(crate) kind: &'static str,
    /// The name as it is written.
    pub(crate) given: String,
    /// The name of what was found.
    pub(crate) found: String,
    pub(crate) location: Location,
}

/// All of it.
pub(crate) fn all(
    drafts: &BTreeMap<String, Draft>,
    places: &Places,
    uses: &[Use],
    differences: &mut Report,
) {
    uses.iter().for_each(|used| order(used, places, differences));
    for draft in drafts.values().filter(|draft| draft.location.is_some()) {
        Differences { draft, differences }.all();
    }
}

/// Definitions have to stand before their use, and the newest that begins with the name is taken.
fn order(used: &Use, places: &Places, differences: &mut Report) {
    let section = match used.kind {
        "retry policy" => "retry",
        "certificate" => "certs",
        "trust store" => "trust_stores",
        _ => "auth",
    };
    let Use { kind, given, found, location } = used;
    let Some(place) = places.get(&(section, found.clone())) else { return };
    let same = std::sync::Arc::ptr_eq(&place.document, &location.document);
    if !same {
        let message =
            format!("libwebsockets refuses the overlay: it names {kind} {}", quote(found));
        let help = "it cannot refer to what its base defines";
        return differences.push(Diagnostic::difference(location, message, help));
    }
    if place.span.start > location.span.start {
        let message =
            format!("libwebsockets refuses the policy: {kind} {} is unknown", quote(found));
        let help = "definitions have to stand before what refers to them";
        return differences.push(Diagnostic::difference(location, message, help));
    }
    // Of `auth` it compares the whole name.
    let newest = places
        .range((section, given.clone())..)
        .take_while(|((of, name), _)| *of == section && name.starts_with(given.as_str()))
        .filter(|(_, place)| place.span.start < location.span.start)
        .max_by_key(|(_, place)| place.span.start);
    if let Some(((_, newest), _)) =
        newest.filter(|((_, newest), _)| newest != found && section != "auth")
    {
        let message = format!("libwebsockets takes {} for {kind} {}", quote(given), quote(newest));
        let help = "it takes the newest whose name begins so";
        differences.push(Diagnostic::difference(location, message, help));
    }
}

struct Differences<'a> {
    draft: &'a Draft,
    differences: &'a mut Report,
}

impl Differences<'_> {
    fn push(&mut self, key: &str, message: String, help: &str) {
        if self.draft.faulty.contains(key) {
            return;
        }
        if let Some(location) = self.draft.value_location(key) {
            self.differences.push(Diagnostic::difference(location, message, help));
        }
    }

    fn key(&self, key: &str) -> String {
        key_of(key, &self.draft.streamtype)
    }

    fn all(&mut self) {
        self.http();
        self.families();
        let streamtype = &self.draft.streamtype;
        let what = format!("streamtype {}", quote(&streamtype.name));
        let endpoint = streamtype.endpoint.as_ref().map_or("", Template::as_str);
        if !endpoint.contains("${") && endpoint.len() >= ENDPOINT_MAX {
            let message =
                format!("libwebsockets cannot connect {what}: its `endpoint` is too long");
            self.push("endpoint", message, &format!("at most {} bytes", ENDPOINT_MAX - 1));
        }
        if streamtype.protocol == Protocol::H3 {
            let message = "libwebsockets 4.4 refuses the policy: it does not know `h3`".to_owned();
            self.push("protocol", message, "later ones do");
        }
        if streamtype.protocol == Protocol::Mqtt && streamtype.mqtt.topic.is_none() {
            let message = format!("libwebsockets crashes if a client of {what} sends");
            self.push("mqtt_topic", message, "`mqtt_topic` is missing");
        }
        if streamtype.server {
            let message = format!("libwebsockets opens a port for each client of {what}");
            self.push("server", message, "");
        }
    }

    fn http(&mut self) {
        let streamtype = &self.draft.streamtype;
        let what = format!("streamtype {}", quote(&streamtype.name));
        let given = |key: &str| self.draft.settings.contains_key(key);
        let is_connected = streamtype.endpoint.is_some() && !streamtype.server;
        let http = &streamtype.http;
        if streamtype.protocol.is_http() && is_connected {
            if !given("http_method") {
                let message = format!("libwebsockets crashes when it connects {what}");
                self.push("http_method", message, "`http_method` is missing");
            } else if !METHODS.contains(&http.method.as_str()) {
                let message = format!("libwebsockets never sends the request of {what}");
                self.push("http_method", message, "it does not know the method");
            }
        }
        if !matches!(streamtype.protocol, Protocol::H2 | Protocol::Ws) {
            return;
        }
        let replaced = || {
            let is_whole = streamtype.endpoint.as_ref().is_some_and(|e| e.whole_name().is_some());
            let target = Target::resolve(streamtype, |_| Some(b"1")).ok().filter(|_| !is_whole);
            target.and_then(|target| target.path)
        };
        match replaced() {
            Some(path) if path == "/" => {
                let message = format!("libwebsockets asks for `//` with {what}");
                self.push("endpoint", message, "it does so if the endpoint has no path");
            }
            None if http.url.as_str().starts_with('/') => {
                let message =
                    format!("libwebsockets puts a second `/` in front of {}", self.key("http_url"));
                self.push("http_url", message, "leave the first one out");
            }
            _ => {}
        }
    }

    /// Keys of one protocol overwrite those of another.
    fn families(&mut self) {
        let is_mqtt = self.draft.streamtype.protocol == Protocol::Mqtt;
        let (other, own) = if is_mqtt { ("http_", "mqtt_*") } else { ("mqtt_", "http_*") };
        for key in STREAM_KEYS.iter().filter(|key| key.name.starts_with(other)) {
            if let Some(setting) = self.draft.settings.get(key.name) {
                let message = format!(
                    "libwebsockets overwrites one of the {own} keys with {}",
                    self.key(key.name)
                );
                self.differences.push(Diagnostic::difference(
                    &setting.key,
                    message,
                    "leave it out",
                ));
            }
        }
    }
}
