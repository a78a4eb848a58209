//! Kernels in tiles and blocks that a compiler turns into vector instructions.
#![forbid(unsafe_code)]

mod connected;
mod conv;
mod depthwise;
mod shortcut;

use secateur_runtime::kernels::{Connected, Conv, Depthwise, Shortcut};
use secateur_runtime::{Kernels, Tensor};

pub use connected::connected;
pub use conv::conv;
pub use depthwise::depthwise;
pub use shortcut::shortcut;

/// Tiles sized for a small processor where addresses have 32 bits, for a host otherwise.
///
/// Needs neither heap nor standard library; on small processors a convolution takes 2 KiB of stack.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tiled;

impl Kernels for Tiled {
    fn conv(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Conv<'_>) {
        conv(input, output, parameters);
    }

    fn depthwise(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Depthwise<'_>) {
        depthwise(input, output, parameters);
    }

    fn connected(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Connected<'_>) {
        connected(input, output, parameters);
    }

    fn shortcut<'t, I>(&self, inputs: I, output: Tensor<'_>, parameters: &Shortcut<'_>)
    where
        I: Iterator<Item = Tensor<'t>> + Clone,
    {
        shortcut(inputs, output, parameters);
    }
}
