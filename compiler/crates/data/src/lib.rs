//! Pictures, their labels and the lists that name them, read as Darknet reads them.

mod datafile;
mod dataset;
mod jpeg;
mod labels;
mod list;
mod names;
mod npy;
mod picture;
mod resize;

pub use datafile::DataFile;
pub use dataset::{Dataset, Sample};
pub use labels::{Truth, label_path, parse_labels, read_labels};
pub use list::{find_file, read_list};
pub use names::{class_name, names_beside, read_names};
pub use npy::{read_npy, write_npy};
pub use picture::{Picture, decode_picture, load_picture, load_picture_as, quantise_image};
pub use resize::{Fit, Frame, crop, letterbox, resize, to_u8};
