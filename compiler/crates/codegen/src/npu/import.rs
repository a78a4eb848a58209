//! From the int8 network to operations of the array: legality, concatenation by addressing, and sums
//! fused into the convolution before them.

mod moves;
mod pool;
mod sums;

use std::ops::Range;

use secateur_runtime::npu::isa::{ArrayMode, Parameters, ResidualSpread};

use super::fusion;
use super::op::{FeatureMap, IDENTITY, MapSlice, NpuOp, NpuWindow, channel, window_fits};
use super::partition::Partition;
use super::weights::{self, Raw};
use crate::cost;
use crate::cpu::program::{ValueId, value};
use secateur_base::{Error, Result};
use secateur_ir::{Shape, Source};
use secateur_quant::net::{QConnected, QConv, QEpilogue, QNet, QOp, QRoute};

/// Sides and channels of a feature map have 11 bits, kernel and dilation 4.
const MAX_SIDE: usize = 2047;
const MAX_KERNEL: usize = 15;

/// A network as operations.
#[derive(Debug, Clone)]
pub(crate) struct NpuGraph {
    pub maps: Vec<FeatureMap>,
    /// In an order in which they may run.
    pub ops: Vec<NpuOp>,
    /// By value: its location; `None` for values that only the processor has or that are fused away.
    pub views: Vec<Option<MapSlice>>,
    /// Values that the processor writes before the first operation.
    pub inputs: Vec<ValueId>,
}

/// An operation whose feature maps are not final yet.
struct Draft {
    op: NpuOp,
    raw: Raw,
}

impl NpuGraph {
    /// Channels of a feature map that operations touch; empty where they do not.
    pub(crate) fn channels(&self, map: usize, ops: &Range<usize>) -> Range<usize> {
        let views = self.ops[ops.clone()].iter().flat_map(NpuOp::views).filter(|view| view.map == map);
        let join = |a: Range<usize>, b: Range<usize>| a.start.min(b.start)..a.end.max(b.end);
        views.map(|view| view.channel..view.channel + view.channels).reduce(join).unwrap_or(0..0)
    }

    /// A value that holds the channels of `view`, and the first of them.
    pub(crate) fn value_of(&self, view: MapSlice) -> Option<(ValueId, usize)> {
        self.views.iter().enumerate().find_map(|(value, place)| {
            let place = (*place)?;
            let inside = place.map == view.map
                && place.channel <= view.channel
                && view.channel + view.channels <= place.channel + place.channels;
            inside.then(|| (value, view.channel - place.channel))
        })
    }
}

struct Import<'a> {
    net: &'a QNet,
    parameters: &'a Parameters,
    partition: &'a Partition,
    maps: Vec<FeatureMap>,
    /// The feature map that each one has become part of, and the channel at which it begins there.
    inside: Vec<Option<(usize, usize)>>,
    views: Vec<Option<MapSlice>>,
    drafts: Vec<Draft>,
    /// By layer: the shortcut that the convolution's requantiser adds.
    fused: Vec<Option<usize>>,
}

/// Imports the accelerator's partition of a network; an operator that the array does not run is an error that
/// names the layer. `fuse` lets convolutions add the shortcut that follows them.
pub(crate) fn import(
    net: &QNet,
    parameters: &Parameters,
    fuse: bool,
    partition: &Partition,
) -> Result<NpuGraph> {
    let mut import = Import {
        net,
        parameters,
        partition,
        maps: Vec::new(),
        inside: Vec::new(),
        views: vec![None; net.nodes.len() + 1],
        drafts: Vec::new(),
        fused: if fuse { fusion::fusions(net, &partition.layers) } else { vec![None; net.nodes.len()] },
    };
    for &input in &partition.inputs {
        let shape = if input == 0 { net.input.shape } else { net.nodes[input - 1].output.shape };
        import.views[input] = Some(import.new_map(shape));
    }
    for layer in partition.layers.clone() {
        import.layer(layer).map_err(|e| net.locate(layer, e))?;
    }
    Ok(import.finish())
}

