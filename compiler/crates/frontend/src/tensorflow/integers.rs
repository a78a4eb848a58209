//! Shape arithmetic: what is known while the graph is read is computed there and leaves no node.

use secateur_base::Result;

use super::dtype::DataType;
use super::graph_def::Node;
use super::import::{Importer, Integers, Item};
use secateur_tensor::Value;
use secateur_tensor::op::Range;

/// More known integers than this are no shapes.
const MAX_KNOWN: usize = 1 << 16;

fn scalar(value: i64) -> Item {
    Item::Integers(Integers { shape: Vec::new(), data: vec![value] })
}

fn vector(values: Vec<i64>) -> Item {
    Item::Integers(Integers { shape: vec![values.len()], data: values })
}

/// What a node computes from known integers; `None` where it computes with tensors.
pub(super) fn compute(
    importer: &mut Importer<'_>,
    node: &Node,
    inputs: &[Item],
) -> Result<Option<Vec<Item>>> {
    let shape_of = |importer: &Importer<'_>| match inputs.first() {
        Some(Item::Tensor(tensor)) => Some(importer.shape(*tensor)),
        Some(Item::Integers(known)) => Some(known.shape.clone()),
        _ => None,
    };
    if let Some(shape) = shape_of(importer) {
        let known = match node.op.as_str() {
            "Shape" => Some(vector(shape.iter().map(|dim| *dim as i64).collect())),
            "Rank" => Some(scalar(shape.len() as i64)),
            "Size" => Some(scalar(shape.iter().product::<usize>() as i64)),
            _ => None,
        };
        if known.is_some() {
            return Ok(known.map(|item| vec![item]));
        }
    }
    if inputs.is_empty() {
        return Ok(None);
    }
    let mut known = Vec::new();
    for item in inputs {
        match item {
            Item::Integers(integers) => known.push(integers.clone()),
            _ => return Ok(None),
        }
    }
    if known.iter().any(|integers| integers.data.len() > MAX_KNOWN) {
        return Ok(None);
    }
    from_known(importer, node, &known).map(|item| item.map(|item| vec![item]))
}

fn from_known(importer: &mut Importer<'_>, node: &Node, known: &[Integers]) -> Result<Option<Item>> {
    let first = &known[0];
    let second = known.get(1);
    let binary = |apply: fn(i64, i64) -> Option<i64>| -> Result<Option<Item>> {
        let Some(second) = second else { return Ok(None) };
        elementwise(importer, node, first, second, apply).map(Some)
    };
    match node.op.as_str() {
        "Cast" => {
            let to_integer = node.dtype("DstT").is_none_or(DataType::is_integer);
            Ok(Some(match to_integer {
                true => Item::Integers(first.clone()),
                false => {
                    let data = first.data.iter().map(|value| *value as f32).collect();
                    super::import::plain_item(importer.floats(node, &first.shape, data)?)
                }
            }))
        }
        "Add" | "AddV2" => binary(i64::checked_add),
        "Sub" => binary(i64::checked_sub),
        "Mul" => binary(i64::checked_mul),
        "FloorDiv" | "Div" | "RealDiv" => {
            binary(|a, b| if b == 0 { None } else { a.checked_div_euclid(b.abs()).map(|q| q * b.signum()) })
        }
        "FloorMod" | "Mod" => binary(|a, b| if b == 0 { None } else { a.checked_rem_euclid(b) }),
        "Maximum" => binary(|a, b| Some(a.max(b))),
        "Minimum" => binary(|a, b| Some(a.min(b))),
        "Equal" => binary(|a, b| Some(i64::from(a == b))),
        "Greater" => binary(|a, b| Some(i64::from(a > b))),
        "Less" => binary(|a, b| Some(i64::from(a < b))),
        "LogicalAnd" => binary(|a, b| Some(i64::from(a != 0 && b != 0))),
        "LogicalNot" => Ok(Some(Item::Integers(Integers {
            shape: first.shape.clone(),
            data: first.data.iter().map(|value| i64::from(*value == 0)).collect(),
        }))),
        "Pack" if known.iter().all(|one| one.data.len() == 1) => {
            Ok(Some(vector(known.iter().map(|one| one.data[0]).collect())))
        }
        "ConcatV2" if known.iter().all(|one| one.shape.len() <= 1) => {
            Ok(Some(vector(known[..known.len() - 1].iter().flat_map(|one| one.data.clone()).collect())))
        }
        "Prod" => Ok(Some(scalar(product(importer, node, &first.data)?))),
        "Sum" => Ok(Some(scalar(first.data.iter().fold(0, |sum: i64, value| sum.saturating_add(*value))))),
        "Reshape" | "Squeeze" | "ExpandDims" => {
            let shape = match node.op.as_str() {
                "Squeeze" if first.data.len() == 1 => Vec::new(),
                _ => vec![first.data.len()],
            };
            Ok(Some(Item::Integers(Integers { shape, data: first.data.clone() })))
        }
        "Gather" | "GatherV2" => gather(importer, node, first, second).map(Some),
        "Range" => range(importer, node, known).map(Some),
        "Fill" => fill(importer, node, known).map(Some),
        "Slice" | "StridedSlice" if first.shape.len() == 1 => {
            let begin = second.cloned().unwrap_or_else(|| first.clone());
            let third = known.get(2).cloned().unwrap_or_else(|| first.clone());
            let spec = match node.op.as_str() {
                "Slice" => slice(importer, node, &first.shape, &begin, &third)?,
                _ => {
                    let steps = known.get(3).cloned().unwrap_or_else(|| first.clone());
                    strided_slice(importer, node, &first.shape, [&begin, &third, &steps])?
                }
            };
            let range = spec.ranges[0];
            let at = |i: usize| first.data[(range.start as isize + range.step * i as isize) as usize];
            let data: Vec<i64> = (0..range.length).map(at).collect();
            Ok(Some(Item::Integers(Integers { shape: spec.shape, data })))
        }
        _ => Ok(None),
    }
}

