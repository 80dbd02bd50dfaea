#![no_main]
//! See `avouch_fuzz::message_headers`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| avouch_fuzz::message_headers(data));
