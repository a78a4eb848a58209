//! Assembles an artefact: sections in a fixed order, constants once each, the CRC at the end.
//!
//! Tensor `v` of the artefact is value `v` of the program: 0 the image, `i + 1` the output of layer
//! `i`; slices that concatenations copy follow. The same program gives the same bytes.

use secateur_base::{Error, Result};
use secateur_runtime::artefact::format::{
    MEMORY_LIMIT, ProvenanceRecord, Section, StepRecord, Target as Processor, TextRef, header_flags,
};

use super::npu::Sections;
use super::writer::{ArtefactFile, RecordWriter, number};
use super::{heads, steps};
use crate::cpu::{CpuProgram, fit};
use crate::npu::NpuPlan;
use crate::target::Target;

/// Serialises a lowered network, with the accelerator's program where there is one.
///
/// # Errors
/// A number that does not fit the format, with the layer; an artefact above the target's limit.
pub fn write(program: &CpuProgram<'_>, target: &Target, plan: Option<&NpuPlan>) -> Result<Vec<u8>> {
    let accelerator = plan.map(Sections::new).transpose()?;
    let mut writer = RecordWriter::new(program)?;
    for (index, task) in program.tasks.iter().enumerate() {
        let layer = program.layer_at(index + 1);
        steps::write(&mut writer, task)
            .map_err(|e| e.layer(layer).section(program.net.nodes[layer].op.name()))?;
    }
    if let Some(sections) = &accelerator {
        let shared = |step: &&mut StepRecord| sections.shared[step.layer.get() as usize];
        writer.steps.iter_mut().filter(shared).for_each(|step| step.target = Processor::Shared.code());
    }
    let (heads, suppression) = heads::write(&mut writer)?;
    let names: Vec<TextRef> =
        program.net.names.iter().map(|name| writer.text(name)).collect::<Result<_>>()?;
    let from = &program.net.provenance;
    let provenance = ProvenanceRecord {
        cfg_sha256: from.cfg_sha256,
        weights_sha256: from.weights_sha256,
        recipe_sha256: from.recipe_sha256,
        network: writer.text(&from.model)?,
        tool: writer.text(concat!("secateur ", env!("CARGO_PKG_VERSION")))?,
        target: writer.text(&target.name)?,
    };
    let arena = program.arena.as_ref().ok_or_else(|| Error::internal("no arena is planned"))?;
    if arena.bytes > MEMORY_LIMIT {
        return Err(Error::new("the arena does not fit an artefact")
            .found(format!("{} bytes", arena.bytes))
            .allowed(format!("{MEMORY_LIMIT} bytes"))
            .help("make the network's input smaller"));
    }
    let mut file = ArtefactFile::default();
    file.section(Section::Tensors, &writer.tensors);
    file.section(Section::Steps, &writer.steps);
    file.section(Section::Operands, &writer.operands);
    file.section(Section::Heads, &heads);
    file.section(Section::Anchors, &writer.anchors);
    file.section(Section::Names, &names);
    file.section(Section::Provenance, &[provenance]);
    file.section(Section::Suppression, &[suppression]);
    file.section(Section::Text, &writer.text);
    file.section(Section::Constants, &writer.constants);
    if let Some(sections) = &accelerator {
        file.section(Section::Program, &sections.program);
        file.section(Section::Trace, &sections.trace);
    }
    let flags = if program.net.letter_box { header_flags::LETTER_BOX } else { 0 };
    let bytes = file.finish(number("arena", arena.bytes)?, flags)?;
    fit::artefact(bytes.len(), target)?;
    Ok(bytes)
}
