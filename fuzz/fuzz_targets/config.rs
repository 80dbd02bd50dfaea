#![no_main]
//! See `avouch_fuzz::config`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| avouch_fuzz::config(data));
