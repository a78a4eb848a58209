//! The package: artefact, image and thresholds in one piece of flash.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of a package.
pub const MAGIC: [u8; 4] = *b"SCTJ";
/// The artefact and the image begin at multiples of this, counted from the package's start.
const ALIGNMENT: usize = 16;

/// What a package begins with. The artefact follows at once, then, at the next multiple of 16, the image: i8, q = pixel − 128,
/// in the order that `image_order` says.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    pub artefact_bytes: U32,
    pub image_bytes: U32,
    /// Detections need a score above this, Q0.30.
    pub score_threshold: U32,
    /// Overlap above which the lesser of two detections is dropped, Q0.30.
    pub overlap_threshold: U32,
    /// Columns and rows of the input that the image covers.
    pub frame: [U32; 2],
    /// [`image_order`].
    pub image_order: U32,
}

/// Orders of an image's values.
pub mod image_order {
    /// `[h, w, c]`: what a processor's kernels take.
    pub const PIXELS: u32 = 0;
    /// `[c, h, w]`: what an accelerator takes.
    pub const PLANES: u32 = 1;
}

impl Header {
    /// Where the image begins, and where the package ends, in bytes from its start.
    pub fn layout(&self) -> Option<(usize, usize)> {
        let length = |bytes: U32| usize::try_from(bytes.get()).ok();
        let artefact = size_of::<Self>().checked_add(length(self.artefact_bytes)?)?;
        let image = artefact.checked_next_multiple_of(ALIGNMENT)?;
        Some((image, image.checked_add(length(self.image_bytes)?)?))
    }
}

/// A package's parts, read in place.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    pub header: &'a Header,
    pub artefact: &'a [u8],
    pub image: &'a [i8],
}

impl<'a> Package<'a> {
    /// The package at the start of `flash`; `None` where there is none, or it leaves `flash`.
    pub fn from_bytes(flash: &'a [u8]) -> Option<Self> {
        let (header, rest) = Header::ref_from_prefix(flash).ok()?;
        if header.magic != MAGIC {
            return None;
        }
        let (image, end) = header.layout()?;
        let artefact = rest.get(..usize::try_from(header.artefact_bytes.get()).ok()?)?;
        let image = <[i8]>::ref_from_bytes(flash.get(image..end)?).ok()?;
        Some(Self { header, artefact, image })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn package(artefact: &[u8], image: &[u8]) -> Vec<u8> {
        let header = Header {
            magic: MAGIC,
            artefact_bytes: U32::new(artefact.len() as u32),
            image_bytes: U32::new(image.len() as u32),
            score_threshold: U32::ZERO,
            overlap_threshold: U32::ZERO,
            frame: [U32::ZERO; 2],
            image_order: U32::ZERO,
        };
        let (start, end) = header.layout().unwrap();
        let mut bytes = [header.as_bytes(), artefact].concat();
        bytes.resize(start, 0);
        bytes.extend_from_slice(image);
        assert_eq!(bytes.len(), end);
        bytes
    }

    #[test]
    fn parts_are_found_and_short_flash_is_refused() {
        let bytes = package(b"artefact", &[1, 2, 255]);
        let found = Package::from_bytes(&bytes).unwrap();
        assert_eq!((found.artefact, found.image), (&b"artefact"[..], &[1, 2, -1][..]));
        for length in 0..bytes.len() {
            assert!(Package::from_bytes(&bytes[..length]).is_none(), "{length} bytes");
        }
        let erased = [0xFF; 64];
        assert!(Package::from_bytes(&erased).is_none());
        let mut endless = bytes.clone();
        endless[4..12].fill(0xFF);
        assert!(Package::from_bytes(&endless).is_none());
    }
}
