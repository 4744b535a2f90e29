//! Multipart bodies, both ways.

use std::sync::Arc;

use arbitrary::Arbitrary;
use bytes::Bytes;
use sspc_policy::StreamType;
use sspc_proxy::fuzzing::{join_parts, split_parts};
use sspc_sim::frames::cut;
use sspc_wire::Flags;

/// A part, and the chunks of its message.
#[derive(Arbitrary, Debug)]
pub struct Part {
    name: Option<String>,
    filename: Option<String>,
    kind: Option<String>,
    chunks: Vec<Vec<u8>>,
}

/// A multipart body.
#[derive(Arbitrary, Debug)]
pub enum Body {
    /// What a server sends.
    Any { kind: String, body: Vec<u8>, sizes: Vec<u8> },
    /// The same, with boundaries in it.
    Bounded { boundary: char, pieces: Vec<Bounded>, sizes: Vec<u8> },
    /// What a client sends.
    Ours { boundary: u8, parts: Vec<Part>, sizes: Vec<u8> },
}

#[derive(Arbitrary, Debug)]
pub enum Bounded {
    Bytes(Vec<u8>),
    LineEnd,
    Dashes,
    Boundary,
    Blanks(u8),
}

/// Splits any body: what comes out depends on the body alone and not on how it was cut. What was
/// joined can be split.
pub fn multipart(body: Body) {
    match body {
        Body::Any { kind, body, sizes } => {
            split(&kind, &body, &sizes);
        }
        Body::Bounded { boundary, pieces, sizes } => {
            let mut body = Vec::new();
            for piece in pieces {
                match piece {
                    Bounded::Bytes(bytes) => body.extend(bytes),
                    Bounded::LineEnd => body.extend(b"\r\n"),
                    Bounded::Dashes => body.extend(b"--"),
                    Bounded::Boundary => body.extend(format!("\r\n--{boundary}").into_bytes()),
                    Bounded::Blanks(count) => body.extend(vec![b' '; usize::from(count % 20)]),
                }
            }
            split(&format!("multipart/related; boundary=\"{boundary}\""), &body, &sizes);
        }
        Body::Ours { boundary, parts, sizes } if !parts.is_empty() => {
            ours(boundary, &parts, &sizes);
        }
        Body::Ours { .. } => {}
    }
}

fn ours(boundary: u8, parts: &[Part], sizes: &[u8]) {
    let element = |part: &Part| {
        let mut stream = StreamType::new("fuzz");
        stream.http.multipart_name.clone_from(&part.name);
        stream.http.multipart_filename.clone_from(&part.filename);
        stream.http.mime_content_type.clone_from(&part.kind);
        Arc::new(stream)
    };
    let chain: Vec<_> = parts.iter().map(element).collect();
    let boundary = String::from_utf8(vec![b'a' + boundary % 26; 16]).unwrap_or_default();
    let messages: Vec<Vec<Bytes>> =
        parts.iter().map(|part| part.chunks.iter().cloned().map(Bytes::from).collect()).collect();
    let data: Vec<Vec<u8>> = messages.iter().map(|chunks| chunks.concat()).collect();
    let holds = |text: &[u8]| text.windows(boundary.len()).any(|at| at == boundary.as_bytes());
    let texts = parts.iter().flat_map(|part| [&part.name, &part.filename, &part.kind]);
    if data.iter().any(|data| holds(data)) || texts.flatten().any(|text| holds(text.as_bytes())) {
        // The real one is random, and nothing holds it.
        return;
    }
    let (kind, overhead, body) = join_parts(&chain, &boundary, &messages);
    assert_eq!(overhead as usize + data.concat().len(), body.len(), "what was announced");
    let split = split(&kind, &body, sizes).expect("our own content-type");
    assert!(split.is_complete);
    assert_eq!(split.messages.len(), data.len());
    for (message, data) in split.messages.iter().zip(&data) {
        let head = message.windows(4).position(|at| at == b"\r\n\r\n").expect("a part's head");
        assert_eq!(message.get(head + 4..), Some(data.as_slice()));
        let head = String::from_utf8_lossy(message.get(..head).unwrap_or_default());
        assert!(head.starts_with("Content-Disposition: form-data"), "{head}");
        assert!(
            head.split("\r\n").count() <= 2 && !head.replace("\r\n", "").contains(['\r', '\n'])
        );
    }
}

#[derive(Debug, PartialEq)]
struct Split {
    messages: Vec<Vec<u8>>,
    /// How often a group began and ended.
    groups: (usize, usize),
    /// Whether the last message has its end.
    is_ended: bool,
    is_complete: bool,
}

fn split(kind: &str, body: &[u8], sizes: &[u8]) -> Option<Split> {
    let sizes: Vec<usize> = sizes.iter().map(|size| usize::from(*size)).chain([7]).collect();
    let whole = read(kind, &[body])?;
    for pieces in [cut(body, &sizes), cut(body, &[1])] {
        assert_eq!(read(kind, &pieces).as_ref(), Some(&whole));
    }
    Some(whole)
}

fn read(kind: &str, pieces: &[&[u8]]) -> Option<Split> {
    let (pieces, is_complete) = split_parts(kind, pieces)?;
    let mut split = Split { messages: Vec::new(), groups: (0, 0), is_ended: true, is_complete };
    for (bytes, flags) in pieces {
        assert!(split.groups.1 == 0, "nothing follows the last part");
        split.groups.0 += usize::from(flags.contains(Flags::RELATED_START));
        split.groups.1 += usize::from(flags.contains(Flags::RELATED_END));
        if flags.contains(Flags::SOM) {
            assert!(std::mem::replace(&mut split.is_ended, false), "a part within another");
            split.messages.push(Vec::new());
        }
        match split.messages.last_mut() {
            Some(message) if !split.is_ended => message.extend(bytes),
            _ => assert!(bytes.is_empty(), "data of no part"),
        }
        if flags.contains(Flags::EOM) {
            assert!(!std::mem::replace(&mut split.is_ended, true), "the end of no part");
        }
    }
    assert_eq!(split.groups, (1, usize::from(is_complete)));
    Some(split)
}
