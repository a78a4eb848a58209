//! LOAD and STORE: bytes between memory and the chip.

use secateur_runtime::npu::isa::{Channel, Opcode, Parameters, Transfer, transfer_flags};
use secateur_runtime::npu::registers::FaultCode;
use zerocopy::FromBytes;

use super::{MOST_ROWS, OnChip};
use crate::memory::Memory;

/// A memory region as its registers state it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Region {
    pub base: u32,
    pub bytes: u32,
}

/// Weight words that share one block of control bytes.
const BLOCK: usize = 8;

/// A fault's code, and the bus address of a bus fault.
type Fault = (FaultCode, Option<u32>);

/// Executes a transfer; the number of bytes that went over the bus.
///
/// All of it is checked before anything moves: an illegal or straying command changes nothing.
pub fn transfer(
    chip: &mut OnChip,
    memory: &mut Memory,
    regions: [Region; 2],
    opcode: Opcode,
    command: &Transfer,
) -> Result<u64, Fault> {
    let illegal = || (FaultCode::IllegalCommand, None);
    let stray = || (FaultCode::OutOfRegion, None);
    if !is_legal(&chip.parameters, opcode, command) {
        return Err(illegal());
    }
    let work = command.flags & transfer_flags::REGION_WORK != 0;
    if opcode == Opcode::StoreMap && !work {
        return Err(stray());
    }
    let region = regions[usize::from(work)];
    if last_byte(&chip.parameters, opcode, command) > u64::from(region.bytes) {
        return Err(stray());
    }
    let address = region.base.wrapping_add(command.address.get());
    let (words, lanes) = (usize::from(command.words.get()), chip.parameters.lanes);
    let base = usize::from(command.base.get());
    let read_error = |e: crate::memory::NoMemory| (FaultCode::BusRead, Some(e.address));
    match opcode {
        Opcode::LoadMap => {
            for (from, places) in channels(&chip.parameters, command, address) {
                for (word, (bank, place)) in (0..).zip(places) {
                    memory
                        .device_read(
                            from.wrapping_add(word * lanes),
                            &mut chip.banks[bank][place][..lanes as usize],
                        )
                        .map_err(read_error)?;
                }
            }
        }
        Opcode::StoreMap => {
            for (to, places) in channels(&chip.parameters, command, address) {
                for (word, (bank, place)) in (0..).zip(places) {
                    memory
                        .device_write(
                            to.wrapping_add(word * lanes),
                            &chip.banks[bank][place][..lanes as usize],
                        )
                        .map_err(|e| (FaultCode::BusWrite, Some(e.address)))?;
                }
            }
        }
        _ => {
            let mut bytes = vec![
                0;
                last_byte(&chip.parameters, opcode, command) as usize
                    - command.address.get() as usize
            ];
            memory.device_read(address, &mut bytes).map_err(read_error)?;
            match opcode {
                Opcode::LoadParams => {
                    let entries = chip.channels.len();
                    let records = <[Channel]>::ref_from_bytes(&bytes).map_err(|_| illegal())?;
                    for (i, record) in records.iter().enumerate() {
                        chip.channels[(base + i) % entries] = *record;
                    }
                }
                Opcode::LoadTable => {
                    let select = usize::from(command.flags & transfer_flags::TABLE_SELECT != 0);
                    for (to, from) in chip.tables[select].iter_mut().zip(&bytes) {
                        *to = from.cast_signed();
                    }
                }
                _ => {
                    let sparse = command.flags & transfer_flags::SPARSE != 0;
                    let entries = chip.weights.len();
                    for (i, word) in weight_words(&chip.parameters, &bytes, words, sparse).enumerate() {
                        chip.weights[(base + i) % entries] = word;
                    }
                }
            }
        }
    }
    Ok(transfer_bytes(&chip.parameters, opcode, command))
}

/// Bytes that a legal transfer moves over the bus.
pub fn transfer_bytes(parameters: &Parameters, opcode: Opcode, command: &Transfer) -> u64 {
    match opcode {
        Opcode::LoadMap | Opcode::StoreMap => {
            u64::from(command.words.get()) * u64::from(command.count.get()) * u64::from(parameters.lanes)
        }
        _ => last_byte(parameters, opcode, command) - u64::from(command.address.get()),
    }
}

