//! f32 execution: the [`oracle`], which is what a network means, and the fast [`Plan`].

mod activation;
mod fold;
mod kernels;
mod moves;
mod ops;
pub mod oracle;
mod plan;
mod pool;

#[cfg(test)]
mod tests;

pub use activation::{LEAKY_SLOPE, activate, activate_map, logistic};
pub use fold::factor as norm_factor;
pub use fold::{fold, fold_layer};
pub use ops::shortcut_factors;
pub use plan::{Cut, Keep, Plan, Scratch};
pub use pool::Pool;
