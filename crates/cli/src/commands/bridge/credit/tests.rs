use rand::{Rng, RngExt, SeedableRng};
use sspc_wire::limits::{FRAME_HEAD, PAYLOAD_FIXED};
use sspc_wire::{PayloadHead, Piece, Streamtype, ToProxyDecoder};

use super::*;

fn streamtype(pid: u32, tx_credit: i32) -> Vec<u8> {
    frame(&ToProxy::Streamtype(Streamtype { version: 1, pid, tx_credit, name: b"mintest" }))
}

fn frame(frame: &ToProxy<'_>) -> Vec<u8> {
    let mut out = vec![0; 70_000];
    let length = frame.encode(&mut out).unwrap();
    out.truncate(length);
    out
}

fn payload(length: usize) -> Vec<u8> {
    let data = vec![7; length];
    let piece = Piece::whole(&data).unwrap();
    frame(&ToProxy::Payload { head: PayloadHead::new(Flags::SOM), rideshare: None, piece })
}

fn rx_payload(length: usize) -> Vec<u8> {
    let data = vec![9; length];
    let piece = Piece::whole(&data).unwrap();
    let frame =
        ToClient::Payload { head: PayloadHead::new(Flags::EOM), rideshare: Some(b"x"), piece };
    let mut out = vec![0; 70_000];
    let length = frame.encode(&mut out).unwrap();
    out.truncate(length);
    out
}

fn payload_of(payload: u32) -> Delivered {
    Delivered { payload, ..Delivered::default() }
}

/// What passes of these bytes, in chunks of every size.
fn passed(bytes: &[u8]) -> Vec<u8> {
    let pass = |size| {
        let (mut from_program, mut out) = (FromProgram::default(), Vec::new());
        for chunk in bytes.chunks(size) {
            assert_eq!(from_program.pass(chunk, &mut out), chunk.len());
        }
        out
    };
    let whole = pass(bytes.len());
    for size in 1..bytes.len().min(40) {
        assert_eq!(pass(size), whole, "in chunks of {size}");
    }
    whole
}

#[test]
fn no_limit_becomes_a_window_and_all_else_stays() {
    let rest = [payload(3), frame(&ToProxy::OnwardConnect), payload(1380)].concat();
    for unlimited in [CREDIT_UNLIMITED, i32::MAX, 0, -1, 2_000_000] {
        let sent = [streamtype(4711, unlimited), rest.clone()].concat();
        let expected = [streamtype(PID_CREDIT_BIT | 4711, WINDOW as i32), rest.clone()].concat();
        assert_eq!(passed(&sent), expected);
    }
}

/// A mask of classes became a window.
#[test]
fn what_is_wanted_of_the_message_bus_stays_as_it_is() {
    let named = |pid, tx_credit, name| {
        frame(&ToProxy::Streamtype(Streamtype { version: 1, pid, tx_credit, name }))
    };
    for mask in [1, 7, 1 << 24, CREDIT_UNLIMITED, -1, 0] {
        let rest = [payload(20), frame(&ToProxy::OnwardConnect)].concat();
        let sent = [named(4711, mask, b"_lws_smd"), rest.clone()].concat();
        let expected = [named(PID_CREDIT_BIT | 4711, mask, b"_lws_smd"), rest.clone()].concat();
        assert_eq!(passed(&sent), expected);
        // Credit comes behind it.
        let (mut from_program, mut out) = (FromProgram::default(), Vec::new());
        from_program.pass(&sent[..20], &mut out);
        from_program.update(&mut out);
        assert_eq!(out[20..], frame(&ToProxy::TxCredit(WINDOW as i32)));

        let credit = frame(&ToProxy::TxCredit(16_384));
        let managing = [named(PID_CREDIT_BIT, mask, b"_lws_smd"), credit, rest].concat();
        assert_eq!(passed(&managing), managing);
    }
    // A name of the same length.
    let sent = named(4711, CREDIT_UNLIMITED, b"_lws_smx");
    assert_eq!(passed(&sent), named(PID_CREDIT_BIT | 4711, WINDOW as i32, b"_lws_smx"));
}

