#![no_main]

libfuzzer_sys::fuzz_target!(|choice: sspc_fuzz::Choice| sspc_fuzz::endpoint(choice));
