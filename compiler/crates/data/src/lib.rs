//! Images, their labels and the lists that name them, read as Darknet reads them.

mod datafile;
mod dataset;
mod decode;
mod encode;
mod jpeg;
mod labels;
mod list;
mod names;
mod npy;
mod resize;

pub use datafile::DataFile;
pub use dataset::{Dataset, Sample};
pub use decode::{Image, decode_image, load_image, load_image_as, quantise_image};
pub use encode::{encode_image, save_image};
pub use labels::{Truth, label_path, parse_labels, read_labels};
pub use list::{find_file, read_list};
pub use names::{class_name, names_beside, read_names};
pub use npy::{read_npy, write_npy};
pub use resize::{Fit, Frame, crop, letterbox, resize};
