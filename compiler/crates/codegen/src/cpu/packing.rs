//! Which layers have their constants in the order of a processor's kernels, and their words.

use secateur_quant::net::{QConv, QNet, QOp, QRequant};
use secateur_runtime::artefact::format::{Encoding, packed_mode};
use secateur_runtime::kernels::{Conv, Depthwise, Epilogue, Requant, Window};
use secateur_runtime::packed::{ConvLayout, DepthwiseLayout};
use zerocopy::little_endian::{I32, U32};

use crate::target::WeightOrder;
use secateur_base::{Error, Result};

/// Workspace that a depthwise layer gets where memory allows, and what it gets anyway, in bytes.
const WORKSPACE: std::ops::RangeInclusive<usize> = 2560..=8192;

/// The order of a layer's constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Conv(ConvLayout),
    /// With the stride.
    Depthwise(DepthwiseLayout, usize),
}

impl Packing {
    /// The order for `layer`; `None` where it stays dense.
    pub fn of(net: &QNet, layer: usize, order: WeightOrder) -> Option<Self> {
        let (WeightOrder::Armv7em, QOp::Conv(conv)) = (order, &net.nodes[layer].op) else { return None };
        let output = net.nodes[layer].output.shape;
        let constants = Constants::new(net, layer, conv);
        if conv.is_depthwise(constants.channels) {
            let layout = DepthwiseLayout::of(&constants.depthwise(), output.c)?;
            return Some(Self::Depthwise(layout, conv.stride_y));
        }
        // Kernels take windows of four outputs at a time.
        if conv.size > 1 && output.plane() < 4 {
            return None;
        }
        ConvLayout::of(&constants.conv(), constants.channels, output.c).map(Self::Conv)
    }

    /// Encoding and mode of the step.
    pub fn codes(self) -> (Encoding, u16) {
        match self {
            Self::Conv(layout) => {
                let folded = if layout.folded { packed_mode::FOLDED } else { 0 };
                (Encoding::OutputPairs, layout.form.code() | folded)
            }
            Self::Depthwise(layout, ..) => (Encoding::WindowRows, layout.form.code()),
        }
    }

    /// Bytes of the packed constants.
    pub fn constant_bytes(self) -> usize {
        let words = match self {
            Self::Conv(layout) => layout.words(),
            Self::Depthwise(layout, ..) => layout.words(),
        };
        words.unwrap_or(0) * size_of::<U32>()
    }

    /// Bytes of workspace for `height` rows of a layer's output, beside which `free` bytes of the arena are not in use.
    pub fn scratch_bytes(self, height: usize, free: usize) -> usize {
        match self {
            Self::Conv(layout) => layout.scratch_bytes(),
            Self::Depthwise(layout, stride) => {
                let limit = free.clamp(*WORKSPACE.start(), *WORKSPACE.end());
                let bytes = |rows: usize| layout.scratch_bytes(rows, stride);
                (1..=height).map(bytes).take_while(|&bytes| bytes <= limit).last().unwrap_or(bytes(1))
            }
        }
    }

    /// The packed constants of `layer`, whose packing this is.
    ///
    /// # Errors
    /// None in a network that [`Packing::of`] has seen.
    pub fn words(self, net: &QNet, layer: usize) -> Result<Vec<U32>> {
        let QOp::Conv(conv) = &net.nodes[layer].op else {
            return Err(Error::internal("only convolutions are packed"));
        };
        let constants = Constants::new(net, layer, conv);
        let mut words = vec![U32::new(0); self.constant_bytes() / size_of::<U32>()];
        let packed = match self {
            Self::Conv(layout) => layout.pack(&constants.conv(), &mut words),
            Self::Depthwise(layout, ..) => layout.pack(&constants.depthwise(), &mut words),
        };
        packed.map(|()| words).ok_or_else(|| Error::internal("a layer does not fit its packing"))
    }
}

/// A convolution's constants as kernels take them.
struct Constants<'a> {
    conv: &'a QConv,
    /// Channels of the input.
    channels: usize,
    by_cell: Vec<i8>,
    bias: Vec<I32>,
    requant: Vec<Requant>,
    zero_point: i8,
}

impl<'a> Constants<'a> {
    fn new(net: &QNet, layer: usize, conv: &'a QConv) -> Self {
        let channels = net.tensor(net.nodes[layer].inputs[0]).shape.c;
        let by_cell = if conv.is_depthwise(channels) { conv.depthwise_weights() } else { Vec::new() };
        Self {
            conv,
            channels,
            by_cell,
            bias: conv.bias.iter().map(|&b| I32::new(b)).collect(),
            requant: conv.requant.iter().map(QRequant::record).collect(),
            zero_point: conv.epilogue.zero_point,
        }
    }

    fn window(&self) -> Window {
        let QConv { size, stride_y, stride_x, dilation, pad, .. } = *self.conv;
        Window {
            stride_h: stride_y,
            stride_w: stride_x,
            dilation_h: dilation,
            dilation_w: dilation,
            ..Window::square(size, 1, pad)
        }
    }

    fn epilogue(&self) -> Epilogue<'_> {
        let QConv { epilogue, .. } = self.conv;
        Epilogue {
            requant: &self.requant,
            lo: epilogue.lo,
            hi: epilogue.hi,
            table: None,
            zero_point: self.zero_point,
        }
    }

    fn conv(&self) -> Conv<'_> {
        Conv {
            window: self.window(),
            groups: self.conv.groups,
            weights: &self.conv.weights,
            bias: &self.bias,
            epilogue: self.epilogue(),
        }
    }

    fn depthwise(&self) -> Depthwise<'_> {
        Depthwise {
            window: self.window(),
            weights: &self.by_cell,
            bias: &self.bias,
            epilogue: self.epilogue(),
        }
    }
}
