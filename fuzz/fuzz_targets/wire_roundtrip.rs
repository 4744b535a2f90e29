#![no_main]

libfuzzer_sys::fuzz_target!(|frames: sspc_fuzz::Frames| sspc_fuzz::wire_roundtrip(frames));
