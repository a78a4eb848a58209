//! A step of the artefact, decoded into what its kernel takes.

use super::error::Fault;
use super::format::{
    Encoding, NONE, ReorgMode, Requant, ShortcutMode, StepKind, StepRecord, Target, TensorRecord, packed_mode,
};
use super::view::{Model, to_usize};
use crate::kernels::{Connected, Conv, Depthwise, Epilogue, Shortcut, Window};
use crate::packed::{Bounds, ConvLayout, DepthwiseLayout, Form, PackedConv, PackedDepthwise};
use zerocopy::little_endian::{I32, U32};

/// One operation of a checked artefact.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    model: Model<'a>,
    record: &'a StepRecord,
    index: usize,
}

/// What a step does, with every constant at hand.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    Conv(Conv<'a>),
    Depthwise(Depthwise<'a>),
    PackedConv(PackedConv<'a>),
    PackedDepthwise(PackedDepthwise<'a>),
    Connected(Connected<'a>),
    MaxPool(Window),
    AvgPool(Epilogue<'a>),
    LocalAvgPool(Window, Epilogue<'a>),
    Shortcut(Shortcut<'a>),
    Rescale { top: usize, left: usize, epilogue: Option<Epilogue<'a>> },
    Activate(&'a [i8; 256]),
    Upsample { stride_h: usize, stride_w: usize },
    Reorg { stride: usize, mode: ReorgMode },
    Multiply(Epilogue<'a>),
    Softmax { groups: usize, exponentials: &'a [U32; 256] },
}

impl<'a> Step<'a> {
    pub(super) fn new(model: Model<'a>, record: &'a StepRecord, index: usize) -> Self {
        Self { model, record, index }
    }

    /// Position in the order of execution.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Number of the Darknet layer that the step belongs to.
    pub fn layer(&self) -> u32 {
        self.record.layer.get()
    }

    pub fn record(&self) -> &'a StepRecord {
        self.record
    }

    /// Who does it in a frame on an accelerator; `None` for codes that this runtime does not know.
    pub fn target(&self) -> Option<Target> {
        Target::from_code(self.record.target)
    }

    /// `None` for kinds that this runtime does not know (never in a checked artefact).
    pub fn kind(&self) -> Option<StepKind> {
        StepKind::from_code(self.record.kind.get())
    }

    pub fn input_count(&self) -> usize {
        to_usize(self.record.operand_count)
    }

    /// Index of input `n`'s tensor.
    pub fn input_index(&self, n: usize) -> Option<usize> {
        if n >= self.input_count() {
            return None;
        }
        let at = to_usize(self.record.first_operand).checked_add(n)?;
        self.model.operands.get(at).map(|&index| to_usize(index))
    }

    pub fn input(&self, n: usize) -> Option<&'a TensorRecord> {
        self.input_index(n).and_then(|index| self.model.tensor(index))
    }

    pub fn output_index(&self) -> usize {
        to_usize(self.record.output)
    }

    pub fn output(&self) -> Option<&'a TensorRecord> {
        self.model.tensor(self.output_index())
    }

    /// Decodes the step; in a checked artefact this succeeds.
    pub fn operation(&self) -> Result<Operation<'a>, Fault> {
        let record = self.record;
        let kind = self.kind().ok_or(Fault::Kind)?;
        if !matches!(self.target(), Some(Target::Processor | Target::Shared)) {
            return Err(Fault::Target);
        }
        match (Encoding::from_code(record.encoding), kind) {
            (Some(Encoding::Dense), _) => {}
            (Some(Encoding::OutputPairs), StepKind::Conv) => return self.packed_conv(),
            (Some(Encoding::WindowRows), StepKind::Depthwise) => return self.packed_depthwise(),
            _ => return Err(Fault::Encoding),
        }
        let out_c = to_usize(self.output().ok_or(Fault::Operand)?.c);
        let window = record.window();
        Ok(match kind {
            StepKind::Conv => Operation::Conv(Conv {
                window,
                groups: to_usize(record.groups),
                weights: self.weights()?,
                bias: self.constants(record.bias, out_c)?,
                epilogue: self.epilogue(out_c)?,
            }),
            StepKind::Depthwise => Operation::Depthwise(Depthwise {
                window,
                weights: self.weights()?,
                bias: self.constants(record.bias, out_c)?,
                epilogue: self.epilogue(out_c)?,
            }),
            StepKind::Connected => Operation::Connected(Connected {
                weights: self.weights()?,
                bias: self.constants(record.bias, out_c)?,
                epilogue: self.epilogue(out_c)?,
            }),
            StepKind::MaxPool => Operation::MaxPool(window),
            StepKind::AvgPool => Operation::AvgPool(self.epilogue(1)?),
            StepKind::LocalAvgPool => {
                Operation::LocalAvgPool(window, self.epilogue(window.kernel_h * window.kernel_w)?)
            }
            StepKind::Shortcut => {
                let mode = ShortcutMode::from_code(record.mode.get()).ok_or(Fault::Kind)?;
                let each = if mode == ShortcutMode::PerChannel { out_c } else { 1 };
                let count = self.input_count().checked_mul(each).ok_or(Fault::Constant)?;
                Operation::Shortcut(Shortcut {
                    multipliers: self.constants(record.multipliers, count)?,
                    mode,
                    epilogue: self.epilogue(1)?,
                })
            }
            StepKind::Rescale => Operation::Rescale {
                top: window.pad_top,
                left: window.pad_left,
                epilogue: if record.requant.get() == NONE { None } else { Some(self.epilogue(1)?) },
            },
            StepKind::Activate => Operation::Activate(self.model.table(record.table).ok_or(Fault::Constant)?),
            StepKind::Upsample => {
                Operation::Upsample { stride_h: window.stride_h, stride_w: window.stride_w }
            }
            StepKind::Reorg => Operation::Reorg {
                stride: window.stride_h,
                mode: ReorgMode::from_code(record.mode.get()).ok_or(Fault::Kind)?,
            },
            StepKind::Multiply => Operation::Multiply(self.epilogue(1)?),
            StepKind::Softmax => Operation::Softmax {
                groups: to_usize(record.groups),
                exponentials: self.model.table(record.weights).ok_or(Fault::Constant)?,
            },
        })
    }

    fn packed_conv(&self) -> Result<Operation<'a>, Fault> {
        let (record, window) = (self.record, self.record.window());
        let in_c = to_usize(self.input(0).ok_or(Fault::Operand)?.c);
        let mode = record.mode.get();
        if record.groups.get() != 1 || mode & !(packed_mode::FORM | packed_mode::FOLDED) != 0 {
            return Err(Fault::Encoding);
        }
        let layout = ConvLayout {
            runs: window.kernel_h,
            run: window.kernel_w.checked_mul(in_c).ok_or(Fault::Constant)?,
            out_c: to_usize(self.output().ok_or(Fault::Operand)?.c),
            form: Form::from_code(mode & packed_mode::FORM).ok_or(Fault::Encoding)?,
            folded: mode & packed_mode::FOLDED != 0,
        };
        let words = self.packed_words(layout.words())?;
        Ok(Operation::PackedConv(PackedConv { window, layout, words, bounds: self.bounds()? }))
    }

    fn packed_depthwise(&self) -> Result<Operation<'a>, Fault> {
        let window = self.record.window();
        let layout = DepthwiseLayout {
            kernel: window.kernel_h,
            channels: to_usize(self.output().ok_or(Fault::Operand)?.c),
            form: Form::from_code(self.record.mode.get()).ok_or(Fault::Encoding)?,
        };
        let words = self.packed_words(layout.words())?;
        Ok(Operation::PackedDepthwise(PackedDepthwise { window, layout, words, bounds: self.bounds()? }))
    }

    /// The words of packed weights, as many as the layout says and the record.
    fn packed_words(&self, count: Option<usize>) -> Result<&'a [U32], Fault> {
        let count = count.ok_or(Fault::Constant)?;
        if count.checked_mul(size_of::<U32>()) != Some(to_usize(self.record.weights_bytes)) {
            return Err(Fault::Constant);
        }
        self.constants(self.record.weights, count)
    }

    /// What packed parameters leave to the record.
    fn bounds(&self) -> Result<Bounds<'a>, Fault> {
        let Epilogue { lo, hi, table, zero_point, .. } = self.epilogue(0)?;
        Ok(Bounds { lo, hi, table, zero_point })
    }

    fn weights(&self) -> Result<&'a [i8], Fault> {
        self.constants(self.record.weights, to_usize(self.record.weights_bytes))
    }

    fn epilogue(&self, count: usize) -> Result<Epilogue<'a>, Fault> {
        let record = self.record;
        if to_usize(record.requant_count) != count {
            return Err(Fault::Constant);
        }
        let requant: &[Requant] = if count == 0 { &[] } else { self.constants(record.requant, count)? };
        let (table, zero_point) = match record.table.get() {
            NONE => (None, self.output().ok_or(Fault::Operand)?.zero_point),
            _ => (Some(self.model.table(record.table).ok_or(Fault::Constant)?), record.table_zero_point),
        };
        let narrow = |value: i16| i8::try_from(value).map_err(|_| Fault::Requant);
        Ok(Epilogue {
            requant,
            lo: narrow(record.lo.get())?,
            hi: narrow(record.hi.get())?,
            table,
            zero_point: narrow(zero_point.get())?,
        })
    }

    fn constants<T>(&self, offset: U32, count: usize) -> Result<&'a [T], Fault>
    where
        T: zerocopy::FromBytes + zerocopy::Immutable + zerocopy::Unaligned + zerocopy::KnownLayout,
    {
        self.model.constants(offset, count).ok_or(Fault::Constant)
    }
}

