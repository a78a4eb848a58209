//! An artefact on this machine: the integer runtime behind the interfaces of the evaluation.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use secateur_runtime::artefact::format::{HeadKind, MAGIC, NONE, StepKind, TensorRecord, head_flags};
use secateur_runtime::artefact::{Head, Model, Operation, Step};
use secateur_runtime::detect::{self, classify};
use secateur_runtime::{Engine, Tensor};

use secateur_base::limits::MAX_ARTEFACT_BYTES;
use secateur_base::{Error, Result, files};
use secateur_data::Frame;
use secateur_eval::fixed_point::{Q15, Q16, dequantise, softmax, table_index};
use secateur_eval::{self as eval, Detector, Heads};
use secateur_ir::{self as graph, NmsKind, Shape};
use secateur_kernels::{HostKernels, HostMemory, HostPlan};

/// Room for detections before suppression: what mAP needs at its low threshold.
const DETECTIONS: usize = 1 << 14;

/// Returns true if a file begins as an artefact does; false if it cannot be read.
pub fn is_artefact(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; MAGIC.len()];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == MAGIC
}

/// Reads an artefact's bytes; [`Deployed::new`] checks them.
pub fn read_artefact(path: &Path) -> Result<Vec<u8>> {
    files::read_limited(path, MAX_ARTEFACT_BYTES)
}

/// A checked artefact, ready to run on several threads at once.
pub struct Deployed<'a> {
    model: Model<'a>,
    layout: Heads,
    /// Darknet's layer number and the tensor that holds the layer's whole output, ascending.
    outputs: Vec<(usize, usize)>,
    /// Weights as this processor's executor wants them, packed for the first run.
    plan: OnceLock<HostPlan<'a>>,
    /// Memory of runs that are over, for the next ones.
    arenas: Mutex<Vec<(Vec<u8>, HostMemory)>>,
}

/// A layer's output in the arena.
pub struct LayerOutput<'t> {
    /// Number that Darknet prints.
    pub layer: usize,
    /// Kernel of its last step; `view` where it has none.
    pub kernel: &'static str,
    pub record: &'t TensorRecord,
    pub values: Tensor<'t>,
}

impl LayerOutput<'_> {
    /// Quantised values without gaps, `[h][w][c]`.
    pub fn int8(&self) -> Vec<i8> {
        let mut int8 = vec![0; self.record.elements()];
        self.values.copy_to(&mut int8);
        int8
    }

    /// Real values `[c][h][w]`, as the float network's layers hold them.
    pub fn reals(&self) -> Vec<f32> {
        channel_major(self.record, &self.int8())
    }
}

impl<'a> Deployed<'a> {
    /// Checks the bytes once; `path` is for messages.
    pub fn new(bytes: &'a [u8], path: &Path) -> Result<Self> {
        let model = Model::from_bytes(bytes).map_err(|e| {
            Error::new(e.to_string()).file(path).help("write the artefact again with `secateur compile`")
        })?;
        let records = (0..model.tensor_count()).filter_map(|index| Some((index, model.tensor(index)?)));
        let mut outputs = Vec::new();
        for (index, record) in records {
            // Whole outputs come first, in the order of layers, without those that are never whole; slices follow.
            let Some(layer) = record.layer() else { continue };
            match outputs.last() {
                Some(&(before, _)) if layer as usize <= before => break,
                _ => outputs.push((layer as usize, index)),
            }
        }
        let layout = layout(&model);
        Ok(Self { model, layout, outputs, plan: OnceLock::new(), arenas: Mutex::default() })
    }

