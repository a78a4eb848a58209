//! Decoding of JPEG, PNG and BMP files into planes of 0..1.
//!
//! JPEG goes through our own decoder, which rounds as stb_image does, so that Darknet's figures come
//! out exactly: mAP 0.328778 (yolo-fastest-1.1), 0.402682 (-xl), 0.342090 (mobilenetv2-yolov3-nano)
//! and 0.263178 (mobilenetv2-yolo-fastest-voc) on 128 COCO images. Other decoders differ in 3 to 4 %
//! of the resized values by a level or two of 255; zune-jpeg yields 0.328761, 0.402584, 0.343175 and
//! 0.259557, libjpeg-turbo 0.329109, 0.402622 and 0.342303. Rare kinds of JPEG (CMYK, arithmetic
//! coding) are left to zune-jpeg.

use std::io::Cursor;
use std::path::Path;

use image::{ColorType, DynamicImage, ImageReader, Limits};

use super::jpeg::{self, Failure, Jpeg};
use secateur_base::limits::MAX_IMAGE_BYTES;
use secateur_base::{Error, Result, files};
use secateur_ir::Shape;

/// Largest width and height.
const MAX_SIDE: u32 = 1 << 15;
/// Memory that a decoder may take; the planes then take four times as much.
const MAX_DECODED_BYTES: u64 = 256 << 20;

/// A decoded image: planes `[c][h][w]` of 0..1, one (grey) or three (red, green, blue).
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub shape: Shape,
    pub data: Vec<f32>,
}

impl Image {
    /// From interleaved bytes `[h][w][c]`.
    pub fn from_bytes(shape: Shape, bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), shape.len(), "bytes of a {shape:?} image");
        let mut data = Vec::with_capacity(shape.len());
        for channel in 0..shape.c {
            data.extend(bytes.iter().skip(channel).step_by(shape.c).map(|&byte| f32::from(byte) / 255.0));
        }
        Self { shape, data }
    }

    /// Interleaved bytes `[h][w][c]`, rounded and clipped to 0..255.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Shape { c, h, w } = self.shape;
        let mut bytes = vec![0; self.shape.len()];
        for (channel, plane) in self.data.chunks_exact(h * w).enumerate() {
            for (byte, value) in bytes.iter_mut().skip(channel).step_by(c).zip(plane) {
                *byte = (value * 255.0).round() as u8;
            }
        }
        bytes
    }

    /// The same image with `channels` planes: grey is repeated, colour becomes stb_image's luma
    /// `(77 R + 150 G + 29 B) >> 8`.
    ///
    /// Fails on any other pair of channel counts.
    pub fn with_channels(self, channels: usize) -> Result<Self> {
        let Shape { c, h, w } = self.shape;
        let shape = Shape::new(channels, h, w);
        match (c, channels) {
            (from, to) if from == to => Ok(self),
            (1, 3) => Ok(Self { shape, data: self.data.repeat(3) }),
            (3, 1) => {
                let bytes = self.to_bytes();
                let luma: Vec<u8> = bytes
                    .chunks_exact(3)
                    .map(|p| {
                        ((77 * u32::from(p[0]) + 150 * u32::from(p[1]) + 29 * u32::from(p[2])) >> 8) as u8
                    })
                    .collect();
                Ok(Self::from_bytes(shape, &luma))
            }
            _ => Err(Error::new("the network's input is not an image")
                .found(format!("{channels} input channels"))
                .allowed("1 (grey) or 3 (colour)")
                .help("give the input as .npy where the command takes one")),
        }
    }
}

/// Reads an image file; the format is told by its content, not by its name.
pub fn load_image(path: &Path) -> Result<Image> {
    let bytes = files::read_limited(path, MAX_IMAGE_BYTES)?;
    decode_image(&bytes).map_err(|error| error.file(path))
}

