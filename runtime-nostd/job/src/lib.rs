//! What a board does with an artefact: runs it on one image and reports every step, in integers.
//!
//! The firmware (`runtime-nostd/firmware`) is a program round [`run`]; the host calls the same function with its
//! own kernels, and both reports must agree in everything but the ticks. With feature `std`, [`Job`] makes packages
//! and [`report`](report()) runs one on a machine with an operating system.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::float_arithmetic
    )
)]

#[cfg(feature = "std")]
extern crate std;

mod accelerated;
#[cfg(feature = "std")]
mod host;
mod package;
mod planes;
mod report;
mod run;

pub use accelerated::{Accelerator, run_accelerated};
#[cfg(feature = "std")]
pub use host::{Job, report};
pub use package::{Header, MAGIC, Package, image_order};
pub use report::VERSION;
pub use run::{Board, CLASSES, DETECTIONS, Fault, run};
