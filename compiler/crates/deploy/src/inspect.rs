//! An accelerator's program as text, one line a command.

use std::fmt::Write as _;

use secateur_runtime::artefact::Model;
use secateur_runtime::npu::Program;
use secateur_runtime::npu::isa::{
    ArrayMode, Exec, Opcode, ResidualMode, ResidualSpread, Transfer, exec_flags, transfer_flags,
};
use secateur_runtime::npu::program::map_role;
use secateur_runtime::npu::stream::{Command, Commands, Queue};

use secateur_base::terminal::printable_line;
use secateur_base::{Error, Result};

/// Lists the program of an artefact.
///
/// # Errors
/// The bytes are no artefact, hold no program, or the stream has an unknown command.
pub fn disassemble(artefact: &[u8]) -> Result<String> {
    let model = Model::from_bytes(artefact).map_err(|e| Error::new(e.to_string()))?;
    let program = model.program().ok_or_else(|| {
        Error::new("the artefact has no accelerator program").help("compile it with --target npu-8x16")
    })?;
    let mut text = head(&model, &program);
    let trace = model.trace();
    let mut numbers = [0; 3];
    for (at, command) in Commands::new(program.stream()).enumerate() {
        let command = command.map_err(|bad| Error::new(format!("unit {} is no command", bad.unit)))?;
        let queue = command.queue();
        let name = match queue {
            Queue::Load => "load",
            Queue::Exec => "exec",
            Queue::Store => "store",
        };
        let _ = write!(text, "{name:>5} {:<5}", numbers[queue as usize]);
        numbers[queue as usize] += 1;
        if let Some(record) = trace.and_then(|trace| trace.get(at)) {
            let (start, end) = (record.start.get(), record.end.get());
            let _ = write!(
                text,
                " layer {:>3}  @{start:<8} +{:<6}",
                record.layer.get(),
                end.saturating_sub(start)
            );
        }
        let [load, exec, store] = command.waits();
        let waits = format!("[{load} {exec} {store}]");
        let _ = write!(text, " {waits:<16} ");
        let _ = match command {
            Command::Load(opcode, transfer) => writeln!(text, "{}", load_text(opcode, transfer)),
            Command::Store(transfer) => writeln!(text, "map {}", map_text(transfer, "->")),
            Command::Exec(exec) => writeln!(text, "{}", exec_text(exec)),
            Command::End(_) => writeln!(text, "end"),
        };
    }
    Ok(text)
}

fn head(model: &Model<'_>, program: &Program<'_>) -> String {
    let header = program.header();
    let mut text = format!(
        "; {} for {}: {}\n; program {} bytes, stream {} bytes at {:#x}, work {} bytes, {} cycles expected\n",
        printable_line(model.network()),
        printable_line(model.target()),
        program.parameters(),
        program.bytes().len(),
        header.stream_bytes.get(),
        header.stream_offset.get(),
        header.work_bytes.get(),
        header.cycles.get()
    );
    for map in program.maps() {
        let role = match map.role.get() {
            map_role::INPUT => "input",
            map_role::OUTPUT => "output",
            _ => "map",
        };
        let _ = writeln!(
            text,
            "; {role} tensor {}: {}x{}x{} at {:#x}, {} bytes a channel",
            map.tensor.get(),
            map.h.get(),
            map.w.get(),
            map.channels.get(),
            map.address.get(),
            map.pitch.get()
        );
    }
    text
}

fn load_text(opcode: Opcode, transfer: &Transfer) -> String {
    let at = transfer.address.get();
    match opcode {
        Opcode::LoadWeights => {
            let sparse = if transfer.flags & transfer_flags::SPARSE != 0 { " sparse" } else { "" };
            format!("weights [{}+{}]{sparse} <- {at:#x}", transfer.base.get(), transfer.words.get())
        }
        Opcode::LoadParams => format!("params [{}+{}] <- {at:#x}", transfer.base.get(), transfer.words.get()),
        Opcode::LoadTable => {
            format!("table {} <- {at:#x}", u8::from(transfer.flags & transfer_flags::TABLE_SELECT != 0))
        }
        _ => format!("map {}", map_text(transfer, "<-")),
    }
}

/// `[base+plane] channels words address`
fn map_text(transfer: &Transfer, arrow: &str) -> String {
    let first = transfer.word.get();
    let channel = transfer.origin.get();
    format!(
        "[{}+{}] c{channel}..{} w{first}..{} {arrow} {:#x} pitch {}",
        transfer.base.get(),
        transfer.plane.get(),
        u32::from(channel) + u32::from(transfer.count.get()),
        i32::from(first) + i32::from(transfer.words.get()),
        transfer.address.get(),
        transfer.pitch.get()
    )
}

fn exec_text(exec: &Exec) -> String {
    let flag = |bit: u8| exec.flags & bit != 0;
    let mode = match ArrayMode::from_code(exec.mode) {
        Some(ArrayMode::Dense) => "dense",
        Some(ArrayMode::Depthwise) => "depthwise",
        Some(ArrayMode::Maximum) => "max",
        Some(ArrayMode::Average) => "average",
        Some(ArrayMode::Pass) => "pass",
        None => "?",
    };
    let mut text = format!("{mode} {}x{}/{}", exec.k, exec.k, exec.stride);
    let mut say = |holds: bool, word: &str| text.push_str(if holds { word } else { "" });
    say(flag(exec_flags::SPARSE), " sparse");
    say(flag(exec_flags::UPSAMPLE), " up2");
    say(flag(exec_flags::TABLE), if flag(exec_flags::TABLE_SELECT) { " table1" } else { " table0" });
    let place = |base: u16, plane: u16, origin: u16, channels: u16| {
        format!("[{base}+{plane}] c{origin}..{}", u32::from(origin) + u32::from(channels))
    };
    let span = |axis: char, first: u16, count: u16| {
        format!("{axis}{first}..{}", u32::from(first) + u32::from(count))
    };
    let dense = exec.mode == ArrayMode::Dense.code();
    let channels = if dense { exec.in_channels.get() } else { exec.out_channels.get() };
    let input = place(exec.in_base.get(), exec.in_plane.get(), exec.in_origin.get(), channels);
    let output =
        place(exec.out_base.get(), exec.out_plane.get(), exec.out_origin.get(), exec.out_channels.get());
    let range = match flag(exec_flags::ROW_MODE) {
        true => span('y', exec.y_first.get(), exec.rows.get()),
        false => span('w', exec.word_first.get(), exec.tiles.get()),
    };
    let _ = write!(text, " {}x{} {input} -> {output} {range}", exec.in_h.get(), exec.in_w.get());
    let second = match ResidualMode::from_code(exec.residual & 3) {
        Some(ResidualMode::Add) => "+",
        Some(ResidualMode::Multiply) => "*",
        _ => "",
    };
    if !second.is_empty() {
        let spread = match ResidualSpread::from_code(exec.residual >> 2) {
            Some(ResidualSpread::Channel) => " a channel",
            Some(ResidualSpread::Pixel) => " a pixel",
            _ => "",
        };
        let place =
            place(exec.res_base.get(), exec.res_plane.get(), exec.res_origin.get(), exec.out_channels.get());
        let _ = write!(text, " {second} {place}{spread}");
    }
    if dense || exec.mode == ArrayMode::Depthwise.code() {
        let _ = write!(text, " weights {}", exec.weight_base.get());
    }
    let _ = write!(text, " params {}", exec.param_base.get());
    text
}