/// What the RTL refuses as an illegal command.
fn is_legal(parameters: &Parameters, opcode: Opcode, command: &Transfer) -> bool {
    let (base, words) = (u32::from(command.base.get()), u32::from(command.words.get()));
    let fits = |entries: u32| base < entries && (1..=entries).contains(&words);
    let legal = match opcode {
        Opcode::LoadWeights => fits(parameters.weight_words),
        Opcode::LoadParams => fits(parameters.param_entries),
        Opcode::LoadTable => true,
        _ => {
            let (plane, count) = (u32::from(command.plane.get()), u32::from(command.count.get()));
            let first = i32::from(command.word.get()) - i32::from(command.w_first.get());
            let groups = (u32::from(command.origin.get()) + count.saturating_sub(1)) / parameters.rows + 1;
            command.pitch.get().is_multiple_of(16)
                && count > 0
                && words > 0
                && u32::from(command.pos_first.get()) < plane
                && u32::try_from(first).is_ok_and(|first| first + words <= plane)
                && u64::from(base) + u64::from(groups) * u64::from(plane) <= u64::from(parameters.bank_words)
        }
    };
    legal && command.address.get().is_multiple_of(8)
}

/// Offset behind the last byte of the transfer within its region.
fn last_byte(parameters: &Parameters, opcode: Opcode, command: &Transfer) -> u64 {
    let word = u64::from(parameters.weight_bytes());
    let words = u64::from(command.words.get());
    let sparse = command.flags & transfer_flags::SPARSE != 0;
    let bytes = match opcode {
        Opcode::LoadWeights if sparse => word * words + 8 * words.div_ceil(BLOCK as u64),
        Opcode::LoadWeights => word * words,
        Opcode::LoadParams => 16 * words,
        Opcode::LoadTable => 256,
        _ => {
            let last = u64::from(command.count.get()).saturating_sub(1) * u64::from(command.pitch.get());
            last + words * u64::from(parameters.lanes)
        }
    };
    u64::from(command.address.get()) + bytes
}

/// Per channel its bus address and the bank and place of each word.
fn channels(
    parameters: &Parameters,
    command: &Transfer,
    address: u32,
) -> impl Iterator<Item = (u32, impl Iterator<Item = (usize, usize)>)> {
    let (rows, command) = (parameters.rows as usize, *command);
    let plane = usize::from(command.plane.get());
    (0..usize::from(command.count.get())).map(move |channel| {
        let place = usize::from(command.origin.get()) + channel;
        let group = usize::from(command.base.get()) + place / rows * plane;
        let first = i32::from(command.word.get()) - i32::from(command.w_first.get());
        let first = first as usize + usize::from(command.pos_first.get());
        let words = (first..first + usize::from(command.words.get())).map(move |ring| {
            let ring = if ring >= plane { ring - plane } else { ring };
            (place % rows, group + ring)
        });
        (address.wrapping_add(command.pitch.get().wrapping_mul(channel as u32)), words)
    })
}

/// Weight words with their control bytes; a dense word has none.
fn weight_words(
    parameters: &Parameters,
    bytes: &[u8],
    words: usize,
    sparse: bool,
) -> impl Iterator<Item = ([i8; MOST_ROWS], u8)> {
    let (rows, word_bytes) = (parameters.rows as usize, parameters.weight_bytes() as usize);
    (0..words).map(move |i| {
        let (at, control) = if sparse {
            let block = i / BLOCK * BLOCK * (1 + word_bytes);
            (block + BLOCK + i % BLOCK * word_bytes, bytes[block + i % BLOCK])
        } else {
            (i * word_bytes, 0)
        };
        let mut word = [0; MOST_ROWS];
        word.iter_mut().zip(&bytes[at..at + rows]).for_each(|(weight, &byte)| *weight = byte.cast_signed());
        (word, control)
    })
}
