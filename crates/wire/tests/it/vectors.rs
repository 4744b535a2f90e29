//! The vectors of the specification: all frames, in every cut, and whole dialogues.

use sspc_sim::frames::{Codec, decode, encode, encode_all};
use sspc_sim::spec::{self, File, Vector};
use sspc_wire::{
    EncodeError, FrameError, FrameFault, MuxDecoder, MuxError, ToClientDecoder, ToProxyDecoder,
};

use crate::dialogue::check_dialogue;

#[test]
fn each_vector_of_frames_and_dialogues_is_what_the_code_does() {
    for file in spec::files_of("wire") {
        match &*file.kind {
            "frames to client" => check_frames::<ToClientDecoder>(&file, stream_fault),
            "frames to proxy" => check_frames::<ToProxyDecoder>(&file, stream_fault),
            "mux frames" => check_frames::<MuxDecoder>(&file, mux_fault),
            "dialogues" => file.vectors.iter().for_each(|vector| check_dialogue(&file, vector)),
            other => panic!("nothing runs {other}"),
        }
    }
}

/// The scope of an error, its fault, and the type of its frame if the vector has it.
type Told = (&'static str, &'static str, Option<i64>);

fn stream_fault(error: FrameError) -> Told {
    let fault = match error.fault {
        FrameFault::UnknownType => "unknown type",
        FrameFault::WrongDirection => "wrong direction",
        FrameFault::Length { .. } => "length",
        FrameFault::NameLength { .. } => "name length",
        FrameFault::NameByte => "NUL",
        other => panic!("no vector knows {other:?}"),
    };
    ("stream", fault, Some(error.frame.into()))
}

fn mux_fault(error: MuxError) -> Told {
    let fault = match error {
        MuxError::NoFrame(_) => "no frame",
        MuxError::Length(_) => "length",
        other => panic!("no vector knows {other:?}"),
    };
    ("line", fault, None)
}

fn check_frames<C: Codec>(file: &File, told: fn(C::Error) -> Told) {
    for vector in &file.vectors {
        if vector.0.get("send").is_some() {
            check_refusal::<C>(file, vector);
        } else {
            check_bytes::<C>(file, vector, told);
        }
    }
}

fn check_bytes<C: Codec>(file: &File, vector: &Vector, told: fn(C::Error) -> Told) {
    let named = format!("{}: {}", file.name, vector.name());
    let bytes = spec::bytes(spec::text(&vector.0, "bytes"));
    let frames = spec::frames(&vector.0, "frames");
    let error = vector.0.get("error");
    for cut in [1, 2, 7, bytes.len().max(1)] {
        let decoded = decode::<C>(bytes.chunks(cut));
        let is_whole = error.is_none() && vector.0.get("incomplete").is_none();
        assert_eq!(decoded.frames, frames, "{named}, cut at {cut}");
        assert_eq!(decoded.between, is_whole, "{named}, cut at {cut}");
        let found = decoded.error.map(told);
        let expected = error.map(|error| {
            let frame = error.get("frame").map(|_| spec::number(error, "frame"));
            (spec::text(error, "scope"), spec::text(error, "fault"), frame)
        });
        assert_eq!(found, expected, "{named}, cut at {cut}");
    }
    let is_canonical = vector.0["canonical"].as_bool().unwrap_or(true);
    if error.is_none() && is_canonical && vector.0.get("incomplete").is_none() {
        assert_eq!(encode_all::<C>(&frames), bytes, "{named}: written again");
    }
}

/// A frame that must not be sent.
fn check_refusal<C: Codec>(file: &File, vector: &Vector) {
    let named = format!("{}: {}", file.name, vector.name());
    let why = match encode::<C>(&spec::frame(&vector.0["send"])) {
        Err(EncodeError::Name) => "name",
        Err(EncodeError::EmptyValue) => "empty value",
        Err(EncodeError::TooLong) => "too long",
        other => panic!("{named}: {other:?}"),
    };
    assert_eq!(why, spec::text(&vector.0, "refused"), "{named}");
}
