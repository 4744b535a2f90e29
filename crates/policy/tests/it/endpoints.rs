//! What is said of endpoints that clients have a part in.

use crate::support::{check, stream};

const BUCKET: &str = r#""port":443,"tls":true,"metadata":[{"bucket":""}]"#;

/// A streamtype with this endpoint and these keys beside it.
fn with(endpoint: &str, more: &str) -> String {
    format!(r#"{{"s":[{{"t":{{"endpoint":"{endpoint}",{BUCKET}{more}}}}}]}}"#)
}

#[test]
fn credentials_that_go_where_the_client_says_are_warned_of() {
    let warning = |column: usize, keys: &str, chosen: &str| {
        format!(
            "p:1:{column}: warning: streamtype `t` takes the device's credentials ({keys}) to a peer of \
             the client's choice: metadata `bucket` is {chosen} (write the whole host into the policy, \
             or give a streamtype to each)"
        )
    };
    let auth = r#","http_auth_header":"authorization""#;
    let part = warning(25, "`http_auth_header`", "a part of the endpoint");
    check(&with("${bucket}.s3.example.com", auth), &[&part]);
    check(&with("${bucket}", auth), &[&warning(25, "`http_auth_header`", "the host")]);
    check(&with("s3.${bucket}", auth), &[&warning(28, "`http_auth_header`", "the host")]);
    check(
        &with("https://${bucket}/a", r#","client_cert":0,"http_dsn_header":"x-dsn""#),
        &[&warning(33, "`client_cert`, `http_dsn_header`", "the host")],
    );
    check(
        &with("e:${bucket}", auth),
        &[&warning(27, "`http_auth_header`", "a part of the endpoint")],
    );
    // Without credentials, or with a place of the policy's own, there is nothing to say.
    check(&with("${bucket}.s3.example.com", ""), &[]);
    check(&with("https://e/${bucket}", auth), &[]);
    check(&with("e", auth), &[]);
}

#[test]
fn schemes_do_not_come_from_metadata() {
    check(
        &with("${bucket}://e/", ""),
        &[
            "p:1:24: error: streamtype `t` can never connect: metadata may not choose the scheme of an \
           endpoint, only all of it (write the scheme, or let metadata be the whole endpoint: \
           `${url}`)",
        ],
    );
}

#[test]
fn allow_clear_is_for_whole_endpoints() {
    let allow = r#","allow_clear":true"#;
    check(&with("${bucket}", allow), &[]);
    check(
        &with("${bucket}.example.com", allow),
        &[
            "p:1:111: warning: `allow_clear` of streamtype `t` has no effect (it is for an `endpoint` \
           that is one `${name}`, with `tls`)",
        ],
    );
}

#[test]
fn headers_that_frame_messages_are_not_sent() {
    for header in ["TE", "Expect", "HTTP2-Settings", "Proxy-Authenticate", "proxy-connection"] {
        check(
            &stream(&format!(r#""metadata":[{{"h":"{header}"}}]"#)),
            &[
                "p:1:49: warning: metadata `h` of streamtype `t` is read from the header of its name, \
               but never sent (only the proxy itself frames messages)",
            ],
        );
    }
}
