#![no_main]

libfuzzer_sys::fuzz_target!(|deeds: sspc_fuzz::Deeds| sspc_fuzz::session(deeds));
