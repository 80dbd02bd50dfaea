#![no_main]
//! See `avouch_fuzz::control_request`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| avouch_fuzz::control_request(data));
