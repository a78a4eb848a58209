//! The RAM that a network's activations take while each of its layers runs.

use std::fmt::Write as _;

use plotters::prelude::*;

use secateur_base::terminal::printable_line;
use secateur_base::{Error, Result};

/// The data of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPicture {
    /// The network's name.
    pub title: String,
    /// Number of layers.
    pub layers: usize,
    /// In order of execution: a layer, as Darknet numbers them, and the bytes alive while it, or a band of it, runs.
    pub bytes: Vec<(usize, usize)>,
    /// The same of the program to compare with.
    pub before: Option<Vec<(usize, usize)>>,
}

const SIZE: (u32, u32) = (960, 420);
const BEFORE: RGBColor = RGBColor(200, 205, 212);
const AFTER: RGBColor = RGBColor(29, 111, 184);
const INK: RGBColor = RGBColor(40, 44, 52);

impl MemoryPicture {
    /// Draws a bar a layer, the most of its bands, as SVG, deterministic to the byte; the title may be any text.
    ///
    /// # Errors
    /// The drawing fails: a bug.
    pub fn to_svg(&self) -> Result<String> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            self.paint(&area).map_err(|e| Error::new(format!("cannot draw the memory: {e}")))?;
        }
        Ok(svg)
    }

    /// By layer: the most bytes alive while it runs.
    fn by_layer(&self, bytes: &[(usize, usize)]) -> Vec<usize> {
        let mut most = vec![0; self.layers];
        for &(layer, bytes) in bytes {
            if let Some(most) = most.get_mut(layer) {
                *most = bytes.max(*most);
            }
        }
        most
    }

    fn heading(&self, before: &[usize], after: &[usize]) -> String {
        let most = |bytes: &[usize]| bytes.iter().copied().max().unwrap_or(0);
        let mut title = printable_line(&self.title).to_string();
        let _ = write!(title, ": {} bytes of RAM at the fullest layer", most(after));
        if self.before.is_some() {
            let _ = write!(title, ", {} without bands (grey)", most(before));
        }
        title
    }

    fn paint(
        &self,
        area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    ) -> std::result::Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE)?;
        let after = self.by_layer(&self.bytes);
        let before = self.by_layer(self.before.as_deref().unwrap_or(&[]));
        let area = area.titled(&self.heading(&before, &after), ("sans-serif", 18).into_font().color(&INK))?;
        let most = before.iter().chain(&after).copied().max().unwrap_or(0).max(1) as f64 / 1e3;
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..self.layers as f64, 0.0..most * 1.05)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .x_desc("layer, as Darknet numbers them")
            .y_desc("kB of activations and workspace")
            .label_style(("sans-serif", 12).into_font().color(&INK))
            .x_label_formatter(&|x| if x.fract() == 0.0 { format!("{x:.0}") } else { String::new() })
            .draw()?;
        for (bytes, color, inset) in [(&before, BEFORE, 0.05), (&after, AFTER, 0.2)] {
            let bar = |(layer, &bytes): (usize, &usize)| {
                let x = layer as f64;
                Rectangle::new([(x + inset, 0.0), (x + 1.0 - inset, bytes as f64 / 1e3)], color.filled())
            };
            chart.draw_series(bytes.iter().enumerate().filter(|(_, bytes)| **bytes > 0).map(bar))?;
        }
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_has_the_bar_of_its_fullest_band() {
        let picture = MemoryPicture {
            title: "<net>".to_owned(),
            layers: 3,
            bytes: vec![(0, 10), (1, 400), (0, 200), (2, 30)],
            before: Some(vec![(0, 900), (1, 1000), (2, 30)]),
        };
        assert_eq!(picture.by_layer(&picture.bytes), [200, 400, 30]);
        let svg = picture.to_svg().unwrap();
        for part in ["&lt;net&gt;", "400 bytes", "1000 without bands"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        let bars = |color: &str| svg.matches(&format!("fill=\"{color}\"")).count();
        assert_eq!((bars("#C8CDD4"), bars("#1D6FB8")), (3, 3));
        assert!(!svg.contains("href"), "it is complete in itself");
    }
}
