#![no_main]

libfuzzer_sys::fuzz_target!(|body: sspc_fuzz::Body| sspc_fuzz::multipart(body));
