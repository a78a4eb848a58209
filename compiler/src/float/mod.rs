//! f32 execution: the [`oracle`], which is what a network means, and batch-norm folding.

mod activation;
mod fold;
mod ops;
pub mod oracle;

pub use activation::{LEAKY_SLOPE, activate, activate_map, logistic};
pub use fold::{fold, fold_layer};