fn elementwise(
    importer: &Importer<'_>,
    node: &Node,
    a: &Integers,
    b: &Integers,
    apply: fn(i64, i64) -> Option<i64>,
) -> Result<Item> {
    let count = a.data.len().max(b.data.len());
    let fits = |one: &Integers| one.data.len() == count || one.data.len() == 1;
    if !fits(a) || !fits(b) {
        return Err(importer
            .error(node, "the shapes of two integers do not fit")
            .found(format!("{:?}, {:?}", a.shape, b.shape)));
    }
    let at = |one: &Integers, i: usize| one.data[if one.data.len() == 1 { 0 } else { i }];
    let data: Option<Vec<i64>> = (0..count).map(|i| apply(at(a, i), at(b, i))).collect();
    let data = data.ok_or_else(|| importer.error(node, "integer arithmetic overflows or divides by zero"))?;
    let shape = if a.shape.len() >= b.shape.len() { a.shape.clone() } else { b.shape.clone() };
    Ok(Item::Integers(Integers { shape, data }))
}

fn product(importer: &Importer<'_>, node: &Node, data: &[i64]) -> Result<i64> {
    let product = data.iter().try_fold(1_i64, |product, value| product.checked_mul(*value));
    product.ok_or_else(|| importer.error(node, "a product of sizes overflows"))
}

fn gather(importer: &Importer<'_>, node: &Node, from: &Integers, indices: Option<&Integers>) -> Result<Item> {
    let indices = indices.cloned().unwrap_or(Integers { shape: Vec::new(), data: Vec::new() });
    let pick = |at: &i64| usize::try_from(*at).ok().and_then(|at| from.data.get(at)).copied();
    match indices.data.iter().map(pick).collect::<Option<Vec<i64>>>() {
        Some(data) if from.shape.len() == 1 => Ok(Item::Integers(Integers { shape: indices.shape, data })),
        _ => Err(importer.error(node, "an index lies outside").found(format!("{:?}", indices.data))),
    }
}

fn range(importer: &Importer<'_>, node: &Node, known: &[Integers]) -> Result<Item> {
    let one = |at: usize| known.get(at).and_then(|one| one.data.first()).copied();
    let (Some(start), Some(limit), Some(delta)) = (one(0), one(1), one(2)) else {
        return Err(importer.error(node, "a range has start, limit and step"));
    };
    let mut data = Vec::new();
    let mut at = start;
    while (delta > 0 && at < limit) || (delta < 0 && at > limit) {
        if data.len() == MAX_KNOWN {
            return Err(importer.error(node, "the range is too long"));
        }
        data.push(at);
        let Some(next) = at.checked_add(delta) else { break };
        at = next;
    }
    Ok(vector(data))
}

fn fill(importer: &Importer<'_>, node: &Node, known: &[Integers]) -> Result<Item> {
    let shape: Option<Vec<usize>> = known[0].data.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let count =
        shape.as_ref().and_then(|shape| shape.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim)));
    match (shape, count, known.get(1).and_then(|value| value.data.first())) {
        (Some(shape), Some(count), Some(value)) if count <= MAX_KNOWN => {
            Ok(Item::Integers(Integers { shape, data: vec![*value; count] }))
        }
        _ => Err(importer.error(node, "the shape of a fill is not valid")),
    }
}

/// What a slice takes, and the shape of its result.
pub(super) struct Slicing {
    pub(super) ranges: Vec<Range>,
    pub(super) shape: Vec<usize>,
}

