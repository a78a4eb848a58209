//! Operators that move pixels: upsampling, reorganisation, cropping.

use secateur_base::{Error, Result};
use secateur_ir::Reorg;

use super::{Import, Raw};

impl Import<'_> {
    /// Nearest-neighbour upsampling.
    pub(super) fn upsample(&mut self, layer: usize, stride: usize) -> Result<()> {
        let node = &self.net.nodes[layer];
        if stride != 2 {
            return Err(Error::new("the accelerator upsamples by 2 only").found(stride.to_string()));
        }
        let input = self.view(node.inputs[0])?;
        let output = self.output(layer);
        let mut op = self.pass(layer, input, output);
        op.window.upsample = true;
        self.push(op, Raw::None)
    }

    /// Space to depth: each corner of a 2 × 2 block is a pass of its own.
    pub(super) fn reorg(&mut self, layer: usize, reorg: &Reorg) -> Result<()> {
        let node = &self.net.nodes[layer];
        if reorg.old {
            return Err(Error::new(
                "the accelerator cannot run [reorg], whose order mixes rows and channels",
            )
            .allowed("[reorg3d] with stride=2 and without reverse")
            .help("retrain with [reorg3d], or compile with --allow-processor"));
        }
        if (reorg.stride, reorg.reverse) != (2, false) {
            return Err(Error::new("the accelerator has no such [reorg3d]")
                .found(format!("stride={}, reverse={}", reorg.stride, u8::from(reorg.reverse)))
                .allowed("[reorg3d] with stride=2 and without reverse"));
        }
        let input = self.view(node.inputs[0])?;
        let output = self.output(layer);
        for corner in 0..4 {
            let part = output.slice(corner * input.channels, input.channels);
            let mut op = self.pass(layer, input, part);
            op.value_channel = corner * input.channels;
            op.window.stride = 2;
            (op.window.pad_y, op.window.pad_x) = (-(corner as i32 / 2), -(corner as i32 % 2));
            self.push(op, Raw::None)?;
        }
        Ok(())
    }

    /// A window of the image from row `top` and column `left` on.
    pub(super) fn crop(&mut self, layer: usize, top: usize, left: usize) -> Result<()> {
        let node = &self.net.nodes[layer];
        if top > 128 || left > 128 {
            return Err(Error::new("the accelerator crops at most 128 pixels")
                .found(format!("{top} rows, {left} columns")));
        }
        let input = self.view(node.inputs[0])?;
        let output = self.output(layer);
        let mut op = self.pass(layer, input, output);
        (op.window.pad_y, op.window.pad_x) = (-(top as i32), -(left as i32));
        self.push(op, Raw::None)
    }
}
