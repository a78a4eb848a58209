//! The largest files that are read, by kind. What is larger is refused before memory is taken for it.

/// Files that people write by hand: cfg, recipe, target, config file, threshold list.
pub const MAX_TEXT_BYTES: u64 = 1 << 20;
/// Graphs that other frameworks write as text; constants may be part of them.
pub const MAX_GRAPH_TEXT_BYTES: u64 = 1 << 28;
/// Class names.
pub const MAX_NAMES_BYTES: u64 = 4 << 20;
/// Labels of one image.
pub const MAX_LABEL_BYTES: u64 = 16 << 20;
/// Lists of images: some two million paths.
pub const MAX_LIST_BYTES: u64 = 256 << 20;
/// An encoded image.
pub const MAX_IMAGE_BYTES: u64 = 256 << 20;
/// A tensor as `.npy`, a network's weights (2^28 floats).
pub const MAX_TENSOR_BYTES: u64 = 1 << 30;
/// Results of earlier commands: sensitivities, trials, masks, reports.
pub const MAX_RESULT_BYTES: u64 = 1 << 28;
/// A quantised network.
pub const MAX_INT8_NETWORK_BYTES: u64 = 1 << 31;
/// An artefact: its offsets have 32 bits.
pub const MAX_ARTEFACT_BYTES: u64 = u32::MAX as u64;
