//! Where a server says that it speaks h3: Alt-Svc (RFC 7838).

use std::time::Duration;

use http::HeaderMap;
use http::header::ALT_SVC;

/// How long an offer holds that does not say (RFC 7838 §3.1),
const USUAL: Duration = Duration::from_secs(24 * 3600);
/// and at most.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It speaks h3 at this port, for so long.
    H3 { port: u16, time: Duration },
    /// Nothing that it said before holds.
    Clear,
}

/// The first offer of h3 by the server itself. One that names another host is left alone: the policy
/// has not named that.
pub(super) fn offer(headers: &HeaderMap) -> Option<Offer> {
    let values = headers.get_all(ALT_SVC).iter().filter_map(|value| value.to_str().ok());
    let mut elements = values.flat_map(|value| split(value, ','));
    elements.find_map(|element| match element.trim() {
        "clear" => Some(Offer::Clear),
        element => alternative(element),
    })
}

fn alternative(element: &str) -> Option<Offer> {
    let mut parts = split(element, ';').map(str::trim);
    let (protocol, authority) = parts.next()?.split_once('=')?;
    if protocol.trim() != "h3" {
        return None;
    }
    let port = unquoted(authority).strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?;
    let seconds = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        (name.trim() == "ma").then(|| unquoted(value).parse::<u64>().ok())?
    });
    let time = seconds.map_or(USUAL, Duration::from_secs).min(LONGEST);
    Some(Offer::H3 { port, time })
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches('"')
}

/// Splits where the separator does not stand within quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> Option<Offer> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ALT_SVC, HeaderValue::from_str(value).unwrap());
        }
        offer(&headers)
    }

    #[test]
    fn h3_of_the_same_host_is_an_offer() {
        let h3 = |port, seconds| Some(Offer::H3 { port, time: Duration::from_secs(seconds) });
        assert_eq!(of(&[r#"h3=":443"; ma=86400"#]), h3(443, 86_400));
        assert_eq!(
            of(&[r#"h3-29=":444", h2="x:1"; ma="a,b", h3=":8443";persist=1"#]),
            h3(8443, 86_400)
        );
        assert_eq!(of(&[r#"h2=":1""#, r#" h3 = ":2" ; ma = 5 "#]), h3(2, 5));
        assert_eq!(of(&[r#"h3=":443"; ma=99999999999999"#]), h3(443, 7 * 86_400));
        assert_eq!(of(&["clear"]), Some(Offer::Clear));
    }

    #[test]
    fn other_hosts_and_nonsense_are_none() {
        for value in [
            r#"h3="elsewhere:443""#,
            r#"h3=":0""#,
            r#"h3=":70000""#,
            "h3",
            "",
            "h3=",
            r#"h3="#,
            r#"H3=":443""#,
            r#"h3%3D=":443""#,
            "\"h3=:1\"",
        ] {
            assert_eq!(of(&[value]), None, "{value}");
        }
    }

    proptest! {
        /// The text is a server's.
        #[test]
        fn any_text_is_read(value in "[ -~]{0,200}") {
            let _ = of(&[&value]);
        }
    }
}
