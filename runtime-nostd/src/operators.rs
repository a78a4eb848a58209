//! Sets of kernels: what an artefact needs, what a program links.

use core::cell::Cell;

use zerocopy::little_endian::U32;

use crate::artefact::{Model, Operation};
use crate::engine::Kernels;
use crate::kernels::{Connected, Conv, Depthwise, Epilogue, ReorgMode, Shortcut, Table, Window};
use crate::packed::{Form, PackedConv, PackedDepthwise};
use crate::tensor::Tensor;

/// A set of kernels. Those of packed constants are told apart further, by the variants that tuned kernels have: a set
/// has every combination of its variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operators(u32);

impl Operators {
    pub const NONE: Self = Self(0);
    pub const CONV: Self = Self(1 << 0);
    pub const DEPTHWISE: Self = Self(1 << 1);
    pub const CONNECTED: Self = Self(1 << 2);
    pub const MAXPOOL: Self = Self(1 << 3);
    pub const AVGPOOL: Self = Self(1 << 4);
    pub const LOCAL_AVGPOOL: Self = Self(1 << 5);
    pub const SHORTCUT: Self = Self(1 << 6);
    pub const RESCALE: Self = Self(1 << 7);
    pub const ACTIVATE: Self = Self(1 << 8);
    pub const UPSAMPLE: Self = Self(1 << 9);
    pub const REORG: Self = Self(1 << 10);
    pub const MULTIPLY: Self = Self(1 << 11);
    pub const SOFTMAX: Self = Self(1 << 12);
    /// Convolutions with packed constants: their forms, and whether two weights share a word.
    pub const PACKED_CONV_LINEAR: Self = Self(1 << 13);
    pub const PACKED_CONV_TWO_SLOPES: Self = Self(1 << 14);
    pub const PACKED_CONV_GENERAL: Self = Self(1 << 15);
    pub const PACKED_CONV_WIDE: Self = Self(1 << 16);
    pub const PACKED_CONV_FOLDED: Self = Self(1 << 17);
    /// Depthwise convolutions with packed constants: their forms, and windows by side and stride.
    pub const PACKED_DEPTHWISE_LINEAR: Self = Self(1 << 18);
    pub const PACKED_DEPTHWISE_TWO_SLOPES: Self = Self(1 << 19);
    pub const PACKED_DEPTHWISE_GENERAL: Self = Self(1 << 20);
    pub const PACKED_DEPTHWISE_3_BY_1: Self = Self(1 << 21);
    pub const PACKED_DEPTHWISE_3_BY_2: Self = Self(1 << 22);
    pub const PACKED_DEPTHWISE_5_BY_1: Self = Self(1 << 23);
    pub const PACKED_DEPTHWISE_OTHER: Self = Self(1 << 24);
    pub const PACKED_CONV: Self = Self(0b1_1111 << 13);
    pub const PACKED_DEPTHWISE: Self = Self(0b111_1111 << 18);
    pub const ALL: Self = Self((1 << 25) - 1);

    /// The set of these bits; what is no kernel's is left out.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns true if `self` has all of `other`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns true if `self` has any of `other`.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in `self` and not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What the steps of a model need.
    pub fn of(model: &Model<'_>) -> Self {
        let operations = model.steps().filter_map(|step| step.operation().ok());
        operations.fold(Self::NONE, |set, operation| set.union(Self::of_operation(&operation)))
    }

    fn of_operation(operation: &Operation<'_>) -> Self {
        match operation {
            Operation::Conv(_) => Self::CONV,
            Operation::Depthwise(_) => Self::DEPTHWISE,
            Operation::PackedConv(conv) => Self::of_packed_conv(conv),
            Operation::PackedDepthwise(depthwise) => Self::of_packed_depthwise(depthwise),
            Operation::Connected(_) => Self::CONNECTED,
            Operation::MaxPool(_) => Self::MAXPOOL,
            Operation::AvgPool(_) => Self::AVGPOOL,
            Operation::LocalAvgPool(..) => Self::LOCAL_AVGPOOL,
            Operation::Shortcut(_) => Self::SHORTCUT,
            Operation::Rescale { .. } => Self::RESCALE,
            Operation::Activate(_) => Self::ACTIVATE,
            Operation::Upsample { .. } => Self::UPSAMPLE,
            Operation::Reorg { .. } => Self::REORG,
            Operation::Multiply(_) => Self::MULTIPLY,
            Operation::Softmax { .. } => Self::SOFTMAX,
        }
    }

