//! From an int8 network to bytes: [`lower`] plans what is computed where on a [`target`], [`pack`] writes
//! the artefact.

pub mod lower;
pub mod pack;
pub mod target;
