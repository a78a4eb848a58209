//! Files for other tools: a self-checking test bench of the RTL.

mod testbench;

pub use testbench::{FILES, testbench};
