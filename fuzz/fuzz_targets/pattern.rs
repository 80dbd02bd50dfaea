#![no_main]
//! See `avouch_fuzz::pattern`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| avouch_fuzz::pattern(data));