/// Slice: begin and size, −1 for what is left.
pub(super) fn slice(
    importer: &Importer<'_>,
    node: &Node,
    shape: &[usize],
    begin: &Integers,
    size: &Integers,
) -> Result<Slicing> {
    let fail = || {
        importer
            .error(node, "the slice lies outside")
            .found(format!("{:?} + {:?} of {shape:?}", begin.data, size.data))
    };
    if begin.data.len() != shape.len() || size.data.len() != shape.len() {
        return Err(fail());
    }
    let mut ranges = Vec::new();
    for (at, dim) in shape.iter().enumerate() {
        let start = usize::try_from(begin.data[at]).ok().filter(|start| start <= dim).ok_or_else(fail)?;
        let count = match size.data[at] {
            -1 => dim - start,
            count => usize::try_from(count).ok().filter(|count| *count <= dim - start).ok_or_else(fail)?,
        };
        ranges.push(Range { start, step: 1, length: count });
    }
    let shape = ranges.iter().map(|range| range.length).collect();
    Ok(Slicing { ranges, shape })
}

/// StridedSlice with its masks (TensorFlow, core/util/strided_slice_op.cc).
pub(super) fn strided_slice(
    importer: &Importer<'_>,
    node: &Node,
    shape: &[usize],
    [begin, end, steps]: [&Integers; 3],
) -> Result<Slicing> {
    let fail = |what: &str| importer.error(node, what.to_owned());
    let count = begin.data.len();
    if end.data.len() != count || steps.data.len() != count || count > 32 {
        return Err(fail("begin, end and strides differ in length"));
    }
    let mask = |name: &str, at: usize| node.integer(name, 0) >> at & 1 == 1;
    let new_axes = (0..count).filter(|at| mask("new_axis_mask", *at) && !mask("ellipsis_mask", *at)).count();
    let has_ellipsis = (0..count).any(|at| mask("ellipsis_mask", at));
    let named = count - new_axes - usize::from(has_ellipsis);
    let rest =
        shape.len().checked_sub(named).ok_or_else(|| fail("the slice names more axes than there are"))?;
    let (mut ranges, mut result): (Vec<Range>, Vec<usize>) = (Vec::new(), Vec::new());
    let whole = |ranges: &mut Vec<Range>, result: &mut Vec<usize>| {
        let dim = shape[ranges.len()];
        ranges.push(Range { start: 0, step: 1, length: dim });
        result.push(dim);
    };
    for at in 0..count {
        if mask("ellipsis_mask", at) {
            for _ in 0..rest {
                whole(&mut ranges, &mut result);
            }
        } else if mask("new_axis_mask", at) {
            result.push(1);
        } else {
            let dim =
                *shape.get(ranges.len()).ok_or_else(|| fail("the slice names more axes than there are"))?
                    as i64;
            let step = steps.data[at];
            if step == 0 || step.abs() > i64::from(i32::MAX) {
                return Err(fail("a stride of a slice is 0 or too large"));
            }
            let from_end = |value: i64| if value < 0 { value.saturating_add(dim) } else { value };
            if mask("shrink_axis_mask", at) {
                let start =
                    usize::try_from(from_end(begin.data[at])).ok().filter(|start| (*start as i64) < dim);
                let start = start.ok_or_else(|| fail("an index of a slice lies outside"))?;
                ranges.push(Range { start, step: 1, length: 1 });
                continue;
            }
            let (low, high) = if step > 0 { (0, dim) } else { (-1, dim - 1) };
            let start = match mask("begin_mask", at) {
                true => {
                    if step > 0 {
                        0
                    } else {
                        dim - 1
                    }
                }
                false => from_end(begin.data[at]).clamp(low, high),
            };
            let stop = match mask("end_mask", at) {
                true => {
                    if step > 0 {
                        dim
                    } else {
                        -1
                    }
                }
                false => from_end(end.data[at]).clamp(low, high),
            };
            let length = if step > 0 { stop - start } else { start - stop };
            let taken = if length <= 0 { 0 } else { (length - 1) / step.abs() + 1 };
            ranges.push(Range { start: start.max(0) as usize, step: step as isize, length: taken as usize });
            result.push(taken as usize);
        }
    }
    while ranges.len() < shape.len() {
        whole(&mut ranges, &mut result);
    }
    Ok(Slicing { ranges, shape: result })
}

/// One axis of a known integer, counted from the end where negative.
pub(super) fn axis(importer: &Importer<'_>, node: &Node, axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_start).ok().filter(|axis| *axis < rank).ok_or_else(|| {
        importer
            .error(node, "there is no such axis")
            .found(axis.to_string())
            .allowed(format!("{rank} dimensions"))
    })
}

/// A tensor as an item.
pub(super) fn item(value: Value) -> Vec<Item> {
    vec![super::import::plain_item(value)]
}
