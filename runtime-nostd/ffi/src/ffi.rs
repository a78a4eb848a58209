//! Functions for C: pointers are checked for null and alignment, lengths are the caller's promise.

use core::ffi::c_char;
use core::mem::{MaybeUninit, align_of, offset_of, size_of};
use core::slice;

use secateur_runtime::artefact::format::HeadKind;
use secateur_runtime::artefact::{Error, Model};
use secateur_runtime::detect::{self, Detection, Found};
use secateur_runtime::{Engine, EngineError, Kernels};

use crate::KERNELS;

/// What a function did. Every other value than `SECATEUR_STATUS_OK` is an error; `secateur_message` has words for it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecateurStatus {
    Ok = 0,
    /// A pointer is null.
    Null = 1,
    /// A pointer to a model or to detections is not aligned.
    Alignment = 2,
    /// The bytes are no artefact, are damaged, or are not valid.
    Artefact = 3,
    /// The artefact has a format that this library does not know.
    Version = 4,
    /// The arena is smaller than `secateur_arena_bytes` says.
    Arena = 5,
    /// The image has another number of bytes than the network's input.
    Image = 6,
    /// The library was built for another network, without kernels that this one needs.
    Operators = 7,
    /// The network is no classifier, or no detector.
    Head = 8,
}

/// A checked artefact. Its content is this library's alone; it is valid as long as the artefact's bytes are.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SecateurModel {
    opaque: [MaybeUninit<usize>; SECATEUR_MODEL_WORDS],
}

/// Words of a `secateur_model`.
pub const SECATEUR_MODEL_WORDS: usize = 48;
const _: () = assert!(size_of::<SecateurModel>() >= size_of::<Model<'static>>());
const _: () = assert!(align_of::<SecateurModel>() >= align_of::<Model<'static>>());

/// One box of one class.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SecateurDetection {
    /// Centre and size in pixels of the network's input, in units of 1 / 65536.
    pub x: i32,
    pub y: i32,
    pub w: i32,
    pub h: i32,
    /// Objectness times probability of the class, in units of 2^-30.
    pub score: u32,
    /// Number of the box: heads in order, rows, columns, anchors.
    pub index: u32,
    /// Number of the class.
    pub class_number: u16,
    /// In units of 2^-15.
    pub objectness: u16,
}

/// The runtime's type has the same layout.
const _: () = {
    assert!(size_of::<SecateurDetection>() == size_of::<Detection>());
    assert!(align_of::<SecateurDetection>() == align_of::<Detection>());
    assert!(offset_of!(SecateurDetection, x) == offset_of!(Detection, x));
    assert!(offset_of!(SecateurDetection, y) == offset_of!(Detection, y));
    assert!(offset_of!(SecateurDetection, w) == offset_of!(Detection, w));
    assert!(offset_of!(SecateurDetection, h) == offset_of!(Detection, h));
    assert!(offset_of!(SecateurDetection, score) == offset_of!(Detection, score));
    assert!(offset_of!(SecateurDetection, index) == offset_of!(Detection, index));
    assert!(offset_of!(SecateurDetection, class_number) == offset_of!(Detection, class));
    assert!(offset_of!(SecateurDetection, objectness) == offset_of!(Detection, objectness));
};

/// Words for a `secateur_status`, ended by a zero byte.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_message(status: i32) -> *const c_char {
    let text = match status {
        _ if status == SecateurStatus::Ok as i32 => c"no error",
        _ if status == SecateurStatus::Null as i32 => c"a pointer is null",
        _ if status == SecateurStatus::Alignment as i32 => c"a pointer is not aligned",
        _ if status == SecateurStatus::Artefact as i32 => c"the artefact is damaged or not valid",
        _ if status == SecateurStatus::Version as i32 => c"the artefact has another version of the format",
        _ if status == SecateurStatus::Arena as i32 => c"the arena is too small",
        _ if status == SecateurStatus::Image as i32 => c"the image has another size than the network's input",
        _ if status == SecateurStatus::Operators as i32 => {
            c"the library was built without kernels that the network needs"
        }
        _ if status == SecateurStatus::Head as i32 => c"the network has no output of this kind",
        _ => c"no status of this library",
    };
    text.as_ptr()
}

/// Reads an artefact of any origin and checks all of it. `artefact` are `bytes` bytes that stay as long as `model` is
/// used.
///
/// # Safety
/// `artefact` and `model` are null or point to what the function says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_open(
    model: *mut SecateurModel,
    artefact: *const u8,
    bytes: usize,
) -> SecateurStatus {
    // SAFETY: the caller's promise.
    unsafe { open(model, artefact, bytes, Model::from_bytes) }
}

