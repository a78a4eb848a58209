//! What the programs share: start, output, random numbers, memory.
#![no_std]

pub mod case;
pub mod machine;
pub mod memory;
