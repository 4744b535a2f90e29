//! The policy that holds when none is given.

use std::sync::Arc;

use crate::retry::Retry;
use crate::types::{MetadataItem, Policy, Protocol, StreamType};

impl Policy {
    /// The policy that holds when none is given: a retry policy `default` and the streamtypes
    /// `__default`, whose endpoint is whatever URL the client sets as metadata `endpoint`, and
    /// `captive_portal_detect`.
    pub fn builtin() -> Policy {
        let retry = Arc::new(Retry {
            name: "default".to_owned(),
            backoff_ms: vec![1_000, 2_000, 3_000, 5_000, 10_000],
            conceal: 5,
            jitter_percent: 20,
            valid_ping_s: 30,
            valid_hup_s: 35,
        });
        let mut policy = Policy::default();
        policy.retry.insert(retry.name.clone(), Arc::clone(&retry));
        for streamtype in [any_endpoint(retry), captive_portal_detect()] {
            policy.streamtypes.insert(streamtype.name.clone(), Arc::new(streamtype));
        }
        policy
    }
}

fn any_endpoint(retry: Arc<Retry>) -> StreamType {
    let item = |name: &str, header: Option<&str>| MetadataItem {
        name: name.to_owned(),
        header: header.map(str::to_owned),
    };
    let mut streamtype = StreamType::new("__default");
    streamtype.endpoint = Some("${endpoint}".into());
    streamtype.port = 443;
    streamtype.protocol = Protocol::H2;
    streamtype.tls = true;
    streamtype.allow_clear = true;
    streamtype.allow_redirects = true;
    streamtype.opportunistic = true;
    streamtype.direct_proto_str = true;
    streamtype.timeout_ms = 2_000;
    streamtype.retry = Some(retry);
    streamtype.http.quirk_end_stream = true;
    streamtype.http.oflow_txcr = true;
    streamtype.metadata =
        vec![item("endpoint", None), item("acc", Some("accept")), item("ua", Some("user-agent"))];
    streamtype
}

fn captive_portal_detect() -> StreamType {
    let mut streamtype = StreamType::new("captive_portal_detect");
    streamtype.endpoint = Some("connectivitycheck.android.com".into());
    streamtype.port = 80;
    streamtype.opportunistic = true;
    streamtype.http.url = "generate_204".into();
    streamtype.http.expect = Some(204);
    streamtype.http.fail_redirect = true;
    streamtype
}
