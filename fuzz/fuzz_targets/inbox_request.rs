#![no_main]
//! See `avouch_fuzz::inbox_request`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| avouch_fuzz::inbox_request(data));
