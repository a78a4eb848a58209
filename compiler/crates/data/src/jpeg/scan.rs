//! Coefficients of one scan (T.81, annexes F.2 and G.2).

use super::bits::{Bits, Huffman};
use super::header::{Component, Frame, ScanHeader, Tables, place};
use super::{Failure, Result};

/// What lasts from one block of a scan to the next, until a restart.
#[derive(Default)]
struct State {
    /// DC value of the block before, by component.
    dc: [i32; 3],
    /// Blocks still to come that hold nothing new.
    empty: i32,
}

/// Minimum coded units of a scan, across and down.
fn scan_units(frame: &Frame, header: &ScanHeader) -> (usize, usize) {
    match header.components.as_slice() {
        // A scan of one component holds only the blocks that the image touches.
        &[(index, ..)] => {
            let (w, h) = frame.components[index].size;
            (w.div_ceil(8), h.div_ceil(8))
        }
        _ => frame.units,
    }
}

/// Blocks that reading the scan visits.
pub(super) fn block_visits(frame: &Frame, header: &ScanHeader) -> usize {
    let (across, down) = scan_units(frame, header);
    let blocks_per_unit: usize = match header.components.as_slice() {
        [_] => 1,
        several => several
            .iter()
            .map(|&(index, ..)| {
                let (h, v) = frame.components[index].sampling;
                h * v
            })
            .sum(),
    };
    across * down * blocks_per_unit
}

/// Reads the scan that begins at byte `at`; returns where it ends.
pub(super) fn read(
    bytes: &[u8],
    at: usize,
    frame: &mut Frame,
    header: &ScanHeader,
    tables: &Tables,
) -> Result<usize> {
    let mut bits = Bits::new(bytes, at);
    let mut state = State::default();
    let single = header.components.len() == 1;
    let units = scan_units(frame, header);
    let mut until_restart = tables.restart;
    for unit in 0..units.0 * units.1 {
        if tables.restart > 0 && until_restart == 0 {
            bits.restart()?;
            state = State::default();
            until_restart = tables.restart;
        }
        until_restart = until_restart.saturating_sub(1);
        let (x, y) = (unit % units.0, unit / units.0);
        for &(index, dc, ac) in &header.components {
            let component = &mut frame.components[index];
            let (across, down) = if single { (1, 1) } else { component.sampling };
            for v in 0..down {
                for h in 0..across {
                    let block = (y * down + v) * component.blocks.0 + x * across + h;
                    let values = coefficients(component, block);
                    let tables = (tables.dc.get(dc), tables.ac.get(ac));
                    if frame.progressive {
                        progressive(&mut bits, values, header, tables, &mut state, index)?;
                    } else {
                        baseline(&mut bits, values, tables, &mut state.dc[index])?;
                    }
                }
            }
        }
        bits.check()?;
    }
    Ok(bits.position())
}

fn coefficients(component: &mut Component, block: usize) -> &mut [i16] {
    &mut component.coefficients[block * 64..][..64]
}

/// DC and AC table of a component.
type Pair<'t> = (Option<&'t Option<Huffman>>, Option<&'t Option<Huffman>>);

fn table(slot: Option<&Option<Huffman>>) -> Result<&Huffman> {
    slot.and_then(Option::as_ref).ok_or(Failure::Damaged("a Huffman table is missing"))
}

/// Length of a value that a code announces.
fn length(symbol: u8) -> Result<u32> {
    if symbol > 15 { Err(Failure::Damaged("a value of too many bits")) } else { Ok(u32::from(symbol)) }
}

fn baseline(bits: &mut Bits<'_>, values: &mut [i16], (dc, ac): Pair<'_>, before: &mut i32) -> Result<()> {
    let size = length(bits.symbol(table(dc)?)?)?;
    *before = before.wrapping_add(bits.signed(size));
    values[0] = *before as i16;
    runs(bits, values, table(ac)?, (1, 63), 0)?;
    Ok(())
}

