//! Readers and writers of other tools' network files.

pub mod darknet;
