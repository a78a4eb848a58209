//! An artefact turned into jobs for the kernels: where activations are, what pads them, packed weights.

use std::collections::HashMap;

use secateur_runtime::artefact::format::Requant;
use secateur_runtime::artefact::{Model, Operation, Step};
use secateur_runtime::kernels::{self, Epilogue, Slopes, Table, Window};

use super::conv::Conv;
use super::depthwise::Depthwise;
use super::elementwise::Add;
use super::flow::{Flow, Group, Source};
use super::layout::{Layout, MEMORY_LIMIT, Seal, View, allocate};
use super::level::Level;
use super::pack::{self, Form, Reach};
use super::pool::{MaxPool, Upsample};
use super::requant::Post;

/// More steps than any network has are not planned.
const STEP_LIMIT: usize = 1 << 12;

/// A network ready to run on this processor's vector units.
///
/// It holds packed weights and constants, no activations: threads share it, each with a
/// [`Memory`](super::Memory) and an engine of its own.
#[derive(Debug)]
pub struct Plan<'m> {
    pub(super) level: Level,
    /// Dot products of 256 bits have AVX-512's encoding.
    pub(super) evex: bool,
    pub(super) image: Input,
    pub(super) jobs: Vec<Job<'m>>,
    /// What callers look at after a run.
    pub(super) outputs: Vec<Transfer>,
    pub(super) bytes: usize,
}

/// The image's place.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) view: View,
    pub(super) seal: Option<Seal>,
}

/// A step.
#[derive(Debug)]
pub(super) struct Job<'m> {
    pub(super) step: Step<'m>,
    pub(super) before: Vec<Before>,
    pub(super) work: Work,
    pub(super) output: View,
    pub(super) seal: Option<Seal>,
}

/// A feature map in planes and as a tensor of the engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    pub(super) view: View,
    pub(super) tensor: usize,
}

/// What has to be done before a step.
#[derive(Debug)]
pub(super) enum Before {
    /// From planes to the engine.
    Store(Transfer),
    /// From the engine to planes.
    Load(Transfer, Option<Seal>),
    /// From planes to others whose rows have another pitch.
    Copy(View, View, Option<Seal>),
}

#[derive(Debug)]
pub(super) enum Work {
    Conv(Conv),
    Depthwise(Depthwise),
    Add(Add),
    Map {
        input: View,
        post: Post,
    },
    MaxPool(MaxPool),
    Upsample(Upsample),
    /// The engine's kernel.
    Portable,
}

/// What a step reads: channels of a group, which are `from` elsewhere where the group is the step's own.
#[derive(Debug)]
struct Operand {
    group: usize,
    channel: usize,
    from: From,
}

#[derive(Debug)]
enum From {
    Here,
    /// Values that no buffer holds side by side.
    Parts(Vec<usize>),
    /// A group and its channel, of another pitch.
    Elsewhere(usize, usize),
}

/// What is planned of a network before the offsets are known.
struct Draft<'m> {
    model: Model<'m>,
    flow: Flow,
    /// By step: the padding of its first input, where a kernel here runs it.
    native: Vec<Option<Reach>>,
    operands: Vec<Vec<Operand>>,
    /// By group.
    columns: Vec<usize>,
    rows: Vec<usize>,
    zero_points: Vec<Option<i8>>,
}

impl<'m> Plan<'m> {
    /// Plans a checked artefact for the best instructions of this processor; `None` where it has none that there
    /// are kernels for, where the model was not checked, or where its memory plan cannot be followed.
    pub fn new(model: &Model<'m>) -> Option<Self> {
        Self::with_level(model, Level::detect()?)
    }

    /// [`Plan::new`] for given instructions; `None` also where the processor lacks them.
    pub fn with_level(model: &Model<'m>, level: Level) -> Option<Self> {
        // The kernels' pointers rely on the check.
        if !model.is_checked() || !level.is_available() || model.step_count() > STEP_LIMIT {
            return None;
        }
        Draft::new(model)?.finish(level)
    }

    /// The instructions that it runs on.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Steps that the engine's kernels run.
    pub fn portable_steps(&self) -> impl Iterator<Item = &Step<'m>> {
        self.jobs.iter().filter(|job| matches!(job.work, Work::Portable)).map(|job| &job.step)
    }
}

