//! A 1×1 convolution and the depthwise one after it, a few channels at a time: the tensor between
//! them never leaves the cache.

use pulp::Simd;

use super::dense::PANEL;
use super::{Dense, Depthwise, Job, Target};
use secateur_ir::Shape;

/// Bytes of hidden channels that should stay in the second-level cache beside their input.
const HIDDEN_BYTES: usize = 1 << 18;

/// Expansion followed by a depthwise convolution.
#[derive(Debug, Clone)]
pub(crate) struct Separable {
    pub(crate) dense: Dense,
    pub(crate) depthwise: Depthwise,
    /// Shape of the feature map between the two.
    hidden: Shape,
    /// Panels of hidden channels in a unit.
    panels: usize,
}

impl Separable {
    /// Fewest pixels for which it works: a vector on any machine.
    pub(crate) const MIN_PIXELS: usize = 16;

    /// `dense` is pointwise and not grouped; `depthwise` reads its output, of shape `hidden`.
    pub(crate) fn new(dense: Dense, depthwise: Depthwise, hidden: Shape) -> Self {
        let panels = if hidden.plane() * 2 * PANEL * size_of::<f32>() <= HIDDEN_BYTES { 2 } else { 1 };
        Self { dense, depthwise, hidden, panels }
    }

    /// Units of work: one or two panels of hidden channels.
    pub(crate) fn units(&self) -> usize {
        self.dense.panels().div_ceil(self.panels)
    }

    #[inline(always)]
    pub(crate) fn run<S: Simd>(&self, simd: S, job: &mut Job<'_>) {
        let len = self.panels * PANEL * self.hidden.plane();
        let memory = job.workspace.take(len + self.depthwise.padded_len());
        let (hidden, padded) = memory.split_at_mut(len);
        self.depthwise.clear(padded);
        for unit in job.units.clone() {
            let panels = unit * self.panels..((unit + 1) * self.panels).min(self.dense.panels());
            let channels = panels.start * PANEL..(panels.end * PANEL).min(self.hidden.c);
            // SAFETY: `hidden` is this thread's own and not looked at while the target is in use.
            let target = unsafe { Target::new(hidden.as_mut_ptr(), hidden.len()) };
            self.dense.run_panels(simd, job.inputs[0], panels, target);
            self.depthwise.channels(simd, hidden, channels, padded, job.target);
        }
    }
}
