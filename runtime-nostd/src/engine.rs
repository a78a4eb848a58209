//! Runs a checked artefact over memory that the caller lends.

use core::cell::Cell;

use zerocopy::FromBytes;

use crate::artefact::{Model, Operation, Step};
use crate::kernels::{
    Connected, Conv, Depthwise, Epilogue, ReorgMode, Shortcut, Table, Window, activate, avgpool, connected,
    conv, depthwise, local_avgpool, maxpool, multiply, reorg, rescale, shortcut, softmax, upsample,
};
use crate::operators::Operators;
use crate::packed::{PackedConv, PackedDepthwise, packed_conv, packed_depthwise};
use crate::tensor::Tensor;
use zerocopy::little_endian::U32;

/// The kernels of a processor. The default of each is the reference, whose bytes every other
/// implementation reproduces. Generic code takes them by type, so that a call costs what it costs by name.
pub trait Kernels {
    /// What a program with these kernels links; an [`Engine`] refuses a model that needs more.
    const OPERATORS: Operators = Operators::ALL;

    fn conv(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Conv<'_>) {
        conv(input, output, parameters);
    }

    fn depthwise(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Depthwise<'_>) {
        depthwise(input, output, parameters);
    }

    /// A convolution with packed constants. `scratch` is the step's workspace, of any length, content and alignment.
    fn packed_conv(
        &self,
        input: Tensor<'_>,
        output: Tensor<'_>,
        parameters: &PackedConv<'_>,
        _scratch: &[Cell<i8>],
    ) {
        packed_conv(input, output, parameters);
    }

    /// A depthwise convolution with packed constants. `scratch` as in [`Kernels::packed_conv`].
    fn packed_depthwise(
        &self,
        input: Tensor<'_>,
        output: Tensor<'_>,
        parameters: &PackedDepthwise<'_>,
        _scratch: &[Cell<i8>],
    ) {
        packed_depthwise(input, output, parameters);
    }

    fn connected(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Connected<'_>) {
        connected(input, output, parameters);
    }

    fn maxpool(&self, input: Tensor<'_>, output: Tensor<'_>, window: &Window) {
        maxpool(input, output, window);
    }

    fn avgpool(&self, input: Tensor<'_>, output: Tensor<'_>, epilogue: &Epilogue<'_>) {
        avgpool(input, output, epilogue);
    }

    fn local_avgpool(&self, input: Tensor<'_>, output: Tensor<'_>, window: &Window, epilogue: &Epilogue<'_>) {
        local_avgpool(input, output, window, epilogue);
    }

    fn shortcut<'t, I>(&self, inputs: I, output: Tensor<'_>, parameters: &Shortcut<'_>)
    where
        I: Iterator<Item = Tensor<'t>> + Clone,
    {
        shortcut(inputs, output, parameters);
    }

    fn rescale(
        &self,
        input: Tensor<'_>,
        output: Tensor<'_>,
        top: usize,
        left: usize,
        epilogue: Option<&Epilogue<'_>>,
    ) {
        rescale(input, output, top, left, epilogue);
    }

    fn activate(&self, input: Tensor<'_>, output: Tensor<'_>, table: &Table) {
        activate(input, output, table);
    }

    fn upsample(&self, input: Tensor<'_>, output: Tensor<'_>, stride_h: usize, stride_w: usize) {
        upsample(input, output, stride_h, stride_w);
    }

    fn reorg(&self, input: Tensor<'_>, output: Tensor<'_>, stride: usize, mode: ReorgMode) {
        reorg(input, output, stride, mode);
    }

    fn multiply(&self, factor: Tensor<'_>, input: Tensor<'_>, output: Tensor<'_>, epilogue: &Epilogue<'_>) {
        multiply(factor, input, output, epilogue);
    }

    fn softmax(&self, input: Tensor<'_>, output: Tensor<'_>, groups: usize, exponentials: &[U32; 256]) {
        softmax(input, output, groups, exponentials);
    }
}

/// The reference kernels: plain loops, for what need not be fast. `secateur-kernels` has tuned ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference;

impl Kernels for Reference {}

/// Watches a run: for profiling, and for comparing layers.
pub trait Hook {
    /// Before a step runs.
    fn before(&mut self, _step: &Step<'_>) {}

    /// After a step; `output` is what it wrote.
    fn after(&mut self, _step: &Step<'_>, _output: Tensor<'_>) {}
}

/// Watches nothing.
impl Hook for () {}

/// Why a model has no engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineError {
    /// The arena is smaller than the artefact asks, in bytes.
    ArenaTooSmall { needed: usize, found: usize },
    /// The program was linked without kernels that the artefact needs: these.
    MissingOperators(Operators),
}

impl core::fmt::Display for EngineError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::ArenaTooSmall { needed, found } => {
                write!(f, "the arena has {found} bytes, the artefact needs {needed}")
            }
            Self::MissingOperators(missing) => {
                write!(f, "kernels that the artefact needs are not linked: set {:#x}", missing.bits())
            }
        }
    }
}

impl core::error::Error for EngineError {}

/// A model, its memory and its kernels.
#[derive(Debug)]
pub struct Engine<'m, 'a, K = Reference> {
    model: Model<'m>,
    arena: &'a [Cell<i8>],
    kernels: K,
}

impl<'m, 'a> Engine<'m, 'a> {
    /// An engine on the reference kernels. `arena` has at least [`Model::arena_bytes`] bytes, of any
    /// alignment and content.
    pub fn new(model: &Model<'m>, arena: &'a mut [u8]) -> Result<Self, EngineError> {
        Self::with_kernels(model, arena, Reference)
    }
}

