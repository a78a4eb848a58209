//! `scenes`: labelled images that the project draws itself.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use secateur_base::{Result, files, outln};
use secateur_data::{resize, save_image};
use secateur_report::{contact_sheet, draw_truths};
use secateur_scenes::{CLASSES, Format, Options, Splits};

use super::Global;

/// Images of a contact sheet, in a row and in all.
const SHEET_COLUMNS: usize = 4;
const SHEET_IMAGES: usize = 12;
/// Images of a sheet are enlarged to at least this side, so that names leave room for what they name.
const SHEET_SIDE: usize = 240;

/// Draw labelled images of parts on a conveyor belt, to train and measure detectors on.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("splits").required(true).multiple(true).args(["train", "val", "test"]))]
#[command(after_help = "Examples:
  secateur scenes out/scenes --train 1600 --val 200 --test 200
  secateur scenes out/large --train 100 --size 416 --format jpg --sheet sheet.jpg
  secateur map model.cfg model.weights --data out/scenes/scenes.data

Five classes: bolts, nuts, washers, gears and springs, among look-alikes that have no label.
The same --seed draws the same images on every machine. Kill it at any time: the same command
resumes and ends with the same bytes. docs/scenes.md describes the files.")]
pub(crate) struct Args {
    /// Folder of the images, labels and lists: new, empty, or begun by the same command.
    out_dir: PathBuf,
    /// Images to train on.
    #[arg(long, value_name = "N", value_parser = count())]
    train: Option<u32>,
    /// Images to choose by.
    #[arg(long, value_name = "N", value_parser = count())]
    val: Option<u32>,
    /// Images to report on.
    #[arg(long, value_name = "N", value_parser = count())]
    test: Option<u32>,
    /// Width and height in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = Options::default().size, value_parser = size)]
    size: usize,
    /// File format of the images.
    #[arg(long, value_name = "FORMAT", default_value = "png", value_parser = format())]
    format: Format,
    /// Also write a contact sheet: some of the images with their boxes, as .png or .jpg.
    #[arg(long, value_name = "FILE", value_parser = sheet)]
    sheet: Option<PathBuf>,
}

fn count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(Splits::MOST))
}

fn size(text: &str) -> std::result::Result<usize, String> {
    let sizes = Options::SIZES;
    let size = text.parse().ok().filter(|size| sizes.contains(size));
    size.ok_or_else(|| format!("{} to {} pixels are allowed", sizes.start(), sizes.end()))
}

fn format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::extension))
        .map(|name| if name == Format::Png.extension() { Format::Png } else { Format::Jpg })
}

fn sheet(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("png" | "jpg" | "jpeg") => Ok(path),
        _ => Err("its name must end in .png or .jpg".to_owned()),
    }
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let splits = Splits {
        seed: global.seed,
        options: Options { size: args.size },
        format: args.format,
        train: args.train.unwrap_or(0),
        val: args.val.unwrap_or(0),
        test: args.test.unwrap_or(0),
    };
    files::refuse_overwrite(&splits.files(&args.out_dir), args.sheet.as_slice())?;
    let data = splits.write(&args.out_dir)?;
    outln!("{} images, {}", splits.images().count(), data.display());
    args.sheet.map_or(Ok(()), |path| write_sheet(&path, &splits))
}

/// Writes a sheet of the first images, of each split the same number.
fn write_sheet(path: &Path, splits: &Splits) -> Result<()> {
    let names = CLASSES.map(str::to_owned);
    let mut images: Vec<_> = splits.images().collect();
    // Stable: the splits take turns.
    images.sort_by_key(|&(_, index)| index);
    let drawn = images.iter().take(SHEET_IMAGES).map(|&(split, index)| {
        let scene = splits.scene(split, index);
        let side = splits.options.size * SHEET_SIDE.div_ceil(splits.options.size);
        draw_truths(&resize(&scene.image, side, side), &scene.truths, &names)
    });
    save_image(path, &contact_sheet(&drawn.collect::<Vec<_>>(), SHEET_COLUMNS))?;
    outln!("{}", path.display());
    Ok(())
}
