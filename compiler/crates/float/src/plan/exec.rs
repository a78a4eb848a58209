//! Running steps over a scratch.

use super::step::{Part, View};
use super::{Cut, Plan, build, team};
use crate::kernels::{Target, Workspace};
use secateur_ir::Source;

/// One thread's activations for one plan and its clones.
#[derive(Debug, Clone)]
pub struct Scratch {
    buffers: Vec<Vec<f32>>,
    image: Vec<f32>,
    workspaces: Vec<Workspace>,
    macs: u64,
}

impl Scratch {
    /// Multiply-accumulates run so far.
    pub fn macs(&self) -> u64 {
        self.macs
    }
}

/// Address of a value's numbers during a run.
#[derive(Clone, Copy)]
struct Place {
    start: *mut f32,
    len: usize,
}

// SAFETY: a `Place` is an address; who may read or write it is settled in `execute`.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Plan {
    /// Memory for one thread.
    pub fn scratch(&self) -> Scratch {
        Scratch {
            buffers: self.buffers.iter().map(|&len| vec![0.0; len]).collect(),
            image: Vec::new(),
            workspaces: vec![Workspace::default()],
            macs: 0,
        }
    }

    /// Runs the network on an image `[c][h][w]` in 0..1, on the calling thread.
    ///
    /// # Panics
    /// If the image has not the network's input size or `scratch` is another plan's.
    pub fn run(&self, scratch: &mut Scratch, input: &[f32]) {
        self.run_threaded(scratch, input, 1);
    }

    /// [`Plan::run`] with each layer shared between up to `threads` threads of rayon's pool. The
    /// result is the same to the bit.
    ///
    /// # Panics
    /// As [`Plan::run`].
    pub fn run_threaded(&self, scratch: &mut Scratch, input: &[f32], threads: usize) {
        let all: Vec<usize> = (0..self.steps.len()).collect();
        self.execute(scratch, &all, &[(Source::Image, input)], threads);
    }

    /// Runs a cut; `inputs` are the outputs that [`Cut::inputs`] names, in that order.
    ///
    /// # Panics
    /// If `inputs` are not of the named sizes, or `scratch` is another plan's.
    pub fn run_cut(&self, scratch: &mut Scratch, cut: &Cut, inputs: &[&[f32]]) {
        assert_eq!(inputs.len(), cut.inputs().len(), "a cut is given all its inputs");
        let external: Vec<(Source, &[f32])> =
            cut.inputs().iter().copied().zip(inputs.iter().copied()).collect();
        self.execute(scratch, &cut.steps, &external, 1);
    }

    /// Runs layers `from..to` on what `scratch` holds: the tensors of [`Plan::live_at`] must have
    /// been computed or [loaded](Plan::load), the image included.
    ///
    /// # Panics
    /// If `scratch` is another plan's, or the image is needed and was never loaded.
    pub fn run_range(&self, scratch: &mut Scratch, from: usize, to: usize) {
        let cut = self.range(from, to);
        let image = std::mem::take(&mut scratch.image);
        let external: &[(Source, &[f32])] =
            if cut.inputs().contains(&Source::Image) { &[(Source::Image, &image)] } else { &[] };
        self.execute(scratch, &cut.steps, external, 1);
        scratch.image = image;
    }

    /// Output of a kept layer after a run, `[c][h][w]`.
    ///
    /// # Panics
    /// If the layer was not kept.
    pub fn output<'s>(&self, scratch: &'s Scratch, layer: usize) -> &'s [f32] {
        assert!(self.kept[layer], "layer {layer} is kept");
        self.peek(scratch, Source::Layer(layer))
    }

    /// The tensor that `scratch` holds for `source`: its output if it is kept or live now.
    ///
    /// # Panics
    /// If the layer was fused into another one.
    pub fn peek<'s>(&self, scratch: &'s Scratch, source: Source) -> &'s [f32] {
        let View { value, start, len } = self.view(source);
        match self.buffer_of[value] {
            Some(buffer) => &scratch.buffers[buffer][start..start + len],
            None => &scratch.image[start..start + len],
        }
    }

    /// Stores the output of `source` for a later [`Plan::run_range`].
    ///
    /// # Panics
    /// If `values` has not the output's size, or the layer was fused into another one.
    pub fn load(&self, scratch: &mut Scratch, source: Source, values: &[f32]) {
        let View { value, start, len } = self.view(source);
        assert_eq!(values.len(), len, "the tensor has its layer's size");
        match self.buffer_of[value] {
            Some(buffer) => scratch.buffers[buffer][start..start + len].copy_from_slice(values),
            None => scratch.image = values.to_vec(),
        }
    }

    fn view(&self, source: Source) -> View {
        match source {
            Source::Image => View { value: build::IMAGE, start: 0, len: self.graph.input.len() },
            Source::Layer(layer) => self.views[layer].expect("the layer was not fused into another"),
        }
    }

    /// Runs `steps` in order; values in `external` are read where they are given.
    fn execute(&self, scratch: &mut Scratch, steps: &[usize], external: &[(Source, &[f32])], threads: usize) {
        let fits = scratch.buffers.len() == self.buffers.len()
            && scratch.buffers.iter().zip(&self.buffers).all(|(have, &need)| have.len() >= need);
        assert!(fits, "the scratch was made for this plan");
        scratch.workspaces.resize_with(threads.max(scratch.workspaces.len()), Workspace::default);
        scratch.macs += steps.iter().map(|&s| self.steps[s].macs).sum::<u64>();

        let buffers: Vec<Place> = scratch
            .buffers
            .iter_mut()
            .map(|buffer| Place { start: buffer.as_mut_ptr(), len: buffer.len() })
            .collect();
        let missing = Place { start: std::ptr::NonNull::dangling().as_ptr(), len: 0 };
        let mut places: Vec<Place> =
            self.buffer_of.iter().map(|buffer| buffer.map_or(missing, |b| buffers[b])).collect();
        for &(source, values) in external {
            let view = self.view(source);
            assert_eq!(values.len(), view.len, "the tensor of {source:?} has its layer's size");
            places[view.value] = Place { start: values.as_ptr().cast_mut(), len: values.len() };
        }
        let workspaces: Vec<std::sync::Mutex<&mut Workspace>> =
            scratch.workspaces.iter_mut().map(std::sync::Mutex::new).collect();

        let parts = |i: usize| self.steps[steps[i]].parts(&self.graph, threads);
        team::run(threads, steps.len(), parts, |i, part, worker| {
            let step = &self.steps[steps[i]];
            let (units, parts) = (step.units(&self.graph), parts(i));
            let read = |view: &View| -> &[f32] {
                let place = places[view.value];
                assert!(view.start + view.len <= place.len, "a tensor is there before it is read");
                // SAFETY: in range by the assertion; nobody writes it during this step, because the
                // step's output has a buffer of its own (`memory::assign` frees a buffer only after
                // the last step that reads it) and external tensors are never written.
                unsafe { std::slice::from_raw_parts(place.start.add(view.start), view.len) }
            };
            let inputs: Vec<&[f32]> = step.inputs.iter().map(read).collect();
            let output = places[step.output];
            assert!(step.output_len <= output.len, "a buffer holds its value");
            // SAFETY: in range by the assertion; the buffer is borrowed mutably through `scratch`
            // for the whole call, and this step reads none of it (see above).
            let target = unsafe { Target::new(output.start, step.output_len) };
            let mut workspace = workspaces[worker].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.arch.dispatch(Part {
                graph: &self.graph,
                step,
                inputs: &inputs,
                target,
                units: units * part / parts..units * (part + 1) / parts,
                workspace: &mut workspace,
            });
        });
    }
}