/// `secateur_open` for an artefact that `secateur` wrote and nobody changed, such as one in the same program: only its
/// version, length, CRC and sections are checked, and the code of the other checks is not linked.
///
/// # Safety
/// As of `secateur_open`; the artefact is what the compiler wrote.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_open_linked(
    model: *mut SecateurModel,
    artefact: *const u8,
    bytes: usize,
) -> SecateurStatus {
    // SAFETY: the caller's promise.
    unsafe { open(model, artefact, bytes, Model::from_checked_bytes) }
}

/// Reads an artefact with `read`.
///
/// # Safety
/// As of `secateur_open`.
unsafe fn open(
    model: *mut SecateurModel,
    artefact: *const u8,
    bytes: usize,
    read: fn(&'static [u8]) -> Result<Model<'static>, Error>,
) -> SecateurStatus {
    if model.is_null() || artefact.is_null() {
        return SecateurStatus::Null;
    }
    if !model.is_aligned() {
        return SecateurStatus::Alignment;
    }
    if bytes > isize::MAX as usize {
        return SecateurStatus::Artefact;
    }
    // SAFETY: the caller's promise; no object is longer than `isize::MAX`.
    let artefact = unsafe { slice::from_raw_parts(artefact, bytes) };
    match read(artefact) {
        Ok(found) => {
            // SAFETY: there is room, and it is aligned: asserted above, and checked.
            unsafe { model.cast::<Model<'_>>().write(found) };
            SecateurStatus::Ok
        }
        Err(Error::Version { .. }) => SecateurStatus::Version,
        Err(_) => SecateurStatus::Artefact,
    }
}

/// Bytes of memory that the network needs beside its artefact; 0 for a null pointer.
///
/// # Safety
/// `model` is null or was filled by `secateur_open` with success.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_arena_bytes(model: *const SecateurModel) -> usize {
    // SAFETY: the caller's promise.
    unsafe { opened(model) }.map_or(0, |model| model.arena_bytes())
}

/// Rows, columns and channels of the image, into three numbers.
///
/// # Safety
/// `model` as in `secateur_arena_bytes`; `shape` is null or has room for three numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_input_shape(
    model: *const SecateurModel,
    shape: *mut usize,
) -> SecateurStatus {
    // SAFETY: the caller's promise.
    let model = match unsafe { opened(model) } {
        Ok(model) => model,
        Err(status) => return status,
    };
    if shape.is_null() {
        return SecateurStatus::Null;
    }
    if !shape.is_aligned() {
        return SecateurStatus::Alignment;
    }
    for (n, extent) in model.input_shape().into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { shape.add(n).write(extent) };
    }
    SecateurStatus::Ok
}

/// Runs the network on an image: `pixels` are `bytes` bytes, rows of pixels of interleaved channels (RGB), 0 to 255.
/// The arena holds the outputs afterwards, for `secateur_detect` and `secateur_classify`; it may have any content.
///
/// # Safety
/// `model` as in `secateur_arena_bytes`; the other pointers are null or point to as many bytes as is said, which
/// nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_run(
    model: *const SecateurModel,
    arena: *mut u8,
    arena_bytes: usize,
    pixels: *const u8,
    bytes: usize,
) -> SecateurStatus {
    // SAFETY: the caller's promise.
    let mut engine = match unsafe { engine(model, arena, arena_bytes) } {
        Ok(engine) => engine,
        Err(status) => return status,
    };
    if pixels.is_null() {
        return SecateurStatus::Null;
    }
    let Some(input) = engine.input() else { return SecateurStatus::Artefact };
    // An input lies in one piece.
    let codes = input.bytes();
    if codes.len() != bytes {
        return SecateurStatus::Image;
    }
    // SAFETY: the caller's promise; the length is that of a part of the arena.
    let pixels = unsafe { slice::from_raw_parts(pixels, bytes) };
    for (code, &pixel) in codes.iter().zip(pixels) {
        code.set((pixel ^ 0x80) as i8);
    }
    engine.execute(&mut ());
    SecateurStatus::Ok
}

