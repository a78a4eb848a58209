//! Output shapes, and what operands an operator takes.

use secateur_base::{Error, Result};

use super::Op;

fn wrong(what: &str, shapes: &[&[usize]]) -> Error {
    Error::new(what.to_owned()).found(format!("{shapes:?}"))
}

/// The shape of an operator's result.
pub(super) fn infer(op: &Op, shapes: &[&[usize]]) -> Result<Vec<usize>> {
    let fail = |what: &str| Err(wrong(what, shapes));
    let first = shapes.first().copied().unwrap_or_default();
    Ok(match (op, shapes) {
        (Op::Conv(conv), [[n, c, h, w], [m, per_group, kh, kw], bias @ ..]) => {
            if *per_group * conv.groups != *c || m % conv.groups != 0 || bias.iter().any(|bias| *bias != [*m])
            {
                return fail("weights do not fit the channels");
            }
            let [oh, ow] = windows([*h, *w], [*kh, *kw], conv.strides, conv.dilations, conv.pads)
                .ok_or_else(|| wrong("the kernel is larger than the padded map", shapes))?;
            vec![*n, *m, oh, ow]
        }
        (Op::ConvTranspose(conv), [[n, c, h, w], [inputs, per_group, kh, kw], bias @ ..]) => {
            let m = per_group * conv.groups;
            if inputs != c || c % conv.groups != 0 || bias.iter().any(|bias| *bias != [m]) {
                return fail("weights do not fit the channels");
            }
            let mut size = [0; 2];
            for axis in 0..2 {
                let (n, k) = ([*h, *w][axis], [*kh, *kw][axis]);
                let whole = n
                    .checked_sub(1)
                    .and_then(|n| n.checked_mul(conv.strides[axis]))
                    .and_then(|n| n.checked_add(conv.dilations[axis].checked_mul(k.checked_sub(1)?)? + 1))
                    .and_then(|n| n.checked_add(conv.output_padding[axis]))
                    .and_then(|n| n.checked_sub(conv.pads[axis] + conv.pads[2 + axis]));
                size[axis] = whole
                    .filter(|size| *size > 0)
                    .ok_or_else(|| wrong("nothing is left of the map", shapes))?;
            }
            vec![*n, m, size[0], size[1]]
        }
        (Op::MaxPool(pool), [[n, c, h, w]]) => {
            let [oh, ow] = windows([*h, *w], pool.kernel, pool.strides, pool.dilations, pool.pads)
                .ok_or_else(|| wrong("the window is larger than the padded map", shapes))?;
            vec![*n, *c, oh, ow]
        }
        (Op::AveragePool(pool), [[n, c, h, w]]) => {
            let [oh, ow] = windows([*h, *w], pool.kernel, pool.strides, [1; 2], pool.pads)
                .ok_or_else(|| wrong("the window is larger than the padded map", shapes))?;
            vec![*n, *c, oh, ow]
        }
        (Op::MatMul, [[m, k], [k2, n]]) if k == k2 => vec![*m, *n],
        (Op::Unary(_), [shape]) => shape.to_vec(),
        (Op::Binary(_), [a, b]) => {
            broadcast(a, b).ok_or_else(|| wrong("the shapes do not broadcast", shapes))?
        }
        (Op::Reduce { axes, .. }, [shape]) if axes.iter().all(|axis| *axis < shape.len()) => {
            shape.iter().enumerate().map(|(axis, dim)| if axes.contains(&axis) { 1 } else { *dim }).collect()
        }
        (Op::Concat { axis }, [_, ..]) if *axis < first.len() => {
            let mut shape = first.to_vec();
            shape[*axis] = 0;
            for other in shapes {
                let same = other.len() == first.len()
                    && (0..first.len()).all(|at| at == *axis || other[at] == first[at]);
                if !same {
                    return fail("the shapes differ on other axes than the concatenated one");
                }
                shape[*axis] += other[*axis];
            }
            shape
        }
        (Op::Slice(ranges), [shape]) if ranges.len() == shape.len() => {
            for (range, dim) in ranges.iter().zip(*shape) {
                let last = range.start as i64 + range.step as i64 * (range.count as i64 - 1);
                if range.count > 0 && (range.start >= *dim || last < 0 || last >= *dim as i64) {
                    return fail("the slice lies outside");
                }
            }
            ranges.iter().map(|range| range.count).collect()
        }
        (Op::Reshape(to), [shape]) => {
            if to.iter().product::<usize>() != shape.iter().product::<usize>() {
                return Err(
                    wrong("a reshape changes the number of elements", shapes).allowed(format!("{to:?}"))
                );
            }
            to.clone()
        }
        (Op::Transpose(order), [shape]) => {
            let mut seen = order.clone();
            seen.sort_unstable();
            if seen != (0..shape.len()).collect::<Vec<_>>() {
                return fail("a transposition names every axis once");
            }
            order.iter().map(|axis| shape[*axis]).collect()
        }
        (Op::Softmax { axis }, [shape]) if *axis < shape.len() => shape.to_vec(),
        (Op::Pad { before, after, .. }, [shape])
            if before.len() == shape.len() && after.len() == shape.len() =>
        {
            (0..shape.len())
                .map(|at| shape[at].saturating_add(before[at]).saturating_add(after[at]))
                .collect()
        }
        (Op::Tile(repeats), [shape]) if repeats.len() == shape.len() => {
            repeats.iter().zip(*shape).map(|(repeat, dim)| repeat.saturating_mul(*dim)).collect()
        }
        (Op::ArgMax { axis }, [shape]) if *axis < shape.len() => {
            shape.iter().enumerate().map(|(at, dim)| if at == *axis { 1 } else { *dim }).collect()
        }
        (Op::Lrn { .. }, [shape]) if shape.len() >= 2 => shape.to_vec(),
        (Op::Resize { size, .. }, [[n, c, ..]]) if first.len() == 4 => vec![*n, *c, size[0], size[1]],
        // How many boxes are found only the evaluator knows; Caffe also says 1 here.
        (Op::DetectionOutput(op), [loc, conf, prior]) => {
            let priors = prior.last().copied().unwrap_or_default() / 4;
            let images = loc.first().copied().unwrap_or_default().max(1);
            let places = if op.share_location { 1 } else { op.classes };
            let fits = |shape: &[usize], each: usize| {
                shape.iter().product::<usize>() == images * priors * each && shape.first() == Some(&images)
            };
            let prior_fits = prior.iter().product::<usize>() == 8 * priors && priors > 0;
            if !fits(loc, 4 * places) || !fits(conf, op.classes) || !prior_fits {
                return fail("locations, confidences and prior boxes differ in number");
            }
            vec![1, 1, 1, 7]
        }
        _ => return fail("the operator does not take tensors of these shapes"),
    })
}

/// How many windows fit.
pub(super) fn windows(
    size: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [usize; 4],
) -> Option<[usize; 2]> {
    let mut count = [0; 2];
    for axis in 0..2 {
        let reach = dilations[axis].checked_mul(kernel[axis].checked_sub(1)?)?.checked_add(1)?;
        let padded = size[axis].checked_add(pads[axis])?.checked_add(pads[2 + axis])?;
        count[axis] = padded.checked_sub(reach)?.checked_div(strides[axis])? + 1;
    }
    Some(count)
}

/// NumPy's rule.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], at: usize| (at + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    (0..rank)
        .map(|at| match (dim(a, at), dim(b, at)) {
            (a, b) if a == b || b == 1 => Some(a),
            (1, b) => Some(b),
            _ => None,
        })
        .collect()
}
