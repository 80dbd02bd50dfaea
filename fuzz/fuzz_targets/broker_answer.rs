#![no_main]
//! See `avouch_fuzz::broker_answer`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| avouch_fuzz::broker_answer(data));
