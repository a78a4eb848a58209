//! The lowered network: the location of every layer's output, and the work that it takes.
//!
//! Time runs in *ticks*: the image is there at tick 0, task `i` runs at tick `i + 1`. A *value* is
//! the image (0) or the output of layer `i` (`i + 1`). Without a [`Stage`] each layer is one task, so that a value is allocated
//! at the tick of its number.
//!
//! Invariants, checked by [`CpuProgram::verify`] after every pass in debug builds and tests:
//! 1. every value is inside its storage: equal rows (fewer in a window) and columns, channels within the pixel;
//! 2. a value that is read, or read later, is overwritten by nobody: two values that share bytes
//!    without one being a view of the other are never alive together;
//! 3. no kernel reads bytes that it writes, except the operand that it overwrites in place;
//! 4. once the arena is planned: storages alive together do not overlap, and all are inside it.

use std::fmt::Write as _;
use std::ops::Range;

use super::bands::{self, Stage};
use super::packing::Packing;
use super::row_lives::RowLives;
use crate::arena::{self, ArenaPlan, LivePart, Parts};
use crate::target::WeightOrder;
use secateur_base::{Error, Result};
use secateur_ir::{Shape, Source};
use secateur_quant::net::{QNet, QOp, QSoftmax};

/// 0 is the image, `i + 1` the output of layer `i`.
pub type ValueId = usize;

/// The value that `source` names.
pub fn value(source: Source) -> ValueId {
    match source {
        Source::Image => 0,
        Source::Layer(layer) => layer + 1,
    }
}

/// Bytes `[h][w][c]` in the arena; a pixel's channels are contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage {
    pub shape: Shape,
    /// Every row is there once it is written; else rows give way to others while the stage runs.
    pub whole: bool,
}

impl Storage {
    pub(super) fn whole(shape: Shape) -> Self {
        Self { shape, whole: true }
    }

    /// Bytes of a row.
    pub(super) fn row_bytes(&self) -> usize {
        self.shape.w * self.shape.c
    }
}

/// A value's allocation: channels `channel ..` of every pixel of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    pub storage: usize,
    pub channel: usize,
}

/// The work of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerAction {
    /// Its kernel runs, into bytes of its own.
    Compute,
    /// Its kernel runs and overwrites its input of this position.
    InPlace(usize),
    /// Nothing: its bytes are its input's.
    View,
    /// Concatenation: inputs of these positions are copied, the others are allocated in the concatenation.
    Concat { copied: Vec<usize> },
}

/// What is done at a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// These rows of a layer's output are computed; nothing happens where the layer has no kernel.
    Layer { layer: usize, rows: Range<usize> },
    /// These rows of a window's feature map move `by` rows towards its beginning.
    Move { storage: usize, rows: Range<usize>, by: usize },
}

/// An int8 network with allocations and actions.
#[derive(Debug, Clone)]
pub struct CpuProgram<'a> {
    pub net: &'a QNet,
    /// Bytes that storages are aligned to.
    pub align: usize,
    /// By value.
    pub allocations: Vec<Allocation>,
    /// Some are used by no value once passes have merged them.
    pub storages: Vec<Storage>,
    /// By layer.
    pub actions: Vec<LayerAction>,
    /// By layer: the order of constants that are not dense.
    pub packings: Vec<Option<Packing>>,
    /// By layer: the storage that is its workspace.
    pub scratch: Vec<Option<usize>>,
    /// The layers that run in bands.
    pub stage: Option<Stage>,
    /// In the order of execution.
    pub tasks: Vec<Task>,
    /// Offsets of [`CpuProgram::live_storages`], in their order.
    pub arena: Option<ArenaPlan>,
    /// Bytes that are alive at the fullest tick even if no concatenation is copied.
    pub least_bytes: usize,
}

impl<'a> CpuProgram<'a> {
    /// Every value in a storage of its own, every layer computed, constants in `order`.
    pub fn new(net: &'a QNet, align: usize, order: WeightOrder) -> Self {
        let shapes = std::iter::once(net.input.shape).chain(net.nodes.iter().map(|n| n.output.shape));
        let storages: Vec<Storage> = shapes.map(Storage::whole).collect();
        let allocations = (0..storages.len()).map(|storage| Allocation { storage, channel: 0 }).collect();
        let actions = net
            .nodes
            .iter()
            .map(|node| match node.op {
                QOp::Route(_) => LayerAction::Concat { copied: (0..node.inputs.len()).collect() },
                _ => LayerAction::Compute,
            })
            .collect();
        let packings = (0..net.nodes.len()).map(|layer| Packing::of(net, layer, order)).collect();
        let scratch = vec![None; net.nodes.len()];
        let mut program = Self {
            net,
            align,
            allocations,
            storages,
            actions,
            packings,
            scratch,
            stage: None,
            tasks: Vec::new(),
            arena: None,
            least_bytes: 0,
        };
        program.tasks = (0..net.nodes.len()).map(|layer| program.whole_layer(layer)).collect();
        program
    }

