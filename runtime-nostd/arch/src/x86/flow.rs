//! Which step's bytes a step reads: the artefact's memory plan turned into values.
//!
//! An artefact places tensors in an arena, where slices of a wider tensor are how a concatenation costs nothing.
//! Here every write of a tensor begins a [`Value`], and values that are read as one tensor share a [`Group`].

use secateur_runtime::artefact::Model;
use secateur_runtime::artefact::format::TensorRecord;

/// What a step, or the image, writes.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) tensor: usize,
    pub(super) group: usize,
    /// Channel of the group's buffer at which it begins, a multiple of four.
    pub(super) channel: usize,
}

/// Values that are side by side in one buffer of h × w pixels.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) channels: usize,
    /// Number of the first step that writes it and the last that reads it, 0 for the image and counting from 1.
    pub(super) first: usize,
    pub(super) last: usize,
}

/// What a step reads as one tensor.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Channels of one group from a multiple of four on.
    Direct { group: usize, channel: usize },
    /// Parts, in ascending order of channels, that no buffer can hold side by side.
    Parts(Vec<usize>),
}

/// Values of a network and what each step reads.
#[derive(Debug)]
pub(super) struct Flow {
    /// The image, then one for each step.
    pub(super) values: Vec<Value>,
    pub(super) groups: Vec<Group>,
    /// By step, by operand.
    pub(super) inputs: Vec<Vec<Source>>,
    /// What is read after the last step, by tensor: heads, and the last step's output.
    pub(super) outputs: Vec<(usize, Vec<usize>)>,
}

/// A tensor's place in the arena.
#[derive(Debug, Clone, Copy)]
struct Extent {
    offset: usize,
    pitch: usize,
    h: usize,
    w: usize,
    c: usize,
}

impl Extent {
    fn of(record: &TensorRecord) -> Self {
        let [h, w, c] = record.shape();
        Self { offset: record.offset.get() as usize, pitch: record.pitch.get() as usize, h, w, c }
    }

    fn end(&self) -> usize {
        self.offset + (self.h * self.w - 1) * self.pitch + self.c
    }

    /// Whether both have pixels at the same distances.
    fn is_alike(&self, other: &Self) -> bool {
        (self.h, self.w, self.pitch) == (other.h, other.w, other.pitch)
            && self.offset.abs_diff(other.offset) < self.pitch
    }

    /// Whether a byte belongs to both.
    fn overlaps(&self, other: &Self) -> bool {
        if self.end() <= other.offset || other.end() <= self.offset {
            return false;
        }
        if !self.is_alike(other) {
            // Slices of different phase or pitch: taken as overlapping, which only costs speed.
            return true;
        }
        let (low, high) = if self.offset <= other.offset { (self, other) } else { (other, self) };
        let phase = high.offset - low.offset;
        phase < low.c || phase + high.c > low.pitch
    }
}

/// The parts that a read consists of.
struct Builder<'m> {
    model: Model<'m>,
    extents: Vec<Extent>,
    /// Values whose bytes are in the arena, by their number.
    current: Vec<usize>,
    /// Value numbers joined into groups: a forest of parents.
    parent: Vec<usize>,
    tensors: Vec<usize>,
    last: Vec<usize>,
}

impl Builder<'_> {
    fn extent(&self, value: usize) -> Extent {
        self.extents[self.tensors[value]]
    }

    fn root(&self, mut value: usize) -> usize {
        while self.parent[value] != value {
            value = self.parent[value];
        }
        value
    }

    fn write(&mut self, tensor: usize) {
        let extent = self.extents[tensor];
        let tensors = &self.tensors;
        let extents = &self.extents;
        self.current.retain(|&value| !extents[tensors[value]].overlaps(&extent));
        let value = self.tensors.len();
        self.tensors.push(tensor);
        self.parent.push(value);
        self.last.push(value);
        self.current.push(value);
    }

    /// Values that hold tensor `tensor` for step number `step`, ascending by channel; `None` where some of its
    /// bytes were not written, or in another form.
    fn read(&mut self, tensor: usize, step: usize) -> Option<Vec<usize>> {
        let wanted = self.extents[tensor];
        let mut parts: Vec<usize> =
            self.current.iter().copied().filter(|&value| self.extent(value).overlaps(&wanted)).collect();
        parts.sort_by_key(|&value| self.extent(value).offset);
        let mut next = wanted.offset;
        for &value in &parts {
            let part = self.extent(value);
            if !part.is_alike(&wanted) || part.offset > next {
                return None;
            }
            next = part.offset + part.c;
            self.last[value] = self.last[value].max(step);
        }
        (next >= wanted.offset + wanted.c).then_some(parts)
    }

    /// Joins parts into one group if they begin at multiples of four from each other.
    fn join(&mut self, parts: &[usize]) -> bool {
        let first = self.extent(parts[0]).offset;
        let (_, inner) = parts.split_last().unwrap_or((&0, &[]));
        let aligned = parts.iter().all(|&value| (self.extent(value).offset - first).is_multiple_of(4))
            && inner.iter().all(|&value| self.extent(value).c.is_multiple_of(4));
        if aligned {
            for &value in parts {
                let (a, b) = (self.root(value), self.root(parts[0]));
                self.parent[a.max(b)] = a.min(b);
            }
        }
        aligned
    }
}

