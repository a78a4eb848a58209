//! Pooling.

use secateur_base::{Error, Result};
use secateur_ir::Source;
use secateur_quant::net::{QLocalAverage, QOp, QPool, QScaled};
use secateur_runtime::npu::isa::ArrayMode;

use super::{Import, Raw};
use crate::cpu::program::value;
use crate::npu::op::{NpuWindow, channel};

impl Import<'_> {
    /// Maximum over a window.
    pub(super) fn max_pool(&mut self, layer: usize, pool: &QPool) -> Result<()> {
        let node = &self.net.nodes[layer];
        if pool.depth.is_some() || pool.stride_x != pool.stride_y {
            return Err(Error::new("the accelerator has no such max-pool")
                .allowed("maxpool_depth=0 and equal strides"));
        }
        let input = self.view(node.inputs[0])?;
        let output = self.output(layer);
        let mut op = self.pass(layer, input, output);
        op.mode = ArrayMode::Maximum;
        let pad = (pool.pad / 2) as i32;
        op.window =
            NpuWindow { size: pool.size, stride: pool.stride_y, pad_y: pad, pad_x: pad, ..NpuWindow::POINT };
        // A smaller centred window of the same input is a stage of the larger one's.
        let centred = |pool: &QPool| pool.stride_x == 1 && pool.size % 2 == 1 && pool.pad == pool.size - 1;
        let stage = (self.partition.layers.start..layer).filter_map(|earlier| {
            let before = &self.net.nodes[earlier];
            let QOp::MaxPool(smaller) = &before.op else { return None };
            let same = self.views[value(before.inputs[0])] == Some(input);
            (same && centred(smaller) && centred(pool) && smaller.size < pool.size)
                .then_some((smaller.size, earlier))
        });
        if let Some((size, earlier)) = stage.max() {
            op.input = self.view(Source::Layer(earlier))?;
            op.window.size = pool.size - size + 1;
            op.window.pad_y = (op.window.size / 2) as i32;
            op.window.pad_x = op.window.pad_y;
        }
        self.push(op, Raw::None)
    }

    /// Average over each channel.
    pub(super) fn average(&mut self, layer: usize, scaled: &QScaled) -> Result<()> {
        let node = &self.net.nodes[layer];
        let input = self.view(node.inputs[0])?;
        let output = self.output(layer);
        let mut op = self.pass(layer, input, output);
        op.mode = ArrayMode::Average;
        let pixels = self.maps[input.map].pixels() as i32;
        let bias = -i32::from(self.zero_point(node.inputs[0])) * pixels;
        op.channels = vec![channel(bias, scaled.requant); output.channels];
        self.set_epilogue(&mut op, &scaled.epilogue);
        self.push(op, Raw::None)
    }

    /// Average over windows inside the feature map.
    pub(super) fn local_average(&mut self, layer: usize, average: &QLocalAverage) -> Result<()> {
        let node = &self.net.nodes[layer];
        let input = self.view(node.inputs[0])?;
        let (map, shape) = (self.maps[input.map], node.output.shape);
        let QPool { size, stride_x, stride_y, pad, depth } = average.pool;
        let inside = |full: usize, out: usize| (out - 1) * stride_x + size <= full;
        let whole = pad / 2 == 0 && inside(map.h, shape.h) && inside(map.w, shape.w);
        if !whole || stride_x != stride_y || depth.is_some() {
            return Err(Error::new("the accelerator averages whole windows only")
                .found(format!("size {size}, padding {pad}"))
                .help("padding=0 and a size that divides the feature map"));
        }
        let output = self.output(layer);
        let mut op = self.pass(layer, input, output);
        op.mode = ArrayMode::Depthwise;
        op.window = NpuWindow { size, stride: stride_x, ..NpuWindow::POINT };
        let bias = -i32::from(self.zero_point(node.inputs[0])) * (size * size) as i32;
        op.channels = vec![channel(bias, average.requant[size * size - 1]); output.channels];
        self.set_epilogue(&mut op, &average.epilogue);
        self.push(op, Raw::Depthwise(vec![1; shape.c * size * size]))
    }
}
