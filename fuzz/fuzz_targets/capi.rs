#![no_main]

libfuzzer_sys::fuzz_target!(|calls: sspc_fuzz::Calls| sspc_fuzz::capi(calls));
