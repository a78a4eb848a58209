//! The `.sct` artefact: its format and the checked view over its bytes.

pub mod format;
