//! Dense and grouped convolution as a product of packed weights with shifted planes.

use std::ops::Range;

use pulp::Simd;

use super::phases::Window;
use super::{Convolution, Epilogue, Job, Phases, Target, lean, load, store};
use secateur_ir::{Conv, Shape};

/// Output channels of a panel; the kernel works on one or two panels at a time.
pub(super) const PANEL: usize = 4;

/// Vectors of pixels that the kernel works on at most: 2 · 4 · 3 accumulators fill AVX-512's registers.
const VECTORS: usize = 3;

/// Most floats that one vector can hold.
const MAX_LANES: usize = 16;

/// A convolution with folded batch norm, bias, activation and, for 1×1, an added feature map.
///
/// An output pixel of a k×k convolution reads its inputs at fixed offsets in the phase planes, so
/// that no im2col is needed: row `j` of the right-hand matrix is `x[offsets[j]..]`.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    /// `[group][panel][in/groups · k · k][PANEL]`, missing channels zero.
    weights: Vec<f32>,
    /// `[group][panel · PANEL]`.
    bias: Vec<f32>,
    /// `[in/groups · k · k]`
    offsets: Vec<usize>,
    groups: usize,
    in_group: usize,
    out_group: usize,
    /// Floats of one input channel (one phase-split channel unless pointwise).
    in_channel: usize,
    output: Shape,
    /// Distance of two output rows on the computed grid; equals `output.w` for pointwise ones.
    width: usize,
    epilogue: Epilogue,
}

/// One tile of pixels on the computed grid.
#[derive(Clone, Copy)]
struct Tile {
    at: usize,
    group: usize,
    /// Output channel that the target begins with.
    origin: usize,
}

impl Dense {
    /// Phase planes that a convolution other than pointwise reads.
    pub(crate) fn phases(conv: &Conv, input: Shape, output: Shape) -> Phases {
        Phases::new(Self::window(conv), input, output, 0.0)
    }

    /// Returns whether the memory of [`Dense::phases`] is in proportion to the feature maps; a depthwise
    /// kernel makes the planes of one channel at a time.
    pub(crate) fn affordable(conv: &Conv, input: Shape, output: Shape) -> bool {
        let channels = if conv.depth_multiplier(input.c).is_some() { 1 } else { input.c };
        Phases::affordable(Self::window(conv), input, output, channels)
    }

    fn window(conv: &Conv) -> Window {
        let Conv { kernel, dilation, stride, padding, .. } = *conv;
        Window { kernel, dilation, stride, before: [padding.top, padding.left] }
    }

    pub(crate) fn new(layer: Convolution<'_>) -> Self {
        let Convolution { conv, weights, bias, input, output, epilogue } = layer;
        let (in_group, out_group) = (input.c / conv.groups, conv.filters / conv.groups);
        let (in_channel, width, taps) = if conv.is_pointwise() {
            (input.plane(), output.w, vec![0])
        } else {
            let phases = Self::phases(conv, input, output);
            (phases.channel(), phases.width, phases.taps)
        };
        let offsets = (0..in_group).flat_map(|i| taps.iter().map(move |tap| i * in_channel + tap)).collect();
        let mut dense = Self {
            weights: Vec::new(),
            bias: Vec::new(),
            offsets,
            groups: conv.groups,
            in_group,
            out_group,
            in_channel,
            output,
            width,
            epilogue,
        };
        dense.set_weights(weights, bias);
        dense
    }

    /// Packs other folded numbers of the same shapes.
    pub(crate) fn set_weights(&mut self, weights: &[f32], bias: &[f32]) {
        let depth = self.offsets.len();
        let panels = self.panels();
        self.weights = vec![0.0; self.groups * panels * depth * PANEL];
        self.bias = vec![0.0; self.groups * panels * PANEL];
        for o in 0..self.groups * self.out_group {
            let (group, local) = (o / self.out_group, o % self.out_group);
            let panel = group * panels + local / PANEL;
            self.bias[panel * PANEL + local % PANEL] = bias[o];
            for (j, &w) in weights[o * depth..][..depth].iter().enumerate() {
                self.weights[(panel * depth + j) * PANEL + local % PANEL] = w;
            }
        }
    }

    pub(super) fn panels(&self) -> usize {
        self.out_group.div_ceil(PANEL)
    }

    /// Computed pixels of a channel, those between two rows' ends included.
    fn pixels(&self) -> usize {
        (self.output.h - 1) * self.width + self.output.w
    }

    /// Pixels of one unit when pixels are what is shared out.
    fn strip_pixels(&self) -> usize {
        VECTORS * MAX_LANES
    }

    fn by_pixels(&self) -> bool {
        self.groups == 1 && self.pixels() >= 8 * self.strip_pixels()
    }