/// What padding a step's kernel wants around its first input; `None` where no kernel here runs the step.
fn reach(step: &Step<'_>, operation: &Operation<'_>) -> Option<Reach> {
    let extent = |shape: [usize; 3]| [shape[0], shape[1]];
    let (input, output) = (extent(step.input(0)?.shape()), extent(step.output()?.shape()));
    match operation {
        Operation::Conv(conv) if conv.groups == 1 => Reach::of(&conv.window, input, output),
        Operation::Depthwise(depthwise) => Reach::of(&depthwise.window, input, output),
        Operation::MaxPool(_)
        | Operation::Shortcut(_)
        | Operation::Activate(_)
        | Operation::Upsample { .. } => Some(Reach::default()),
        Operation::Rescale { top: 0, left: 0, epilogue: Some(_) } if input == output => {
            Some(Reach::default())
        }
        _ => None,
    }
}

/// Whether a step's kernel wants its inputs' rows at the pitch of the output's.
fn is_flat(step: &Step<'_>, operation: &Operation<'_>) -> bool {
    let same = step.input(0).zip(step.output()).is_some_and(|(a, b)| (a.h, a.w) == (b.h, b.w));
    same && match operation {
        Operation::Conv(kernels::Conv { window, .. })
        | Operation::Depthwise(kernels::Depthwise { window, .. }) => {
            window.stride_h == 1 && window.stride_w == 1
        }
        Operation::Shortcut(_) | Operation::Activate(_) | Operation::Rescale { .. } => true,
        _ => false,
    }
}

impl<'m> Draft<'m> {
    fn new(model: &Model<'m>) -> Option<Self> {
        let flow = Flow::new(model)?;
        let count = flow.groups.len();
        let mut draft = Self {
            model: *model,
            native: Vec::new(),
            operands: Vec::new(),
            columns: vec![0; count],
            rows: vec![0; count],
            zero_points: vec![None; count],
            flow,
        };
        for step in model.steps() {
            let reach = step.operation().ok().and_then(|operation| reach(&step, &operation));
            let operands = draft.operands_of(&step, reach.is_some())?;
            let native = reach.filter(|&reach| draft.pad(&step, &operands, reach));
            draft.native.push(native);
            draft.operands.push(operands);
        }
        draft.align()?;
        Some(draft)
    }

    /// A buffer of one step's own.
    fn private(&mut self, [h, w, channels]: [usize; 3], step: &Step<'m>) -> usize {
        let number = step.index() + 1;
        self.flow.groups.push(Group { h, w, channels, first: number, last: number });
        self.columns.push(0);
        self.rows.push(0);
        self.zero_points.push(None);
        self.flow.groups.len() - 1
    }

    /// What `step` reads; what no buffer holds gets one of its own where a kernel here runs the step.
    fn operands_of(&mut self, step: &Step<'m>, native: bool) -> Option<Vec<Operand>> {
        let sources = self.flow.inputs.get(step.index())?.clone();
        let mut operands = Vec::new();
        for (n, source) in sources.into_iter().enumerate() {
            operands.push(match source {
                Source::Direct { group, channel } => Operand { group, channel, from: From::Here },
                Source::Parts(parts) => {
                    let group = if native { self.private(step.input(n)?.shape(), step) } else { usize::MAX };
                    Operand { group, channel: 0, from: From::Parts(parts) }
                }
            });
        }
        Some(operands)
    }

    /// Notes the padding that a step's window wants; false where another step wants another value there.
    fn pad(&mut self, step: &Step<'m>, operands: &[Operand], reach: Reach) -> bool {
        if reach == Reach::default() {
            return true;
        }
        let (Some(operand), Some(record)) = (operands.first(), step.input(0)) else { return false };
        let (group, zero_point) = (operand.group, record.zero_point.get() as i8);
        if self.zero_points[group].is_some_and(|known| known != zero_point) {
            return false;
        }
        self.zero_points[group] = Some(zero_point);
        self.rows[group] = self.rows[group].max(reach.rows);
        self.columns[group] = self.columns[group].max(reach.columns);
        true
    }

