//! Runs a kernel call for every layer shape of `layers.txt`, linear and leaky, and prints a line for each: its number in the
//! file, the flavour, both checksums. A span of known length comes first. The counting plugin prints the calls' instructions in the same order.
#![no_std]
#![no_main]

use core::fmt::Write;

use secateur_counts::case::{Case, Flavour, Kind};
use secateur_counts::machine::{Host, known_span};
use secateur_counts::memory::POOL;
use secateur_runtime::kernels::Window;

#[unsafe(no_mangle)]
fn program() -> bool {
    // SAFETY: the only call.
    let pool = unsafe { POOL.take() };
    known_span();
    let mut all = true;
    for (number, line) in include_str!("../../layers.txt").lines().enumerate() {
        let Some(case) = parse(line) else { continue };
        for flavour in [Flavour::Linear, Flavour::Leaky] {
            let case = Case { flavour, ..case };
            let Some(outcome) = case.run(pool, number as u64) else {
                let _ = writeln!(Host, "layer {number} {flavour:?} is not packed");
                return false;
            };
            let _ = writeln!(
                Host,
                "layer {number} {flavour:?} {:08x} {:08x} inner {} of {}",
                outcome.tuned, outcome.reference, outcome.inner, case.output[2]
            );
            all &= outcome.is_same();
        }
    }
    all
}

/// The call of a line; `None` for comments and for layers without arithmetic.
fn parse(line: &str) -> Option<Case> {
    let mut words = line.split_whitespace().skip(3);
    let kind = match words.next()? {
        "conv" => Kind::Conv,
        "depthwise" => Kind::Depthwise,
        "shortcut" => Kind::Shortcut,
        "maxpool" => Kind::MaxPool,
        _ => return None,
    };
    let mut next = || words.next()?.parse::<usize>().ok();
    let input = [next()?, next()?, next()?];
    let output = [next()?, next()?, next()?];
    let window = Window::square(next()?, next()?, next()?);
    let scratch = 8192;
    Some(Case { kind, input, output, window, flavour: Flavour::Linear, gaps: [0; 2], shift: 0, scratch })
}