    /// Units of work: groups, strips of pixels or panels of output channels.
    pub(crate) fn units(&self) -> usize {
        if self.groups > 1 {
            self.groups
        } else if self.by_pixels() {
            self.pixels() / self.strip_pixels()
        } else {
            self.panels()
        }
    }

    /// `inputs[0]`: the input feature map or its phase planes; `inputs[1]`, if there: a feature map to add.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(&self, simd: S, job: &mut Job<'_>) {
        let (x, added) = (job.inputs[0], job.inputs.get(1).copied());
        let pixels = self.pixels();
        let (groups, strip, panels) = if self.groups > 1 {
            (job.units.clone(), 0..pixels, 0..self.panels())
        } else if self.by_pixels() {
            let end =
                if job.units.end == self.units() { pixels } else { job.units.end * self.strip_pixels() };
            (0..1, job.units.start * self.strip_pixels()..end, 0..self.panels())
        } else {
            (0..1, 0..pixels, job.units.clone())
        };
        for group in groups {
            let x = &x[group * self.in_group * self.in_channel..];
            if pixels < S::F32_LANES {
                self.run_small(simd, x, added, group, panels.clone(), job);
            } else {
                self.strip(simd, x, added, (group, 0), strip.clone(), panels.clone(), job.target);
            }
        }
    }

    /// Output channels of some panels of a pointwise convolution, of at least a vector of pixels;
    /// `target` begins with the first of them.
    #[inline(always)]
    pub(super) fn run_panels<S: Simd>(&self, simd: S, x: &[f32], panels: Range<usize>, target: Target) {
        self.strip(simd, x, None, (0, panels.start * PANEL), 0..self.pixels(), panels, target);
    }

    /// Tiles of a strip of pixels; `(group, origin)` as in [`Tile`].
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "an inner loop, called twice")]
    fn strip<S: Simd>(
        &self,
        simd: S,
        x: &[f32],
        added: Option<&[f32]>,
        (group, origin): (usize, usize),
        strip: Range<usize>,
        panels: Range<usize>,
        target: Target,
    ) {
        let lanes = S::F32_LANES;
        let mut at = strip.start;
        while at < strip.end {
            let left = strip.end - at;
            let tile = Tile { at, group, origin };
            if left >= 3 * lanes {
                self.tile::<S, 3>(simd, x, added, tile, panels.clone(), target);
                at += 3 * lanes;
            } else if left >= 2 * lanes {
                self.tile::<S, 2>(simd, x, added, tile, panels.clone(), target);
                at += 2 * lanes;
            } else {
                // The last vector may overlap pixels that are done: it computes the same there.
                let tile = Tile { at: at.min(strip.end - lanes), ..tile };
                self.tile::<S, 1>(simd, x, added, tile, panels.clone(), target);
                at += lanes;
            }
        }
    }

    /// All panels of one tile: its input columns stay in the first-level cache meanwhile.
    #[inline(always)]
    fn tile<S: Simd, const V: usize>(
        &self,
        simd: S,
        x: &[f32],
        added: Option<&[f32]>,
        tile: Tile,
        panels: Range<usize>,
        target: Target,
    ) {
        let mut sums = [0.0; 2 * PANEL * VECTORS * MAX_LANES];
        let mut panel = panels.start;
        while panel + 2 <= panels.end {
            self.multiply::<S, 2, V>(simd, &x[tile.at..], &self.offsets, tile.group, panel, &mut sums);
            self.put::<S, V>(simd, &mut sums, 2, added, tile, panel, target);
            panel += 2;
        }
        if panel < panels.end {
            self.multiply::<S, 1, V>(simd, &x[tile.at..], &self.offsets, tile.group, panel, &mut sums);
            self.put::<S, V>(simd, &mut sums, 1, added, tile, panel, target);
        }
    }

    /// Sums of `P` panels by `V` vectors, bias included and sloped, `[P · PANEL][V]` vectors.
    #[inline(always)]
    fn multiply<S: Simd, const P: usize, const V: usize>(
        &self,
        simd: S,
        x: &[f32],
        offsets: &[usize],
        group: usize,
        panel: usize,
        out: &mut [f32; 2 * PANEL * VECTORS * MAX_LANES],
    ) {
        let depth = offsets.len();
        let first = group * self.panels() + panel;
        // Accumulators must stay in registers: every loop over them has constant bounds.
        let mut sums = [[[simd.splat_f32s(0.0); V]; PANEL]; P];
        let mut weights: [&[[f32; PANEL]]; P] = [&[]; P];
        for p in 0..P {
            weights[p] = self.weights[(first + p) * depth * PANEL..][..depth * PANEL].as_chunks().0;
            for r in 0..PANEL {
                sums[p][r] = [simd.splat_f32s(self.bias[(first + p) * PANEL + r]); V];
            }
        }
        for (j, &offset) in offsets.iter().enumerate() {
            let row = &x[offset..offset + V * S::F32_LANES];
            let mut vectors = [simd.splat_f32s(0.0); V];
            for v in 0..V {
                vectors[v] = load::<S>(row, v * S::F32_LANES);
            }
            for p in 0..P {
                for r in 0..PANEL {
                    let w = simd.splat_f32s(weights[p][j][r]);
                    for v in 0..V {
                        sums[p][r][v] = simd.mul_add_f32s(w, vectors[v], sums[p][r][v]);
                    }
                }
            }
        }
        let slope = simd.splat_f32s(self.epilogue.slope());
        for p in 0..P {
            for r in 0..PANEL {
                for v in 0..V {
                    let at = ((p * PANEL + r) * V + v) * S::F32_LANES;
                    store::<S>(out, at, lean(simd, sums[p][r][v], slope));
                }
            }
        }
    }

    /// Activates, adds and stores the rows of a tile, those of `count` panels from `panel` on.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "an inner loop, called twice")]
    fn put<S: Simd, const V: usize>(
        &self,
        simd: S,
        sums: &mut [f32],
        count: usize,
        added: Option<&[f32]>,
        tile: Tile,
        panel: usize,
        target: Target,
    ) {
        let len = V * S::F32_LANES;
        let (row, column) = (tile.at / self.width, tile.at % self.width);
        let whole = self.width == self.output.w || column + len <= self.output.w;
        let channels = (self.out_group - panel * PANEL).min(count * PANEL);
        for (r, values) in sums.chunks_exact_mut(len).take(channels).enumerate() {
            let channel = tile.group * self.out_group + panel * PANEL + r;
            self.epilogue.finish(values);
            if !whole {
                self.scatter(values, tile.at, channel, target);
                continue;
            }
            let at = (channel - tile.origin) * self.output.plane() + row * self.output.w + column;
            // SAFETY: this pixel tile of this channel belongs to this part only.
            let out = unsafe { target.segment(at, len) };
            match added {
                Some(added) => {
                    let added = &added[at..at + len];
                    for v in 0..V {
                        let i = v * S::F32_LANES;
                        let sum = simd.add_f32s(load::<S>(values, i), load::<S>(added, i));
                        store::<S>(out, i, sum);
                    }
                }
                None => {
                    for v in 0..V {
                        store::<S>(out, v * S::F32_LANES, load::<S>(values, v * S::F32_LANES));
                    }
                }
            }
        }
    }

    /// Stores computed pixels `at..` without those between the rows.
    #[inline(always)]
    fn scatter(&self, values: &[f32], at: usize, channel: usize, target: Target) {
        let Shape { w, .. } = self.output;
        let mut done = 0;
        while done < values.len() {
            let (row, column) = ((at + done) / self.width, (at + done) % self.width);
            let run = (self.width - column).min(values.len() - done);
            if column < w && row < self.output.h {
                let kept = run.min(w - column);
                let start = channel * self.output.plane() + row * w + column;
                // SAFETY: this pixel tile of this channel belongs to this part only.
                let out = unsafe { target.segment(start, kept) };
                out.copy_from_slice(&values[done..done + kept]);
            }
            done += run;
        }
    }

    /// Fewer pixels than a vector holds: gathers the columns first.
    #[inline(always)]
    fn run_small<S: Simd>(
        &self,
        simd: S,
        x: &[f32],
        added: Option<&[f32]>,
        group: usize,
        panels: Range<usize>,
        job: &mut Job<'_>,
    ) {
        let lanes = S::F32_LANES;
        let pixels = self.pixels();
        let columns = job.workspace.take(self.offsets.len() * lanes);
        let mut offsets = Vec::with_capacity(self.offsets.len());
        for (j, (row, &offset)) in columns.chunks_exact_mut(lanes).zip(&self.offsets).enumerate() {
            row[..pixels].copy_from_slice(&x[offset..offset + pixels]);
            row[pixels..].fill(0.0);
            offsets.push(j * lanes);
        }
        let mut sums = [0.0; 2 * PANEL * VECTORS * MAX_LANES];
        for panel in panels {
            self.multiply::<S, 1, 1>(simd, columns, &offsets, group, panel, &mut sums);
            let channels = (self.out_group - panel * PANEL).min(PANEL);
            for (r, values) in sums.chunks_exact_mut(lanes).take(channels).enumerate() {
                let channel = group * self.out_group + panel * PANEL + r;
                self.epilogue.finish(&mut values[..pixels]);
                if let Some(added) = added {
                    let added = &added[channel * pixels..][..pixels];
                    values.iter_mut().zip(added).for_each(|(v, a)| *v += a);
                }
                self.scatter(&values[..pixels], 0, channel, job.target);
            }
        }
    }
}
