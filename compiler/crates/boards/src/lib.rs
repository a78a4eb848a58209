//! Artefacts on boards. [`package`] puts an artefact and an image into one piece of flash, [`Workshop`] builds the
//! firmware of a [`Board`], [`emulate`] runs both in QEMU, and [`Report::compare`] holds what the board said against
//! [`expected`], the same job on this machine. [`Workshop::build_for_linux`] and [`emulate_linux`] do the same for a
//! processor with Linux. [`flash`] brings an [`Image`] to a board over a [`Link`], a
//! debug probe or a server of GDB's protocol. [`Embedding`] makes a C program of an artefact, or a Cargo project.

mod embed;
mod emulator;
mod gdb;
mod image;
mod link;
mod linux;
mod memory_map;
mod package;
#[cfg(feature = "probe")]
mod probe;
mod report;
mod workshop;

pub use embed::{Embedding, FILES as EMBEDDING_FILES};
pub use emulator::{Run, emulate, watch};
pub use gdb::Gdb;
pub use image::{Image, Part};
pub use link::{Call, Link, check_family, flash};
pub use linux::{LinuxProcessor, emulate_linux};
pub use memory_map::linked_memory;
pub use package::{expected, expected_with, package};
#[cfg(feature = "probe")]
pub use probe::{DebugProbe, Probe, probes};
pub use report::{Report, StepReport};
pub use secateur_codegen::target::Board;
pub use secateur_job::Job;
pub use workshop::{Optimisation, Workshop};