    /// The checked view.
    pub fn model(&self) -> &Model<'a> {
        &self.model
    }

    /// Class names, empty where the artefact has none.
    pub fn names(&self) -> Vec<String> {
        (0..self.model.class_count()).map(|class| self.model.class_name(class).to_owned()).collect()
    }

    /// Number of Darknet layers.
    pub fn layer_count(&self) -> usize {
        self.outputs.last().map_or(0, |&(layer, _)| layer + 1)
    }

    /// The tensor that holds a layer's output once the layer is done; `None` where bands of it follow each other.
    pub fn output(&self, layer: usize) -> Option<&'a TensorRecord> {
        let at = self.outputs.binary_search_by_key(&layer, |&(layer, _)| layer).ok()?;
        self.model.tensor(self.outputs.get(at)?.1)
    }

    /// The image's quantised values, `[h][w][c]`: `round(255 · v) − 128` of `[c][h][w]` values in 0..1.
    pub fn quantise(&self, input: &[f32]) -> Vec<i8> {
        secateur_data::quantise_image(self.layout.input, input)
    }

    /// Lends an engine over memory of its own to `work`.
    pub fn with_engine<T>(&self, work: impl FnOnce(&mut Engine<'a, '_, HostKernels>) -> T) -> T {
        self.with_memory(|engine, _| work(engine))
    }

    /// Runs `int8` and lends the engine to `work`: it holds what heads read, and the last layer's output.
    fn with_outputs<T>(&self, int8: &[i8], work: impl FnOnce(&Engine<'a, '_, HostKernels>) -> T) -> T {
        let plan = self.plan.get_or_init(|| HostPlan::new(&self.model));
        self.with_memory(|engine, memory| {
            plan.run(memory, engine, int8);
            work(engine)
        })
    }

    fn with_memory<T>(&self, work: impl FnOnce(&mut Engine<'a, '_, HostKernels>, &mut HostMemory) -> T) -> T {
        let lock = || self.arenas.lock().unwrap_or_else(PoisonError::into_inner);
        let recycled = lock().pop();
        let (mut arena, mut memory) =
            recycled.unwrap_or_else(|| (vec![0; self.model.arena_bytes()], HostMemory::default()));
        let result = {
            let engine = Engine::with_kernels(&self.model, &mut arena, HostKernels);
            work(&mut engine.expect("the arena has the size that the model asks for"), &mut memory)
        };
        lock().push((arena, memory));
        result
    }

    /// Runs `int8` and shows every layer's output in order, those of views and concatenations too, but none that is never
    /// whole because it runs in bands.
    pub fn trace(&self, int8: &[i8], mut visit: impl FnMut(LayerOutput<'_>)) {
        self.with_engine(|engine| {
            if let Some(input) = engine.input() {
                input.copy_from(int8);
            }
            let mut next = 0;
            let mut kernels = vec!["view"; self.layer_count()];
            let mut show = |engine: &Engine<'a, '_, HostKernels>, kernels: &[&'static str], until: usize| {
                while let Some(&(layer, index)) = self.outputs.get(next).filter(|(layer, _)| *layer < until) {
                    let kernel = kernels.get(layer).copied().unwrap_or_default();
                    if let (Some(record), Some(values)) = (self.model.tensor(index), engine.tensor(index)) {
                        visit(LayerOutput { layer, kernel, record, values });
                    }
                    next += 1;
                }
            };
            // By step: the first layer that it or a later step belongs to. Layers before that are done.
            let mut first: Vec<usize> = self.model.steps().map(|step| step.layer() as usize).collect();
            for at in (1..first.len()).rev() {
                first[at - 1] = first[at - 1].min(first[at]);
            }
            for (step, first) in self.model.steps().zip(first) {
                show(engine, &kernels, first);
                engine.execute_step(&step);
                if let Some(kernel) = kernels.get_mut(step.layer() as usize) {
                    *kernel = kernel_name(&step);
                }
            }
            show(engine, &kernels, self.layer_count());
        });
    }

    /// Runs an image and turns what every head reads into reals.
    fn read_heads(
        &self,
        input: &[f32],
        convert: impl Fn(&Engine<'a, '_, HostKernels>, &Head<'_>, &TensorRecord, &[i8]) -> Vec<f32>,
    ) -> Vec<Vec<f32>> {
        let image = self.quantise(input);
        self.with_outputs(&image, |engine| {
            let read = |head: Head<'_>| {
                let record = self.model.tensor(head.tensor)?;
                let mut int8 = vec![0; record.elements()];
                engine.tensor(head.tensor)?.copy_to(&mut int8);
                Some(convert(engine, &head, record, &int8))
            };
            self.model.heads().filter_map(read).collect()
        })
    }

    /// A classifier's last layer: probabilities where it is a softmax, real values otherwise.
    fn class_output(
        &self,
        head: &Head<'_>,
        engine: &Engine<'a, '_, HostKernels>,
        record: &TensorRecord,
        int8: &[i8],
    ) -> Vec<f32> {
        if record.layer() == Some(head.layer) {
            return channel_major(record, int8);
        }
        let mut shares = vec![0; int8.len()];
        classify(engine, &mut shares);
        shares.into_iter().map(|share| f32::from(share) * Q15).collect()
    }

    /// A head's tensor as Darknet's layer leaves it (see [`eval::decode`]).
    fn head_output(&self, head: &Head<'_>, int8: &[i8], shape: Shape) -> Vec<f32> {
        let plane = shape.plane();
        let boxes = head.anchors.len();
        let xy = |q: i8| head.xy[table_index(q)].get() as f32 * Q16;
        let wh = |q: i8| head.wh[table_index(q)].get() as f32 * Q16;
        let objectness = |q: i8| f32::from(head.objectness[table_index(q)].get()) * Q15;
        match head.kind {
            HeadKind::Yolo => {
                let size = head.channels_per_anchor;
                let mut output = vec![0.0; boxes * (5 + head.classes) * plane];
                for (cell, pixel) in int8.chunks_exact(shape.c).enumerate() {
                    for anchor in 0..boxes {
                        let values = &pixel[anchor * size..][..5 + head.classes];
                        for (n, &q) in values.iter().enumerate() {
                            output[(anchor * (5 + head.classes) + n) * plane + cell] = match n {
                                0 | 1 => xy(q),
                                2 | 3 => wh(q).ln(),
                                4 => objectness(q),
                                _ => f32::from(head.class[table_index(q)].get()) * Q15,
                            };
                        }
                    }
                }
                output
            }
            HeadKind::Region => int8
                .chunks_exact(head.channels_per_anchor)
                .flat_map(|values| {
                    let (place, scores) = values.split_at(values.len() - head.classes);
                    let logit = |p: f32| (p / (1.0 - p)).ln();
                    let place = place.iter().enumerate().map(move |(n, &q)| match n {
                        0 | 1 => logit(xy(q)),
                        2 | 3 => wh(q).ln(),
                        _ if n + 1 == values.len() - head.classes => objectness(q),
                        _ => 0.0,
                    });
                    place.chain(class_scores(head, scores)).collect::<Vec<f32>>()
                })
                .collect(),
            HeadKind::Detection => {
                let cells = int8.len() / (boxes * 5 + head.classes).max(1);
                let (classes, rest) = int8.split_at(cells * head.classes);
                let (confidences, places) = rest.split_at(cells * boxes);
                let mut output = Vec::with_capacity(int8.len());
                for scores in classes.chunks_exact(head.classes.max(1)) {
                    output.extend(class_scores(head, scores));
                }
                output.extend(confidences.iter().map(|&q| objectness(q)));
                output.extend(places.iter().enumerate().map(|(n, &q)| if n % 4 < 2 { xy(q) } else { wh(q) }));
                output
            }
            HeadKind::Classes => Vec::new(),
        }
    }
}

