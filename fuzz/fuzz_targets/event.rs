#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eventstream_fuzz::event::check(data));
