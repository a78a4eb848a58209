//! Random shapes, slices, parameters and extreme values: every kernel of Cortex-M4 and M7 against the reference kernels, all
//! bytes of the memory that holds the feature maps. Prints the case that differs.
#![no_std]
#![no_main]

use core::fmt::Write;
use core::sync::atomic::Ordering;

use secateur_counts::case::{Case, Flavour, Kind};
use secateur_counts::machine::{Host, argument};
use secateur_counts::memory::{POOL, Random};
use secateur_kernels::FALLBACKS;
use secateur_runtime::kernels::Window;

#[unsafe(no_mangle)]
fn program() -> bool {
    // SAFETY: the only call.
    let pool = unsafe { POOL.take() };
    let mut line = [0; 1024];
    let given = argument(&mut line).and_then(|text| core::str::from_utf8(&text[..text.len() - 1]).ok());
    let Some(cases) = given.and_then(|text| text.parse().ok()) else { return false };
    let mut unpacked = 0;
    let mut inner = 0;
    for seed in 0..cases {
        let case = case(&mut Random(seed));
        let Some(outcome) = case.run(pool, seed) else {
            unpacked += 1;
            continue;
        };
        inner += outcome.inner;
        if !outcome.is_same() {
            let _ = writeln!(Host, "differs: {case:?} {outcome:08x?}");
            return false;
        }
    }
    let fallbacks = u64::from(FALLBACKS.load(Ordering::Relaxed));
    let _ = writeln!(
        Host,
        "{cases} cases, {unpacked} of them not packed, {fallbacks} on portable kernels, {inner} codes within bounds"
    );
    // Most cases have to reach the kernels, and a good part of the codes to mean something.
    unpacked < cases / 4 && fallbacks < cases / 10 && inner as u64 > cases
}

fn case(random: &mut Random) -> Case {
    let mut size = |low: i32, high: i32| random.range(low, high) as usize;
    let kind =
        [Kind::Conv, Kind::Conv, Kind::Depthwise, Kind::Depthwise, Kind::Shortcut, Kind::MaxPool][size(0, 5)];
    let flavour = [Flavour::Linear, Flavour::Leaky, Flavour::Any, Flavour::Any][size(0, 3)];
    let pointwise = kind == Kind::Shortcut || kind == Kind::Conv && size(0, 1) == 0;
    let widest = if size(0, 9) == 0 { 130 } else { 20 };
    let (h, w) = (size(1, 9), size(1, widest));
    let channels = if pointwise && size(0, 3) == 0 { size(1, 200) } else { size(1, 24) };
    let kernel = match kind {
        _ if pointwise => 1,
        Kind::Depthwise => [3, 3, 5, size(1, 7)][size(0, 3)],
        _ => size(1, 6),
    };
    let stride = if pointwise { 1 } else { [1, 1, 2, 2, size(1, 3)][size(0, 4)] };
    let pad = if pointwise { 0 } else { [kernel / 2, kernel / 2, size(0, kernel as i32 - 1)][size(0, 2)] };
    let mut window = Window::square(kernel, stride, pad);
    if !pointwise && size(0, 15) == 0 {
        window.stride_w = size(1, 3);
        window.kernel_w = size(1, 4).max(pad + 1);
        window.pad_left = size(0, window.kernel_w as i32 - 1);
    }
    if kind == Kind::Conv && !pointwise && size(0, 7) == 0 {
        (window.dilation_h, window.dilation_w) = (size(1, 3), size(1, 3));
    }
    // Any extents of which each window begins inside the image.
    let most = |extent: usize, pad: usize, stride: usize| (extent + pad - 1) / stride + 1;
    let rows = most(h, window.pad_top, window.stride_h);
    let columns = most(w, window.pad_left, window.stride_w);
    let (out_h, out_w) = match (pointwise, size(0, 3)) {
        (true, _) => (h, w),
        (_, 0) => (size(1, rows as i32), size(1, columns as i32)),
        _ => (rows, columns),
    };
    let out_c = if kind == Kind::Conv { size(1, 40) } else { channels };
    let mut gap = || if size(0, 1) == 0 { 0 } else { size(1, 9) };
    Case {
        kind,
        input: [h, w, channels],
        output: [out_h, out_w, out_c],
        window,
        flavour,
        gaps: [gap(), gap()],
        shift: size(0, 15),
        // Often enough for the kernels, sometimes not.
        scratch: [8192, 8192, 16384, size(0, 9000)][size(0, 3)],
    }
}
