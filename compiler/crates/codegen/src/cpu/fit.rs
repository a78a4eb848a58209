//! Whether a network fits a target's memory, and what would.

use super::CpuProgram;
use crate::target::{Region, Target};
use secateur_base::{Error, Result};

/// Checks the arena against the target's RAM.
///
/// # Errors
/// It is too large: by how many bytes, at which layer, and what would fit.
pub(super) fn arena(program: &CpuProgram<'_>, target: &Target) -> Result<()> {
    let (Some(arena), Some(regions)) = (&program.arena, &target.regions) else { return Ok(()) };
    let (needed, limit) = (arena.bytes as u64, regions.arena.bytes);
    if needed <= limit {
        return Ok(());
    }
    let (tick, _) = program.fullest_tick();
    let layer = program.layer_at(tick);
    let mut help = format!(
        "most of it is live at this layer: pruning that leaves {} of its channels",
        share(limit, needed)
    );
    if let Some((w, h)) = smaller_input(program, limit) {
        help += &format!(", or an input of about {w} x {h}");
    }
    if program.stage.is_none()
        && let Some(bytes) = super::patch::least_arena(program.net, target).filter(|&bytes| bytes <= limit)
    {
        help += &format!(", or `--patch`, with {bytes} bytes,");
    }
    help += " would fit, as would a board with more RAM (`secateur targets list`)";
    let error = too_large(
        &format!("the network does not fit the RAM of target {}", target.name),
        needed,
        regions.arena,
    );
    Err(program.net.locate(layer, error.help(help)))
}

/// Checks an artefact against the target's flash.
///
/// # Errors
/// It is too large: by how many bytes, and what would fit.
pub(crate) fn artefact(bytes: usize, target: &Target) -> Result<()> {
    let Some(regions) = &target.regions else { return Ok(()) };
    let (needed, limit) = (bytes as u64, regions.package.bytes);
    if needed <= limit {
        return Ok(());
    }
    let error = too_large(
        &format!("the artefact does not fit the flash of target {}", target.name),
        needed,
        regions.package,
    );
    Err(error.help(format!("pruning that leaves {} of the weights would fit", share(limit, needed))))
}

fn too_large(what: &str, needed: u64, region: Region) -> Error {
    Error::new(what)
        .found(format!("{needed} bytes: {} too many", needed - region.bytes))
        .allowed(format!("{} bytes", region.bytes))
}

fn share(part: u64, whole: u64) -> String {
    format!("about {} %", 100 * part / whole)
}

/// The input with the largest arena below `limit`, by its area: a multiple of what the input is a multiple of.
fn smaller_input(program: &CpuProgram<'_>, limit: u64) -> Option<(usize, usize)> {
    let (arena, input) = (program.arena.as_ref()?, program.net.input.shape);
    let step = [32, 16, 8]
        .into_iter()
        .find(|step| input.h.is_multiple_of(*step) && input.w.is_multiple_of(*step))?;
    let scale = (limit as f64 / arena.bytes as f64).sqrt();
    let scaled = |extent: usize| (extent as f64 * scale) as usize / step * step;
    let (w, h) = (scaled(input.w), scaled(input.h));
    (w > 0 && h > 0).then_some((w, h))
}
