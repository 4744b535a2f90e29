//! Frames written field by field.

use sspc_wire::to_proxy_type::{METADATA, STREAMTYPE, TX_PAYLOAD};
use sspc_wire::{FieldWriter, Flags, MuxFrame, PayloadHead, Piece, Streamtype, ToProxy, mux_type};

/// What is written into a room of so many bytes, and how many are left.
fn written(room: usize, write: impl FnOnce(&mut FieldWriter<'_>)) -> (Vec<u8>, usize) {
    let mut bytes = vec![0xee; room];
    let mut to = FieldWriter::new(&mut bytes);
    write(&mut to);
    let left = to.room().len();
    (bytes, left)
}

fn encoded(frame: &ToProxy<'_>) -> Vec<u8> {
    let mut bytes = [0; 100];
    let length = frame.encode(&mut bytes).unwrap();
    bytes[..length].to_vec()
}

#[test]
fn fields_make_the_same_frames_as_encode() {
    let name = b"mintest";
    let streamtype = Streamtype { version: 1, pid: 0x0102_0304, tx_credit: -2, name };
    let (bytes, left) = written(19, |to| {
        to.head(STREAMTYPE, 9 + name.len());
        to.u8(1);
        to.u32(0x0102_0304);
        to.u32(-2_i32 as u32);
        to.bytes(name);
    });
    assert_eq!((bytes, left), (encoded(&ToProxy::Streamtype(streamtype)), 0));

    let (bytes, _) = written(9, |to| {
        to.head(METADATA, 1 + 1 + 4);
        to.u8(1);
        to.bytes(b"n");
        to.bytes(b"text");
    });
    let value = Piece::whole(b"text").unwrap();
    assert_eq!(bytes, encoded(&ToProxy::Metadata { name: b"n", value }));

    let head = PayloadHead { flags: Flags::WHOLE, held_us: 7, written_us: 0x0102_0304_0506_0708 };
    let (bytes, _) = written(22, |to| {
        // The payload is put in its place before the head.
        to.room()[19..].copy_from_slice(b"abc");
        to.head(TX_PAYLOAD, 16 + 3);
        to.u32(head.flags.bits());
        to.u32(head.held_us);
        to.u64(head.written_us);
        to.skip(3);
    });
    let piece = Piece::whole(b"abc").unwrap();
    assert_eq!(bytes, encoded(&ToProxy::Payload { head, rideshare: None, piece }));
}

#[test]
fn fields_make_the_same_mux_frames_as_encode() {
    let piece = Piece::whole(b"bytes").unwrap();
    let mut same = [0; 9];
    MuxFrame::Data { channel: 0xfd, piece }.encode(&mut same).unwrap();
    let (bytes, _) = written(9, |to| {
        to.u8(mux_type::MUX);
        to.u8(0xfd);
        to.u16(5);
        to.bytes(b"bytes");
    });
    assert_eq!(bytes, same);
}

#[test]
fn what_does_not_fit_is_left_out() {
    let (bytes, left) = written(3, |to| {
        to.u16(0x0102);
        to.u32(0x0304_0506);
        to.u8(7);
        to.bytes(b"8");
        to.skip(1);
    });
    assert_eq!((bytes, left), (vec![1, 2, 3], 0));
    assert_eq!(written(2, |to| to.skip(3)), (vec![0xee; 2], 0));
}
