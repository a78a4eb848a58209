#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secateur_fuzz::run("onnx", bytes));
