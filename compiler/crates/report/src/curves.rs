//! The curves of a training: loss and accuracy over batches, as SVG and PNG.

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use secateur_base::terminal::printable_line;
use secateur_base::{Error, Result};
use secateur_data::Image;
use secateur_ir::Shape;

use crate::canvas::Canvas;

/// The data of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// The network's name.
    pub title: String,
    /// Batches that the training is going to have; the axis ends there, or at the last batch if that is later.
    pub batches: u64,
    /// Images in a batch.
    pub batch: usize,
    /// Loss by batch.
    pub loss: Vec<(u64, f64)>,
    /// The same, smoothed.
    pub smoothed: Vec<(u64, f64)>,
    /// Name of the measure in `accuracy`: "mAP@0.5".
    pub measure: String,
    /// Accuracy, 0..1, by batch.
    pub accuracy: Vec<(u64, f64)>,
}

const SIZE: (u32, u32) = (960, 640);
/// Height of the loss's panel where there are two.
const LOSS_HEIGHT: u32 = 350;
/// Points of a curve beyond this many columns of the picture are thinned out.
const COLUMNS: u64 = 800;
/// Labels on the axis of losses, at least.
const MIN_TICKS: usize = 4;
const LABEL: u32 = 15;
const FAINT: RGBColor = RGBColor(176, 203, 228);
const STRONG: RGBColor = RGBColor(29, 111, 184);
const BEST: RGBColor = RGBColor(196, 78, 36);
const GRID: RGBColor = RGBColor(226, 229, 233);
const INK: RGBColor = RGBColor(40, 44, 52);

type Area<B> = DrawingArea<B, Shift>;
/// An error of any backend, as text.
type Drawn = Result<(), String>;

impl Curves {
    /// Draws the curves as SVG, deterministic to the byte; the title may be any text.
    ///
    /// # Errors
    /// The drawing fails: a bug.
    pub fn to_svg(&self) -> Result<String> {
        let mut svg = String::new();
        self.paint(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area()).map_err(cannot_draw)?;
        Ok(svg)
    }

    /// Draws the curves as an image, to be written by [`save_image`](crate::save_image).
    ///
    /// # Errors
    /// The drawing fails: a bug.
    pub fn to_image(&self) -> Result<Image> {
        let mut image = RgbImage::new(SIZE.0, SIZE.1);
        self.paint(&Canvas(&mut image).into_drawing_area()).map_err(cannot_draw)?;
        let shape = Shape::new(3, SIZE.1 as usize, SIZE.0 as usize);
        Ok(Image::from_bytes(shape, image.as_raw()))
    }

    fn paint<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn {
        area.fill(&WHITE).map_err(text)?;
        let title = printable_line(&self.title);
        let area = area.titled(&title, font(20)).map_err(text)?;
        if self.accuracy.is_empty() {
            self.paint_loss(&area, true)?;
        } else {
            let (above, below) = area.split_vertically(LOSS_HEIGHT);
            self.paint_loss(&above, false)?;
            self.paint_accuracy(&below)?;
        }
        area.present().map_err(text)
    }

    /// The last batch on the axis.
    fn end(&self) -> f64 {
        let last = [&self.loss, &self.accuracy].into_iter().flatten().map(|(batch, _)| *batch).max();
        last.unwrap_or(0).max(self.batches).max(1) as f64
    }

    fn x_label(&self) -> String {
        format!("batches of {} image{}", self.batch, if self.batch == 1 { "" } else { "s" })
    }