    fn of_packed_conv(conv: &PackedConv<'_>) -> Self {
        let form = match conv.layout.form {
            Form::Linear => Self::PACKED_CONV_LINEAR,
            Form::TwoSlopes => Self::PACKED_CONV_TWO_SLOPES,
            Form::General => Self::PACKED_CONV_GENERAL,
        };
        form.union(if conv.layout.folded { Self::PACKED_CONV_FOLDED } else { Self::PACKED_CONV_WIDE })
    }

    fn of_packed_depthwise(depthwise: &PackedDepthwise<'_>) -> Self {
        let form = match depthwise.layout.form {
            Form::Linear => Self::PACKED_DEPTHWISE_LINEAR,
            Form::TwoSlopes => Self::PACKED_DEPTHWISE_TWO_SLOPES,
            Form::General => Self::PACKED_DEPTHWISE_GENERAL,
        };
        form.union(match (depthwise.layout.kernel, depthwise.window.stride_h) {
            (3, 1) => Self::PACKED_DEPTHWISE_3_BY_1,
            (3, 2) => Self::PACKED_DEPTHWISE_3_BY_2,
            (5, 1) => Self::PACKED_DEPTHWISE_5_BY_1,
            _ => Self::PACKED_DEPTHWISE_OTHER,
        })
    }
}

/// The kernels of `K`, of which a program links those in the set of bits `OPERATORS`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Only<K, const OPERATORS: u32>(pub K);

impl<K: Kernels, const OPERATORS: u32> Kernels for Only<K, OPERATORS> {
    const OPERATORS: Operators = Operators::from_bits(OPERATORS & K::OPERATORS.bits());

    fn conv(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Conv<'_>) {
        self.0.conv(input, output, parameters);
    }

    fn depthwise(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Depthwise<'_>) {
        self.0.depthwise(input, output, parameters);
    }

    fn packed_conv(
        &self,
        input: Tensor<'_>,
        output: Tensor<'_>,
        parameters: &PackedConv<'_>,
        scratch: &[Cell<i8>],
    ) {
        self.0.packed_conv(input, output, parameters, scratch);
    }

    fn packed_depthwise(
        &self,
        input: Tensor<'_>,
        output: Tensor<'_>,
        parameters: &PackedDepthwise<'_>,
        scratch: &[Cell<i8>],
    ) {
        self.0.packed_depthwise(input, output, parameters, scratch);
    }

    fn connected(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Connected<'_>) {
        self.0.connected(input, output, parameters);
    }

    fn maxpool(&self, input: Tensor<'_>, output: Tensor<'_>, window: &Window) {
        self.0.maxpool(input, output, window);
    }

    fn avgpool(&self, input: Tensor<'_>, output: Tensor<'_>, epilogue: &Epilogue<'_>) {
        self.0.avgpool(input, output, epilogue);
    }

    fn local_avgpool(&self, input: Tensor<'_>, output: Tensor<'_>, window: &Window, epilogue: &Epilogue<'_>) {
        self.0.local_avgpool(input, output, window, epilogue);
    }

    fn shortcut<'t, I>(&self, inputs: I, output: Tensor<'_>, parameters: &Shortcut<'_>)
    where
        I: Iterator<Item = Tensor<'t>> + Clone,
    {
        self.0.shortcut(inputs, output, parameters);
    }

    fn rescale(
        &self,
        input: Tensor<'_>,
        output: Tensor<'_>,
        top: usize,
        left: usize,
        epilogue: Option<&Epilogue<'_>>,
    ) {
        self.0.rescale(input, output, top, left, epilogue);
    }

    fn activate(&self, input: Tensor<'_>, output: Tensor<'_>, table: &Table) {
        self.0.activate(input, output, table);
    }

    fn upsample(&self, input: Tensor<'_>, output: Tensor<'_>, stride_h: usize, stride_w: usize) {
        self.0.upsample(input, output, stride_h, stride_w);
    }

    fn reorg(&self, input: Tensor<'_>, output: Tensor<'_>, stride: usize, mode: ReorgMode) {
        self.0.reorg(input, output, stride, mode);
    }

    fn multiply(&self, factor: Tensor<'_>, input: Tensor<'_>, output: Tensor<'_>, epilogue: &Epilogue<'_>) {
        self.0.multiply(factor, input, output, epilogue);
    }

    fn softmax(&self, input: Tensor<'_>, output: Tensor<'_>, groups: usize, exponentials: &[U32; 256]) {
        self.0.softmax(input, output, groups, exponentials);
    }
}
