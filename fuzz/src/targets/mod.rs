//! The targets.

mod accelerator;
mod artefact;
#[cfg(feature = "compiler")]
mod deployed;
#[cfg(feature = "compiler")]
mod files;
#[cfg(feature = "compiler")]
mod foreign;
#[cfg(feature = "compiler")]
mod network;
#[cfg(feature = "compiler")]
mod onnx;

use crate::Target;

/// Every target.
pub const TARGETS: &[Target] = &[
    artefact::ARTEFACT,
    accelerator::ACCELERATOR,
    accelerator::COMMANDS,
    #[cfg(feature = "compiler")]
    deployed::DEPLOYED,
    #[cfg(feature = "compiler")]
    network::CFG,
    #[cfg(feature = "compiler")]
    network::GRAPH_TEXT,
    #[cfg(feature = "compiler")]
    network::WEIGHTS,
    #[cfg(feature = "compiler")]
    network::INT8,
    #[cfg(feature = "compiler")]
    files::IMAGE,
    #[cfg(feature = "compiler")]
    files::LABELS,
    #[cfg(feature = "compiler")]
    files::NAMES,
    #[cfg(feature = "compiler")]
    files::LIST,
    #[cfg(feature = "compiler")]
    files::DATA_FILE,
    #[cfg(feature = "compiler")]
    files::ARRAY,
    #[cfg(feature = "compiler")]
    files::PROCESSOR,
    #[cfg(feature = "compiler")]
    foreign::PROTOTXT,
    #[cfg(feature = "compiler")]
    foreign::CAFFEMODEL,
    #[cfg(feature = "compiler")]
    foreign::CHECKPOINT,
    #[cfg(feature = "compiler")]
    foreign::GRAPH_DEF,
    #[cfg(feature = "compiler")]
    onnx::ONNX,
];
