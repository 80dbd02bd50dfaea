#![no_main]
//! See `avouch_fuzz::snapshot`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| avouch_fuzz::snapshot(data));
