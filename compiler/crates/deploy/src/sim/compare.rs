//! Compares the accelerator's contents with the runtime's results, byte by byte.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use secateur_runtime::Tensor;
use secateur_runtime::npu::isa::{Exec, exec_flags};
use secateur_runtime::npu::program::MapRecord;
use secateur_runtime::npu::{Bus, Npu};
use secateur_sim::{Event, Simulator};
use zerocopy::little_endian::U16;

use super::fault::fault;
use crate::Deployed;
use secateur_base::{Error, Result};

/// The first byte that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// Number of the Darknet layer; `None`: the image.
    pub layer: Option<usize>,
    pub channel: usize,
    pub row: usize,
    pub column: usize,
    /// The runtime's.
    pub expected: i8,
    /// The accelerator's.
    pub found: i8,
    /// Number of the EXEC command in its queue; `None`: seen in memory after the frame.
    pub command: Option<u32>,
    /// Cycles of that command.
    pub window: (u64, u64),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "layer {layer}")?,
            None => f.write_str("the image")?,
        }
        let Self { channel, row, column, expected, found, window: (start, end), .. } = self;
        write!(f, ", channel {channel}, row {row}, column {column}: ")?;
        write!(f, "the accelerator has {found}, the runtime {expected}; ")?;
        match self.command {
            Some(command) => write!(f, "EXEC command {command}, cycles {start} to {end}"),
            None => f.write_str("seen in memory after the frame"),
        }
    }
}

/// Every layer's output by the runtime.
pub struct RuntimeReference {
    /// By layer, `[h][w][c]`.
    layers: Vec<TensorValues>,
    image: TensorValues,
    /// By tensor of the artefact: the layer whose whole output it is; `None`: the image.
    owners: Vec<Option<usize>>,
    rows: usize,
    lanes: usize,
}

struct TensorValues {
    int8: Vec<i8>,
    shape: [usize; 3],
}

/// The output of an EXEC command.
pub(super) struct Written<'a> {
    pub exec: &'a Exec,
    pub tensor: usize,
    /// Channel of the tensor that is the command's first.
    pub channel: usize,
}

impl RuntimeReference {
    /// Runs the runtime on `int8`.
    pub fn new(deployed: &Deployed<'_>, int8: &[i8]) -> Self {
        let model = deployed.model();
        let mut layers = Vec::with_capacity(deployed.layer_count());
        deployed.trace(int8, |output| {
            layers.push(TensorValues { int8: output.int8(), shape: output.record.shape() });
        });
        let owner = |index| model.tensor(index).and_then(|record| record.layer()).map(|layer| layer as usize);
        let parameters = model.program().map(|program| program.parameters());
        Self {
            layers,
            image: TensorValues { int8: int8.to_vec(), shape: model.input_shape() },
            owners: (0..model.tensor_count()).map(owner).collect(),
            rows: parameters.map_or(1, |p| p.rows as usize),
            lanes: parameters.map_or(1, |p| p.lanes as usize),
        }
    }

    fn values(&self, tensor: usize) -> (Option<usize>, &TensorValues) {
        match self.owners.get(tensor).copied().flatten() {
            Some(layer) => (Some(layer), self.layers.get(layer).unwrap_or(&self.image)),
            None => (None, &self.image),
        }
    }

    /// Layer and bytes of a tensor, channel by channel, as in memory without padding.
    pub(crate) fn planes(&self, tensor: usize) -> (Option<usize>, Vec<u8>) {
        let (layer, values) = self.values(tensor);
        let [h, w, c] = values.shape;
        let byte = |at: usize| values.int8[at % (h * w) * c + at / (h * w)].cast_unsigned();
        (layer, (0..values.int8.len()).map(byte).collect())
    }

