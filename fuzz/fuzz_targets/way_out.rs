#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sspc_fuzz::way_out(input));
