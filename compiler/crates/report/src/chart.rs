//! The chart of a build: where the operations were and are, and what that cost in accuracy.

use plotters::prelude::*;

use secateur_base::terminal::printable_line;
use secateur_base::{Error, Result};

/// One bar of the accuracy panel, with its 95 % interval over images.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AccuracyBar {
    /// "float", "pruned", "int8".
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The data of the chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Overview {
    pub(crate) title: String,
    /// Multiply-accumulates of every layer, `(before, after)`.
    pub(crate) macs: Vec<(u64, u64)>,
    /// Name of the measure in `accuracy`: "mAP@0.5".
    pub(crate) measure: String,
    pub(crate) accuracy: Vec<AccuracyBar>,
}

const SIZE: (u32, u32) = (960, 360);
const BEFORE: RGBColor = RGBColor(200, 205, 212);
const AFTER: RGBColor = RGBColor(29, 111, 184);
const INK: RGBColor = RGBColor(40, 44, 52);

/// Draws the overview as SVG, deterministic to the byte; the title may be any text.
pub(crate) fn draw_overview(overview: &Overview) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        paint(overview, &area).map_err(|e| Error::new(format!("cannot draw the overview: {e}")))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn paint(overview: &Overview, area: &Area) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let area = area.titled(&printable_line(&overview.title), ("sans-serif", 18).into_font().color(&INK))?;
    let (left, right) = area.split_horizontally(640);
    paint_macs(&overview.macs, &left)?;
    paint_accuracy(overview, &right)?;
    Ok(())
}

fn paint_macs(macs: &[(u64, u64)], area: &Area) -> Result<(), Box<dyn std::error::Error>> {
    // A pruned network has its layers' numbers; layers that compute nothing leave a gap.
    let most = macs.iter().map(|m| m.0.max(m.1)).max().unwrap_or(0).max(1) as f64 / 1e6;
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(38)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..macs.len() as f64, 0.0..most * 1.08)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_desc("layer, as Darknet numbers them")
        .y_desc("million multiply-accumulates")
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .x_label_formatter(&|x| if x.fract() == 0.0 { format!("{x:.0}") } else { String::new() })
        .draw()?;
    for (layer, &(before, after)) in macs.iter().enumerate() {
        let x = layer as f64;
        let bar = |value: u64, color: RGBColor| {
            Rectangle::new([(x + 0.1, 0.0), (x + 0.9, value as f64 / 1e6)], color.filled())
        };
        if before > 0 {
            chart.draw_series([bar(before, BEFORE), bar(after, AFTER)])?;
        }
    }
    let total = |pick: fn(&(u64, u64)) -> u64| macs.iter().map(pick).sum::<u64>() as f64 / 1e6;
    let mut legend = vec![(format!("as trained: {:.1} M", total(|m| m.0)), BEFORE)];
    match macs.iter().all(|(before, after)| before == after) {
        true => legend[0].1 = AFTER,
        false => legend.push((format!("pruned: {:.1} M", total(|m| m.1)), AFTER)),
    }
    for (row, (label, color)) in legend.into_iter().enumerate() {
        let (x, y) = (440, 20 + 20 * row as i32);
        area.draw(&Rectangle::new([(x, y), (x + 12, y + 12)], color.filled()))?;
        area.draw(&Text::new(label, (x + 18, y), ("sans-serif", 13).into_font().color(&INK)))?;
    }
    Ok(())
}

fn paint_accuracy(overview: &Overview, area: &Area) -> Result<(), Box<dyn std::error::Error>> {
    let bars = &overview.accuracy;
    let most = bars.iter().map(|b| b.high.max(b.value)).fold(1e-3, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(38)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..bars.len().max(1) as f64, 0.0..most * 1.15)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(0)
        .y_desc(format!("{}, 95 % interval", overview.measure))
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .y_label_formatter(&|y| format!("{y:.2}"))
        .draw()?;
    for (i, bar) in bars.iter().enumerate() {
        let middle = i as f64 + 0.5;
        let color = if i == 0 { BEFORE } else { AFTER };
        let line = INK.stroke_width(1);
        chart.draw_series([Rectangle::new(
            [(middle - 0.3, 0.0), (middle + 0.3, bar.value)],
            color.filled(),
        )])?;
        chart.draw_series([
            PathElement::new([(middle, bar.low), (middle, bar.high)], line),
            PathElement::new([(middle - 0.06, bar.low), (middle + 0.06, bar.low)], line),
            PathElement::new([(middle - 0.06, bar.high), (middle + 0.06, bar.high)], line),
        ])?;
        let (x, bottom) = chart.backend_coord(&(middle, 0.0));
        let (_, top) = chart.backend_coord(&(middle, bar.high.max(bar.value)));
        let style = ("sans-serif", 13).into_font().color(&INK);
        let style = style.pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        let root = area.strip_coord_spec();
        let (offset_x, offset_y) = area.get_base_pixel();
        root.draw(&Text::new(bar.label.clone(), (x - offset_x, bottom - offset_y + 8), style.clone()))?;
        root.draw(&Text::new(format!("{:.3}", bar.value), (x - offset_x, top - offset_y - 18), style))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overview() -> Overview {
        let bar = |label: &str, value| AccuracyBar {
            label: label.to_owned(),
            value,
            low: value - 0.03,
            high: value + 0.03,
        };
        Overview {
            title: "a network".to_owned(),
            macs: vec![(5_000_000, 4_000_000), (0, 0), (12_000_000, 3_000_000)],
            measure: "mAP".to_owned(),
            accuracy: vec![bar("float", 0.33), bar("int8", 0.32)],
        }
    }

    #[test]
    fn the_chart_shows_the_totals_and_the_values() {
        let svg = draw_overview(&overview()).unwrap();
        for text in ["a network", "as trained: 17.0 M", "pruned: 7.0 M", "float", "0.330", "0.320"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg, draw_overview(&overview()).unwrap());
        let whole = Overview { macs: vec![(7, 7)], ..overview() };
        assert!(!draw_overview(&whole).unwrap().contains("pruned"));
    }

    #[test]
    fn nothing_to_show_is_no_panic() {
        let empty = Overview { title: String::new(), macs: vec![], measure: String::new(), accuracy: vec![] };
        draw_overview(&empty).unwrap();
    }
}
