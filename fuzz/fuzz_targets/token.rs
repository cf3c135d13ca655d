//! The target `token` of `roomcast_fuzz_targets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roomcast_fuzz_targets::token(data));