    /// Gives the inputs and the output of every flat step one pitch. Buffers of an extent have the least padding that
    /// a window asks for; where one asks for more, what is computed from it has more too, and what else a step reads
    /// is copied.
    fn align(&mut self) -> Option<()> {
        let mut usual: HashMap<[usize; 2], usize> = HashMap::new();
        for (group, &columns) in
            self.flow.groups.iter().zip(&self.columns).filter(|(_, columns)| **columns > 0)
        {
            let least = usual.entry([group.h, group.w]).or_insert(columns);
            *least = columns.min(*least);
        }
        for (group, columns) in self.flow.groups.iter().zip(&mut self.columns) {
            *columns = (*columns).max(usual.get(&[group.h, group.w]).copied().unwrap_or(0));
        }
        let is_flat = |step: &Step<'_>| step.operation().is_ok_and(|operation| is_flat(step, &operation));
        let flat: Vec<Step<'m>> = self.model.steps().filter(is_flat).collect();
        let flat: Vec<Step<'m>> =
            flat.into_iter().filter(|step| self.native[step.index()].is_some()).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for step in &flat {
                let output = self.flow.values.get(step.index() + 1)?.group;
                for operand in &self.operands[step.index()] {
                    if self.columns[operand.group] > self.columns[output] {
                        self.columns[output] = self.columns[operand.group];
                        changed = true;
                    }
                }
            }
        }
        for step in &flat {
            let output = self.flow.values.get(step.index() + 1)?.group;
            let columns = self.columns[output];
            for n in 0..step.input_count() {
                let &Operand { group, channel, ref from } = self.operands[step.index()].get(n)?;
                if self.columns[group] == columns {
                    continue;
                }
                if matches!(from, From::Parts(_)) {
                    // A buffer of this step's own.
                    self.columns[group] = columns;
                    continue;
                }
                let record = step.input(n)?;
                let private = self.private(record.shape(), step);
                self.columns[private] = columns;
                let reach = self.native[step.index()].unwrap_or_default();
                if n == 0 && reach != Reach::default() {
                    self.rows[private] = reach.rows;
                    self.zero_points[private] = Some(record.zero_point.get() as i8);
                }
                let from = From::Elsewhere(group, channel);
                self.operands[step.index()][n] = Operand { group: private, channel: 0, from };
            }
        }
        Some(())
    }

    fn finish(self, level: Level) -> Option<Plan<'m>> {
        let layout = |(n, group): (usize, &Group)| {
            Layout::new([group.h, group.w, group.channels], self.columns[n], self.rows[n])
        };
        let layouts: Vec<Layout> = self.flow.groups.iter().enumerate().map(layout).collect();
        let (offsets, bytes) = allocate(&self.flow.groups, &layouts)?;
        let scratch = self.scratch_bytes();
        let mut placed = Placed { form: level.form(), draft: self, layouts, offsets, scratch: bytes };
        let image = Input { view: placed.value(0)?, seal: placed.seal(0) };
        let steps: Vec<Step<'m>> = placed.draft.model.steps().collect();
        let mut jobs = Vec::with_capacity(steps.len());
        let mut packed = 0;
        for step in steps {
            let job = placed.job(step)?;
            packed += match &job.work {
                Work::Conv(conv) => conv.weights.len(),
                Work::Depthwise(depthwise) => depthwise.weights.len(),
                _ => 0,
            };
            if packed > MEMORY_LIMIT {
                return None;
            }
            jobs.push(job);
        }
        let outputs = std::mem::take(&mut placed.draft.flow.outputs);
        let parts = outputs.iter().flat_map(|(_, parts)| parts);
        let outputs = parts.map(|&part| placed.transfer(part)).collect::<Option<Vec<_>>>()?;
        let bytes = bytes.checked_add(scratch).filter(|&bytes| bytes <= 2 * MEMORY_LIMIT)?;
        Some(Plan { level, evex: Level::has_vnni_256(), image, jobs, outputs, bytes })
    }

    /// Scratch memory of the step that wants most.
    fn scratch_bytes(&self) -> usize {
        let of = |step: Step<'_>| {
            let Ok(Operation::MaxPool(window)) = step.operation() else { return None };
            let [h, w] = pool_extent(&step, &window)?;
            Some(MaxPool::scratch_bytes(h, w))
        };
        self.model.steps().filter_map(of).max().unwrap_or(0)
    }
}

/// Rows and columns that a pool's windows cover, those outside the image included; `None` for large windows.
fn pool_extent(step: &Step<'_>, window: &Window) -> Option<[usize; 2]> {
    let [h, w, _] = step.input(0)?.shape();
    let [out_h, out_w, _] = step.output()?.shape();
    if window.kernel_h.max(window.kernel_w) > 16 || window.stride_h.max(window.stride_w) > 16 {
        return None;
    }
    let rows = ((out_h - 1) * window.stride_h + window.kernel_h).max(h + window.pad_top);
    let columns = ((out_w - 1) * window.stride_w + window.kernel_w).max(w + window.pad_left);
    Some([rows, columns])
}

/// A draft whose buffers have offsets.
struct Placed<'m> {
    form: Form,
    draft: Draft<'m>,
    layouts: Vec<Layout>,
    offsets: Vec<usize>,
    scratch: usize,
}

impl<'m> Placed<'m> {
    fn view(&self, group: usize, channel: usize, c: usize) -> Option<View> {
        Some(self.layouts.get(group)?.view(*self.offsets.get(group)?, channel / 4, c))
    }

    /// Where a value is.
    fn value(&self, number: usize) -> Option<View> {
        let value = self.draft.flow.values.get(number)?;
        let [_, _, c] = self.draft.model.tensor(value.tensor)?.shape();
        self.view(value.group, value.channel, c)
    }

