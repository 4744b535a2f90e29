#![no_main]

libfuzzer_sys::fuzz_target!(|life: sspc_fuzz::Life| sspc_fuzz::client_engine(life));
