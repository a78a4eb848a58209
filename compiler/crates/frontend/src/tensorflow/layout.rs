//! Operations that move elements: slices, splits, blocks of pixels, and reshapes.

use secateur_base::Result;
use secateur_tensor::op::{Pad, PadKind, Range};
use secateur_tensor::{Op, Value};

use super::graph_def::Node;
use super::import::{Importer, Integers, Item};
use super::integers::{Slicing, axis, item};
use super::ops::first;

pub(super) fn sliced(
    importer: &mut Importer<'_>,
    node: &Node,
    value: Value,
    taken: Slicing,
) -> Result<Value> {
    let cut = importer.op(node, Op::Slice(taken.ranges), &[value])?;
    importer.op(node, Op::Reshape(taken.shape), &[cut])
}

/// −1 infers a dimension. A batch that was fixed for training gives way to the input's.
pub(super) fn reshaped(
    importer: &Importer<'_>,
    node: &Node,
    shape: &[usize],
    dims: &[i64],
) -> Result<Vec<usize>> {
    let fail = || importer.error(node, "the reshape does not fit").found(format!("{shape:?} to {dims:?}"));
    let all: usize = shape.iter().product();
    let known = |dims: &[i64]| {
        let mut sizes = dims.iter().filter(|dim| **dim != -1).map(|dim| usize::try_from(*dim).ok());
        sizes.try_fold(1_usize, |product, dim| product.checked_mul(dim?))
    };
    let mut dims = dims.to_vec();
    if !dims.contains(&-1) && known(&dims) != Some(all) && dims.len() > 1 {
        let rest =
            known(&dims[1..]).filter(|rest| *rest > 0 && all.is_multiple_of(*rest)).ok_or_else(fail)?;
        dims[0] = (all / rest) as i64;
    }
    let product = known(&dims).ok_or_else(fail)?;
    let inferred = all.checked_div(product).unwrap_or(0);
    let to = dims.iter().map(|dim| if *dim == -1 { inferred } else { *dim as usize });
    Ok(to.collect())
}

