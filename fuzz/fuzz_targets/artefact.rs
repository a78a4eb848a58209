//! Bytes of an artefact: refused, or run to the end; never a panic.
//!
//! The CRC is repaired first, so that the fuzzer reaches the checks behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur_runtime::Engine;
use secateur_runtime::artefact::{Model, crc32, format};
use secateur_runtime::detect::{self, Detection};

/// A larger arena is accepted by the check but not worth running.
const ARENA_LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let _ = Model::from_bytes(data);
    let mut bytes = data.to_vec();
    let Some(body) = bytes.len().checked_sub(format::CRC_BYTES) else { return };
    let crc = crc32(&bytes[..body]);
    bytes[body..].copy_from_slice(&crc.to_le_bytes());
    let Ok(model) = Model::from_bytes(&bytes) else { return };
    if model.arena_bytes() > ARENA_LIMIT {
        return;
    }
    let mut arena = vec![0; model.arena_bytes()];
    let Ok(mut engine) = Engine::new(&model, &mut arena) else { return };
    engine.run(&[], &mut ());
    let mut found = [Detection::default(); 32];
    let kept = detect::decode(&engine, 0, &mut found).kept;
    let suppression = model.suppression();
    detect::suppress(&mut found[..kept], &suppression, suppression.threshold, [320, 320]);
    detect::classify(&engine, &mut [0; 16]);
});
