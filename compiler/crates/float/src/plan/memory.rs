//! Assigns buffers to values: a buffer is used again as soon as its value has been read for the
//! last time.

use super::step::Step;
use secateur_base::{Error, Result};
use secateur_ir::Graph;

/// Bytes of activations that a scratch may have: twice what all feature maps of the largest network have, since
/// some steps bring values of their own.
const MAX_SCRATCH_BYTES: usize = 1 << 33;

/// Refuses a plan whose scratch would be too large; nothing of that size has been allocated yet.
pub(super) fn check(graph: &Graph, steps: &[Step], lens: &[usize], buffers: &[usize]) -> Result<()> {
    let floats = buffers.iter().fold(0, |sum: usize, &len| sum.saturating_add(len));
    let bytes = floats.saturating_mul(size_of::<f32>());
    if bytes <= MAX_SCRATCH_BYTES {
        return Ok(());
    }
    let error = Error::new("running this network needs too much memory; this layer has the largest part")
        .found(format!("{:.1} GiB of activations", bytes as f64 / GIB))
        .allowed(format!("at most {:.1} GiB", MAX_SCRATCH_BYTES as f64 / GIB))
        .help("make the input or the number of channels smaller");
    Err(match steps.iter().max_by_key(|step| lens[step.output]) {
        Some(largest) => graph.locate(largest.layer, error),
        None => error,
    })
}

const GIB: f64 = (1u64 << 30) as f64;

/// Assigns a buffer to every value that a step defines.
///
/// Returns the buffer of each value (`None` for the image) and the length of each buffer.
/// Values in `kept` hold their buffer to the end.
pub(super) fn assign(steps: &[Step], lens: &[usize], kept: &[bool]) -> (Vec<Option<usize>>, Vec<usize>) {
    let mut last_use = vec![0; lens.len()];
    for (i, step) in steps.iter().enumerate() {
        last_use[step.output] = i;
        step.inputs.iter().for_each(|view| last_use[view.value] = i);
    }
    let mut buffers: Vec<usize> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut buffer_of = vec![None; lens.len()];
    for (i, step) in steps.iter().enumerate() {
        let len = lens[step.output];
        // The smallest that is large enough, else the largest, which grows.
        let best = free
            .iter()
            .enumerate()
            .min_by_key(|&(_, &b)| if buffers[b] >= len { (0, buffers[b]) } else { (1, len - buffers[b]) })
            .map(|(at, _)| at);
        let buffer = match best {
            Some(at) => free.swap_remove(at),
            None => {
                buffers.push(0);
                buffers.len() - 1
            }
        };
        buffers[buffer] = buffers[buffer].max(len);
        buffer_of[step.output] = Some(buffer);
        let mut dying: Vec<usize> = step.inputs.iter().map(|view| view.value).collect();
        dying.push(step.output);
        dying.sort_unstable();
        dying.dedup();
        for value in dying {
            if last_use[value] == i
                && !kept[value]
                && let Some(buffer) = buffer_of[value]
            {
                free.push(buffer);
            }
        }
    }
    (buffer_of, buffers)
}
