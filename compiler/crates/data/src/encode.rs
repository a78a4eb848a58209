//! Encoding of images.

use std::io::Cursor;
use std::path::Path;

use image::ImageFormat;

use super::Image;
use secateur_base::{Error, Result, files};
use secateur_ir::Shape;

/// Quality of written JPEG files: no visible loss.
const JPEG_QUALITY: u8 = 92;

/// Writes an image as JPEG or PNG, by the path's extension.
pub fn save_image(path: &Path, image: &Image) -> Result<()> {
    files::write_bytes(path, &encode_image(path, image)?)
}

/// The file of an image as JPEG or PNG, by the extension of the path that it is meant for.
///
/// # Errors
/// The extension is another one, or the image cannot be encoded.
pub fn encode_image(path: &Path, image: &Image) -> Result<Vec<u8>> {
    let Shape { c, h, w } = image.shape;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let (bytes, colours) =
        (image.to_bytes(), if c == 1 { image::ColorType::L8 } else { image::ColorType::Rgb8 });
    let mut file = Cursor::new(Vec::new());
    let encoded = match extension.as_str() {
        "jpg" | "jpeg" => image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY).encode(
            &bytes,
            w as u32,
            h as u32,
            colours.into(),
        ),
        "png" => {
            image::write_buffer_with_format(&mut file, &bytes, w as u32, h as u32, colours, ImageFormat::Png)
        }
        _ => {
            return Err(Error::new("unknown image format").file(path).found(extension).allowed("jpg or png"));
        }
    };
    encoded.map_err(|e| Error::new(format!("cannot encode the image: {e}")).file(path))?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_image;

    #[test]
    fn saved_images_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..64 * 48 * 3).map(|i| (i * 7 % 251) as u8).collect();
        let image = Image::from_bytes(Shape::new(3, 48, 64), &bytes);
        let png = folder.path().join("a.png");
        save_image(&png, &image).unwrap();
        assert_eq!(load_image(&png).unwrap(), image);
        let jpeg = folder.path().join("a.JPG");
        save_image(&jpeg, &image).unwrap();
        assert_eq!(load_image(&jpeg).unwrap().shape, image.shape);
        assert!(save_image(&folder.path().join("a.gif"), &image).unwrap_err().what().contains("format"));
    }
}