/// A threshold as the integer decoder takes it, Q0.30.
pub fn q30(value: f32) -> u32 {
    (f64::from(value) * f64::from(detect::ONE)).clamp(0.0, f64::from(u32::MAX)) as u32
}

/// Name of a step's kernel, for tables.
pub fn kernel_name(step: &Step<'_>) -> &'static str {
    match step.kind() {
        Some(StepKind::Conv) => "conv",
        Some(StepKind::Depthwise) => "depthwise",
        Some(StepKind::Connected) => "connected",
        Some(StepKind::MaxPool) => "maxpool",
        Some(StepKind::AvgPool) => "avgpool",
        Some(StepKind::LocalAvgPool) => "local_avgpool",
        Some(StepKind::Shortcut) => "shortcut",
        Some(StepKind::Rescale) if step.record().requant.get() == NONE => "copy",
        Some(StepKind::Rescale) => "rescale",
        Some(StepKind::Activate) => "activate",
        Some(StepKind::Upsample) => "upsample",
        Some(StepKind::Reorg) => "reorg",
        Some(StepKind::Multiply) => "multiply",
        Some(StepKind::Softmax) => "softmax",
        None => "unknown",
    }
}

/// Multiply-accumulates of a step, padding included.
pub fn kernel_macs(step: &Step<'_>) -> u64 {
    let pixels = step.output().map_or(0, |record| record.shape()[..2].iter().product::<usize>() as u64);
    match step.operation() {
        Ok(Operation::Conv(conv)) => pixels * conv.weights.len() as u64,
        Ok(Operation::Depthwise(depthwise)) => pixels * depthwise.weights.len() as u64,
        Ok(Operation::PackedConv(conv)) => {
            let layout = conv.layout;
            pixels * (layout.runs * layout.run * layout.out_c) as u64
        }
        Ok(Operation::PackedDepthwise(depthwise)) => {
            let layout = depthwise.layout;
            pixels * (layout.kernel * layout.kernel * layout.channels) as u64
        }
        Ok(Operation::Connected(connected)) => connected.weights.len() as u64,
        _ => 0,
    }
}

/// Real values `[c][h][w]` of quantised values `[h][w][c]`.
fn channel_major(record: &TensorRecord, int8: &[i8]) -> Vec<f32> {
    let [h, w, c] = record.shape();
    let (scale, zero_point) = (f32::from_bits(record.scale_bits.get()), record.zero_point.get());
    dequantise(Shape::new(c, h, w), scale, zero_point.into(), |i| int8[i])
}

/// Class probabilities of one cell.
fn class_scores(head: &Head<'_>, int8: &[i8]) -> Vec<f32> {
    if head.flags & head_flags::SOFTMAX == 0 {
        return int8.iter().map(|&q| f32::from(head.class[table_index(q)].get()) * Q15).collect();
    }
    softmax(int8, |d| head.class[d].get())
}

impl Deployed<'_> {
    /// Returns the origin of box number `index` of the runtime's decoder.
    fn place(&self, index: usize) -> eval::Place {
        let mut first = 0;
        for (head, layout) in self.layout.heads.iter().enumerate() {
            let (anchors, cells) = match &layout.kind {
                eval::HeadKind::Yolo(yolo) => (yolo.mask.len(), layout.shape.plane()),
                eval::HeadKind::Region(region) => (region.anchors.len(), layout.shape.plane()),
                eval::HeadKind::Detection(d) => (d.num, d.side * d.side),
            };
            if index < first + anchors * cells {
                let at = index - first;
                return eval::Place { head, anchor: at % anchors, cell: at / anchors };
            }
            first += anchors * cells;
        }
        unreachable!("the decoder numbers the boxes of these heads")
    }

    /// Detections of the integer decoder, of this machine or of a board, in an image's coordinates.
    pub fn detections(&self, integer: &[detect::Detection], frame: Frame) -> Vec<eval::Detection> {
        let convert = |d: &detect::Detection| {
            let share = |fixed: i32, extent: usize| fixed as f32 * Q16 / extent as f32;
            let input = self.layout.input;
            let mut bbox = secateur_base::BBox {
                x: share(d.x, input.w),
                y: share(d.y, input.h),
                w: share(d.w, input.w),
                h: share(d.h, input.h),
            };
            frame.to_image(&mut bbox);
            eval::Detection {
                class: usize::from(d.class),
                prob: (f64::from(d.score) / f64::from(detect::ONE)) as f32,
                objectness: f32::from(d.objectness) * Q15,
                bbox,
                place: self.place(d.index as usize),
            }
        };
        integer.iter().map(convert).collect()
    }
}