/// Coefficients `first..=last` as pairs of a run of zeros and a value, which is shifted left by `low`
/// bits; the run of the code that ends the block early, if one does.
fn runs(
    bits: &mut Bits<'_>,
    values: &mut [i16],
    ac: &Huffman,
    (first, last): (usize, usize),
    low: u32,
) -> Result<Option<usize>> {
    let mut k = first;
    while k <= last {
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run < 15 {
                return Ok(Some(run));
            }
            k += 16;
            continue;
        }
        k += run;
        if k > 63 {
            return Err(Failure::Damaged("a block of more than 64 coefficients"));
        }
        values[place(k)] = (bits.signed(size) << low) as i16;
        k += 1;
    }
    Ok(None)
}

fn progressive(
    bits: &mut Bits<'_>,
    values: &mut [i16],
    header: &ScanHeader,
    (dc, ac): Pair<'_>,
    state: &mut State,
    component: usize,
) -> Result<()> {
    let (before, now) = header.bit;
    match (header.spectrum.0 == 0, before == 0) {
        (true, true) => {
            let size = length(bits.symbol(table(dc)?)?)?;
            let value = &mut state.dc[component];
            *value = value.wrapping_add(bits.signed(size));
            values[0] = (*value << now) as i16;
        }
        (true, false) => {
            if bits.bit() {
                values[0] = values[0].wrapping_add(1 << now);
            }
        }
        (false, true) => first_pass(bits, values, header, table(ac)?, &mut state.empty)?,
        (false, false) => refine(bits, values, header, table(ac)?, &mut state.empty)?,
    }
    Ok(())
}

/// Blocks that end here from now on: `2^run` and as many as the next `run` bits say.
fn empty_blocks(bits: &mut Bits<'_>, run: usize) -> i32 {
    (1 << run) + bits.take(run as u32)
}

fn first_pass(
    bits: &mut Bits<'_>,
    values: &mut [i16],
    header: &ScanHeader,
    ac: &Huffman,
    empty: &mut i32,
) -> Result<()> {
    if *empty > 0 {
        *empty -= 1;
        return Ok(());
    }
    if let Some(run) = runs(bits, values, ac, header.spectrum, header.bit.1)? {
        *empty = empty_blocks(bits, run) - 1;
    }
    Ok(())
}

/// One more bit of the coefficients that are known, and new ones of that size.
fn refine(
    bits: &mut Bits<'_>,
    values: &mut [i16],
    header: &ScanHeader,
    ac: &Huffman,
    empty: &mut i32,
) -> Result<()> {
    let (mut k, last) = header.spectrum;
    let bit = 1_i16 << header.bit.1;
    if *empty == 0 {
        while k <= last {
            let symbol = bits.symbol(ac)?;
            let (mut run, size) = (usize::from(symbol >> 4), symbol & 15);
            let new = match size {
                0 if run < 15 => {
                    *empty = empty_blocks(bits, run);
                    break;
                }
                0 => 0,
                1 => {
                    if bits.bit() {
                        bit
                    } else {
                        -bit
                    }
                }
                _ => return Err(Failure::Damaged("a refinement of more than one bit")),
            };
            // The run counts coefficients that are still zero; known ones between get their bit.
            while k <= last {
                let value = &mut values[place(k)];
                k += 1;
                if *value != 0 {
                    sharpen(bits, value, bit);
                } else if run == 0 {
                    *value = new;
                    break;
                } else {
                    run -= 1;
                }
            }
        }
    }
    if *empty > 0 {
        for k in k..=last {
            let value = &mut values[place(k)];
            if *value != 0 {
                sharpen(bits, value, bit);
            }
        }
        *empty -= 1;
    }
    Ok(())
}

/// Moves a known coefficient away from zero if the next bit says so.
fn sharpen(bits: &mut Bits<'_>, value: &mut i16, bit: i16) {
    if bits.bit() && *value & bit == 0 {
        *value = if *value > 0 { value.wrapping_add(bit) } else { value.wrapping_sub(bit) };
    }
}
