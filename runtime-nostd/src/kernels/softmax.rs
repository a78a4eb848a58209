//! Softmax by table.

use zerocopy::little_endian::U32;

use crate::tensor::Tensor;

/// Softmax of each pixel's channels, separately in `groups` equal runs of them.
///
/// `exponentials[d]` Q0.16 of the distance `d = max − q` in codes (entry 0 is 65536); the output is
/// `round(256 · e / Σe) − 128`, clamped: scale 1/256, zero point −128.
#[inline(always)]
pub fn softmax(input: Tensor<'_>, output: Tensor<'_>, groups: usize, exponentials: &[U32; 256]) {
    let run = (input.c() / groups.max(1)).max(1);
    for index in 0..output.pixels() {
        let runs = output.pixel(index).chunks(run).zip(input.pixel(index).chunks(run));
        for (to, from) in runs {
            let max = from.iter().map(|q| q.get()).max().unwrap_or(0);
            let exponential = |q: i8| u64::from(entry(exponentials, max, q));
            let sum: u64 = from.iter().map(|q| exponential(q.get())).sum();
            for (to, from) in to.iter().zip(from) {
                let share = ((exponential(from.get()) << 8) + sum / 2).checked_div(sum).unwrap_or(0);
                to.set((share.min(255) as i64 - 128) as i8);
            }
        }
    }
}

/// The table's entry for the distance of `q` below `max`.
#[inline(always)]
pub(crate) fn entry(exponentials: &[U32; 256], max: i8, q: i8) -> u32 {
    let distance = (i16::from(max) - i16::from(q)) as u8;
    // A u8 index into 256 entries: the bound check vanishes.
    #[allow(clippy::indexing_slicing)]
    exponentials[usize::from(distance)].get()
}
