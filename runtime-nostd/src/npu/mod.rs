//! The accelerator as software sees it: commands, registers, programs, and the driver.

pub mod bus;
mod check;
pub mod driver;
pub mod isa;
pub mod program;
pub mod registers;
pub mod stream;

pub use bus::Bus;
pub(crate) use check::check;
pub use driver::{Counters, Npu, Placement};
pub use program::Program;
