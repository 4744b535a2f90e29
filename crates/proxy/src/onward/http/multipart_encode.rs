//! Outgoing multipart/form-data (RFC 7578): each message of the client becomes a part, framed as
//! its streamtype of the rideshare chain says.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use sspc_policy::StreamType;

use super::piece::Piece;

/// Frames messages as parts.
#[derive(Debug)]
pub(crate) struct Parts {
    /// What comes before the data of each part.
    headers: Vec<Bytes>,
    closing: Bytes,
    boundary: String,
    /// The part that the next chunk belongs to.
    current: usize,
    /// Whether that part's header is out.
    open: bool,
}

impl Parts {
    /// Parts for the elements of this chain, or for the one streamtype if it has no chain.
    pub(crate) fn new(stream: &StreamType, chain: &[Arc<StreamType>], boundary: String) -> Self {
        let elements: Vec<&StreamType> = match chain {
            [] => vec![stream],
            chain => chain.iter().map(Arc::as_ref).collect(),
        };
        let headers = elements.iter().enumerate().map(|(i, s)| header(s, &boundary, i == 0));
        Self {
            headers: headers.map(Bytes::from).collect(),
            closing: format!("\r\n--{boundary}--\r\n").into(),
            boundary,
            current: 0,
            open: false,
        }
    }

    /// Sixteen letters that the data will not hold.
    pub(crate) fn random_boundary() -> String {
        let mut boundary = String::with_capacity(16);
        for _ in 0..16 {
            boundary.push(char::from(b'a' + rand::random_range(0..26u8)));
        }
        boundary
    }

    /// The value of the request's content-type.
    pub(crate) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary=\"{}\"", self.boundary)
    }

    /// Bytes that the framing of all parts adds to the data.
    pub(crate) fn overhead(&self) -> u64 {
        let headers: usize = self.headers.iter().map(Bytes::len).sum();
        (headers + self.closing.len()) as u64
    }

    /// Frames a piece of data; true if that was the end of the body.
    pub(crate) fn frame(&mut self, data: Bytes, eom: bool, out: &mut VecDeque<Piece>) -> bool {
        let mut push = |bytes: Bytes| out.push_back(Piece { bytes, last: false });
        if !self.open && (eom || !data.is_empty()) {
            if let Some(header) = self.headers.get(self.current) {
                push(header.clone());
            }
            self.open = true;
        }
        if !data.is_empty() {
            push(data);
        }
        if !eom {
            return false;
        }
        self.open = false;
        self.current += 1;
        let ended = self.current >= self.headers.len();
        if ended {
            push(self.closing.clone());
        }
        ended
    }
}

fn header(stream: &StreamType, boundary: &str, first: bool) -> String {
    let http = &stream.http;
    let separator = if first { "" } else { "\r\n" };
    let mut text = format!("{separator}--{boundary}\r\nContent-Disposition: form-data");
    for (key, value) in [("name", &http.multipart_name), ("filename", &http.multipart_filename)] {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = write!(text, "; {key}=\"{}\"", quote(value));
        }
    }
    if let Some(kind) = &http.mime_content_type {
        let kind: String = kind.chars().filter(|c| !c.is_control()).collect();
        let _ = write!(text, "\r\nContent-Type: {kind}");
    }
    text.push_str("\r\n\r\n");
    text
}

/// The three characters that browsers escape in these values, as they do.
fn quote(value: &str) -> String {
    value.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(name: Option<&str>, file: Option<&str>, kind: Option<&str>) -> Arc<StreamType> {
        let mut stream = StreamType::new("s");
        stream.http.multipart_name = name.map(str::to_owned);
        stream.http.multipart_filename = file.map(str::to_owned);
        stream.http.mime_content_type = kind.map(str::to_owned);
        Arc::new(stream)
    }

    fn text(pieces: &VecDeque<Piece>) -> String {
        pieces.iter().map(|piece| std::str::from_utf8(&piece.bytes).unwrap()).collect()
    }

    #[test]
    fn each_message_becomes_a_part_and_the_overhead_is_exact() {
        let chain = [
            element(Some("meta"), None, Some("application/json")),
            element(Some("da\"ta"), Some("a.bin"), None),
        ];
        let mut parts = Parts::new(&chain[0], &chain, "BOUND".into());
        assert_eq!(parts.content_type(), "multipart/form-data; boundary=\"BOUND\"");
        let mut out = VecDeque::new();
        assert!(!parts.frame("{".into(), false, &mut out));
        assert!(!parts.frame("}".into(), true, &mut out));
        assert!(!parts.frame("xyz".into(), false, &mut out));
        assert!(parts.frame(Bytes::new(), true, &mut out));
        let body = text(&out);
        assert_eq!(
            body,
            "--BOUND\r\nContent-Disposition: form-data; name=\"meta\"\r\n\
             Content-Type: application/json\r\n\r\n{}\r\n\
             --BOUND\r\nContent-Disposition: form-data; name=\"da%22ta\"; filename=\"a.bin\"\r\n\
             \r\nxyz\r\n--BOUND--\r\n"
        );
        assert_eq!(parts.overhead() as usize + "{}xyz".len(), body.len());
    }

    #[test]
    fn a_stream_without_a_chain_has_one_part_and_empty_parts_are_parts() {
        let stream = element(Some("a"), None, None);
        let mut parts = Parts::new(&stream, &[], Parts::random_boundary());
        let mut out = VecDeque::new();
        assert!(!parts.frame(Bytes::new(), false, &mut out));
        assert!(out.is_empty());
        assert!(parts.frame(Bytes::new(), true, &mut out));
        assert_eq!(text(&out).len() as u64, parts.overhead());
    }
}
