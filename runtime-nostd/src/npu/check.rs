//! What an artefact's check asks of an accelerator's program.
//!
//! The accelerator refuses what is unsound by itself, command by command. Here a program is refused as a
//! whole before anything runs: every opcode known, every transfer inside its region and its on-chip
//! memory, every map inside the banks, channel parameters within the contract, every wait for an
//! earlier command (so that no order of the queues can end in a deadlock), END last.

use zerocopy::FromBytes;

use super::isa::{
    ArrayMode, Channel, Exec, Opcode, Parameters, ResidualMode, ResidualSpread, Transfer, WINDOW_WORDS,
    exec_flags, transfer_flags,
};
use super::program::Program;
use super::stream::{Command, Commands, Queue};
use crate::artefact::format::REUSE_LIMIT;
use crate::kernels::Requant;

/// Weight words that share a block of control bytes.
const BLOCK: u64 = 8;

/// Checks every command; `Err` is the place in the stream of the first that is unsound.
pub(crate) fn check(program: &Program<'_>) -> Result<(), usize> {
    let parameters = program.parameters();
    // Bytes of channel parameters that may still be read: transfers may share them.
    let mut constants = REUSE_LIMIT.saturating_mul(program.bytes().len() as u64);
    // Commands of each queue so far.
    let mut before = [0u16; 3];
    let mut rest = program.stream().len();
    let mut ended = false;
    let mut count = 0;
    for (at, command) in Commands::new(program.stream()).enumerate() {
        let command = command.map_err(|_| at)?;
        rest = rest.saturating_sub(command.bytes());
        let waits = command.waits().iter().zip(&before).all(|(wait, before)| wait <= before);
        let sound = match command {
            Command::Load(opcode, transfer) => {
                let read =
                    if opcode == Opcode::LoadParams { 16 * u64::from(transfer.words.get()) } else { 0 };
                constants = constants.checked_sub(read).ok_or(at)?;
                load(program, &parameters, opcode, transfer)
            }
            Command::Store(transfer) => {
                transfer.flags == transfer_flags::REGION_WORK && map(program, &parameters, transfer)
            }
            Command::Exec(command) => exec(&parameters, command),
            Command::End(_) => command.waits() == before,
        };
        ended = matches!(command, Command::End(_));
        let own = match command.queue() {
            Queue::Load => before.first_mut(),
            Queue::Exec => before.get_mut(1),
            Queue::Store => before.get_mut(2),
        };
        let counted = own.and_then(|own| {
            *own = own.checked_add(1)?;
            Some(())
        });
        if !waits || !sound || counted.is_none() {
            return Err(at);
        }
        count = at;
    }
    if ended && rest == 0 { Ok(()) } else { Err(count) }
}

/// Length of the region that a transfer touches.
fn region(program: &Program<'_>, transfer: &Transfer) -> u64 {
    match transfer.flags & transfer_flags::REGION_WORK {
        0 => program.bytes().len() as u64,
        _ => program.header().work_bytes.get().into(),
    }
}

fn load(program: &Program<'_>, parameters: &Parameters, opcode: Opcode, transfer: &Transfer) -> bool {
    let (base, words) = (u32::from(transfer.base.get()), u32::from(transfer.words.get()));
    let entries = |memory: u32| base < memory && (1..=memory).contains(&words);
    let (fits, bytes) = match opcode {
        Opcode::LoadMap => return transfer.flags & !1 == 0 && map(program, parameters, transfer),
        Opcode::LoadWeights => {
            let words = u64::from(words);
            let control =
                if transfer.flags & transfer_flags::SPARSE != 0 { words.div_ceil(BLOCK) } else { 0 };
            (entries(parameters.weight_words), u64::from(parameters.weight_bytes()) * words + BLOCK * control)
        }
        Opcode::LoadParams => (entries(parameters.param_entries), 16 * u64::from(words)),
        _ => (true, 256),
    };
    let address = transfer.address.get();
    let inside = address.is_multiple_of(8) && u64::from(address) + bytes <= region(program, transfer);
    fits && inside && (opcode != Opcode::LoadParams || channels(program, transfer))
}

