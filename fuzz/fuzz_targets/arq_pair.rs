#![no_main]

libfuzzer_sys::fuzz_target!(|pair: sspc_fuzz::Pair| sspc_fuzz::arq_pair(pair));
