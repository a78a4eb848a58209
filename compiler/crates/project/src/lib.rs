//! Projects: a recipe says what becomes of one network, a plan holds the steps, a workspace the results; the
//! catalogue knows where trained networks are to be had.

pub mod catalogue;
mod overview;
mod plan;
pub mod recipe;
mod step;
mod workspace;

pub use overview::overview;
pub use plan::Plan;
pub use recipe::Recipe;
pub use step::{Arg, Step, shell_line};
pub use workspace::{Outcome, Workspace};
