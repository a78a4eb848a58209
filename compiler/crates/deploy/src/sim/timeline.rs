//! An image of a frame: what LOAD, EXEC and STORE did when.

use std::fmt::Write as _;

use secateur_runtime::npu::stream::Queue;

use super::frame::{SimulatedFrame, TimedCommand};

const WIDTH: f64 = 1600.0;
const LEFT: f64 = 120.0;
const ROW: f64 = 34.0;
const BAR: f64 = 22.0;
const TOP: f64 = 30.0;
/// Ticks of the axis at most.
const TICKS: u64 = 10;

/// Bars by queue, measured above predicted, coloured by layer; each has its figures as a tooltip.
pub fn svg(frame: &SimulatedFrame) -> String {
    let measured = frame.commands.iter().map(|command| command.end);
    let predicted = frame.commands.iter().map(|command| command.predicted.1);
    let cycles = measured.chain(predicted).max().unwrap_or(1).max(1);
    let scale = (WIDTH - LEFT - 20.0) / cycles as f64;
    let queues = [Queue::Load, Queue::Exec, Queue::Store];
    let height = TOP + 2.0 * ROW * queues.len() as f64 + 30.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let step = step(cycles);
    for cycle in (0..=cycles).step_by(step as usize) {
        let x = LEFT + cycle as f64 * scale;
        let bottom = height - 24.0;
        let _ = writeln!(
            text,
            "<path d=\"M{x:.1} {TOP}V{bottom:.1}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{cycle}</text>",
            height - 8.0
        );
    }
    for (row, queue) in queues.into_iter().enumerate() {
        for (half, label) in ["measured", "predicted"].into_iter().enumerate() {
            let y = TOP + ROW * (2 * row + half) as f64;
            let name = format!("{queue:?}").to_uppercase();
            let _ = writeln!(text, "<text x=\"6\" y=\"{:.1}\">{name} {label}</text>", y + BAR / 2.0 + 4.0);
            for command in frame.commands.iter().filter(|command| command.queue == queue) {
                bar(&mut text, command, half == 1, y, scale);
            }
        }
    }
    text.push_str("</svg>\n");
    text
}

fn bar(text: &mut String, command: &TimedCommand, predicted: bool, y: f64, scale: f64) {
    let (start, end) = if predicted { command.predicted } else { (command.start, command.end) };
    let x = LEFT + start as f64 * scale;
    let width = (end.saturating_sub(start) as f64 * scale).max(0.2);
    // Neighbouring layers get colours far apart: steps of the golden angle.
    let hue = command.layer as f64 * 137.508 % 360.0;
    let opacity = if predicted { 0.5 } else { 0.9 };
    let _ = writeln!(
        text,
        "<rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{BAR}\" fill=\"hsl({hue:.0},60%,50%)\" \
         fill-opacity=\"{opacity}\"><title>layer {}: cycles {start} to {end}, {} bytes</title></rect>",
        command.layer, command.bytes
    );
}

/// A round distance of the axis's ticks: 1, 2 or 5 times a power of ten.
fn step(cycles: u64) -> u64 {
    let mut unit = 1;
    loop {
        if let Some(step) = [1, 2, 5].map(|n| n * unit).into_iter().find(|step| cycles / step <= TICKS) {
            return step;
        }
        unit *= 10;
    }
}
