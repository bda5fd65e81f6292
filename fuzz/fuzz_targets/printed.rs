#![no_main]

libfuzzer_sys::fuzz_target!(|case: &[u8]| alertloop_fuzz::targets::output::printed(case));