    fn paint_loss<B: DrawingBackend>(&self, area: &Area<B>, is_last: bool) -> Drawn {
        // A logarithm shows no other losses.
        let drawable = |points: &[(u64, f64)]| -> Vec<(f64, f64)> {
            let positive: Vec<(u64, f64)> =
                points.iter().copied().filter(|(_, loss)| *loss > 0.0 && loss.is_finite()).collect();
            thinned(&positive, self.end())
        };
        let (loss, smoothed) = (drawable(&self.loss), drawable(&self.smoothed));
        let (low, high) = loss
            .iter()
            .chain(&smoothed)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), (_, loss)| (low.min(*loss), high.max(*loss)));
        let (low, high) = if low <= high { (low / 1.15, high * 1.15) } else { (0.1, 10.0) };
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_right(24)
            .x_label_area_size(if is_last { 48 } else { 28 })
            .y_label_area_size(76)
            .build_cartesian_2d(
                0.0..self.end(),
                (low..high).log_scale().with_key_points(log_ticks(low, high)),
            )
            .map_err(text)?;
        let mut mesh = chart.configure_mesh();
        if is_last {
            mesh.x_desc(self.x_label());
        }
        mesh.y_desc("loss per image (logarithmic)")
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(font(LABEL))
            .x_label_formatter(&|batch| format!("{batch:.0}"))
            .y_label_formatter(&|loss| short(*loss))
            .draw()
            .map_err(text)?;
        let mut series = |points: Vec<(f64, f64)>, style: ShapeStyle, label: &str| -> Drawn {
            chart
                .draw_series(LineSeries::new(points, style))
                .map_err(text)?
                .label(label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
            Ok(())
        };
        series(loss, FAINT.stroke_width(1), "each batch")?;
        series(smoothed, STRONG.stroke_width(2), "smoothed")?;
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .legend_area_size(30)
            .background_style(WHITE)
            .border_style(GRID)
            .label_font(font(LABEL))
            .draw()
            .map_err(text)
    }

    fn paint_accuracy<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn {
        let points: Vec<(f64, f64)> = self
            .accuracy
            .iter()
            .filter(|(_, accuracy)| accuracy.is_finite())
            .map(|(batch, accuracy)| (*batch as f64, *accuracy))
            .collect();
        // Of equal ones the last: its weights are kept.
        let best = points.iter().copied().reduce(|best, point| if point.1 >= best.1 { point } else { best });
        let max = best.map_or(0.0, |(_, accuracy)| accuracy);
        // Room above the best for its label, up to the next tenth.
        let top = ((max * 11.5).ceil() / 10.0).clamp(0.1, 1.1);
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_right(24)
            .x_label_area_size(48)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..self.end(), 0.0..top)
            .map_err(text)?;
        chart
            .configure_mesh()
            .x_desc(self.x_label())
            .y_desc(self.measure.as_str())
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(font(LABEL))
            .y_labels(6)
            .x_label_formatter(&|batch| format!("{batch:.0}"))
            .y_label_formatter(&|accuracy| format!("{accuracy:.2}"))
            .draw()
            .map_err(text)?;
        chart.draw_series(LineSeries::new(points.iter().copied(), STRONG.stroke_width(2))).map_err(text)?;
        if points.len() as u64 <= COLUMNS / 8 {
            let dots = points.iter().map(|point| Circle::new(*point, 3, STRONG.filled()));
            chart.draw_series(dots).map_err(text)?;
        }
        if let Some((batch, accuracy)) = best {
            chart.draw_series([Circle::new((batch, accuracy), 5, BEST.filled())]).map_err(text)?;
            // On the side where there is room.
            let (side, gap) = if batch * 2.0 > self.end() { (HPos::Right, -4) } else { (HPos::Left, 4) };
            let style = font(LABEL).color(&BEST).pos(Pos::new(side, VPos::Bottom));
            let label = EmptyElement::at((batch, accuracy))
                + Text::new(format!("best {accuracy:.4} after {batch} batches"), (gap, -9), style);
            chart.draw_series([label]).map_err(text)?;
        }
        Ok(())
    }
}

fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// Labelled values of a logarithmic axis: powers of ten, with multiples of them where few would be labelled.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    const MULTIPLES: [&[f64]; 3] = [&[1.0], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]];
    let powers = libm::log10(low).floor() as i32..=libm::log10(high).ceil() as i32;
    let ticks = |multiples: &[f64]| -> Vec<f64> {
        let all = powers.clone().flat_map(|power| multiples.iter().map(move |m| m * 10_f64.powi(power)));
        all.filter(|tick| (low..=high).contains(tick)).collect()
    };
    let sets = MULTIPLES.map(ticks);
    let [.., finest] = &sets;
    sets.iter().find(|ticks| ticks.len() >= MIN_TICKS).unwrap_or(finest).clone()
}

/// A loss in few characters.
fn short(loss: f64) -> String {
    match loss {
        _ if !(1e-3..1e4).contains(&loss) => format!("{loss:.0e}"),
        _ if loss >= 10.0 => format!("{loss:.0}"),
        _ => format!("{loss}").chars().take(5).collect(),
    }
}

