//! Which streams send what their clients write. Nothing else in the workspace decides this.

use crate::types::{MetadataItem, Protocol, StreamType};

/// The methods whose requests always have a body.
const WITH_BODY: [&str; 3] = ["POST", "PUT", "PATCH"];

impl StreamType {
    /// Whether payload of the client has a place in what this stream sends: in the request's body,
    /// in ws or mqtt messages, or in the bytes of a raw connection.
    ///
    /// `content_length` is what the client gave for an item of metadata that
    /// [is the content-length](MetadataItem::is_content_length), `None` if it gave nothing.
    ///
    /// | protocol | takes payload |
    /// |---|---|
    /// | h1, h2, h3 | with the methods POST, PUT and PATCH; with any other only if `content_length` is more than 0, or if the body is a form (`http_www_form_urlencoded`) |
    /// | ws, raw, smd | always |
    /// | mqtt | if there is an `mqtt_topic` to publish to |
    ///
    /// `http_no_content_length` and a PAYLOAD_LENGTH_HINT play no part: they decide how
    /// a request announces the length of its body, not whether it has one. With http protocols `true`
    /// also means that the stream is CONNECTED as soon as the request's headers are sent, before any
    /// response, because that is when the body is written.
    pub fn takes_payload(&self, content_length: Option<u64>) -> bool {
        match self.protocol {
            Protocol::H1 | Protocol::H2 | Protocol::H3 => {
                WITH_BODY.contains(&self.http.method.as_str())
                    || self.http.www_form_urlencoded
                    || content_length.is_some_and(|bytes| bytes > 0)
            }
            Protocol::Ws | Protocol::Raw | Protocol::Smd => true,
            Protocol::Mqtt => self.mqtt.topic.is_some(),
        }
    }
}

impl MetadataItem {
    /// Whether the item's value is the length of the request's body, in decimal digits: the proxy
    /// reads it, and announces with the body what is true of the body.
    pub fn is_content_length(&self) -> bool {
        self.header.as_deref().is_some_and(|header| header.eq_ignore_ascii_case("content-length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(method: &str) -> StreamType {
        let mut streamtype = StreamType::new("s");
        streamtype.http.method = method.to_owned();
        streamtype
    }

    #[test]
    fn methods_decide_unless_the_client_announces_a_length() {
        for (method, with_body) in [
            ("POST", true),
            ("PUT", true),
            ("PATCH", true),
            ("GET", false),
            ("HEAD", false),
            ("DELETE", false),
            ("OPTIONS", false),
            ("REPORT", false),
            ("post", false),
        ] {
            for protocol in [Protocol::H1, Protocol::H2, Protocol::H3] {
                let streamtype = StreamType { protocol, ..http(method) };
                assert_eq!(streamtype.takes_payload(None), with_body, "{method}");
                assert_eq!(streamtype.takes_payload(Some(0)), with_body, "{method}");
                assert!(streamtype.takes_payload(Some(1)), "{method}");
            }
        }
    }

    #[test]
    fn forms_are_bodies_and_multipart_needs_a_method_that_has_one() {
        let mut form = http("GET");
        form.http.www_form_urlencoded = true;
        assert!(form.takes_payload(None));
        let mut multipart = http("GET");
        multipart.http.multipart_name = Some("part".to_owned());
        assert!(!multipart.takes_payload(None));
        let mut unannounced = http("POST");
        unannounced.http.no_content_length = true;
        assert!(unannounced.takes_payload(None));
    }

    #[test]
    fn other_protocols_go_by_themselves() {
        for protocol in [Protocol::Ws, Protocol::Raw] {
            assert!(StreamType { protocol, ..http("GET") }.takes_payload(None));
        }
        let mut mqtt = StreamType { protocol: Protocol::Mqtt, ..http("POST") };
        assert!(!mqtt.takes_payload(Some(1)));
        mqtt.mqtt.topic = Some("t".into());
        assert!(mqtt.takes_payload(None));
    }

    #[test]
    fn the_length_is_known_by_its_header() {
        let item = |header: Option<&str>| MetadataItem {
            name: "n".to_owned(),
            header: header.map(str::to_owned),
        };
        assert!(item(Some("content-length")).is_content_length());
        assert!(item(Some("Content-Length")).is_content_length());
        assert!(!item(Some("content-type")).is_content_length());
        assert!(!item(None).is_content_length());
    }
}