#[test]
fn a_plain_programs_limit_is_its_own() {
    let sent = [streamtype(4711, 100_000), frame(&ToProxy::TxCredit(500)), payload(9)].concat();
    assert_eq!(passed(&sent), sent);
    let (mut from_program, mut out) = (FromProgram::default(), Vec::new());
    from_program.pass(&sent, &mut out);
    from_program.delivered(&payload_of(10 * WINDOW));
    from_program.update(&mut out);
    assert_eq!(out, sent);
}

/// All credit that these bytes give.
fn credit_in(mut bytes: &[u8]) -> i64 {
    let (mut decoder, mut credit) = (ToProxyDecoder::new(), 0);
    while let Some(frame) = decoder.next(&mut bytes).unwrap() {
        credit += i64::from(match frame {
            ToProxy::Streamtype(asked) => asked.tx_credit,
            ToProxy::TxCredit(more) => more,
            _ => 0,
        });
    }
    credit
}

#[test]
fn managed_credit_is_passed_on_as_far_as_the_window_goes() {
    let credit = |more| frame(&ToProxy::TxCredit(more));
    let (mut from_program, mut out) = (FromProgram::default(), Vec::new());
    let mut step = |bytes: &[u8], delivered| {
        from_program.pass(bytes, &mut out);
        from_program.delivered(&payload_of(delivered));
        from_program.update(&mut out);
        credit_in(&out)
    };
    // Little credit: every word of it.
    assert_eq!(step(&streamtype(PID_CREDIT_BIT, 1000), 0), 1000);
    assert_eq!(step(&credit(10), 0), 1010);
    assert_eq!(step(&credit(-20), 500), 990);
    assert_eq!(step(&[], 490), 990);
    // Much: no more than the window.
    let window = i64::from(WINDOW);
    assert_eq!(step(&credit(4 << 20), 0), 990 + window);
    assert_eq!(step(&[], WINDOW / 2), 990 + window + window / 2);
    assert_eq!(step(&credit(i32::MIN), 0), 990 + (4 << 20) + i64::from(i32::MIN));
}

#[test]
fn what_comes_before_streamtype_does_not_hide_it() {
    let before = [frame(&ToProxy::TxCredit(5)), frame(&ToProxy::LengthHint(70))].concat();
    let sent = [before.clone(), streamtype(1, CREDIT_UNLIMITED)].concat();
    assert_eq!(passed(&sent), [before, streamtype(PID_CREDIT_BIT | 1, WINDOW as i32)].concat());
}

#[test]
fn more_on_top_of_no_limit_is_kept_from_the_proxy_but_the_word_0_is_not() {
    let credit = |more| frame(&ToProxy::TxCredit(more));
    let begin = |credit| streamtype(PID_CREDIT_BIT, credit);
    let sent = [begin(CREDIT_UNLIMITED), credit(77), credit(0), credit(-1), payload(2)].concat();
    assert_eq!(passed(&sent), [begin(WINDOW as i32), credit(0), payload(2)].concat());
}

#[test]
fn garbage_passes_as_it_is() {
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xaa; 40], &[0xaa, 0, 3, 1, 2, 3], &[0xff]] {
        let at_least = passed(garbage).len();
        assert!(at_least <= garbage.len() && garbage.starts_with(&passed(garbage)[..at_least]));
    }
}

#[test]
fn credit_is_given_back_by_halves_and_between_frames_only() {
    let (mut from_program, mut out) = (FromProgram::default(), Vec::new());
    from_program.pass(&streamtype(1, CREDIT_UNLIMITED), &mut out);
    let big = payload(100);
    from_program.pass(&big[..50], &mut out);
    out.clear();

    from_program.delivered(&payload_of(WINDOW / 2 - 1));
    from_program.update(&mut out);
    from_program.delivered(&payload_of(1));
    from_program.update(&mut out);
    assert!(out.is_empty(), "in the middle of a frame");
    from_program.pass(&big[50..], &mut out);
    from_program.pass(&big[..2], &mut out);
    from_program.update(&mut out);
    from_program.pass(&big[2..], &mut out);
    from_program.update(&mut out);
    let update = frame(&ToProxy::TxCredit((WINDOW / 2) as i32));
    assert_eq!(out, [&big[50..], &update, &big].concat());
}

