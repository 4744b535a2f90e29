#![no_main]

libfuzzer_sys::fuzz_target!(|visits: sspc_fuzz::Visits| sspc_fuzz::cookies(visits));
