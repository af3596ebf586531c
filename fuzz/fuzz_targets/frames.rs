//! See `phalanx_runtime::fuzzing::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| phalanx_runtime::fuzzing::frames(input));