/// Whatever is sent in whatever pieces, the proxy reads the same frames with updates in between,
/// and the credit given is what was handed on.
#[test]
fn updates_never_break_a_frame() {
    let sent = [
        streamtype(1, CREDIT_UNLIMITED),
        frame(&ToProxy::Metadata { name: b"q", value: Piece::whole(b"xyz").unwrap() }),
        payload(5000),
        frame(&ToProxy::TxCredit(1)),
        frame(&ToProxy::OnwardConnect),
        payload(0),
    ]
    .concat();
    for size in 1..200 {
        let (mut from_program, mut out) = (FromProgram::default(), Vec::new());
        for chunk in sent.chunks(size) {
            from_program.pass(chunk, &mut out);
            from_program.delivered(&payload_of(WINDOW / 2));
            from_program.update(&mut out);
        }
        from_program.update(&mut out);
        let (mut decoder, mut input, mut credit) = (ToProxyDecoder::new(), out.as_slice(), 0);
        let mut others = 0;
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            match frame {
                ToProxy::TxCredit(more) => credit += more.unsigned_abs(),
                ToProxy::Payload { piece, .. } | ToProxy::Metadata { value: piece, .. } => {
                    others += usize::from(piece.is_last())
                }
                _ => others += 1,
            }
        }
        assert!(decoder.is_between_frames());
        assert_eq!(others, 5);
        // Before STREAMTYPE was complete nothing was owed.
        let before = (streamtype(1, 0).len() - 7).div_ceil(size) - 1;
        let rounds = sent.len().div_ceil(size) - before;
        assert_eq!(credit, rounds as u32 * (WINDOW / 2), "in chunks of {size}");
    }
}

#[test]
fn short_frames_for_the_program_stay_whole() {
    let sent = [rx_payload(1380), vec![0x57, 0, 5, 1, 0, 0, 0, 0], rx_payload(0)];
    let bytes = sent.concat();
    for size in [1, 2, 3, 19, 1000, bytes.len()] {
        let mut from_proxy = FromProxy::default();
        let (mut written, mut payload) = (Vec::new(), 0);
        for chunk in bytes.chunks(size) {
            assert!(from_proxy.has_room());
            from_proxy.push(chunk);
            while !from_proxy.next().is_empty() {
                written.push(from_proxy.next().to_vec());
                payload += from_proxy.written(from_proxy.next().len()).unwrap().payload;
            }
        }
        assert_eq!(written, sent, "in chunks of {size}");
        assert_eq!(payload, 1380);
    }
}

#[test]
fn long_frames_pass_as_they_come() {
    let bytes = [rx_payload(60_000), rx_payload(3)].concat();
    let mut from_proxy = FromProxy::default();
    let (mut written, mut payload) = (Vec::new(), 0);
    for chunk in bytes.chunks(777) {
        assert!(from_proxy.has_room());
        from_proxy.push(chunk);
        // The socket takes little at a time.
        while let length @ 1.. = from_proxy.next().len().min(100) {
            written.extend_from_slice(&from_proxy.next()[..length]);
            payload += from_proxy.written(length).unwrap().payload;
        }
    }
    assert_eq!(written, bytes);
    assert_eq!(payload, 60_003);
}