/// Channel parameters in the program are within the contract; those in the work region are not known.
fn channels(program: &Program<'_>, transfer: &Transfer) -> bool {
    if transfer.flags & transfer_flags::REGION_WORK != 0 {
        return false;
    }
    let Ok(start) = usize::try_from(transfer.address.get()) else { return false };
    let bytes = start.checked_add(size_of::<Channel>() * usize::from(transfer.words.get()));
    let channels = bytes.and_then(|end| program.bytes().get(start..end));
    channels.and_then(|bytes| <[Channel]>::ref_from_bytes(bytes).ok()).is_some_and(|channels| {
        let valid = |c: &Channel| Requant::new(c.m_pos.get(), c.m_neg.get(), c.shift).is_valid();
        channels.iter().all(valid)
    })
}

/// A map's transfer stays in its region and in the banks.
fn map(program: &Program<'_>, parameters: &Parameters, transfer: &Transfer) -> bool {
    let (count, words) = (u64::from(transfer.count.get()), u64::from(transfer.words.get()));
    let pitch = u64::from(transfer.pitch.get());
    let bytes = count.saturating_sub(1) * pitch + words * u64::from(parameters.lanes);
    let address = u64::from(transfer.address.get());
    let first = i64::from(transfer.word.get()) - i64::from(transfer.w_first.get());
    let plane = i64::from(transfer.plane.get());
    let place = [transfer.base, transfer.plane, transfer.pos_first, transfer.origin];
    count > 0
        && words > 0
        && address.is_multiple_of(8)
        && pitch.is_multiple_of(16)
        && address + bytes <= region(program, transfer)
        && first >= 0
        && first + words as i64 <= plane
        && in_banks(parameters, place.map(|field| field.get()), u32::from(transfer.count.get()))
}

/// `channels` channels of a tensor lie in the banks.
fn in_banks(parameters: &Parameters, [base, plane, pos_first, origin]: [u16; 4], channels: u32) -> bool {
    let Some(last) = (u32::from(origin) + channels).checked_sub(1) else { return false };
    let groups = (last >> parameters.rows.trailing_zeros()) + 1;
    let end = u64::from(base) + u64::from(groups) * u64::from(plane);
    pos_first < plane && end <= u64::from(parameters.bank_words)
}

fn exec(parameters: &Parameters, exec: &Exec) -> bool {
    let (Some(mode), Some(residual), Some(spread)) = (
        ArrayMode::from_code(exec.mode),
        ResidualMode::from_code(exec.residual & 3),
        ResidualSpread::from_code(exec.residual >> 2),
    ) else {
        return false;
    };
    let outputs = u32::from(exec.out_channels.get());
    let inputs = if mode == ArrayMode::Dense { u32::from(exec.in_channels.get()) } else { outputs };
    let input = [exec.in_base, exec.in_plane, exec.in_pos_first, exec.in_origin].map(|field| field.get());
    let output =
        [exec.out_base, exec.out_plane, exec.out_pos_first, exec.out_origin].map(|field| field.get());
    let second =
        [exec.res_base, exec.res_plane, exec.res_pos_first, exec.res_origin].map(|field| field.get());
    let second_channels = if spread == ResidualSpread::Pixel { 1 } else { outputs };
    let sum = Requant::new(exec.m_main.get(), exec.m_res.get(), exec.shift_add);
    // A group's weights lie in their memory together, which also bounds the accumulators.
    let kernel = u32::from(exec.k) * u32::from(exec.k);
    let sparse = exec.flags & exec_flags::SPARSE != 0;
    (1..=15).contains(&exec.k)
        && (1..=15).contains(&exec.dilation)
        && (1..=2).contains(&exec.stride)
        && (1..=WINDOW_WORDS).contains(&u32::from(exec.window_words))
        && exec.flags < 32
        && exec.lo <= exec.hi
        && outputs > 0
        && inputs > 0
        && (mode != ArrayMode::Dense || sparse || inputs.saturating_mul(kernel) <= parameters.weight_words)
        && exec.tiles.get() > 0
        && exec.rows.get() > 0
        && u32::from(exec.weight_base.get()) < parameters.weight_words
        && u32::from(exec.param_base.get()) < parameters.param_entries
        && in_banks(parameters, input, inputs)
        && in_banks(parameters, output, outputs)
        && (residual == ResidualMode::None || in_banks(parameters, second, second_channels))
        && (residual != ResidualMode::Add || (sum.is_valid() && exec.lo_add <= exec.hi_add))
}
