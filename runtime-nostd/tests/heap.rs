//! The runtime never touches the heap: check, run, decode and suppress under a counting allocator.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use secateur_runtime::Engine;
use secateur_runtime::artefact::Model;
use secateur_runtime::detect::{self, Detection};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn no_heap() {
    let bytes = common::build::sample().bytes();
    let mut damaged = bytes.clone();
    damaged[300] ^= 1;
    let mut arena = vec![0; 4096];
    let image = vec![3; 192];
    let mut found = [Detection::default(); 8];
    let count = || ALLOCATIONS.with(Cell::get);

    let before = count();
    assert!(Model::from_bytes(&damaged).is_err());
    let model = Model::from_bytes(&bytes).unwrap();
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    engine.run(&image, &mut ());
    let decoded = detect::decode(&engine, 1 << 20, &mut found);
    let suppression = model.suppression();
    let kept = detect::suppress(&mut found[..decoded.kept], &suppression, suppression.threshold, [8, 8]);
    assert!(kept > 0);
    assert_eq!(count(), before, "the runtime allocated");

    drop(std::hint::black_box(vec![0u8; 1]));
    assert_eq!(count(), before + 1, "the allocator does not count");
}
