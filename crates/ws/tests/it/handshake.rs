//! The opening handshake's key, and the negotiation of permessage-deflate (RFC 7692 §7.1).

use sspc_ws::handshake::{DeflateOffer, accept_key, answer, client_key, negotiate};
use sspc_ws::{DeflateParams, HandshakeError, WindowBits};

use crate::support::{both_ways, window};

const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";
const SERVER_RESET: &str = "server_no_context_takeover";

/// An offer without any parameter.
const BARE: DeflateOffer = DeflateOffer {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: None,
};

#[test]
fn the_key_of_the_rfc_and_its_answer() {
    let key = client_key(*b"the sample nonce");
    assert_eq!(key, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(accept_key(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn offers_as_they_are_written() {
    assert_eq!(BARE.to_string(), "permessage-deflate");
    assert_eq!(DeflateOffer::default().to_string(), "permessage-deflate; client_max_window_bits");
    let all = DeflateOffer {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: Some(window(10)),
        client_max_window_bits: Some(window(9)),
    };
    assert_eq!(
        all.to_string(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=10; client_max_window_bits=9"
    );
}

#[test]
fn no_extension_is_no_compression() {
    for offer in [None, Some(&DeflateOffer::default())] {
        for response in ["", " ", " , "] {
            assert_eq!(negotiate(offer, response), Ok(None));
        }
    }
}

#[test]
fn answers_that_a_client_takes() {
    let plain = DeflateParams::default();
    let offer = DeflateOffer::default();
    let cases = [
        (offer, "permessage-deflate", plain),
        (offer, " permessage-deflate\t", plain),
        // A server may limit itself, and have us start afresh, without being asked.
        (
            BARE,
            "permessage-deflate;server_no_context_takeover;server_max_window_bits=9",
            DeflateParams {
                server_no_context_takeover: true,
                server_max_window_bits: window(9),
                ..plain
            },
        ),
        (
            BARE,
            "permessage-deflate; client_no_context_takeover",
            DeflateParams { client_no_context_takeover: true, ..plain },
        ),
        (
            offer,
            "permessage-deflate; client_max_window_bits = \"8\"",
            DeflateParams { client_max_window_bits: WindowBits::MIN, ..plain },
        ),
        // Less than asked for is fine.
        (
            DeflateOffer { server_max_window_bits: Some(window(12)), ..offer },
            "permessage-deflate; server_max_window_bits=10",
            DeflateParams { server_max_window_bits: window(10), ..plain },
        ),
        // What we told about ourselves holds even if the server does not repeat it.
        (
            DeflateOffer {
                client_no_context_takeover: true,
                client_max_window_bits: Some(window(11)),
                ..offer
            },
            "permessage-deflate",
            DeflateParams {
                client_no_context_takeover: true,
                client_max_window_bits: window(11),
                ..plain
            },
        ),
    ];
    for (offer, response, expected) in cases {
        assert_eq!(negotiate(Some(&offer), response), Ok(Some(expected)), "{response}");
    }
}

#[test]
fn answers_that_a_client_refuses() {
    let offer = DeflateOffer::default();
    let strict = DeflateOffer {
        server_no_context_takeover: true,
        server_max_window_bits: Some(window(10)),
        client_max_window_bits: Some(window(10)),
        ..offer
    };
    let cases = [
        (offer, "x-webkit-deflate-frame", HandshakeError::ExtensionNotOffered),
        (offer, "permessage-deflate, permessage-deflate", HandshakeError::ExtensionNotOffered),
        (offer, "permessage-deflate, other", HandshakeError::ExtensionNotOffered),
        (offer, "permessage-deflate; level=9", HandshakeError::UnknownParameter),
        (offer, "permessage-deflate;", HandshakeError::UnknownParameter),
        (
            offer,
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            HandshakeError::Duplicate(SERVER_RESET),
        ),
        (
            offer,
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            HandshakeError::Duplicate(SERVER_BITS),
        ),
        (
            offer,
            "permessage-deflate; server_no_context_takeover=1",
            HandshakeError::InvalidValue(SERVER_RESET),
        ),
        (
            offer,
            "permessage-deflate; client_max_window_bits",
            HandshakeError::InvalidValue(CLIENT_BITS),
        ),
        (
            BARE,
            "permessage-deflate; client_max_window_bits=9",
            HandshakeError::NotOffered(CLIENT_BITS),
        ),
        (
            strict,
            "permessage-deflate; server_max_window_bits=10",
            HandshakeError::Missing(SERVER_RESET),
        ),
        (
            strict,
            "permessage-deflate; server_no_context_takeover",
            HandshakeError::Missing(SERVER_BITS),
        ),
        (
            strict,
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
            HandshakeError::WindowTooLarge(SERVER_BITS),
        ),
        (
            strict,
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; \
             client_max_window_bits=11",
            HandshakeError::WindowTooLarge(CLIENT_BITS),
        ),
    ];
    for (offer, response, expected) in cases {
        assert_eq!(negotiate(Some(&offer), response), Err(expected), "{response}");
    }
    let unasked = negotiate(None, "permessage-deflate");
    assert_eq!(unasked, Err(HandshakeError::ExtensionNotOffered));
    for value in ["", "7", "16", "08", "9.0", "+9", "15 15", "a", "\"", "４"] {
        let response = format!("permessage-deflate; server_max_window_bits={value}");
        let refused = negotiate(Some(&offer), &response);
        assert_eq!(refused, Err(HandshakeError::InvalidValue(SERVER_BITS)), "{response}");
    }
}

#[test]
fn a_server_answers_the_first_offer_that_is_well_formed() {
    let wanted = DeflateParams::default();
    for none in ["", "other", "permessage-deflate; x", "permessage-deflate; server_max_window_bits"]
    {
        assert_eq!(answer(none, wanted), None, "{none}");
    }
    let (params, response) = answer(
        "other; a=\"b\", permessage-deflate; x, permessage-deflate; server_max_window_bits=10, \
         permessage-deflate",
        wanted,
    )
    .unwrap();
    assert_eq!(params, DeflateParams { server_max_window_bits: window(10), ..wanted });
    assert_eq!(response, "permessage-deflate; server_max_window_bits=10");
}

#[test]
fn a_server_cannot_limit_a_client_that_did_not_offer_it() {
    let small = both_ways(9, true);
    let (params, response) = answer("permessage-deflate", small).unwrap();
    assert_eq!(params, DeflateParams { client_max_window_bits: WindowBits::MAX, ..small });
    assert_eq!(
        response,
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=9"
    );
}

/// Python's websockets fails the handshake when it meets 8 bits.
#[test]
fn a_window_of_8_bits_is_answered_only_if_it_was_offered() {
    let small = both_ways(8, false);
    for (offer, expected) in [
        ("permessage-deflate", "permessage-deflate; server_max_window_bits=9"),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
        ),
        (
            "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8",
        ),
    ] {
        assert_eq!(answer(offer, small).unwrap().1, expected);
    }
}

/// Whatever is offered and wanted, the client takes the answer, and both mean the same by it.
#[test]
fn both_sides_agree_on_every_combination() {
    let bits = [None, Some(8), Some(9), Some(12), Some(15)];
    let bits = bits.map(|bits| bits.map(window));
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    for (server_reset, client_reset) in flags {
        for server_bits in bits {
            for client_bits in bits {
                let offer = DeflateOffer {
                    server_no_context_takeover: server_reset,
                    client_no_context_takeover: client_reset,
                    server_max_window_bits: server_bits,
                    client_max_window_bits: client_bits,
                };
                for (wanted_bits, wanted_reset) in [(8, true), (10, false), (15, true), (15, false)]
                {
                    let wanted = both_ways(wanted_bits, wanted_reset);
                    let (params, response) = answer(&offer.to_string(), wanted).unwrap();
                    let context = format!("{offer} answered {response}");
                    assert_eq!(negotiate(Some(&offer), &response), Ok(Some(params)), "{context}");
                    let limit = window(wanted_bits).max(WindowBits::COMMON_MIN);
                    assert!(params.server_max_window_bits <= limit, "{context}");
                    assert!(params.server_no_context_takeover || !wanted_reset, "{context}");
                }
            }
        }
    }
}