    fn transfer(&self, number: usize) -> Option<Transfer> {
        let tensor = self.draft.flow.values.get(number)?.tensor;
        Some(Transfer { view: self.value(number)?, tensor })
    }

    fn seal(&self, number: usize) -> Option<Seal> {
        let group = self.draft.flow.values.get(number)?.group;
        self.seal_of(group, self.value(number)?)
    }

    fn seal_of(&self, group: usize, view: View) -> Option<Seal> {
        let zero_point = (*self.draft.zero_points.get(group)?)?;
        Some(Seal { view, value: (zero_point as u8) ^ 0x80 })
    }

    fn job(&self, step: Step<'m>) -> Option<Job<'m>> {
        let number = step.index() + 1;
        let operands = self.draft.operands.get(step.index())?;
        let output = self.value(number)?;
        let mut inputs = Vec::new();
        let native = self.draft.native.get(step.index())?.is_some();
        for (n, operand) in operands.iter().enumerate() {
            if native {
                inputs.push(self.view(operand.group, operand.channel, step.input(n)?.shape()[2])?);
            }
        }
        let work = if native { self.native(&step, &inputs, output) } else { None };
        let work = work.unwrap_or(Work::Portable);
        let portable = matches!(work, Work::Portable);
        let mut before = Vec::new();
        for (n, operand) in operands.iter().enumerate() {
            let (tensor, c) = (step.input_index(n)?, step.input(n)?.shape()[2]);
            let own = || {
                let view = self.view(operand.group, 0, c)?;
                Some((view, self.seal_of(operand.group, view)))
            };
            match &operand.from {
                From::Parts(parts) => {
                    for &part in parts {
                        before.push(Before::Store(self.transfer(part)?));
                    }
                    if !portable {
                        let (view, seal) = own()?;
                        before.push(Before::Load(Transfer { view, tensor }, seal));
                    }
                }
                &From::Elsewhere(group, channel) => {
                    let from = self.view(group, channel, c)?;
                    if portable {
                        before.push(Before::Store(Transfer { view: from, tensor }));
                    } else {
                        let (view, seal) = own()?;
                        before.push(Before::Copy(from, view, seal));
                    }
                }
                From::Here if portable => {
                    let view = self.view(operand.group, operand.channel, c)?;
                    before.push(Before::Store(Transfer { view, tensor }));
                }
                From::Here => {}
            }
        }
        Some(Job { step, before, work, output, seal: self.seal(number) })
    }

    /// The job of a kernel here; `None` where there is none after all.
    fn native(&self, step: &Step<'m>, inputs: &[View], output: View) -> Option<Work> {
        let (&input, record) = (inputs.first()?, step.input(0)?);
        let same_rows = input.layout.pitch == output.layout.pitch;
        Some(match step.operation().ok()? {
            Operation::Conv(conv) => Work::Conv(self.form.conv(&conv, input, output)?),
            Operation::Depthwise(depthwise) => {
                Work::Depthwise(self.form.depthwise(&depthwise, input, output)?)
            }
            Operation::Shortcut(shortcut) => {
                let &[a, b] = inputs else { return None };
                let zero_point = |n| Some(step.input(n)?.zero_point.get() as i8);
                Work::Add(pack::add(&shortcut, [a, b], [zero_point(0)?, zero_point(1)?], output)?)
            }
            Operation::Activate(table) if same_rows => Work::Map { input, post: table_of(table) },
            Operation::Rescale { epilogue: Some(epilogue), .. } if same_rows => {
                Work::Map { input, post: rescale_of(&epilogue, record.zero_point.get() as i8) }
            }
            Operation::MaxPool(window) => {
                let [h, w] = pool_extent(step, &window)?;
                Work::MaxPool(MaxPool { input, output, window, h, w, scratch: self.scratch })
            }
            Operation::Upsample { stride_h, stride_w } => {
                Work::Upsample(Upsample { input, output, stride_h, stride_w })
            }
            _ => return None,
        })
    }
}

/// A table of quantised values as one of stored values.
fn table_of(table: &Table) -> Post {
    Post::Table(Box::new(std::array::from_fn(|stored| (table[stored] as u8) ^ 0x80)))
}

/// Requantisation of single values as a table.
fn rescale_of(epilogue: &Epilogue<'_>, zero_point: i8) -> Post {
    let absent = Requant::new(0, 0, 1);
    let slopes = Slopes::of(epilogue.requant.first().copied().unwrap_or(absent));
    Post::Table(Box::new(std::array::from_fn(|stored| {
        let q = stored as i32 - 128;
        (epilogue.finish(q - i32::from(zero_point), slopes) as u8) ^ 0x80
    })))
}
