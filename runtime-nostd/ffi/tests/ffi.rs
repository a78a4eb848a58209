//! The functions for C, called as C calls them: a run gives the engine's bytes, and every mistake a status.

// The runtime's tests use more of it.
#[allow(dead_code)]
#[path = "../../tests/common/build.rs"]
mod build;

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use build::{reseal, sample};
use secateur_ffi::ffi::*;
use secateur_runtime::Engine;
use secateur_runtime::artefact::Model;
use secateur_runtime::artefact::format::Header;
use secateur_runtime::detect::{self, Detection};

const ALL: [SecateurStatus; 9] = [
    SecateurStatus::Ok,
    SecateurStatus::Null,
    SecateurStatus::Alignment,
    SecateurStatus::Artefact,
    SecateurStatus::Version,
    SecateurStatus::Arena,
    SecateurStatus::Image,
    SecateurStatus::Operators,
    SecateurStatus::Head,
];

fn empty() -> SecateurModel {
    // SAFETY: words of any value.
    unsafe { std::mem::zeroed() }
}

fn opened(artefact: &[u8]) -> SecateurModel {
    let mut model = empty();
    // SAFETY: both pointers are to what the function wants; callers keep the artefact.
    let status = unsafe { secateur_open(&raw mut model, artefact.as_ptr(), artefact.len()) };
    assert_eq!(status, SecateurStatus::Ok);
    model
}

#[test]
fn a_run_gives_what_the_engine_gives() {
    let bytes = sample().bytes();
    let model = opened(&bytes);
    let mut shape = [0; 3];
    // SAFETY: an opened model, room for three numbers.
    let (status, needed) = unsafe {
        (secateur_input_shape(&raw const model, shape.as_mut_ptr()), secateur_arena_bytes(&raw const model))
    };
    assert_eq!(status, SecateurStatus::Ok);
    let checked = Model::from_bytes(&bytes).unwrap();
    assert_eq!((shape, needed), (checked.input_shape(), checked.arena_bytes()));
    let pixels: Vec<u8> = (0..shape.iter().product::<usize>()).map(|n| (n * 37) as u8).collect();
    let mut arena = vec![0xAA; needed];
    let mut found = usize::MAX;
    let mut boxes: Vec<SecateurDetection> = Vec::with_capacity(64);
    // SAFETY: every pointer is to as many bytes as is said, `boxes` has room for 64.
    let (ran, detected) = unsafe {
        let room = arena.as_mut_ptr();
        let ran = secateur_run(&raw const model, room, needed, pixels.as_ptr(), pixels.len());
        let out = boxes.as_mut_ptr();
        let detected = secateur_detect(&raw const model, room, needed, 0, 1 << 29, out, 64, &raw mut found);
        boxes.set_len(64);
        (ran, detected)
    };
    assert_eq!((ran, detected), (SecateurStatus::Ok, SecateurStatus::Ok));

    let mut own = vec![0; needed];
    let mut engine = Engine::new(&checked, &mut own).unwrap();
    let image: Vec<i8> = pixels.iter().map(|&pixel| (i16::from(pixel) - 128) as i8).collect();
    engine.run(&image, &mut ());
    let mut expected = [Detection::default(); 64];
    let kept = detect::decode(&engine, 0, &mut expected).kept;
    let [h, w, _] = checked.input_shape();
    let frame = [w as u32, h as u32];
    let count = detect::suppress(&mut expected[..kept], &checked.suppression(), 1 << 29, frame);
    assert!(count > 0, "the sample finds something");
    let all = |d: &SecateurDetection| (d.x, d.y, d.w, d.h, d.score, d.index, d.class_number, d.objectness);
    let theirs = |d: &Detection| (d.x, d.y, d.w, d.h, d.score, d.index, d.class, d.objectness);
    assert_eq!(found, count);
    assert!(boxes[..found].iter().map(all).eq(expected[..count].iter().map(theirs)));
}