impl Import<'_> {
    fn new_map(&mut self, Shape { c, h, w }: Shape) -> MapSlice {
        self.maps.push(FeatureMap { h, w, c });
        self.inside.push(None);
        MapSlice { map: self.maps.len() - 1, channel: 0, channels: c }
    }

    fn view(&self, source: Source) -> Result<MapSlice> {
        let view = self.views[value(source)].ok_or_else(|| {
            Error::new("reads what only the processor computes").help("softmax may only be the last layer")
        })?;
        // Before anything is computed with them: no product of sides or of a window's then overflows.
        let FeatureMap { h, w, c } = self.maps[view.map];
        if h > MAX_SIDE || w > MAX_SIDE {
            return Err(Error::new("the feature map is too large for the accelerator")
                .found(format!("{w}x{h}x{c}"))
                .allowed(format!("sides of at most {MAX_SIDE}")));
        }
        Ok(view)
    }

    /// The view that a layer's own operation writes.
    fn output(&mut self, layer: usize) -> MapSlice {
        let view = self.new_map(self.net.nodes[layer].output.shape);
        self.views[layer + 1] = Some(view);
        view
    }

    /// The layer whose bytes `source` passes on, as far as the accelerator knows.
    fn producer(&self, mut source: Source) -> Source {
        while let Source::Layer(layer) = source
            && self.partition.layers.contains(&layer)
            && let QOp::Identity = &self.net.nodes[layer].op
        {
            source = self.net.nodes[layer].inputs[0];
        }
        source
    }

    fn zero_point(&self, source: Source) -> i8 {
        self.net.tensor(source).zero_point
    }

    /// An operation of `layer` from `input` to `output` that changes nothing yet.
    fn pass(&self, layer: usize, input: MapSlice, output: MapSlice) -> NpuOp {
        NpuOp {
            layer,
            value: layer + 1,
            value_channel: 0,
            mode: ArrayMode::Pass,
            input,
            output,
            residual: None,
            window: NpuWindow::POINT,
            row_mode: false,
            z_in: 0,
            z_out: 0,
            lo: i8::MIN,
            hi: i8::MAX,
            table: None,
            weights: Vec::new(),
            sparse: false,
            channels: vec![channel(0, IDENTITY); output.channels],
            macs: 0,
        }
    }

    fn push(&mut self, mut op: NpuOp, raw: Raw) -> Result<()> {
        let (from, to) = (self.maps[op.input.map], self.maps[op.output.map]);
        let whole = op.mode == ArrayMode::Average;
        op.row_mode = !whole && (op.window.stride != 1 || op.window.upsample || from.w != to.w);
        if op.window.stride > 2 {
            return Err(Error::new("the accelerator has no such stride")
                .found(op.window.stride.to_string())
                .allowed("1 or 2"));
        }
        if op.window.size > MAX_KERNEL
            || op.window.dilation > MAX_KERNEL
            || !window_fits(&op.window, op.row_mode, self.parameters)
        {
            return Err(Error::new("the window is too wide for the accelerator")
                .found(format!(
                    "size {}, dilation {}, stride {}",
                    op.window.size, op.window.dilation, op.window.stride
                ))
                .allowed(format!(
                    "size at most {MAX_KERNEL}, taps and lanes of a row within four bank words"
                )));
        }
        if [from.w, from.h, to.w, to.h, op.input.channels, op.output.channels].iter().any(|&n| n > MAX_SIDE) {
            return Err(Error::new("the feature map is too large for the accelerator")
                .found(format!("{}x{}x{} to {}x{}x{}", from.w, from.h, from.c, to.w, to.h, to.c))
                .allowed(format!("sides and channels of at most {MAX_SIDE}")));
        }
        self.drafts.push(Draft { op, raw });
        Ok(())
    }

    fn set_epilogue(&self, op: &mut NpuOp, epilogue: &QEpilogue) {
        (op.z_out, op.lo, op.hi) = (epilogue.zero_point, epilogue.lo, epilogue.hi);
        op.table = epilogue.table.as_ref().map(|table| table.0.clone());
    }

    fn layer(&mut self, layer: usize) -> Result<()> {
        let node = &self.net.nodes[layer];
        let first = node.inputs[0];
        match &node.op {
            QOp::Identity | QOp::Yolo { .. } | QOp::Region { .. } | QOp::Detection { .. } => {
                self.views[layer + 1] = self.views[value(first)];
                Ok(())
            }
            // Its logits are decoded on the processor; whoever else reads it finds no view.
            QOp::Softmax(_) => Ok(()),
            QOp::Conv(conv) => self.convolution(layer, conv),
            QOp::Connected(full) => self.connected(layer, full),
            QOp::MaxPool(pool) => self.max_pool(layer, pool),
            QOp::AvgPool(scaled) => self.average(layer, scaled),
            QOp::LocalAvgPool(average) => self.local_average(layer, average),
            QOp::Upsample { stride } => self.upsample(layer, *stride),
            QOp::Reorg(reorg) => self.reorg(layer, reorg),
            QOp::Crop { top, left } => self.crop(layer, *top, *left),
            QOp::ScaleChannels { scale_wh, scaled } => {
                let spread = if *scale_wh { ResidualSpread::Pixel } else { ResidualSpread::Channel };
                self.multiply(layer, spread, scaled.requant, &scaled.epilogue)
            }
            QOp::Sam(scaled) => self.multiply(layer, ResidualSpread::Map, scaled.requant, &scaled.epilogue),
            QOp::Route(route) => self.route(layer, route),
            QOp::Shortcut(shortcut) => self.shortcut(layer, shortcut),
        }
    }

    /// Fully connected layer: a convolution whose square kernel covers the whole input.
    fn connected(&mut self, layer: usize, full: &QConnected) -> Result<()> {
        let node = &self.net.nodes[layer];
        let input = self.view(node.inputs[0])?;
        let FeatureMap { h, w, c } = FeatureMap { c: input.channels, ..self.maps[input.map] };
        let size = h.max(w);
        if size > MAX_KERNEL {
            return Err(Error::new("the fully connected layer's input is too large for the accelerator")
                .found(format!("{w}x{h} pixels"))
                .allowed(format!("{MAX_KERNEL}x{MAX_KERNEL}")));
        }
        let row = size * size * c;
        let mut spread = vec![0i8; node.output.shape.c * row];
        for (from, to) in full.weights.chunks_exact(h * w * c).zip(spread.chunks_exact_mut(row)) {
            for (y, line) in from.chunks_exact(w * c).enumerate() {
                to[y * size * c..][..w * c].copy_from_slice(line);
            }
        }
        let output = self.output(layer);
        let mut op = self.pass(layer, input, output);
        op.mode = ArrayMode::Dense;
        op.window.size = size;
        op.channels = full.bias.iter().zip(&full.requant).map(|(&b, &r)| channel(b, r)).collect();
        op.macs = cost::macs(self.net, layer);
        self.set_epilogue(&mut op, &full.epilogue);
        self.push(op, Raw::Dense { weights: spread, inputs: c, groups: 1 })
    }

    fn convolution(&mut self, layer: usize, conv: &QConv) -> Result<()> {
        let node = &self.net.nodes[layer];
        if conv.stride_x != conv.stride_y {
            return Err(Error::new("the accelerator strides alike in both directions")
                .found(format!("stride_x={}, stride_y={}", conv.stride_x, conv.stride_y)));
        }
        if conv.pad > 127 {
            return Err(Error::new("the padding is too large for the accelerator")
                .found(conv.pad.to_string())
                .allowed("at most 127"));
        }
        let input = self.view(node.inputs[0])?;
        // The sum's feature map takes the place of the convolution's own.
        let written = self.fused[layer].unwrap_or(layer);
        let output = self.output(written);
        let mut op = self.pass(layer, input, output);
        op.value = written + 1;
        op.macs = cost::macs(self.net, layer);
        op.z_in = self.zero_point(node.inputs[0]);
        let pad = conv.pad as i32;
        op.window = NpuWindow {
            size: conv.size,
            stride: conv.stride_y,
            dilation: conv.dilation,
            pad_y: pad,
            pad_x: pad,
            upsample: false,
        };
        op.channels = conv.bias.iter().zip(&conv.requant).map(|(&b, &r)| channel(b, r)).collect();
        self.set_epilogue(&mut op, &conv.epilogue);
        if let Some(shortcut) = self.fused[layer] {
            op.residual = Some(self.fused_sum(layer, shortcut)?);
        }
        if conv.is_depthwise(input.channels) {
            op.mode = ArrayMode::Depthwise;
            return self.push(op, Raw::Depthwise(conv.weights.clone()));
        }
        op.mode = ArrayMode::Dense;
        let raw = Raw::Dense { weights: conv.weights.clone(), inputs: input.channels, groups: conv.groups };
        self.push(op, raw)
    }

    /// A concatenation: its inputs are allocated directly in it where they can be, else copied.
    fn route(&mut self, layer: usize, route: &QRoute) -> Result<()> {
        let node = &self.net.nodes[layer];
        let slices: Vec<MapSlice> = node
            .inputs
            .iter()
            .map(|&input| {
                let view = self.view(input)?;
                let count = view.channels / route.groups;
                Ok(view.slice(route.group_id * count, count))
            })
            .collect::<Result<_>>()?;
        if let ([slice], [None]) = (&slices[..], &route.rescale[..]) {
            self.views[layer + 1] = Some(*slice);
            return Ok(());
        }
        let output = self.output(layer);
        let mut first = 0;
        for (position, slice) in slices.into_iter().enumerate() {
            let part = output.slice(first, slice.channels);
            // An earlier input of this route may have moved its feature map.
            let (map, begin) = self.resolve(slice.map, slice.channel);
            let slice = MapSlice { map, channel: begin, ..slice };
            let alone = begin == 0 && slice.channels == self.maps[map].c;
            // The first feature maps are the processor's.
            let input = map < self.partition.inputs.len();
            if route.rescale[position].is_none() && alone && map != output.map && !input {
                self.inside[map] = Some((output.map, part.channel));
            } else {
                let mut op = self.pass(layer, slice, part);
                op.value_channel = first;
                if let Some(requant) = route.rescale[position] {
                    let bias = -i32::from(self.zero_point(node.inputs[position]));
                    op.channels = vec![channel(bias, requant); part.channels];
                    op.z_out = node.output.zero_point;
                }
                self.push(op, Raw::None)?;
            }
            first += part.channels;
        }
        Ok(())
    }

    /// Returns the location of a channel after its feature map has become part of others.
    fn resolve(&self, mut map: usize, mut channel: usize) -> (usize, usize) {
        while let Some((outer, first)) = self.inside[map] {
            (map, channel) = (outer, channel + first);
        }
        (map, channel)
    }

    fn finish(self) -> NpuGraph {
        let mut number = vec![usize::MAX; self.maps.len()];
        let mut maps = Vec::new();
        for (map, slot) in number.iter_mut().enumerate() {
            if self.inside[map].is_none() {
                *slot = maps.len();
                maps.push(self.maps[map]);
            }
        }
        let place = |view: MapSlice| {
            let (map, channel) = self.resolve(view.map, view.channel);
            MapSlice { map: number[map], channel, ..view }
        };
        let rows = self.parameters.rows as usize;
        let views = self.views.iter().map(|view| view.map(place)).collect();
        let ops = self
            .drafts
            .iter()
            .map(|Draft { op, raw }| {
                let mut op = op.clone();
                (op.input, op.output) = (place(op.input), place(op.output));
                if let Some(residual) = &mut op.residual {
                    residual.view = place(residual.view);
                }
                let size = op.window.size;
                match raw {
                    Raw::None => {}
                    Raw::Dense { weights, inputs, groups } => {
                        let shape = (*inputs, op.output.channels, *groups, size);
                        (op.weights, op.sparse) = weights::dense(weights, shape, rows);
                    }
                    Raw::Depthwise(weights) => {
                        let phase = op.input.channel % rows;
                        op.weights =
                            weights::depthwise(weights, op.output.channels, size * size, phase, rows);
                    }
                }
                op
            })
            .collect();
        NpuGraph { maps, ops, views, inputs: self.partition.inputs.clone() }
    }
}
