#![no_main]

libfuzzer_sys::fuzz_target!(|lines: sspc_fuzz::Lines| sspc_fuzz::line_packets(lines));