impl Detector for Deployed<'_> {
    fn input(&self) -> Shape {
        self.layout.input
    }

    fn classes(&self) -> usize {
        self.model.heads().last().map_or(0, |head| head.classes)
    }

    fn letter_box(&self) -> bool {
        self.model.letter_box()
    }

    fn layout(&self) -> &Heads {
        &self.layout
    }

    fn heads(&self, input: &[f32]) -> Vec<Vec<f32>> {
        self.read_heads(input, |engine, head, record, int8| {
            let [h, w, c] = record.shape();
            match head.kind {
                HeadKind::Classes => self.class_output(head, engine, record, int8),
                _ => self.head_output(head, int8, Shape::new(c, h, w)),
            }
        })
    }

    fn head_inputs(&self, input: &[f32]) -> Vec<Vec<f32>> {
        self.read_heads(input, |_, _, record, int8| channel_major(record, int8))
    }

    /// As a device does it: decoded and suppressed in integers.
    fn detect(&self, input: &[f32], frame: Frame, thresh: f32, nms: f32) -> Vec<eval::Detection> {
        let image = self.quantise(input);
        self.with_outputs(&image, |engine| {
            let mut buffer = vec![detect::Detection::default(); DETECTIONS];
            let found = detect::decode(engine, q30(thresh), &mut buffer);
            let inner = [frame.inner.0 as u32, frame.inner.1 as u32];
            let suppression = self.model.suppression();
            let kept = detect::suppress(&mut buffer[..found.kept], &suppression, q30(nms), inner);
            self.detections(&buffer[..kept], frame)
        })
    }
}

