//! Invariants of a [`QNet`], checked after quantisation and after reading a file:
//!
//! 1. a node's inputs exist and have smaller numbers; it has as many as its operator takes;
//! 2. every output's shape follows from its inputs' ([`shapes`]), and constants have the lengths that the
//!    shapes ask for;
//! 3. multipliers and shifts are within the bounds of `docs/numerics.md`, and every accumulator fits `i32`.

use secateur_runtime::kernels::Requant;

use super::net::{HeadTables, QEpilogue, QNet, QNode, QOp, QRequant, QTensor};
use super::shapes;
use secateur_base::{Error, Result};
use secateur_ir::{Shape, Source};

/// Elements of a tensor that the artefact's 32-bit offsets still reach.
const MAX_ELEMENTS: usize = 1 << 31;

impl QNet {
    /// Checks the invariants at the top of this file.
    pub fn verify(&self) -> Result<()> {
        check_tensor(&self.input)?;
        if self.nodes.is_empty() {
            return Err(Error::new("int8 network has no layers"));
        }
        for (i, node) in self.nodes.iter().enumerate() {
            self.verify_node(i, node).map_err(|e| e.layer(i).section(node.op.name()))?;
        }
        Ok(())
    }

    fn verify_node(&self, i: usize, node: &QNode) -> Result<()> {
        if node.inputs.iter().any(|&s| matches!(s, Source::Layer(from) if from >= i)) {
            return Err(Error::new("input is not an earlier layer"));
        }
        let allowed = match node.op {
            QOp::Route(_) | QOp::Shortcut(_) => 1..=usize::MAX,
            QOp::ScaleChannels { .. } | QOp::Sam(_) => 2..=2,
            _ => 1..=1,
        };
        if !allowed.contains(&node.inputs.len()) {
            return Err(Error::new("wrong number of inputs").found(node.inputs.len().to_string()));
        }
        check_tensor(&node.output)?;
        let inputs: Vec<Shape> = node.inputs.iter().map(|&source| self.tensor(source).shape).collect();
        shapes::check(&node.op, &inputs, node.output.shape)?;
        check_constants(&node.op, &inputs, node.output.shape)
    }
}

/// Checks what an operator computes with.
fn check_constants(op: &QOp, inputs: &[Shape], output: Shape) -> Result<()> {
    let input = inputs[0];
    match op {
        QOp::Conv(conv) => {
            let row = input.c / conv.groups * conv.size * conv.size;
            check_rows(output.c, row, &conv.weights, &conv.bias, &conv.requant)?;
            check_epilogue(&conv.epilogue)
        }
        QOp::Connected(full) => {
            check_rows(output.len(), input.len(), &full.weights, &full.bias, &full.requant)?;
            check_epilogue(&full.epilogue)
        }
        QOp::AvgPool(scaled) | QOp::Sam(scaled) | QOp::ScaleChannels { scaled, .. } => {
            check_requant(&scaled.requant)?;
            check_epilogue(&scaled.epilogue)
        }
        QOp::LocalAvgPool(average) => {
            check_length("requantisation constants", average.requant.len(), average.pool.size.pow(2))?;
            average.requant.iter().try_for_each(check_requant)?;
            check_epilogue(&average.epilogue)
        }
        QOp::Route(route) => {
            check_length("rescalings", route.rescale.len(), inputs.len())?;
            route.rescale.iter().flatten().try_for_each(check_requant)
        }
        QOp::Shortcut(shortcut) => {
            let each = if shortcut.per_channel { output.c } else { 1 };
            check_length("multipliers", shortcut.multipliers.len(), inputs.len() * each)?;
            let largest = |m: &[i32]| m.iter().map(|&m| i64::from(m).abs()).max().unwrap_or(0);
            let sum: i64 = shortcut.multipliers.chunks(each).map(largest).sum();
            let limit = Requant::MULTIPLIER_LIMIT as u32;
            if sum * 255 > i64::from(i32::MAX)
                || shortcut.multipliers.iter().any(|m| m.unsigned_abs() >= limit)
            {
                return Err(Error::new("multipliers of the sum are out of range"));
            }
            check_requant(&shortcut.requant)?;
            check_epilogue(&shortcut.epilogue)
        }
        QOp::Softmax(softmax) => check_length("exp table", softmax.exp.len(), 256),
        QOp::Yolo { tables, .. } | QOp::Region { tables, .. } | QOp::Detection { tables, .. } => {
            check_tables(tables)
        }
        QOp::MaxPool(_) | QOp::Upsample { .. } | QOp::Reorg(_) | QOp::Crop { .. } | QOp::Identity => Ok(()),
    }
}

fn check_tensor(tensor: &QTensor) -> Result<()> {
    let Shape { c, h, w } = tensor.shape;
    // Foreign numbers: their product must not overflow.
    let elements = c.checked_mul(h).and_then(|n| n.checked_mul(w));
    let sized = elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n));
    if sized && tensor.scale.is_finite() && tensor.scale > 0.0 {
        Ok(())
    } else {
        Err(Error::new("tensor must have positive sizes and a positive scale")
            .found(format!("{:?}, scale {}", tensor.shape, tensor.scale)))
    }
}

fn check_length(what: &str, found: usize, allowed: usize) -> Result<()> {
    if found == allowed {
        return Ok(());
    }
    Err(Error::new(format!("wrong number of {what}")).found(found.to_string()).allowed(allowed.to_string()))
}

fn check_rows(rows: usize, row: usize, weights: &[i8], bias: &[i32], requant: &[QRequant]) -> Result<()> {
    check_length("weights", weights.len(), rows.saturating_mul(row))?;
    if weights.contains(&i8::MIN) {
        return Err(Error::new("a weight is -128").allowed("-127 to 127"));
    }
    check_length("biases", bias.len(), rows)?;
    check_length("requantisation constants", requant.len(), rows)?;
    requant.iter().try_for_each(check_requant)?;
    prove_accumulators(weights, bias)
}

/// Proves `|b'| + 128 · Σ|w| < 2^31` for every output channel (`weights` has one row per bias).
pub(super) fn prove_accumulators(weights: &[i8], bias: &[i32]) -> Result<()> {
    let row = weights.len() / bias.len().max(1);
    for (channel, (weights, &bias)) in weights.chunks_exact(row.max(1)).zip(bias).enumerate() {
        let sum: i64 = weights.iter().map(|&w| i64::from(w).abs()).sum();
        let bound = i64::from(bias).abs() + 128 * sum;
        if bound >= 1 << 31 {
            return Err(Error::new(format!("accumulator of output channel {channel} may overflow 32 bits"))
                .found(format!("|b'| + 128 · Σ|w| = {bound}"))
                .allowed(format!("below {}", 1i64 << 31))
                .help("the channel is nearly dead: prune it, or retrain with weight decay"));
        }
    }
    Ok(())
}

fn check_requant(requant: &QRequant) -> Result<()> {
    if requant.record().is_valid() {
        return Ok(());
    }
    Err(Error::new("requantisation constants are out of range")
        .found(format!("{requant:?}"))
        .allowed("|m| < 2^17, shift 1 to 47"))
}

fn check_epilogue(epilogue: &QEpilogue) -> Result<()> {
    if epilogue.lo <= epilogue.hi { Ok(()) } else { Err(Error::new("clamp is empty")) }
}

fn check_tables(tables: &HeadTables) -> Result<()> {
    check_length("entries for centres", tables.xy.len(), 256)?;
    check_length("entries for sizes", tables.wh.len(), 256)?;
    check_length("entries for objectness", tables.objectness.len(), 256)?;
    check_length("entries for classes", tables.class.len(), 256)
}
