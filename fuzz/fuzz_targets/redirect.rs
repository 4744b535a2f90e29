#![no_main]

libfuzzer_sys::fuzz_target!(|redirects: sspc_fuzz::Redirects| sspc_fuzz::redirect(redirects));
