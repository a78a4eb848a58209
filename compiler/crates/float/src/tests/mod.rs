mod cuts;
mod golden;
mod memory;
mod neutral;
mod operators;
mod random;

/// Largest `|a − b| / max(1, |b|)`.
fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "tensors of one size");
    let error = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { (a - b).abs() / b.abs().max(1.0) };
    a.iter().zip(b).map(error).fold(0.0, |worst, e| if e > worst || e.is_nan() { e } else { worst })
}
