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
    foreign::ONNX,
];

/// What came of an input: an error that a user can understand, or some property of what was read.
#[cfg(feature = "compiler")]
fn outcome<T>(
    result: secateur_base::Result<T>,
    property: impl FnOnce(T) -> crate::Outcome,
) -> crate::Outcome {
    match result {
        Ok(value) => property(value),
        Err(error) => {
            assert!(error.kind() != secateur_base::ErrorKind::Internal, "{error}");
            crate::Outcome::refused(&error)
        }
    }
}