impl Operation<'_> {
    /// Bytes of its constants, those of fixed size (tables) left out.
    pub(super) fn constant_bytes(&self) -> u64 {
        let (weights, bias, epilogue): (&[i8], &[I32], _) = match self {
            Self::PackedConv(PackedConv { words, .. })
            | Self::PackedDepthwise(PackedDepthwise { words, .. }) => return size_of_val(*words) as u64,
            Self::Conv(conv) => (conv.weights, conv.bias, Some(&conv.epilogue)),
            Self::Depthwise(depthwise) => (depthwise.weights, depthwise.bias, Some(&depthwise.epilogue)),
            Self::Connected(connected) => (connected.weights, connected.bias, Some(&connected.epilogue)),
            Self::Shortcut(shortcut) => (&[], shortcut.multipliers, Some(&shortcut.epilogue)),
            Self::AvgPool(epilogue) | Self::LocalAvgPool(_, epilogue) | Self::Multiply(epilogue) => {
                (&[], &[], Some(epilogue))
            }
            Self::Rescale { epilogue, .. } => (&[], &[], epilogue.as_ref()),
            Self::MaxPool(_)
            | Self::Activate(_)
            | Self::Upsample { .. }
            | Self::Reorg { .. }
            | Self::Softmax { .. } => (&[], &[], None),
        };
        let requant = epilogue.map_or(0, |epilogue| size_of_val(epilogue.requant) as u64);
        weights.len() as u64 + size_of_val(bias) as u64 + requant
    }
}

impl StepRecord {
    /// The window's parameters as the kernels take them.
    pub fn window(&self) -> Window {
        Window {
            kernel_h: usize::from(self.kernel_h.get()),
            kernel_w: usize::from(self.kernel_w.get()),
            stride_h: usize::from(self.stride_h.get()),
            stride_w: usize::from(self.stride_w.get()),
            dilation_h: usize::from(self.dilation_h.get()),
            dilation_w: usize::from(self.dilation_w.get()),
            pad_top: usize::from(self.pad_top.get()),
            pad_left: usize::from(self.pad_left.get()),
        }
    }
}
