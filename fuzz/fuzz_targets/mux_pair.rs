#![no_main]

libfuzzer_sys::fuzz_target!(|lives: sspc_fuzz::Lives| sspc_fuzz::mux_pair(lives));
