//! The accelerator as software sees it: commands, registers, programs, and the driver.

pub mod bus;
pub mod driver;
pub mod isa;
pub mod program;
pub mod registers;
pub mod stream;

pub use bus::Bus;
pub use driver::{Counters, Npu, Placement};
pub use program::Program;
