//! What the tests share.

use sspc_ws::{
    CloseCode, DecodeError, Decoder, DeflateParams, Encoder, Event, MessageKind, Piece, Role,
    WindowBits,
};

pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a user sees of a connection, however it was cut: the pieces between two other events are
/// joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Data { kind: MessageKind, first: bool, last: bool, bytes: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

pub(crate) fn message(kind: MessageKind, bytes: &[u8]) -> Seen {
    Seen::Data { kind, first: true, last: true, bytes: bytes.to_vec() }
}

pub(crate) fn text(text: &str) -> Seen {
    message(MessageKind::Text, text.as_bytes())
}

/// Decodes `wire`, received `chunk` bytes at a time. Checks on the way what holds for every call:
/// that it makes headway, and that flags and sizes are as documented.
pub(crate) fn decode_in_chunks(
    decoder: &mut Decoder,
    wire: &[u8],
    chunk: usize,
    scratch: usize,
) -> (Vec<Seen>, Result<(), DecodeError>) {
    let mut seen = Vec::new();
    let mut scratch = vec![0; scratch];
    let mut in_message: Option<bool> = None;
    for chunk in wire.chunks(chunk) {
        let mut input = chunk;
        loop {
            let before = input.len();
            let event = match decoder.decode(&mut input, &mut scratch) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    let again = decoder.decode(&mut input, &mut scratch);
                    assert_eq!(again, Err(error), "an error must last");
                    return (seen, Err(error));
                }
            };
            match event {
                Event::Data(piece) => {
                    let moved = input.len() < before || !piece.bytes.is_empty() || piece.last;
                    assert!(moved, "a call that did nothing");
                    assert!(!piece.bytes.is_empty() || piece.last, "an empty piece is a last one");
                    if let Some(in_message) = in_message {
                        assert_eq!(piece.first, !in_message, "first marks a message's start");
                    }
                    in_message = Some(!piece.last);
                    join(&mut seen, piece);
                }
                Event::Ping(payload) => seen.push(Seen::Ping(payload.as_bytes().to_vec())),
                Event::Pong(payload) => seen.push(Seen::Pong(payload.as_bytes().to_vec())),
                Event::Close(close) => seen.push(Seen::Close(
                    close.map(|close| (close.code().code(), close.reason().to_owned())),
                )),
                other => panic!("unknown event {other:?}"),
            }
        }
        assert!(input.is_empty(), "None means that all was taken");
    }
    (seen, Ok(()))
}

fn join(seen: &mut Vec<Seen>, piece: Piece<'_>) {
    match seen.last_mut() {
        Some(Seen::Data { kind, last, bytes, .. }) if !piece.first => {
            assert_eq!(*kind, piece.kind, "the kind is that of the message");
            bytes.extend_from_slice(piece.bytes);
            *last |= piece.last;
        }
        _ => seen.push(Seen::Data {
            kind: piece.kind,
            first: piece.first,
            last: piece.last,
            bytes: piece.bytes.to_vec(),
        }),
    }
}

/// Decodes `wire` received in chunks of every size, with scratch buffers of several, and gives
/// what all of them must agree on.
pub(crate) fn decode_every_way(
    role: Role,
    deflate: Option<DeflateParams>,
    wire: &[u8],
) -> Result<Vec<Seen>, DecodeError> {
    let whole = decode_in_chunks(&mut Decoder::new(role, deflate), wire, wire.len().max(1), 8192);
    for chunk in 1..=wire.len() {
        for scratch in [1, 2, 3, 5, 64, 4096] {
            let mut decoder = Decoder::new(role, deflate);
            let (seen, result) = decode_in_chunks(&mut decoder, wire, chunk, scratch);
            assert_eq!(result, whole.1, "chunks of {chunk}, scratch of {scratch}");
            if result.is_ok() {
                assert_eq!(seen, whole.0, "chunks of {chunk}, scratch of {scratch}");
            }
        }
    }
    whole.1.map(|()| whole.0)
}

/// The close code that `wire` is refused with, however it is cut.
pub(crate) fn refused_with(role: Role, deflate: Option<DeflateParams>, wire: &[u8]) -> DecodeError {
    match decode_every_way(role, deflate, wire) {
        Ok(seen) => panic!("{wire:x?} was taken for {seen:?}"),
        Err(error) => error,
    }
}

pub(crate) fn window(bits: u8) -> WindowBits {
    WindowBits::new(bits).unwrap()
}

/// The same terms in both directions.
pub(crate) fn both_ways(bits: u8, no_context_takeover: bool) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: no_context_takeover,
        client_no_context_takeover: no_context_takeover,
        server_max_window_bits: window(bits),
        client_max_window_bits: window(bits),
    }
}

pub(crate) fn peer(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// A message of one piece.
pub(crate) fn send(encoder: &mut Encoder, kind: MessageKind, bytes: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    encoder.piece(Piece { kind, first: true, last: true, bytes }, KEY, &mut wire).unwrap();
    wire
}

/// What `role`, as a client with the tests' key, would put on the wire for these raw frames.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut wire = vec![first, 0x80 | payload.len() as u8];
    wire.extend_from_slice(&KEY);
    wire.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    wire
}

pub(crate) fn protocol_error(error: DecodeError) {
    assert_eq!(error.close_code(), CloseCode::PROTOCOL_ERROR, "{error}");
}
