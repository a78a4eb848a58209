//! From `[h][w][c]` signed values, the runtime's form, to planes, and back.

use std::arch::x86_64::*;

use secateur_runtime::Tensor;

use super::layout::{Bytes, PIXEL, View};

/// Signs of four values: `q + 128` is `q` with its first bit inverted.
const SIGNS: u32 = 0x8080_8080;

/// Writes a tensor's values into planes; channels past the last become 128.
///
/// # Safety
/// The view is inside the memory, nobody else uses it, and the tensor has its shape.
pub(super) unsafe fn load(memory: Bytes, view: &View, tensor: Tensor<'_>) {
    let (w, stride) = (view.layout.w, view.stride());
    for y in 0..view.layout.h {
        for x in 0..w {
            let values = tensor.pixel(y * w + x);
            let at = view.base + y * view.row() + x * PIXEL;
            for (plane, values) in values.chunks(PIXEL).enumerate().take(view.layout.planes) {
                let mut pixel = [0; PIXEL];
                pixel.iter_mut().zip(values).for_each(|(to, from)| *to = from.get() as u8);
                let pixel = u32::from_le_bytes(pixel) ^ SIGNS;
                // SAFETY: a pixel of the view.
                unsafe { memory.at(at + plane * stride).cast::<u32>().write_unaligned(pixel) }
            }
        }
    }
}

/// Writes what planes hold into a tensor.
///
/// # Safety
/// The view is inside the memory, nobody else writes it, and the tensor has its shape.
pub(super) unsafe fn store(memory: Bytes, view: &View, tensor: Tensor<'_>) {
    let (w, stride) = (view.layout.w, view.stride());
    for y in 0..view.layout.h {
        for x in 0..w {
            let at = view.base + y * view.row() + x * PIXEL;
            let values = tensor.pixel(y * w + x).chunks(PIXEL);
            for (plane, values) in values.enumerate().take(view.layout.planes) {
                // SAFETY: a pixel of the view.
                let pixel = unsafe { memory.at(at + plane * stride).cast::<u32>().read_unaligned() };
                let pixel = (pixel ^ SIGNS).to_le_bytes();
                values.iter().zip(pixel).for_each(|(to, value)| to.set(value as i8));
            }
        }
    }
}

/// Writes a gapless image into its planes.
///
/// # Safety
/// The processor has SSSE3; the view is inside the memory, nobody else uses it, and `image` has its size.
#[target_feature(enable = "ssse3")]
pub(super) unsafe fn load_image(memory: Bytes, view: &View, image: &[i8]) {
    let (w, c) = (view.layout.w, view.c);
    let spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    let signs = _mm_set1_epi32(SIGNS as i32);
    for (y, row) in image.chunks_exact(w * c).enumerate() {
        let at = view.base + y * view.row();
        let mut x = 0;
        // Four pixels of three channels of sixteen bytes read.
        while c == 3 && (x + 4) * 3 + 4 <= row.len() {
            // SAFETY: sixteen bytes of the row are left; four pixels of the view are written.
            unsafe {
                let bytes = _mm_loadu_si128(row.as_ptr().add(x * 3).cast());
                let pixels = _mm_xor_si128(_mm_shuffle_epi8(bytes, spread), signs);
                _mm_storeu_si128(memory.at(at + x * PIXEL).cast(), pixels);
            }
            x += 4;
        }
        for (x, values) in row.chunks_exact(c).enumerate().skip(x) {
            for (plane, values) in values.chunks(PIXEL).enumerate() {
                let mut pixel = [0; PIXEL];
                pixel.iter_mut().zip(values).for_each(|(to, &from)| *to = from as u8);
                let pixel = u32::from_le_bytes(pixel) ^ SIGNS;
                let to = at + x * PIXEL + plane * view.stride();
                // SAFETY: a pixel of the view.
                unsafe { memory.at(to).cast::<u32>().write_unaligned(pixel) }
            }
        }
    }
}
