//! From the int8 network to operations of the array: legality, concatenation by addressing, and sums
//! fused into the convolution before them.

mod sums;

use std::ops::Range;

use secateur_runtime::npu::isa::{ArrayMode, Parameters, ResidualSpread};

use super::Share;
use super::op::{IDENTITY, Map, Op, View, Window, channel, window_fits};
use super::weights::{self, Raw};
use crate::lower::cost;
use crate::lower::program::{Value, value};
use secateur_base::{Error, Result};
use secateur_ir::{Shape, Source};
use secateur_quant::net::{Finish, QConv, QNet, QOp, QPool, QRoute};

/// Sides and channels of a map have 11 bits, kernel and dilation 4.
const LARGEST: usize = 2047;
const LARGEST_KERNEL: usize = 15;

/// A network as operations.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub maps: Vec<Map>,
    /// In an order in which they may run.
    pub ops: Vec<Op>,
    /// By value: where it lies; `None` for what exists on the processor only or is fused away.
    pub views: Vec<Option<View>>,
    /// Values that the processor writes before the first operation.
    pub inputs: Vec<Value>,
}

/// An operation whose maps are not final yet.
struct Draft {
    op: Op,
    raw: Raw,
}

impl Graph {
    /// Channels of a map that operations touch; empty where they do not.
    pub(crate) fn channels(&self, map: usize, ops: &Range<usize>) -> Range<usize> {
        let views = self.ops[ops.clone()].iter().flat_map(Op::views).filter(|view| view.map == map);
        let join = |a: Range<usize>, b: Range<usize>| a.start.min(b.start)..a.end.max(b.end);
        views.map(|view| view.channel..view.channel + view.channels).reduce(join).unwrap_or(0..0)
    }

    /// A value that holds the channels of `view`, and the first of them.
    pub(crate) fn value_of(&self, view: View) -> Option<(Value, usize)> {
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
    share: &'a Share,
    maps: Vec<Map>,
    /// Map that a map has become part of, and the channel at which it begins there.
    inside: Vec<Option<(usize, usize)>>,
    views: Vec<Option<View>>,
    drafts: Vec<Draft>,
    /// By layer: the shortcut that the convolution's requantiser adds.
    fused: Vec<Option<usize>>,
}

/// Imports the accelerator's share of a network; an operator that the array does not run is an error that
/// names the layer. `fuse` lets convolutions add the shortcut that follows them.
pub(crate) fn import(net: &QNet, parameters: &Parameters, fuse: bool, share: &Share) -> Result<Graph> {
    let mut import = Import {
        net,
        parameters,
        share,
        maps: Vec::new(),
        inside: Vec::new(),
        views: vec![None; net.nodes.len() + 1],
        drafts: Vec::new(),
        fused: if fuse { sums::fusions(net, &share.layers) } else { vec![None; net.nodes.len()] },
    };
    for &input in &share.inputs {
        let shape = if input == 0 { net.input.shape } else { net.nodes[input - 1].output.shape };
        import.views[input] = Some(import.new_map(shape));
    }
    for layer in share.layers.clone() {
        import.layer(layer).map_err(|e| net.locate(layer, e))?;
    }
    Ok(import.finish())
}

impl Import<'_> {
    fn new_map(&mut self, Shape { c, h, w }: Shape) -> View {
        self.maps.push(Map { h, w, c });
        self.inside.push(None);
        View { map: self.maps.len() - 1, channel: 0, channels: c }
    }

    fn view(&self, source: Source) -> Result<View> {
        self.views[value(source)].ok_or_else(|| {
            Error::new("reads what only the processor computes").help("softmax may only be the last layer")
        })
    }

    /// The view that a layer's own operation writes.
    fn output(&mut self, layer: usize) -> View {
        let view = self.new_map(self.net.nodes[layer].output.shape);
        self.views[layer + 1] = Some(view);
        view
    }