    /// Compares what a command left in the banks: the layer and the number of bytes.
    pub(super) fn check<S: Simulator>(
        &self,
        simulator: &S,
        written: &Written<'_>,
        event: Event,
    ) -> std::result::Result<(Option<usize>, u64), Mismatch> {
        let (layer, values) = self.values(written.tensor);
        let [h, w, c] = values.shape;
        let exec = written.exec;
        let pixels = pixels(exec, self.lanes, h * w);
        let layout = BankLayout::new(exec, self.rows);
        let mut compared = 0;
        for channel in 0..number(exec.out_channels) {
            for word in pixels.start / self.lanes..pixels.end.div_ceil(self.lanes) {
                let Some((bank, address)) = layout.locate(channel, word) else { continue };
                let found = simulator.bank_word(bank, address);
                for (lane, byte) in found.into_iter().enumerate().take(self.lanes) {
                    let f = word * self.lanes + lane;
                    let channel = written.channel + channel;
                    let expected = values.int8.get(f * c + channel).copied().filter(|_| channel < c);
                    let found = byte.cast_signed();
                    if !pixels.contains(&f) {
                        continue;
                    }
                    compared += 1;
                    if expected != Some(found) {
                        return Err(Mismatch {
                            layer,
                            channel,
                            row: f / w,
                            column: f % w,
                            expected: expected.unwrap_or_default(),
                            found,
                            command: Some(event.index),
                            window: (event.start, event.end),
                        });
                    }
                }
            }
        }
        Ok((layer, compared))
    }

    /// Gives the accelerator what the processor has computed for it.
    pub(super) fn write_input<B: Bus>(&self, npu: &mut Npu<'_, B>, map: &MapRecord) -> Result<()>
    where
        B::Error: fmt::Display,
    {
        let (_, values) = self.values(map.tensor.get() as usize);
        let int8: Vec<Cell<i8>> = values.int8.iter().copied().map(Cell::new).collect();
        let tensor = Tensor::dense(&int8, values.shape, 0);
        let tensor = tensor.ok_or_else(|| Error::new("an input of the program is empty"))?;
        npu.write_map(map, tensor).map_err(fault)
    }

    /// Compares an output as the driver reads it from memory; the number of bytes.
    pub(super) fn check_output<B: Bus>(
        &self,
        npu: &mut Npu<'_, B>,
        map: &MapRecord,
    ) -> Result<std::result::Result<u64, Mismatch>>
    where
        B::Error: fmt::Display,
    {
        let (layer, values) = self.values(map.tensor.get() as usize);
        let found = vec![Cell::new(0); values.int8.len()];
        let tensor = Tensor::dense(&found, values.shape, 0);
        let tensor = tensor.ok_or_else(|| Error::new("an output of the program is empty"))?;
        npu.read_map(map, tensor).map_err(fault)?;
        let [_, w, c] = values.shape;
        let differing = found.iter().zip(&values.int8).position(|(found, &expected)| found.get() != expected);
        Ok(match differing {
            None => Ok(found.len() as u64),
            Some(at) => Err(Mismatch {
                layer,
                channel: at % c,
                row: at / c / w,
                column: at / c % w,
                expected: values.int8[at],
                found: found[at].get(),
                command: None,
                window: (0, 0),
            }),
        })
    }
}

/// Location of a command's output in the banks.
struct BankLayout {
    base: usize,
    plane: usize,
    first: isize,
    origin: usize,
    rows: usize,
}

impl BankLayout {
    fn new(exec: &Exec, rows: usize) -> Self {
        Self {
            base: number(exec.out_base),
            plane: number(exec.out_plane),
            first: number(exec.out_pos_first) as isize - isize::from(exec.out_w_first.get()),
            origin: number(exec.out_origin),
            rows,
        }
    }

    /// Bank and address of a bank word; `None` outside the ring.
    fn locate(&self, channel: usize, word: usize) -> Option<(usize, usize)> {
        let ring = usize::try_from(self.first + word as isize).ok()?;
        let ring = if ring >= self.plane { ring - self.plane } else { ring };
        let place = self.origin + channel;
        let address = self.base + place / self.rows * self.plane + ring;
        (ring < self.plane).then_some((place % self.rows, address))
    }
}

/// Pixels that a command writes, of a feature map of `plane` pixels.
fn pixels(exec: &Exec, lanes: usize, plane: usize) -> Range<usize> {
    if exec.flags & exec_flags::ROW_MODE != 0 {
        let first = number(exec.y_first) * number(exec.out_w);
        return first..(first + number(exec.rows) * number(exec.out_w)).min(plane);
    }
    let first = number(exec.word_first) * lanes;
    first..(first + number(exec.tiles) * lanes).min(plane)
}

fn number(field: U16) -> usize {
    field.get().into()
}
