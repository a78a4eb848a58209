//! JPEG decoding with stb_image's rounding, so that Darknet's figures come out of the same files.
//!
//! Baseline and progressive Huffman files of 8 bits with one or three components. The standard (ITU
//! T.81) leaves the inverse transform's and the upsampling's rounding open; both follow stb_image
//! bit for bit: an integer transform after Loeffler, Ligtenberg and Moschytz with 12 fraction bits
//! (`transform.rs`), triangle-filtered chroma and a 20-bit colour conversion (`colour.rs`).

mod bits;
mod colour;
mod header;
mod scan;
mod transform;

/// Why a file could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// A kind of JPEG that this decoder leaves to another.
    Unsupported(&'static str),
    /// Not what the standard allows, or cut off.
    Damaged(&'static str),
}

type Result<T> = std::result::Result<T, Failure>;

/// A decoded file: planes at their own resolution.
pub(super) struct Jpeg {
    pub(super) width: usize,
    pub(super) height: usize,
    /// One (grey) or three.
    planes: Vec<Plane>,
    /// The planes are red, green and blue instead of luma and chroma.
    rgb: bool,
}

/// Samples of one component.
struct Plane {
    /// Samples a row in memory, a multiple of 8.
    stride: usize,
    /// Rows that belong to the image.
    rows: usize,
    samples: Vec<u8>,
    /// Image columns and rows that one sample covers.
    step: (usize, usize),
}

/// Whether `bytes` begin as a JPEG file does.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xD8])
}

/// Decodes a file whose sides are at most `max_side` and whose working memory stays below
/// `max_bytes`.
pub(super) fn decode(bytes: &[u8], max_side: usize, max_bytes: usize) -> Result<Jpeg> {
    let decoded = header::read(bytes, max_side, max_bytes)?;
    let planes = decoded.frame.components.iter().map(|component| Plane {
        stride: component.blocks.0 * 8,
        rows: component.size.1,
        samples: transform::samples(component),
        step: (
            decoded.frame.sampling.0 / component.sampling.0,
            decoded.frame.sampling.1 / component.sampling.1,
        ),
    });
    Ok(Jpeg {
        width: decoded.frame.width,
        height: decoded.frame.height,
        planes: planes.collect(),
        rgb: decoded.is_rgb(),
    })
}

impl Jpeg {
    /// Channels of the image: 1 or 3.
    pub(super) fn channels(&self) -> usize {
        self.planes.len()
    }

    /// Interleaved bytes `[h][w][channels]`; one channel is luma (grey of red, green, blue is left to
    /// the caller).
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        colour::interleave(self)
    }

    /// Luma alone, `[h][w]`; none where the file holds red, green and blue.
    pub(super) fn luma(&self) -> Option<Vec<u8>> {
        (!self.rgb).then(|| colour::plane(self, 0))
    }
}
