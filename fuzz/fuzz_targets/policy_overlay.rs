#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| sspc_fuzz::policy_overlay(text));