/// The points with at most two in each column of the picture: its minimum and its maximum.
fn thinned(points: &[(u64, f64)], end: f64) -> Vec<(f64, f64)> {
    let column = |batch: u64| (batch as f64 / end * COLUMNS as f64) as u64;
    points
        .chunk_by(|a, b| column(a.0) == column(b.0))
        .flat_map(|points| {
            let by_value = |a: &&(u64, f64), b: &&(u64, f64)| a.1.total_cmp(&b.1);
            let (least, greatest) = (points.iter().min_by(by_value), points.iter().max_by(by_value));
            let mut kept: Vec<(u64, f64)> = least.into_iter().chain(greatest).copied().collect();
            kept.sort_by_key(|(batch, _)| *batch);
            kept.dedup_by_key(|(batch, _)| *batch);
            kept
        })
        .map(|(batch, value)| (batch as f64, value))
        .collect()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn cannot_draw(cause: String) -> Error {
    Error::internal(format!("the curves cannot be drawn: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves(batches: u64) -> Curves {
        let noise = |batch: u64| 1.0 + 0.3 * ((batch * 7919 % 101) as f64 / 101.0 - 0.5);
        let ideal = |batch: u64| 4.0 + 600.0 / (1.0 + batch as f64);
        let accuracy = |batch: u64| 0.88 * (1.0 - (-(batch as f64) / batches as f64 * 5.0).exp());
        Curves {
            title: "yolo-fastest-1.1".to_owned(),
            batches: batches + batches / 4,
            batch: 8,
            loss: (1..=batches).map(|batch| (batch, ideal(batch) * noise(batch))).collect(),
            smoothed: (1..=batches).map(|batch| (batch, ideal(batch))).collect(),
            measure: "mAP@0.5".to_owned(),
            accuracy: (1..=20).map(|i| (i * batches / 20, accuracy(i * batches / 20))).collect(),
        }
    }

    #[test]
    fn both_pictures_show_curves_and_labels() {
        let svg = curves(2000).to_svg().unwrap();
        for text in
            ["yolo-fastest-1.1", "loss per image", "mAP@0.5", "batches of 8 images", "best 0.8741 after 2000"]
        {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg, curves(2000).to_svg().unwrap());
        let image = curves(2000).to_image().unwrap();
        assert_eq!((image.shape.w as u32, image.shape.h as u32), SIZE);
        let pixels = |colour: RGBColor| {
            let wanted = [colour.0, colour.1, colour.2];
            image.to_bytes().chunks_exact(3).filter(|pixel| *pixel == wanted).count()
        };
        assert!(pixels(STRONG) > 800 && pixels(FAINT) > 800 && pixels(BEST) > 40 && pixels(INK) > 1000);
    }

    #[test]
    fn axes_of_losses_have_round_labels() {
        assert_eq!(log_ticks(0.5, 20_000.0), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(log_ticks(3.0, 70.0), [5.0, 10.0, 20.0, 50.0]);
        assert_eq!(log_ticks(0.9, 1.7), [1.0, 1.5]);
        assert_eq!(
            [0.0005, 0.02, 0.5, 1.5, 20.0, 3e6].map(short),
            ["5e-4", "0.02", "0.5", "1.5", "20", "3e6"]
        );
    }

    /// A picture has as many points as it can show, however long the training.
    #[test]
    fn long_trainings_are_thinned_out() {
        let long: Vec<(u64, f64)> = (0..200_000).map(|batch| (batch, (batch % 997) as f64)).collect();
        let points = thinned(&long, 200_000.0);
        assert!(points.len() as u64 <= 2 * COLUMNS + 2, "{}", points.len());
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(points.iter().any(|point| point.1 == 996.0) && points.iter().any(|point| point.1 == 0.0));
        assert_eq!(thinned(&long[..300], 300.0).len(), 300);
        assert!(curves(100_000).to_svg().unwrap().len() < 200_000);
    }

    #[test]
    fn odd_trainings_are_drawn_too() {
        let empty = Curves {
            title: String::new(),
            batches: 0,
            batch: 1,
            loss: vec![],
            smoothed: vec![],
            measure: String::new(),
            accuracy: vec![],
        };
        empty.to_svg().unwrap();
        let odd = [(1, f64::NAN), (2, f64::INFINITY), (3, 0.0), (4, -1.0), (5, 1e-9), (6, 1e12)];
        for points in [&odd[..4], &odd[4..5], &odd[..]] {
            let curves =
                Curves { loss: points.to_vec(), accuracy: vec![(1, 0.0), (2, f64::NAN)], ..empty.clone() };
            curves.to_svg().unwrap();
            curves.to_image().unwrap();
        }
    }
}
