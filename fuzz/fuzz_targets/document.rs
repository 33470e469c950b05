#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| phasegate_targets::document::target(input));