/// Reads an image file as `channels` planes (1 or 3). As in stb_image, grey of a colour JPEG is its
/// luma plane; of other files see [`Image::with_channels`].
pub fn load_image_as(path: &Path, channels: usize) -> Result<Image> {
    let bytes = files::read_limited(path, MAX_IMAGE_BYTES)?;
    let luma = if channels == 1 { own_jpeg(&bytes) } else { None };
    let image = match luma.and_then(|jpeg| Some((jpeg.luma()?, jpeg.height, jpeg.width))) {
        Some((luma, h, w)) => Ok(Image::from_bytes(Shape::new(1, h, w), &luma)),
        None => decode_image(&bytes).and_then(|image| image.with_channels(channels)),
    };
    image.map_err(|error| error.file(path))
}

/// Decodes an image file's bytes; an alpha channel is dropped, 16 bits become 8.
pub fn decode_image(bytes: &[u8]) -> Result<Image> {
    if bytes.is_empty() {
        return Err(Error::new("image file is empty").found("0 bytes").allowed("a JPEG, PNG or BMP file"));
    }
    if jpeg::is_jpeg(bytes) {
        match jpeg::decode(bytes, MAX_SIDE as usize, MAX_DECODED_BYTES as usize) {
            Ok(jpeg) => {
                let shape = Shape::new(jpeg.channels(), jpeg.height, jpeg.width);
                return Ok(Image::from_bytes(shape, &jpeg.to_bytes()));
            }
            Err(Failure::Damaged(what)) => return Err(undecodable(&what)),
            Err(Failure::Unsupported(what)) => tracing::debug!("{what}: decoded by zune-jpeg"),
        }
    }
    decode_by_crate(bytes)
}

/// A JPEG that our own decoder can read; none for anything else, damaged files included.
fn own_jpeg(bytes: &[u8]) -> Option<Jpeg> {
    let jpeg =
        jpeg::is_jpeg(bytes).then(|| jpeg::decode(bytes, MAX_SIDE as usize, MAX_DECODED_BYTES as usize));
    jpeg.and_then(std::result::Result::ok)
}

fn undecodable(cause: &dyn std::fmt::Display) -> Error {
    Error::new(format!("cannot decode the image: {cause}"))
        .help("the file is damaged or unusual: write it anew with another program, or leave it out")
}

fn decode_by_crate(bytes: &[u8]) -> Result<Image> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Error::new(format!("cannot read the image: {e}")))?;
    if reader.format().is_none() {
        return Err(Error::new("not an image")
            .found(format!("a file that begins with {}", hex::encode(&bytes[..bytes.len().min(8)])))
            .allowed("JPEG, PNG or BMP")
            .help("convert it, or take the line out of the list"));
    }
    reader.limits(limits);
    let decoded = reader.decode().map_err(|e| undecodable(&e))?;
    Ok(from_image(decoded))
}

fn from_image(decoded: DynamicImage) -> Image {
    let (w, h) = (decoded.width() as usize, decoded.height() as usize);
    match decoded.color() {
        ColorType::L8 | ColorType::L16 | ColorType::La8 | ColorType::La16 => {
            Image::from_bytes(Shape::new(1, h, w), decoded.into_luma8().as_raw())
        }
        _ => Image::from_bytes(Shape::new(3, h, w), decoded.into_rgb8().as_raw()),
    }
}