#[test]
fn garbage_for_the_program_is_found_out() {
    let mut from_proxy = FromProxy::default();
    from_proxy.push(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let next = from_proxy.next().len();
    assert!(next > 0);
    assert!(from_proxy.written(next).is_err());
}

/// A stream of a plain program at a proxy that manages credit.
fn managed(credit: i32) -> (FromProgram, Vec<u8>) {
    let (mut from_program, mut out) = (FromProgram::default(), Vec::new());
    from_program.pass(&streamtype(1, CREDIT_UNLIMITED), &mut out);
    assert!(from_program.take_credit(credit, true));
    out.clear();
    (from_program, out)
}

fn message(flags: Flags, length: usize, rideshare: Option<&[u8]>) -> Vec<u8> {
    let data = vec![3; length];
    let piece = Piece::whole(&data).unwrap();
    frame(&ToProxy::Payload { head: PayloadHead::new(flags), rideshare, piece })
}

const WHOLE: Flags = Flags::from_bits(Flags::SOM.bits() | Flags::EOM.bits());

#[test]
fn payload_waits_for_the_proxys_credit_and_nothing_else_does() {
    let sent = [
        frame(&ToProxy::OnwardConnect),
        message(WHOLE, 60, Some(b"name")),
        frame(&ToProxy::LengthHint(5)),
        message(WHOLE, 50, None),
        message(WHOLE, 0, None),
        frame(&ToProxy::Destroying),
    ]
    .concat();
    // The first two messages may pass, the second of them beyond the credit.
    for size in 1..=sent.len() {
        let (mut from_program, mut out) = managed(61);
        let mut rest = [sent.clone(), message(WHOLE, 1, None), sent.clone()].concat();
        while !from_program.waits() {
            let length = size.min(rest.len());
            let taken = from_program.pass(&rest[..length], &mut out);
            rest.drain(..taken);
        }
        assert_eq!(out, sent, "in chunks of {size}");
        // Exactly the credit: nothing is counted but payload.
        assert!(from_program.take_credit(49, false) && from_program.waits());
        assert!(from_program.take_credit(1, false) && !from_program.waits());
        assert_eq!(from_program.pass(&[], &mut out), 0);
        assert!(out.len() > sent.len());
    }
}

/// Else what comes behind the payload would wait for ever.
#[test]
fn payload_for_a_streamtype_that_takes_none_waits_for_nothing() {
    let (mut from_program, mut out) = managed(0);
    let sent = [message(WHOLE, 50_000, None), frame(&ToProxy::OnwardConnect)].concat();
    for _ in 0..10 {
        assert_eq!(from_program.pass(&sent, &mut out), sent.len());
        assert!(!from_program.waits());
    }
}

#[test]
fn without_the_proxys_word_nothing_waits() {
    let (mut from_program, mut out) = (FromProgram::default(), Vec::new());
    from_program.pass(&streamtype(1, CREDIT_UNLIMITED), &mut out);
    // The onward peer's credit, of a proxy that does not know the announcement.
    assert!(!from_program.take_credit(1, false));
    let sent = message(WHOLE, 50_000, None);
    for _ in 0..10 {
        assert_eq!(from_program.pass(&sent, &mut out), sent.len());
    }
}

#[test]
fn the_credit_of_a_program_that_manages_it_goes_to_the_program() {
    let (mut from_program, mut out) = (FromProgram::default(), Vec::new());
    from_program.pass(&streamtype(PID_CREDIT_BIT, 1000), &mut out);
    assert!(!from_program.take_credit(1, true));
}

#[test]
fn the_proxy_is_told_of_an_end_that_the_program_heard_when_it_asks_for_more() {
    let disconnected = Delivered { disconnected: 1, ..Delivered::default() };
    let heard = frame(&ToProxy::TxCredit(0));
    for asks in [frame(&ToProxy::OnwardConnect), frame(&ToProxy::LengthHint(5))] {
        let (mut from_program, mut out) = managed(1000);
        from_program.delivered(&disconnected);
        from_program.delivered(&disconnected);
        from_program.update(&mut out);
        // This was sent for the connection that is gone.
        let stale = message(WHOLE, 10, None);
        from_program.pass(&stale, &mut out);
        from_program.pass(&asks, &mut out);
        from_program.pass(&asks, &mut out);
        assert_eq!(out, [&stale[..], &heard, &heard, &asks, &asks].concat());
    }
}

#[test]
fn where_the_proxy_connects_again_by_itself_a_message_is_ended_first() {
    let again = Delivered { disconnected: 1, connected: true, payload: 0 };
    let heard = frame(&ToProxy::TxCredit(0));
    let (first, last) = (message(Flags::SOM, 10, None), message(Flags::EOM, 10, None));
    let whole = message(WHOLE, 10, None);

    let (mut from_program, mut out) = managed(1000);
    from_program.pass(&whole, &mut out);
    from_program.delivered(&again);
    from_program.update(&mut out);
    assert_eq!(out, [&whole[..], &heard].concat(), "nothing was begun");

    let (mut from_program, mut out) = managed(1000);
    from_program.pass(&first, &mut out);
    from_program.delivered(&again);
    from_program.update(&mut out);
    from_program.pass(&last, &mut out);
    from_program.update(&mut out);
    assert_eq!(out, [&first[..], &last, &heard].concat(), "the message came to its end");

    let (mut from_program, mut out) = managed(1000);
    from_program.pass(&first, &mut out);
    from_program.delivered(&again);
    from_program.update(&mut out);
    from_program.pass(&whole, &mut out);
    assert_eq!(out, [&first[..], &heard, &whole].concat(), "another one begins");
}

#[test]
fn credit_for_the_bridge_is_left_out_of_what_the_program_gets() {
    let mut from_proxy = FromProxy::default();
    let state = [0x57, 0, 5, 1, 0, 0, 0, 0];
    let credit = [0x58, 0, 4, 0, 0, 1, 0];
    from_proxy.push(&credit[..6]);
    assert_eq!(from_proxy.credit(), None);
    from_proxy.push(&credit[6..]);
    from_proxy.push(&state);
    from_proxy.push(&credit);
    assert_eq!(from_proxy.credit(), Some((256, true)));
    from_proxy.skip_credit();
    assert_eq!(from_proxy.credit(), None);
    assert_eq!(from_proxy.next(), state);
    from_proxy.written(3).unwrap();
    from_proxy.written(5).unwrap();
    assert_eq!(from_proxy.credit(), Some((256, false)));
    assert_eq!(from_proxy.next(), credit);
}

/// Whatever a program sends, the proxy gets it: only credit is changed, added or left out.
#[test]
fn no_bytes_are_lost_or_made_up() {
    let kinds: [&dyn Fn(usize) -> Vec<u8>; 5] = [
        &|n| message(WHOLE, n, None),
        &|n| message(Flags::SOM, n, Some(b"x")),
        &|n| frame(&ToProxy::LengthHint(n as u32)),
        &|n| frame(&ToProxy::TxCredit(n as i32)),
        &|_| frame(&ToProxy::OnwardConnect),
    ];
    for seed in 0..300 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let (mut from_program, mut out) = managed(500);
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            let kind = random.random_range(0..kinds.len());
            let bytes = kinds[kind](random.random_range(0..900));
            sent.extend_from_slice(&bytes);
            if kind != 3 {
                expected.extend_from_slice(&bytes);
            }
        }
        let mut rest = &sent[..];
        while !rest.is_empty() || from_program.waits() {
            let length = random.random_range(0..=rest.len().min(700));
            let taken = from_program.pass(&rest[..length], &mut out);
            rest = &rest[taken..];
            let what = Delivered {
                payload: random.random_range(0..9000),
                disconnected: random.random_range(0..2),
                connected: random.random_bool(0.3),
            };
            from_program.delivered(&what);
            from_program.update(&mut out);
            from_program.take_credit(random.random_range(0..1000), false);
        }
        let (mut decoder, mut input, mut heard) = (ToProxyDecoder::new(), &out[..], Vec::new());
        while !input.is_empty() {
            let before = input;
            let frame = decoder.next(&mut input).unwrap();
            if !matches!(frame, Some(ToProxy::TxCredit(_))) {
                heard.extend_from_slice(&before[..before.len() - input.len()]);
            }
        }
        assert!(decoder.is_between_frames(), "seed {seed}");
        assert!(heard == expected, "seed {seed}");
    }
}

#[test]
fn noise_does_no_harm() {
    for seed in 0..300 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut noise = vec![0; 3000];
        random.fill_bytes(&mut noise);
        let (mut from_program, mut out) = managed(500);
        from_program.pass(&noise, &mut out);
        from_program.update(&mut out);
        let mut from_proxy = FromProxy::default();
        from_proxy.push(&noise);
        from_proxy.skip_credit();
        while !from_proxy.next().is_empty() && from_proxy.written(from_proxy.next().len()).is_ok() {
        }
    }
}

/// 64 KiB as messages of one byte were 1.3 MiB with their heads, and cost a slow program its channel.
#[test]
fn a_window_of_messages_of_one_byte_fits_what_a_line_keeps() {
    let frame = FRAME_HEAD + PAYLOAD_FIXED + 1;
    assert!(WINDOW as usize * frame < sspc_line::LineConfig::default().unread_max);
}