impl<'m, 'a, K: Kernels> Engine<'m, 'a, K> {
    /// An engine on kernels of the caller's choice.
    pub fn with_kernels(model: &Model<'m>, arena: &'a mut [u8], kernels: K) -> Result<Self, EngineError> {
        // Where all are linked, nothing has to be looked for.
        if K::OPERATORS != Operators::ALL {
            let missing = Operators::of(model).without(K::OPERATORS);
            if missing != Operators::NONE {
                return Err(EngineError::MissingOperators(missing));
            }
        }
        let (needed, found) = (model.arena_bytes(), arena.len());
        let bytes = arena.get_mut(..needed).ok_or(EngineError::ArenaTooSmall { needed, found })?;
        // Bytes and codes have one layout: the conversion cannot fail.
        let codes =
            <[i8]>::mut_from_bytes(bytes).map_err(|_| EngineError::ArenaTooSmall { needed, found })?;
        Ok(Self { model: *model, arena: Cell::from_mut(codes).as_slice_of_cells(), kernels })
    }

    pub fn model(&self) -> &Model<'m> {
        &self.model
    }

    /// Where the image goes, `[h, w, c]`, q = pixel − 128: fill it and call [`Engine::execute`].
    /// Steps may overwrite it.
    pub fn input(&self) -> Option<Tensor<'a>> {
        self.tensor(self.model.input())
    }

    /// What tensor `index` holds now; `None` past the last.
    pub fn tensor(&self, index: usize) -> Option<Tensor<'a>> {
        let record = self.model.tensor(index)?;
        let [h, w, c] = record.shape();
        let data = self.arena.get(usize::try_from(record.offset.get()).ok()?..)?;
        let pitch = usize::try_from(record.pitch.get()).ok()?;
        Tensor::new(data, [h, w, c], pitch, record.zero_point.get() as i8)
    }

    /// A step's workspace.
    fn scratch(&self, step: &Step<'m>) -> &'a [Cell<i8>] {
        let record = step.record();
        let range = usize::try_from(record.scratch_offset.get()).ok().and_then(|start| {
            let end = start.checked_add(usize::try_from(record.scratch_bytes.get()).ok()?)?;
            self.arena.get(start..end)
        });
        range.unwrap_or(&[])
    }

    /// Copies `image` (`[h, w, c]`, q = pixel − 128) into the arena and runs every step.
    /// What `image` lacks keeps its old value, what it has too much is ignored.
    pub fn run(&mut self, image: &[i8], hook: &mut impl Hook) {
        if let Some(input) = self.input() {
            input.copy_from(image);
        }
        self.execute(hook);
    }

    /// Runs every step on the image that lies in the arena.
    pub fn execute(&mut self, hook: &mut impl Hook) {
        for step in self.model.steps() {
            hook.before(&step);
            if let Some(output) = self.execute_step(&step) {
                hook.after(&step, output);
            }
        }
    }

    /// Runs one step on what the arena holds, and shows what it wrote. For callers that look at
    /// other tensors in between. `None` cannot happen with a step of this engine's own model.
    pub fn execute_step(&mut self, step: &Step<'m>) -> Option<Tensor<'a>> {
        let kernels = &self.kernels;
        let operand = |n| self.tensor(step.input_index(n)?);
        let input = operand(0)?;
        let output = self.tensor(step.output_index())?;
        // Constant: the compiler leaves out the others and all that they call.
        let linked = |set| K::OPERATORS.intersects(set);
        match step.operation().ok()? {
            Operation::Conv(parameters) if linked(Operators::CONV) => {
                kernels.conv(input, output, &parameters)
            }
            Operation::Depthwise(parameters) if linked(Operators::DEPTHWISE) => {
                kernels.depthwise(input, output, &parameters)
            }
            Operation::PackedConv(parameters) if linked(Operators::PACKED_CONV) => {
                kernels.packed_conv(input, output, &parameters, self.scratch(step));
            }
            Operation::PackedDepthwise(parameters) if linked(Operators::PACKED_DEPTHWISE) => {
                kernels.packed_depthwise(input, output, &parameters, self.scratch(step));
            }
            Operation::Connected(parameters) if linked(Operators::CONNECTED) => {
                kernels.connected(input, output, &parameters)
            }
            Operation::MaxPool(window) if linked(Operators::MAXPOOL) => {
                kernels.maxpool(input, output, &window)
            }
            Operation::AvgPool(epilogue) if linked(Operators::AVGPOOL) => {
                kernels.avgpool(input, output, &epilogue)
            }
            Operation::LocalAvgPool(window, epilogue) if linked(Operators::LOCAL_AVGPOOL) => {
                kernels.local_avgpool(input, output, &window, &epilogue);
            }
            Operation::Shortcut(parameters) if linked(Operators::SHORTCUT) => {
                let inputs = (0..step.input_count()).filter_map(operand);
                kernels.shortcut(inputs, output, &parameters);
            }
            Operation::Rescale { top, left, epilogue } if linked(Operators::RESCALE) => {
                kernels.rescale(input, output, top, left, epilogue.as_ref());
            }
            Operation::Activate(table) if linked(Operators::ACTIVATE) => {
                kernels.activate(input, output, table)
            }
            Operation::Upsample { stride_h, stride_w } if linked(Operators::UPSAMPLE) => {
                kernels.upsample(input, output, stride_h, stride_w);
            }
            Operation::Reorg { stride, mode } if linked(Operators::REORG) => {
                kernels.reorg(input, output, stride, mode)
            }
            Operation::Multiply(epilogue) if linked(Operators::MULTIPLY) => {
                kernels.multiply(input, operand(1)?, output, &epilogue)
            }
            Operation::Softmax { groups, exponentials } if linked(Operators::SOFTMAX) => {
                kernels.softmax(input, output, groups, exponentials);
            }
            _ => return None,
        }
        Some(output)
    }
}