/// Quantises a network's input image `[c][h][w]` in 0..1 to `[h][w][c]`: `round(255 · v) − 128`.
///
/// # Panics
/// If `values` are fewer than the shape has.
pub fn quantise_image(shape: Shape, values: &[f32]) -> Vec<i8> {
    let plane = shape.plane();
    let value = |i: usize| values[i % shape.c * plane + i / shape.c];
    // A float cast saturates.
    (0..shape.len()).map(|i| ((value(i) * 255.0).round() as u8 ^ 0x80).cast_signed()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_planes() {
        let shape = Shape::new(3, 2, 2);
        let bytes: Vec<u8> = (0..12).map(|i| i * 23).collect();
        let image = Image::from_bytes(shape, &bytes);
        assert_eq!(image.data[1], 69.0 / 255.0, "second pixel's red");
        assert_eq!(image.to_bytes(), bytes);
    }

    #[test]
    fn channels_follow_stb_image() {
        let colour = Image::from_bytes(Shape::new(3, 1, 1), &[200, 100, 50]);
        let grey = colour.with_channels(1).unwrap();
        assert_eq!(grey.to_bytes(), [((77 * 200 + 150 * 100 + 29 * 50) >> 8) as u8]);
        assert_eq!(grey.clone().with_channels(3).unwrap().to_bytes(), [grey.to_bytes()[0]; 3]);
        assert!(grey.with_channels(4).is_err());
    }

    /// Decoders differ by rounding only.
    #[test]
    fn our_jpeg_is_close_to_another() {
        let Some(data) = secateur_testing::data_dir() else { return };
        for name in ["images/dog.jpg", "images/from_top1.jpg", "coco128/images/val2017/000000000139.jpg"] {
            let bytes = std::fs::read(data.join(name)).unwrap();
            let (ours, other) = (decode_image(&bytes).unwrap(), decode_by_crate(&bytes).unwrap());
            assert_eq!(ours.shape, other.shape);
            let far = ours.data.iter().zip(&other.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far * 255.0 < 4.0, "{name}: {far}");
        }
    }

    /// Every kind that the encoder writes, and files cut anywhere.
    #[test]
    fn jpeg_files_cut_short_are_errors() {
        let mut file = Cursor::new(Vec::new());
        let pixels: Vec<u8> = (0..37 * 23 * 3).map(|i| (i * 7 % 251) as u8).collect();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 90)
            .encode(&pixels, 37, 23, image::ExtendedColorType::Rgb8)
            .unwrap();
        let bytes = file.into_inner();
        let whole = decode_image(&bytes).unwrap();
        assert_eq!(whole.shape, Shape::new(3, 23, 37));
        for length in 0..bytes.len() - 2 {
            // Cut within the final marker nothing is lost.
            assert!(decode_image(&bytes[..length]).is_err(), "cut at {length} of {}", bytes.len());
        }
    }

    /// A progressive file of one component, 8 × 8 blocks of `side` × `side`, with `scans` scans that change nothing.
    fn file_of_empty_scans(side: u16, scans: usize) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
        bytes.extend([1; 64]);
        bytes.extend([0xFF, 0xC2, 0, 11, 8]);
        bytes.extend([side.to_be_bytes(), side.to_be_bytes()].concat());
        bytes.extend([1, 1, 0x11, 0]);
        // One code of one bit each: DC difference 0, and a run of 2^14 blocks and more without coefficients.
        for (class, symbol) in [(0x00, 0x00), (0x10, 0xE0)] {
            bytes.extend([0xFF, 0xC4, 0, 20, class, 1]);
            bytes.extend([0; 15]);
            bytes.push(symbol);
        }
        let blocks = usize::from(side).div_ceil(8).pow(2);
        bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0]);
        bytes.extend(vec![0; blocks.div_ceil(8)]);
        for _ in 0..scans {
            bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 63, 0]);
            bytes.extend(vec![0; 15 * blocks.div_ceil(1 << 14) / 8 + 1]);
        }
        bytes.extend([0xFF, 0xD9]);
        bytes
    }

    /// Scans are bounded by the file's size: a walk over all blocks costs a file but a few bytes.
    #[test]
    fn more_scans_than_the_file_can_fill_are_refused() {
        assert!(decode_image(&file_of_empty_scans(1024, 10)).is_ok());
        let error = decode_image(&file_of_empty_scans(1024, 400)).unwrap_err();
        assert!(error.what().contains("more passes"), "{error}");
    }

    #[test]
    fn what_is_not_a_image_is_an_error() {
        assert!(decode_image(b"").unwrap_err().what().contains("empty"));
        assert!(decode_image(b"<html>404</html>").unwrap_err().what().contains("not an image"));
        let truncated = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01";
        assert!(decode_image(truncated).unwrap_err().what().contains("cannot decode"));
    }
}