pub(super) fn split(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Vec<Item>> {
    let at = usize::from(node.op == "Split");
    let tensor = importer.tensor(node, inputs, at)?;
    let value = importer.plain(&node.name, tensor)?;
    let shape = importer.graph.shape(value).to_vec();
    let along = match node.op.as_str() {
        "Split" => first(importer, node, inputs, 0)?,
        "SplitV" => first(importer, node, inputs, 2)?,
        _ => node.integer("axis", 0),
    };
    let axis = axis(importer, node, along, shape.len())?;
    let sizes: Vec<i64> = match node.op.as_str() {
        "SplitV" => {
            let Integers { data, .. } = importer.integers(node, inputs, 1)?;
            let known: i64 = data.iter().filter(|size| **size >= 0).sum();
            data.iter().map(|size| if *size < 0 { shape[axis] as i64 - known } else { *size }).collect()
        }
        "Split" => {
            let count = node.integer("num_split", 1).clamp(1, 1 << 16);
            vec![shape[axis] as i64 / count; count as usize]
        }
        _ => vec![1; shape[axis].min(1 << 16)],
    };
    let total: i64 = sizes.iter().sum();
    if total != shape[axis] as i64 || sizes.iter().any(|size| *size < 0) {
        return Err(importer
            .error(node, "the parts do not make the whole")
            .found(format!("{sizes:?} of {}", shape[axis])));
    }
    let mut start = 0;
    let mut items = Vec::new();
    for size in sizes {
        let mut ranges: Vec<Range> =
            shape.iter().map(|dim| Range { start: 0, step: 1, length: *dim }).collect();
        ranges[axis] = Range { start, step: 1, length: size as usize };
        start += size as usize;
        let mut part = importer.op(node, Op::Slice(ranges), &[value])?;
        if node.op == "Unpack" {
            let mut to = shape.clone();
            to.remove(axis);
            part = importer.op(node, Op::Reshape(to), &[part])?;
        }
        items.extend(item(part));
    }
    Ok(items)
}

/// Blocks of pixels become channels, or back; the channel is `(row · block + column) · c + channel`.
pub(super) fn blocks(
    importer: &mut Importer<'_>,
    node: &Node,
    value: Value,
    shape: &[usize],
) -> Result<Value> {
    let block =
        usize::try_from(node.integer("block_size", 0)).ok().filter(|block| (1..1 << 12).contains(block));
    let (Some(block), &[n, h, w, c], "NHWC") = (block, shape, node.text("data_format", "NHWC")) else {
        return Err(importer
            .error(node, "the block or the format is not read")
            .allowed("NHWC, a block from 1"));
    };
    let (split, order, to) = if node.op == "SpaceToDepth" {
        let split = vec![n, h / block, block, w / block, block, c];
        (split, vec![0, 1, 3, 2, 4, 5], vec![n, h / block, w / block, block * block * c])
    } else {
        let split = vec![n, h, w, block, block, c / (block * block)];
        (split, vec![0, 1, 3, 2, 4, 5], vec![n, h * block, w * block, c / (block * block)])
    };
    let split = importer.op(node, Op::Reshape(split), &[value])?;
    let turned = importer.op(node, Op::Transpose(order), &[split])?;
    importer.op(node, Op::Reshape(to), &[turned])
}

/// SpaceToBatchND pads and deals pixels out to images, BatchToSpaceND gathers them and crops.
pub(super) fn batches(
    importer: &mut Importer<'_>,
    node: &Node,
    inputs: &[Item],
    value: Value,
    shape: &[usize],
) -> Result<Value> {
    let sizes =
        |list: Vec<i64>| list.into_iter().map(|size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>();
    let blocks = sizes(importer.integers(node, inputs, 1)?.data);
    let edges = sizes(importer.integers(node, inputs, 2)?.data);
    let (Some(blocks), Some(edges)) = (blocks, edges) else {
        return Err(importer.error(node, "block sizes and paddings are not negative"));
    };
    let spatial = blocks.len();
    if edges.len() != 2 * spatial
        || shape.len() < spatial + 1
        || blocks.iter().any(|block| !(1..1 << 12).contains(block))
        || spatial > 2
    {
        return Err(importer
            .error(node, "the blocks do not fit the tensor")
            .found(format!("{blocks:?} of {shape:?}")));
    }
    let all: usize = blocks.iter().product();
    let rest = &shape[1 + spatial..];
    if node.op == "SpaceToBatchND" {
        let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
        for at in 0..spatial {
            (before[1 + at], after[1 + at]) = (edges[2 * at], edges[2 * at + 1]);
        }
        let padded = importer.op(node, Pad { before, after, kind: PadKind::Constant(0.0) }, &[value])?;
        let shape = importer.graph.shape(padded).to_vec();
        let mut split = vec![shape[0]];
        for at in 0..spatial {
            split.extend([shape[1 + at] / blocks[at], blocks[at]]);
        }
        split.extend(rest);
        let mut order: Vec<usize> = (0..spatial).map(|at| 2 + 2 * at).chain([0]).collect();
        order.extend((0..spatial).map(|at| 1 + 2 * at));
        order.extend(1 + 2 * spatial..split.len());
        let mut to = vec![shape[0] * all];
        to.extend((0..spatial).map(|at| shape[1 + at] / blocks[at]));
        to.extend(rest);
        let split = importer.op(node, Op::Reshape(split), &[padded])?;
        let turned = importer.op(node, Op::Transpose(order), &[split])?;
        return importer.op(node, Op::Reshape(to), &[turned]);
    }
    let images = shape[0] / all;
    let split = [blocks.as_slice(), &[images], &shape[1..]].concat();
    let mut order = vec![spatial];
    for at in 0..spatial {
        order.extend([spatial + 1 + at, at]);
    }
    order.extend(2 * spatial + 1..split.len());
    let mut to = vec![images];
    to.extend((0..spatial).map(|at| shape[1 + at] * blocks[at]));
    to.extend(rest);
    let split = importer.op(node, Op::Reshape(split), &[value])?;
    let turned = importer.op(node, Op::Transpose(order), &[split])?;
    let joined = importer.op(node, Op::Reshape(to.clone()), &[turned])?;
    let mut ranges: Vec<Range> = to.iter().map(|dim| Range { start: 0, step: 1, length: *dim }).collect();
    for at in 0..spatial {
        let count = to[1 + at].checked_sub(edges[2 * at] + edges[2 * at + 1]);
        let count = count.ok_or_else(|| importer.error(node, "nothing is left of the map"))?;
        ranges[1 + at] = Range { start: edges[2 * at], step: 1, length: count };
    }
    importer.op(node, Op::Slice(ranges), &[joined])
}