    /// The task of a whole layer.
    pub(super) fn whole_layer(&self, layer: usize) -> Task {
        Task::Layer { layer, rows: 0..self.shape(layer + 1).h }
    }

    /// Returns true if `layer` runs in bands.
    pub fn in_stage(&self, layer: usize) -> bool {
        self.stage.is_some_and(|stage| layer < stage.layers)
    }

    /// Shape of a value.
    pub fn shape(&self, value: ValueId) -> Shape {
        match value {
            0 => self.net.input.shape,
            _ => self.net.nodes[value - 1].output.shape,
        }
    }

    /// Values that a layer reads, in the order of its inputs.
    pub fn inputs(&self, layer: usize) -> impl Iterator<Item = ValueId> + '_ {
        self.net.nodes[layer].inputs.iter().map(|&source| value(source))
    }

    /// For every value, the last tick at which its bytes are read if layers run one by one; its first tick if they never are.
    /// Heads, which the user reads, are live to the end.
    pub fn last_reads(&self) -> Vec<usize> {
        let mut last: Vec<usize> = (0..self.allocations.len()).collect();
        for layer in 0..self.net.nodes.len() {
            for input in self.inputs(layer) {
                last[input] = layer + 1;
            }
        }
        for head in self.net.heads() {
            let end = self.net.nodes.len() + 1;
            last[head + 1] = end;
            last[self.logits(head).0] = end;
        }
        last
    }

    /// Returns the value that a classifier's last layer is decoded from: the input of its softmax (with that softmax),
    /// or the layer's own output.
    pub fn logits(&self, layer: usize) -> (ValueId, Option<&'a QSoftmax>) {
        let node = &self.net.nodes[layer];
        match (&node.op, node.inputs[0]) {
            (QOp::Softmax(softmax), input) if softmax.groups == 1 => (value(input), Some(softmax)),
            (QOp::Identity, Source::Layer(before)) => match self.logits(before) {
                (logits, Some(softmax)) => (logits, Some(softmax)),
                (_, None) => (layer + 1, None),
            },
            _ => (layer + 1, None),
        }
    }

    /// The tick after the last task, when heads are decoded.
    pub fn end(&self) -> usize {
        self.tasks.len() + 1
    }

    /// Moves all values in `storage` to the channels from `into` on.
    pub(super) fn merge(&mut self, storage: usize, into: Allocation) {
        for allocation in &mut self.allocations {
            if allocation.storage == storage {
                *allocation =
                    Allocation { storage: into.storage, channel: allocation.channel + into.channel };
            }
        }
    }

    /// Returns true if two values share bytes.
    pub fn share_bytes(&self, a: ValueId, b: ValueId) -> bool {
        let (p, q) = (self.allocations[a], self.allocations[b]);
        p.storage == q.storage
            && p.channel < q.channel + self.shape(b).c
            && q.channel < p.channel + self.shape(a).c
    }

    /// Bytes of a layer's workspace.
    pub fn scratch_bytes(&self, layer: usize) -> usize {
        self.scratch[layer].map_or(0, |storage| self.storages[storage].shape.len())
    }

    /// Rows of its inputs that a task of `layer` reads for `rows` of its output, and rows of padding above them; `None` for the
    /// whole inputs with the layer's own padding.
    pub fn band(&self, layer: usize, rows: &Range<usize>) -> Option<(Range<usize>, usize)> {
        self.in_stage(layer).then(|| bands::rows_read(self.net, layer, rows.clone()))
    }

    /// Storages that hold a value or are workspace, with the spans of ticks over which their rows must keep their bytes.
    pub fn live_storages(&self) -> Vec<(usize, Parts)> {
        let mut lives: Vec<RowLives> = vec![RowLives::default(); self.storages.len()];
        let height = |value: ValueId| self.shape(value).h;
        lives[self.allocations[0].storage].touch(0..height(0), 0);
        let mut scratch: Vec<Parts> = vec![Vec::new(); self.storages.len()];
        for (index, task) in self.tasks.iter().enumerate() {
            let tick = index + 1;
            match task {
                Task::Layer { layer, rows } => {
                    let band = self.band(*layer, rows);
                    for input in self.inputs(*layer) {
                        let read = band.as_ref().map_or(0..height(input), |(read, _)| read.clone());
                        lives[self.allocations[input].storage].touch(read, tick);
                    }
                    lives[self.allocations[layer + 1].storage].touch(rows.clone(), tick);
                    if let Some(storage) = self.scratch[*layer] {
                        let bytes = self.scratch_bytes(*layer);
                        scratch[storage].push(LivePart { at: 0, bytes, first: tick, last: tick });
                    }
                }
                Task::Move { storage, rows, by } => lives[*storage].advance(rows.clone(), *by, tick),
            }
            // What later layers read of the stage is whole when it ends.
            if let Some(stage) = self.stage
                && self.tasks.get(tick) == Some(&self.whole_layer(stage.layers))
            {
                for value in (1..=stage.layers).filter(|&v| self.is_whole(v)) {
                    lives[self.allocations[value].storage].touch(0..height(value), tick);
                }
            }
        }
        for head in self.net.heads() {
            for value in [head + 1, self.logits(head).0] {
                lives[self.allocations[value].storage].touch(0..height(value), self.end());
            }
        }
        let parts = lives.into_iter().zip(scratch).zip(&self.storages).map(|((lives, scratch), storage)| {
            if scratch.is_empty() { lives.parts(storage.row_bytes()) } else { scratch }
        });
        parts.enumerate().filter(|(_, parts)| !parts.is_empty()).collect()
    }

    /// Returns true if all rows of a value are there at a time.
    pub fn is_whole(&self, value: ValueId) -> bool {
        self.storages[self.allocations[value].storage].whole
    }

    /// The layer that a tick belongs to: the image's and the heads' ticks to their neighbours.
    pub fn layer_at(&self, tick: usize) -> usize {
        let last = self.net.nodes.len() - 1;
        match self.tasks.get(tick.saturating_sub(1)) {
            Some(Task::Layer { layer, .. }) => *layer,
            Some(Task::Move { storage, .. }) => self.layer_of(*storage),
            None => last,
        }
    }

    /// The last layer whose output fills a storage.
    pub fn layer_of(&self, storage: usize) -> usize {
        let whole = Allocation { storage, channel: 0 };
        let channels = self.storages[storage].shape.c;
        let fills = |&v: &ValueId| self.allocations[v] == whole && self.shape(v).c == channels;
        (1..self.allocations.len()).rev().find(fills).unwrap_or(1) - 1
    }

    /// Bytes that are needed at the fullest tick when every value is counted by its own life: what
    /// no plan with these actions can go below, wherever concatenations are.
    pub fn lower_bound(&self) -> usize {
        self.fullest_tick().1
    }

    /// The parts of [`CpuProgram::live_storages`].
    pub(super) fn buffers(&self) -> Vec<Parts> {
        self.live_storages().into_iter().map(|(_, parts)| parts).collect()
    }

    /// The first tick with the most live bytes, and those bytes.
    pub fn fullest_tick(&self) -> (usize, usize) {
        let live = self.live_bytes();
        let most = live.iter().copied().max().unwrap_or(0);
        (live.iter().position(|&bytes| bytes == most).unwrap_or(0), most)
    }

    /// By tick: bytes of the values that are alive, and of the layer's workspace.
    pub fn live_bytes(&self) -> Vec<usize> {
        if self.stage.is_some() {
            let buffers = self.buffers();
            let live = |tick| arena::live_at(&buffers, tick);
            return (0..=self.end()).map(live).collect();
        }
        let last = self.last_reads();
        let live_at = |tick: usize| {
            // Channels of each storage in use at this tick, as ranges that are merged below.
            let mut used: Vec<(usize, usize, usize)> = (0..self.allocations.len())
                .filter(|&v| v <= tick && tick <= last[v])
                .map(|v| (self.allocations[v].storage, self.allocations[v].channel, self.shape(v).c))
                .collect();
            used.sort_unstable();
            let mut live =
                tick.checked_sub(1).filter(|&l| l < self.scratch.len()).map_or(0, |l| self.scratch_bytes(l));
            let mut reached = (usize::MAX, 0);
            for (storage, channel, count) in used {
                if storage != reached.0 {
                    reached = (storage, 0);
                }
                let fresh = (channel + count).saturating_sub(reached.1.max(channel));
                live += fresh * self.storages[storage].shape.plane();
                reached.1 = reached.1.max(channel + count);
            }
            live
        };
        (0..=self.end()).map(live_at).collect()
    }

    /// The most tasks that a layer of the stage has; 1 without a stage.
    pub fn bands(&self) -> usize {
        let tasks_of = |own: usize| {
            let is_own = |task: &&Task| matches!(task, Task::Layer { layer, .. } if *layer == own);
            self.tasks.iter().filter(is_own).count()
        };
        (0..self.stage.map_or(0, |stage| stage.layers)).map(tasks_of).max().unwrap_or(1)
    }

    /// Multiply-accumulates of all tasks.
    pub fn computed_macs(&self) -> u64 {
        let of = |task: &Task| match task {
            Task::Layer { layer, rows } => {
                let height = self.shape(layer + 1).h as u64;
                crate::cost::macs(self.net, *layer) / height * rows.len() as u64
            }
            Task::Move { .. } => 0,
        };
        self.tasks.iter().map(of).sum()
    }

    /// Bytes that windows move.
    pub fn moved_bytes(&self) -> usize {
        let of = |task: &Task| match task {
            Task::Move { storage, rows, .. } => rows.len() * self.storages[*storage].row_bytes(),
            Task::Layer { .. } => 0,
        };
        self.tasks.iter().map(of).sum()
    }

    /// Bytes that concatenations copy.
    pub fn copied_bytes(&self) -> usize {
        let copied = |(layer, action): (usize, &LayerAction)| match action {
            LayerAction::Concat { copied } => {
                let plane = self.shape(layer + 1).plane();
                copied.iter().map(|&position| self.slice_channels(layer, position) * plane).sum()
            }
            _ => 0,
        };
        self.actions.iter().enumerate().map(copied).sum()
    }

    /// Returns true if a layer reads bytes that it writes, apart from an operand that it overwrites in place.
    pub fn reads_what_it_writes(&self, layer: usize) -> bool {
        self.inputs(layer).enumerate().any(|(position, operand)| match &self.actions[layer] {
            LayerAction::View => false,
            LayerAction::InPlace(own) if *own == position => false,
            LayerAction::Compute | LayerAction::InPlace(_) => self.share_bytes(operand, layer + 1),
            LayerAction::Concat { copied } => copied.contains(&position) && !self.keeps_bytes(layer, operand),
        })
    }

    /// Checks the invariants at the top of this file.
    pub fn verify(&self) -> Result<()> {
        for (value, allocation) in self.allocations.iter().enumerate() {
            let (own, all) = (self.shape(value), self.storages[allocation.storage].shape);
            let rows = own.h == all.h || own.h > all.h && !self.is_whole(value);
            if !rows || own.w != all.w || allocation.channel + own.c > all.c {
                return Err(Error::internal(format!("value {value} is outside its storage")));
            }
        }
        let last = self.last_reads();
        for later in 1..self.allocations.len() {
            let layer = later - 1;
            for (earlier, &last) in last[..later].iter().enumerate() {
                if self.clobbers(layer, earlier, last) {
                    return Err(Error::internal(format!(
                        "layer {layer} overwrites value {earlier} too early"
                    )));
                }
            }
            if self.reads_what_it_writes(layer) {
                return Err(Error::internal(format!("layer {layer} reads bytes that it writes")));
            }
        }
        if let Some(arena) = &self.arena {
            let live = self.live_storages();
            for (i, (a, parts)) in live.iter().enumerate() {
                let from = arena.offsets[i];
                if from % self.align != 0 || parts.iter().any(|part| from + part.end() > arena.bytes) {
                    return Err(Error::internal(format!("storage {a} is outside the arena")));
                }
                for (j, (b, others)) in live.iter().enumerate().skip(i + 1) {
                    let clash = |part: &LivePart, other: &LivePart| {
                        let apart = from + part.end() <= arena.offsets[j] + other.at
                            || arena.offsets[j] + other.end() <= from + part.at;
                        part.overlaps(other) && !apart
                    };
                    if parts.iter().any(|part| others.iter().any(|other| clash(part, other))) {
                        return Err(Error::internal(format!("storages {a} and {b} overlap")));
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns true if `layer` overwrites bytes of `earlier` that are read then or later.
    fn clobbers(&self, layer: usize, earlier: ValueId, last_read: usize) -> bool {
        self.share_bytes(earlier, layer + 1)
            && last_read > layer
            && !self.keeps_bytes(layer, earlier)
            && !self.overwrites(layer, earlier, last_read)
    }

    /// Returns true if every value of a storage is intact as long as it is read.
    pub(super) fn is_intact(&self, storage: usize) -> bool {
        let last = self.last_reads();
        let values: Vec<ValueId> =
            (0..self.allocations.len()).filter(|&v| self.allocations[v].storage == storage).collect();
        values.iter().enumerate().all(|(i, &later)| {
            values[..i].iter().all(|&earlier| !self.clobbers(later - 1, earlier, last[earlier]))
        })
    }

    /// Returns true if `layer` leaves the bytes of `earlier` as they are.
    fn keeps_bytes(&self, layer: usize, earlier: ValueId) -> bool {
        match &self.actions[layer] {
            LayerAction::View => true,
            LayerAction::Concat { copied } => copied.iter().all(|&position| {
                if self.allocations[earlier].storage != self.allocations[layer + 1].storage {
                    return true;
                }
                let channel = self.concat_channel(layer, position);
                let count = self.slice_channels(layer, position);
                let allocation = self.allocations[earlier];
                channel >= allocation.channel + self.shape(earlier).c || allocation.channel >= channel + count
            }),
            LayerAction::Compute | LayerAction::InPlace(_) => false,
        }
    }

    /// Returns true if `layer` overwrites `earlier` in place, as its last consumer.
    fn overwrites(&self, layer: usize, earlier: ValueId, last_read: usize) -> bool {
        let LayerAction::InPlace(position) = self.actions[layer] else { return false };
        let operand = value(self.net.nodes[layer].inputs[position]);
        last_read == layer + 1
            && self.allocations[operand] == self.allocations[layer + 1]
            && earlier == operand
    }

    /// Channels that input `position` of a route brings.
    pub fn slice_channels(&self, layer: usize, position: usize) -> usize {
        let node = &self.net.nodes[layer];
        let QOp::Route(route) = &node.op else { return 0 };
        self.shape(value(node.inputs[position])).c / route.groups
    }

    /// First channel, in the storage, of what input `position` of a route brings.
    pub fn concat_channel(&self, layer: usize, position: usize) -> usize {
        let before: usize = (0..position).map(|p| self.slice_channels(layer, p)).sum();
        self.allocations[layer + 1].channel + before
    }

    /// The program as text, one line a layer.
    pub fn dump(&self) -> String {
        let last = self.last_reads();
        let live = self.live_storages();
        let mut text = String::from("value  operator         action          shape          place  live\n");
        for (value, allocation) in self.allocations.iter().enumerate() {
            let shape = self.shape(value);
            let (name, operator, action) = match value {
                0 => ("input".to_owned(), "", String::new()),
                _ => {
                    let action = match &self.actions[value - 1] {
                        LayerAction::Compute => "compute".to_owned(),
                        LayerAction::InPlace(position) => format!("in place {position}"),
                        LayerAction::View => "view".to_owned(),
                        LayerAction::Concat { copied } if copied.is_empty() => "concat".to_owned(),
                        LayerAction::Concat { copied } => format!("concat copy {copied:?}"),
                    };
                    ((value - 1).to_string(), self.net.nodes[value - 1].op.name(), action)
                }
            };
            let storage = self.storages[allocation.storage].shape;
            let _ = write!(
                text,
                "{name:>5}  {operator:<15}  {action:<15} {:>4}x{}x{}  s{}[{}..{}/{}] {value}..={}",
                shape.h,
                shape.w,
                shape.c,
                allocation.storage,
                allocation.channel,
                allocation.channel + shape.c,
                storage.c,
                last[value],
            );
            let at = live.iter().position(|(storage, _)| *storage == allocation.storage);
            if let (Some(arena), Some(at)) = (&self.arena, at) {
                let _ = write!(text, "  @{}", arena.offsets[at]);
            }
            text.push('\n');
        }
        if let Some(arena) = &self.arena {
            let _ = writeln!(text, "arena {} bytes, lower bound {}", arena.bytes, self.least_bytes);
        }
        text
    }
}
