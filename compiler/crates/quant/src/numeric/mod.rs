//! The numbers of the int8 contract, without any network: scales, requantisation constants, tables.

mod requant;
mod scale;
mod table;

pub use requant::QRequant;
pub(crate) use requant::{TwoSlope, requant, requant_negated, requant_sum};
pub(crate) use scale::Scale;
pub use table::{HeadTables, QTable};
pub(crate) use table::{activation_table, detection_tables, exponentials, region_tables, yolo_tables};
