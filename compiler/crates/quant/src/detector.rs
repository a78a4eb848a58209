//! An int8 network as a detector, layer by layer with the runtime's kernels.

use super::exec::{Executor, Int8Map};
use super::net::{QNet, QOp, QTensor};
use secateur_base::Result;
use secateur_eval::fixed_point::{Q15, Q16, dequantise, softmax, table_index};
use secateur_eval::{Detector, Heads};
use secateur_ir::{Graph, Shape};

/// Runs a [`QNet`] without lowering it: slower than an artefact, the same quantised values.
pub struct QDetector<'a> {
    net: &'a QNet,
    layout: Heads,
    steps: Executor<'a>,
}

impl<'a> QDetector<'a> {
    /// `graph` is the network that was quantised.
    ///
    /// # Errors
    /// If its heads differ in their number of classes.
    pub fn new(net: &'a QNet, graph: &Graph) -> Result<Self> {
        Ok(Self { net, layout: Heads::of(graph)?, steps: Executor::new(net) })
    }
}

impl Detector for QDetector<'_> {
    fn input(&self) -> Shape {
        self.net.input.shape
    }

    fn letter_box(&self) -> bool {
        self.net.letter_box
    }

    fn layout(&self) -> &Heads {
        &self.layout
    }

    fn heads(&self, input: &[f32]) -> Vec<Vec<f32>> {
        self.heads_and_inputs(input).0
    }

    fn head_inputs(&self, input: &[f32]) -> Vec<Vec<f32>> {
        self.heads_and_inputs(input).1
    }

    fn heads_and_inputs(&self, image: &[f32]) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
        let layers = self.net.heads();
        let (mut heads, mut inputs) = (Vec::new(), Vec::new());
        let mut previous = Vec::new();
        self.steps.run(image, |layer, map| {
            let node = &self.net.nodes[layer];
            if layers.contains(&layer) {
                heads.push(decode(&node.op, &node.output, map));
                inputs.push(match &node.op {
                    QOp::Softmax(_) => std::mem::take(&mut previous),
                    // A head hands on its input's quantised values.
                    _ => real_values(&node.output, map),
                });
            } else if layers.contains(&(layer + 1)) {
                previous = real_values(&node.output, map);
            }
        });
        (heads, inputs)
    }
}

/// The real values of a feature map, `[c][h][w]`.
pub(crate) fn real_values(tensor: &QTensor, map: &Int8Map) -> Vec<f32> {
    dequantise(tensor.shape, tensor.scale, tensor.zero_point.into(), |i| map[i].get())
}

/// A head's tensor as Darknet's layer leaves it, the device's tables applied.
fn decode(op: &QOp, tensor: &QTensor, map: &Int8Map) -> Vec<f32> {
    let (channels, plane) = (tensor.shape.c, tensor.shape.plane());
    let mut values = real_values(tensor, map);
    let quantised = |channel: usize, pixel: usize| map[pixel * channels + channel].get();
    let index = |channel: usize, pixel: usize| table_index(quantised(channel, pixel));
    match op {
        QOp::Yolo { head, tables } => {
            for (channel, plane_values) in values.chunks_exact_mut(plane).enumerate() {
                for (pixel, value) in plane_values.iter_mut().enumerate() {
                    *value = match channel % (5 + head.classes) {
                        0 | 1 => tables.xy[index(channel, pixel)] as f32 * Q16,
                        2 | 3 => *value,
                        4 => score(tables.objectness[index(channel, pixel)]),
                        _ => score(tables.class[index(channel, pixel)]),
                    };
                }
            }
            values
        }
        QOp::Region { head, tables } => {
            let entries = head.coords + 1 + head.classes;
            let mut cells = vec![0.0; values.len()];
            for (i, cell) in cells.chunks_exact_mut(entries).enumerate() {
                let (pixel, anchor) = (i / (channels / entries), i % (channels / entries));
                let channel = |entry: usize| anchor * entries + entry;
                for (entry, value) in cell.iter_mut().enumerate() {
                    *value = values[channel(entry) * plane + pixel];
                }
                cell[head.coords] = score(tables.objectness[index(channel(head.coords), pixel)]);
                if head.softmax {
                    let first = head.coords + 1;
                    let classes: Vec<i8> =
                        (0..head.classes).map(|k| quantised(channel(first + k), pixel)).collect();
                    cell[first..].copy_from_slice(&softmax(&classes, |d| tables.class[d]));
                }
            }
            cells
        }
        // One cell: Darknet's layer reads the flattened output of a connected layer.
        QOp::Detection { head, tables } if head.softmax && plane == 1 => {
            for location in 0..head.side * head.side {
                let first = location * head.classes;
                let classes: Vec<i8> = (first..first + head.classes).map(|k| quantised(k, 0)).collect();
                values[first..first + head.classes].copy_from_slice(&softmax(&classes, |d| tables.class[d]));
            }
            values
        }
        _ => values,
    }
}

/// A score in Q0.15.
fn score(q15: u16) -> f32 {
    f32::from(q15) * Q15
}