#[test]
fn every_mistake_has_a_status_and_changes_nothing() {
    let bytes = sample().bytes();
    let model = opened(&bytes);
    let at = &raw const model;
    let needed = Model::from_bytes(&bytes).unwrap().arena_bytes();
    let pixels = vec![0; Model::from_bytes(&bytes).unwrap().input_shape().iter().product()];
    let mut arena = vec![7; needed];
    let (room, image, length) = (arena.as_mut_ptr(), pixels.as_ptr(), pixels.len());
    let mut other = empty();
    let mut found = 0;
    let mut boxes: Vec<SecateurDetection> = Vec::with_capacity(4);
    let out = boxes.as_mut_ptr();
    let odd = out.cast::<u8>().wrapping_add(1).cast::<SecateurDetection>();
    let mut probabilities = [0u16; 4];
    let mut shape = [0; 3];
    // SAFETY: each call has one mistake that it must refuse before it uses the rest.
    unsafe {
        use SecateurStatus::{Alignment, Arena, Artefact, Head, Image, Null};
        assert_eq!(secateur_open(null_mut(), bytes.as_ptr(), bytes.len()), Null);
        assert_eq!(secateur_open(&raw mut other, null(), bytes.len()), Null);
        let odd_model = (&raw mut other).cast::<u8>().wrapping_add(1).cast();
        assert_eq!(secateur_open(odd_model, bytes.as_ptr(), bytes.len()), Alignment);
        assert_eq!(secateur_open(&raw mut other, bytes.as_ptr(), usize::MAX), Artefact);
        assert_eq!(secateur_open(&raw mut other, bytes.as_ptr(), bytes.len() - 1), Artefact);
        assert_eq!(secateur_open_linked(&raw mut other, bytes.as_ptr(), 0), Artefact);
        assert_eq!(secateur_arena_bytes(null()), 0);
        assert_eq!(secateur_input_shape(null(), shape.as_mut_ptr()), Null);
        assert_eq!(secateur_input_shape(at, null_mut()), Null);
        assert_eq!(secateur_run(null(), room, needed, image, length), Null);
        assert_eq!(secateur_run(at, null_mut(), needed, image, length), Null);
        assert_eq!(secateur_run(at, room, needed, null(), length), Null);
        assert_eq!(secateur_run(at, room, needed - 1, image, length), Arena);
        assert_eq!(secateur_run(at, room, needed, image, length - 1), Image);
        assert_eq!(secateur_run(at, room, needed, image, length + 1), Image);
        assert_eq!(secateur_detect(at, room, needed, 0, 0, null_mut(), 4, &raw mut found), Null);
        assert_eq!(secateur_detect(at, room, needed, 0, 0, out, 4, null_mut()), Null);
        assert_eq!(secateur_detect(at, room, needed, 0, 0, odd, 3, &raw mut found), Alignment);
        assert_eq!(secateur_detect(at, room, needed - 1, 0, 0, out, 4, &raw mut found), Arena);
        let to = probabilities.as_mut_ptr();
        assert_eq!(secateur_classify(at, room, needed, to, 4, null_mut()), Null);
        assert_eq!(secateur_classify(at, room, needed, null_mut(), 4, &raw mut found), Null);
        assert_eq!(secateur_classify(at, room, needed, to, 4, &raw mut found), Head);
    }
    assert!(arena.iter().all(|&byte| byte == 7), "nothing was run");
}

#[test]
fn another_version_is_told_from_damage() {
    let mut bytes = sample().bytes();
    let mut model = empty();
    let version = std::mem::offset_of!(Header, version_major);
    bytes[version] ^= 0x40;
    reseal(&mut bytes);
    // SAFETY: pointers to what the function wants.
    let newer = unsafe { secateur_open(&raw mut model, bytes.as_ptr(), bytes.len()) };
    bytes[version] ^= 0x40;
    // SAFETY: as above.
    let damaged = unsafe { secateur_open_linked(&raw mut model, bytes.as_ptr(), bytes.len()) };
    assert_eq!((newer, damaged), (SecateurStatus::Version, SecateurStatus::Artefact));
}

#[test]
fn every_status_has_words_of_its_own() {
    let text = |status: i32| {
        // SAFETY: the function returns a string that a zero byte ends.
        unsafe { CStr::from_ptr(secateur_message(status)) }.to_str().unwrap()
    };
    let mut words: Vec<&str> = ALL.iter().map(|&status| text(status as i32)).collect();
    words.extend([text(-1)]);
    assert_eq!(text(-1), text(i32::MAX));
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), ALL.len() + 1);
}