impl Flow {
    /// Follows every byte of `model` from writer to reader; `None` where a step reads what no step wrote, or
    /// bytes of several tensors in another form: such are the bands of `compile --patch`.
    pub(super) fn new(model: &Model<'_>) -> Option<Self> {
        let extents: Vec<Extent> = (0..model.tensor_count())
            .map(|index| model.tensor(index).map(Extent::of))
            .collect::<Option<_>>()?;
        let mut builder = Builder {
            model: *model,
            extents,
            current: Vec::new(),
            parent: Vec::new(),
            tensors: Vec::new(),
            last: Vec::new(),
        };
        builder.write(model.input());
        let mut reads: Vec<Vec<(usize, Vec<usize>, bool)>> = Vec::new();
        for step in model.steps() {
            let mut operands = Vec::new();
            for n in 0..step.input_count() {
                let tensor = step.input_index(n)?;
                let parts = builder.read(tensor, step.index() + 1)?;
                let joined = builder.join(&parts);
                operands.push((tensor, parts, joined));
            }
            reads.push(operands);
            builder.write(step.output_index());
        }
        let end = model.step_count() + 1;
        let last = model.steps().last().map(|step| step.output_index());
        let mut outputs: Vec<(usize, Vec<usize>)> = Vec::new();
        for tensor in model.heads().map(|head| head.tensor).chain(last) {
            if outputs.iter().all(|&(known, _)| known != tensor) {
                outputs.push((tensor, builder.read(tensor, end)?));
            }
        }
        Some(builder.finish(&reads, outputs))
    }
}

impl Builder<'_> {
    fn finish(self, reads: &[Vec<(usize, Vec<usize>, bool)>], outputs: Vec<(usize, Vec<usize>)>) -> Flow {
        let count = self.tensors.len();
        let mut groups = Vec::new();
        let mut group_of: Vec<usize> = Vec::with_capacity(count);
        let mut base = Vec::new();
        for value in 0..count {
            let root = self.root(value);
            let extent = self.extent(value);
            if root == value {
                group_of.push(groups.len());
                base.push(extent.offset);
                groups.push(Group { h: extent.h, w: extent.w, channels: 0, first: value, last: 0 });
            } else {
                // A root is the first value of its group.
                group_of.push(group_of[root]);
            }
            let group = group_of[value];
            base[group] = base[group].min(extent.offset);
            // A value is number `step + 1`, the image 0.
            groups[group].last = groups[group].last.max(self.last[value]).max(value);
        }
        let mut values = Vec::with_capacity(count);
        for (value, &group) in group_of.iter().enumerate() {
            let extent = self.extent(value);
            let channel = extent.offset - base[group];
            groups[group].channels = groups[group].channels.max(channel + extent.c);
            values.push(Value { tensor: self.tensors[value], group, channel });
        }
        let source = |&(tensor, ref parts, joined): &(usize, Vec<usize>, bool)| {
            let group = group_of[parts[0]];
            let channel = self.extents[tensor].offset - base[group];
            if joined && channel.is_multiple_of(4) {
                Source::Direct { group, channel }
            } else {
                Source::Parts(parts.clone())
            }
        };
        let inputs = reads.iter().map(|operands| operands.iter().map(source).collect()).collect();
        debug_assert_eq!(self.model.step_count() + 1, count);
        Flow { values, groups, inputs, outputs }
    }
}