/// The heads in the terms of the evaluation. Tables hold what these terms leave out.
fn layout(model: &Model<'_>) -> Heads {
    let [h, w, c] = model.input_shape();
    let input = Shape::new(c, h, w);
    let suppression = model.suppression();
    let mut heads = Vec::new();
    let mut classes = 0;
    for head in model.heads() {
        let [h, w, c] = model.tensor(head.tensor).map_or([1; 3], TensorRecord::shape);
        let shape = Shape::new(c, h, w);
        let pixels = |n: usize| {
            let (w, h) = head.anchors.get(n).unwrap_or((0, 0));
            (w as f32 * Q16, h as f32 * Q16)
        };
        let anchors: Vec<(f32, f32)> = (0..head.anchors.len()).map(pixels).collect();
        let softmax = head.flags & head_flags::SOFTMAX != 0;
        let kind = match head.kind {
            HeadKind::Classes => continue,
            HeadKind::Yolo => eval::HeadKind::Yolo(graph::Yolo {
                classes: head.classes,
                mask: (0..anchors.len()).collect(),
                anchors,
                scale_x_y: 1.0,
                new_coords: false,
                nms_kind: NmsKind::Default,
                beta_nms: 0.0,
            }),
            HeadKind::Region => eval::HeadKind::Region(graph::Region {
                classes: head.classes,
                coords: head.channels_per_anchor - 1 - head.classes,
                anchors: anchors
                    .iter()
                    .map(|a| (a.0 * shape.w as f32 / input.w as f32, a.1 * shape.h as f32 / input.h as f32))
                    .collect(),
                softmax,
                // The table of objectness knows it.
                background: false,
            }),
            HeadKind::Detection => eval::HeadKind::Detection(graph::Detection {
                classes: head.classes,
                coords: 4,
                side: head.channels_per_anchor,
                num: head.anchors.len(),
                sqrt: false,
                softmax,
            }),
        };
        classes = head.classes;
        heads.push(eval::Head { layer: head.layer as usize, shape, kind });
    }
    let (nms_kind, beta_nms) = match suppression.curve {
        None => (NmsKind::Default, 0.0),
        // The knot in the middle is (1/2)^(1/β).
        Some(curve) => {
            let middle = f64::from(curve[curve.len() / 2].get()) / f64::from(1u32 << 30);
            (NmsKind::Diou, (0.5f64.ln() / middle.ln()) as f32)
        }
    };
    Heads { input, classes, heads, nms_kind, beta_nms }
}