    /// The layer whose bytes `source` passes on, as far as the accelerator knows.
    fn producer(&self, mut source: Source) -> Source {
        while let Source::Layer(layer) = source
            && self.share.layers.contains(&layer)
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
    fn pass(&self, layer: usize, input: View, output: View) -> Op {
        Op {
            layer,
            value: layer + 1,
            value_channel: 0,
            mode: ArrayMode::Pass,
            input,
            output,
            residual: None,
            window: Window::POINT,
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

    fn push(&mut self, mut op: Op, raw: Raw) -> Result<()> {
        let (from, to) = (self.maps[op.input.map], self.maps[op.output.map]);
        let whole = op.mode == ArrayMode::Average;
        op.row_mode = !whole && (op.window.stride != 1 || op.window.upsample || from.w != to.w);
        if op.window.stride > 2 {
            return Err(Error::new("the accelerator has no such stride")
                .found(op.window.stride.to_string())
                .allowed("1 or 2"));
        }
        let tallest = LARGEST_KERNEL;
        if op.window.size > tallest
            || op.window.dilation > tallest
            || !window_fits(&op.window, op.row_mode, self.parameters)
        {
            return Err(Error::new("the window is too wide for the accelerator")
                .found(format!(
                    "size {}, dilation {}, stride {}",
                    op.window.size, op.window.dilation, op.window.stride
                ))
                .allowed(format!("size at most {tallest}, taps and lanes of a row within four map words")));
        }
        if [from.w, from.h, to.w, to.h, op.input.channels, op.output.channels].iter().any(|&n| n > LARGEST) {
            return Err(Error::new("the map is too large for the accelerator")
                .found(format!("{}x{}x{} to {}x{}x{}", from.w, from.h, from.c, to.w, to.h, to.c))
                .allowed(format!("sides and channels of at most {LARGEST}")));
        }
        self.drafts.push(Draft { op, raw });
        Ok(())
    }

    fn finish_of(&self, op: &mut Op, finish: &Finish) {
        (op.z_out, op.lo, op.hi) = (finish.zero_point, finish.lo, finish.hi);
        op.table = finish.table.as_ref().map(|table| table.0.clone());
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
            QOp::Connected(full) => {
                let input = self.view(first)?;
                let Map { h, w, c } = Map { c: input.channels, ..self.maps[input.map] };
                let size = h.max(w);
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
                self.finish_of(&mut op, &full.finish);
                self.push(op, Raw::Dense { weights: spread, inputs: c, groups: 1 })
            }
            QOp::MaxPool(pool) => self.max_pool(layer, pool),
            QOp::AvgPool(scaled) => {
                let input = self.view(first)?;
                let output = self.output(layer);
                let mut op = self.pass(layer, input, output);
                op.mode = ArrayMode::Average;
                let pixels = self.maps[input.map].pixels() as i32;
                let bias = -i32::from(self.zero_point(first)) * pixels;
                op.channels = vec![channel(bias, scaled.requant); output.channels];
                self.finish_of(&mut op, &scaled.finish);
                self.push(op, Raw::None)
            }
            QOp::LocalAvgPool(average) => {
                let input = self.view(first)?;
                let (map, shape) = (self.maps[input.map], node.output.shape);
                let QPool { size, stride_x, stride_y, pad, depth } = average.pool;
                let inside = |full: usize, out: usize| (out - 1) * stride_x + size <= full;
                let whole = pad / 2 == 0 && inside(map.h, shape.h) && inside(map.w, shape.w);
                if !whole || stride_x != stride_y || depth.is_some() {
                    return Err(Error::new("the accelerator averages whole windows only")
                        .found(format!("size {size}, padding {pad}"))
                        .help("padding=0 and a size that divides the map"));
                }
                let output = self.output(layer);
                let mut op = self.pass(layer, input, output);
                op.mode = ArrayMode::Depthwise;
                op.window = Window { size, stride: stride_x, ..Window::POINT };
                let bias = -i32::from(self.zero_point(first)) * (size * size) as i32;
                op.channels = vec![channel(bias, average.requant[size * size - 1]); output.channels];
                self.finish_of(&mut op, &average.finish);
                self.push(op, Raw::Depthwise(vec![1; shape.c * size * size]))
            }
            QOp::Upsample { stride } => {
                if *stride != 2 {
                    return Err(Error::new("the accelerator upsamples by 2 only").found(stride.to_string()));
                }
                let input = self.view(first)?;
                let output = self.output(layer);
                let mut op = self.pass(layer, input, output);
                op.window.upsample = true;
                self.push(op, Raw::None)
            }
            QOp::Reorg(reorg) => {
                if (reorg.stride, reorg.reverse, reorg.old) != (2, false, false) {
                    return Err(Error::new("the accelerator has no such reorg")
                        .allowed("[reorg] with stride=2 and without reverse"));
                }
                let input = self.view(first)?;
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
            QOp::Crop { top, left } => {
                if *top > 128 || *left > 128 {
                    return Err(Error::new("the accelerator crops at most 128 pixels")
                        .found(format!("{top} rows, {left} columns")));
                }
                let input = self.view(first)?;
                let output = self.output(layer);
                let mut op = self.pass(layer, input, output);
                (op.window.pad_y, op.window.pad_x) = (-(*top as i32), -(*left as i32));
                self.push(op, Raw::None)
            }
            QOp::ScaleChannels { scale_wh, scaled } => {
                let spread = if *scale_wh { ResidualSpread::Pixel } else { ResidualSpread::Channel };
                self.multiply(layer, spread, scaled.requant, &scaled.finish)
            }
            QOp::Sam(scaled) => self.multiply(layer, ResidualSpread::Map, scaled.requant, &scaled.finish),
            QOp::Route(route) => self.route(layer, route),
            QOp::Shortcut(shortcut) => self.shortcut(layer, shortcut),
        }
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
        // The sum's map takes the place of the convolution's own.
        let written = self.fused[layer].unwrap_or(layer);
        let output = self.output(written);
        let mut op = self.pass(layer, input, output);
        op.value = written + 1;
        op.macs = cost::macs(self.net, layer);
        op.z_in = self.zero_point(node.inputs[0]);
        let pad = conv.pad as i32;
        op.window = Window {
            size: conv.size,
            stride: conv.stride_y,
            dilation: conv.dilation,
            pad_y: pad,
            pad_x: pad,
            upsample: false,
        };
        op.channels = conv.bias.iter().zip(&conv.requant).map(|(&b, &r)| channel(b, r)).collect();
        self.finish_of(&mut op, &conv.finish);
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

    fn max_pool(&mut self, layer: usize, pool: &QPool) -> Result<()> {
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
            Window { size: pool.size, stride: pool.stride_y, pad_y: pad, pad_x: pad, ..Window::POINT };
        // A smaller centred window of the same input is a stage of the larger one's.
        let centred = |pool: &QPool| pool.stride_x == 1 && pool.size % 2 == 1 && pool.pad == pool.size - 1;
        let stage = (self.share.layers.start..layer).filter_map(|earlier| {
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

    /// A concatenation: inputs are born in it where they can be, else copied.
    fn route(&mut self, layer: usize, route: &QRoute) -> Result<()> {
        let node = &self.net.nodes[layer];
        let slices: Vec<View> = node
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
            // An earlier input of this route may have moved its map.
            let (map, begin) = self.resolve(slice.map, slice.channel);
            let slice = View { map, channel: begin, ..slice };
            let alone = begin == 0 && slice.channels == self.maps[map].c;
            // The first maps are the processor's.
            let input = map < self.share.inputs.len();
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

    /// Where a channel of a map lies once the map has become part of others.
    fn resolve(&self, mut map: usize, mut channel: usize) -> (usize, usize) {
        while let Some((outer, first)) = self.inside[map] {
            (map, channel) = (outer, channel + first);
        }
        (map, channel)
    }

    fn finish(self) -> Graph {
        let mut number = vec![usize::MAX; self.maps.len()];
        let mut maps = Vec::new();
        for (map, slot) in number.iter_mut().enumerate() {
            if self.inside[map].is_none() {
                *slot = maps.len();
                maps.push(self.maps[map]);
            }
        }
        let place = |view: View| {
            let (map, channel) = self.resolve(view.map, view.channel);
            View { map: number[map], channel, ..view }
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
        Graph { maps, ops, views, inputs: self.share.inputs.clone() }
    }
}
