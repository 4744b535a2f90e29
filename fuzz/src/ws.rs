//! WebSocket bytes in any cut.

use sspc_ws::{DecodeError, Decoder, DeflateParams, Event, Role, WindowBits};

/// What a peer sent, with the pieces of each message joined. How much came of a message that a
/// fault ended depends on the cuts, so it is left out.
#[derive(Debug, PartialEq)]
struct Heard {
    told: Vec<String>,
    messages: Vec<Vec<u8>>,
    error: Option<DecodeError>,
}

/// The first byte chooses role and compression, the rest is what the peer sends.
pub fn ws_decode(input: &[u8]) {
    let (input, sizes) = crate::cuts::split(input);
    let Some((choice, bytes)) = input.split_first() else { return };
    let role = if choice & 1 == 0 { Role::Client } else { Role::Server };
    let bits = WindowBits::new(8 + (choice >> 4) % 8).unwrap_or_default();
    let deflate = (choice & 2 != 0).then(|| DeflateParams {
        server_no_context_takeover: choice & 4 != 0,
        client_no_context_takeover: choice & 8 != 0,
        server_max_window_bits: bits,
        client_max_window_bits: bits,
    });
    let decoder = || Decoder::new(role, deflate);
    let whole = hear(decoder(), [bytes], 4096);
    assert_eq!(hear(decoder(), bytes.chunks(1), 1), whole);
    assert_eq!(hear(decoder(), sspc_sim::frames::cut(bytes, &sizes), 100), whole);
}

fn hear<'i>(
    mut decoder: Decoder,
    chunks: impl IntoIterator<Item = &'i [u8]>,
    scratch: usize,
) -> Heard {
    let mut heard = Heard { told: Vec::new(), messages: Vec::new(), error: None };
    let mut scratch = vec![0; scratch];
    let mut ended = true;
    let mut begun = 0;
    for chunk in chunks {
        let mut input = chunk;
        loop {
            match decoder.decode(&mut input, &mut scratch) {
                Ok(None) => break,
                Ok(Some(Event::Data(piece))) => {
                    assert_eq!(piece.first, ended, "a message begins when the last has ended");
                    if piece.first {
                        begun = heard.told.len();
                        heard.told.push(format!("{:?}", piece.kind));
                        heard.messages.push(Vec::new());
                    }
                    heard.messages.last_mut().unwrap().extend(piece.bytes);
                    ended = piece.last;
                    if piece.last {
                        heard.told.push("end".into());
                    }
                }
                Ok(Some(event)) => heard.told.push(format!("{event:?}")),
                Err(error) => {
                    if !ended {
                        heard.told.remove(begun);
                        heard.messages.pop();
                    }
                    heard.error = Some(error);
                    return heard;
                }
            }
        }
        assert!(input.is_empty(), "a decoder that wants more has taken all");
    }
    heard
}
