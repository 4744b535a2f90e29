#![no_main]

libfuzzer_sys::fuzz_target!(|frames: sspc_fuzz::H2Frames| sspc_fuzz::h2_response(frames));
