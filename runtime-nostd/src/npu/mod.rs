//! The accelerator as software sees it: command encodings, registers, parameters.

pub mod isa;
pub mod registers;
