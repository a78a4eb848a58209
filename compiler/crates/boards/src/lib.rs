//! Artefacts on boards. [`package`] puts an artefact and an image into one piece of flash, [`Workshop`] builds the
//! firmware of a [`Board`], [`emulate`] runs both in QEMU, and [`Report::compare`] holds what the board said against
//! [`expected`], the same job on this machine. [`Embedding`] makes a C program of an artefact.

mod embed;
mod emulator;
mod memory_map;
mod package;
mod report;
mod workshop;

pub use embed::{Embedding, FILES as EMBEDDING_FILES};
pub use emulator::emulate;
pub use package::{Job, expected, expected_with, package};
pub use report::{Report, StepReport};
pub use secateur_codegen::target::Board;
pub use workshop::Workshop;