/// Boxes of a detector after `secateur_run`, best first: at most `capacity` into `detections`, their number into
/// `found`. Boxes with a score of `score_threshold` or less are left out, and those that overlap a better one of their
/// class by more than `overlap_threshold` (both in units of 2^-30). Where more pass than there is room for before
/// overlaps are removed, the best stay. The image is taken to fill the input.
///
/// # Safety
/// As of `secateur_run`, whose arena this is; `detections` has room for `capacity`, `found` for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_detect(
    model: *const SecateurModel,
    arena: *mut u8,
    arena_bytes: usize,
    score_threshold: u32,
    overlap_threshold: u32,
    detections: *mut SecateurDetection,
    capacity: usize,
    found: *mut usize,
) -> SecateurStatus {
    // SAFETY: the caller's promise.
    let engine = match unsafe { engine(model, arena, arena_bytes) } {
        Ok(engine) => engine,
        Err(status) => return status,
    };
    // SAFETY: the caller's promise; both types have one layout, as asserted above.
    let room = match unsafe { room(detections.cast::<Detection>(), capacity, found) } {
        Ok(room) => room,
        Err(status) => return status,
    };
    if engine.model().heads().all(|head| head.kind == HeadKind::Classes) {
        return SecateurStatus::Head;
    }
    let Found { kept, .. } = detect::decode(&engine, score_threshold, room);
    let kept = room.get_mut(..kept).unwrap_or_default();
    let [h, w, _] = engine.model().input_shape();
    let frame = [w as u32, h as u32];
    let count = detect::suppress(kept, &engine.model().suppression(), overlap_threshold, frame);
    // SAFETY: the caller's promise.
    unsafe { found.write(count) };
    SecateurStatus::Ok
}

/// Probabilities of a classifier's classes after `secateur_run`, in units of 2^-15: at most `capacity`, their number
/// into `found`.
///
/// # Safety
/// As of `secateur_detect`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn secateur_classify(
    model: *const SecateurModel,
    arena: *mut u8,
    arena_bytes: usize,
    probabilities: *mut u16,
    capacity: usize,
    found: *mut usize,
) -> SecateurStatus {
    // SAFETY: the caller's promise.
    let engine = match unsafe { engine(model, arena, arena_bytes) } {
        Ok(engine) => engine,
        Err(status) => return status,
    };
    // SAFETY: the caller's promise.
    let room = match unsafe { room(probabilities, capacity, found) } {
        Ok(room) => room,
        Err(status) => return status,
    };
    let Some(count) = detect::classify(&engine, room) else { return SecateurStatus::Head };
    // SAFETY: the caller's promise.
    unsafe { found.write(count) };
    SecateurStatus::Ok
}

/// The model behind a pointer.
///
/// # Safety
/// As of `secateur_arena_bytes`.
unsafe fn opened(model: *const SecateurModel) -> Result<Model<'static>, SecateurStatus> {
    if model.is_null() {
        return Err(SecateurStatus::Null);
    }
    if !model.is_aligned() {
        return Err(SecateurStatus::Alignment);
    }
    // SAFETY: `secateur_open` wrote it; the artefact outlives the model, as its description asks.
    Ok(unsafe { model.cast::<Model<'static>>().read() })
}

/// Room for `capacity` results, each with a value; `found` is what their number will be written to.
///
/// # Safety
/// The pointers are null or have that room, which nobody else uses.
unsafe fn room<'a, T: Default>(
    results: *mut T,
    capacity: usize,
    found: *mut usize,
) -> Result<&'a mut [T], SecateurStatus> {
    if results.is_null() || found.is_null() {
        return Err(SecateurStatus::Null);
    }
    if !results.is_aligned() || !found.is_aligned() {
        return Err(SecateurStatus::Alignment);
    }
    for n in 0..capacity {
        // SAFETY: the caller's promise.
        unsafe { results.add(n).write(T::default()) };
    }
    // SAFETY: as above; every element has a value.
    Ok(unsafe { slice::from_raw_parts_mut(results, capacity) })
}

/// An engine over the caller's arena.
///
/// # Safety
/// As of `secateur_run`.
unsafe fn engine<'a>(
    model: *const SecateurModel,
    arena: *mut u8,
    bytes: usize,
) -> Result<Engine<'static, 'a, impl Kernels>, SecateurStatus> {
    // SAFETY: the caller's promise.
    let model = unsafe { opened(model) }?;
    if arena.is_null() {
        return Err(SecateurStatus::Null);
    }
    // More than the network needs is left alone.
    let bytes = bytes.min(model.arena_bytes());
    // SAFETY: the caller's promise; an artefact's arena is far shorter than `isize::MAX` where it exists.
    let arena = unsafe { slice::from_raw_parts_mut(arena, bytes) };
    Engine::with_kernels(&model, arena, KERNELS).map_err(|error| match error {
        EngineError::ArenaTooSmall { .. } => SecateurStatus::Arena,
        EngineError::MissingOperators(_) => SecateurStatus::Operators,
    })
}
