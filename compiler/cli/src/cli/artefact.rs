//! `info` of an artefact: its manifest as the file itself tells it.

use std::path::Path;

use secateur_base::{Result, outln};
use secateur_deploy::{Deployed, kernel_macs, kernel_name, read_artefact};
use secateur_eval::Detector;
use secateur_runtime::artefact::Model;

/// Prints steps, memory, heads and provenance.
pub(super) fn print(path: &Path) -> Result<()> {
    let bytes = read_artefact(path)?;
    let deployed = Deployed::new(&bytes, path)?;
    let model = deployed.model();
    print_steps(model);
    let macs: u64 = model.steps().map(|step| kernel_macs(&step)).sum();
    let [h, w, c] = model.input_shape();
    outln!("network  {} for target {}, by {}", model.network(), model.target(), model.tool());
    outln!(
        "input    {w} × {h} × {c}, q = pixel - 128, {}",
        if model.letter_box() { "letterboxed" } else { "stretched" }
    );
    outln!("size     {} bytes, arena {} bytes", bytes.len(), model.arena_bytes());
    outln!(
        "work     {} layers in {} steps, {:.1} M multiply-accumulates",
        deployed.layer_count(),
        model.step_count(),
        macs as f64 / 1e6
    );
    for head in model.heads() {
        outln!(
            "head     layer {}: {:?}, {} classes, {} anchors",
            head.layer,
            head.kind,
            head.classes,
            head.anchors.len()
        );
    }
    let classes = deployed.names();
    if !classes.is_empty() {
        outln!("classes  {}", classes.join(", "));
    }
    if !deployed.layout().heads.is_empty() {
        let threshold = f64::from(model.suppression().threshold) / f64::from(1u32 << 30);
        let kind = if model.suppression().curve.is_some() { "IoU less distance" } else { "IoU" };
        outln!("overlap  {kind} above {threshold:.2}");
    }
    let provenance = model.provenance();
    outln!("cfg      sha256 {}", hex::encode(provenance.cfg_sha256));
    outln!("weights  sha256 {}", hex::encode(provenance.weights_sha256));
    outln!("recipe   sha256 {}", hex::encode(provenance.recipe_sha256));
    Ok(())
}

fn print_steps(model: &Model<'_>) {
    outln!(
        "{:>4} {:>5}  {:<13} {:<12} {:>16} {:>9} {:>6} {:>11} {:>9}",
        "step",
        "layer",
        "kernel",
        "inputs",
        "output",
        "offset",
        "pitch",
        "MACs",
        "weights"
    );
    for step in model.steps() {
        let inputs: Vec<String> = (0..step.input_count())
            .filter_map(|n| step.input(n))
            .map(|record| record.layer().map_or("image".to_owned(), |layer| layer.to_string()))
            .collect();
        let Some(output) = step.output() else { continue };
        let [h, w, c] = output.shape();
        outln!(
            "{:>4} {:>5}  {:<13} {:<12} {:>16} {:>9} {:>6} {:>11} {:>9}",
            step.index(),
            step.layer(),
            kernel_name(&step),
            inputs.join(", "),
            format!("{w} × {h} × {c}"),
            output.offset.get(),
            output.pitch.get(),
            kernel_macs(&step),
            step.record().weights_bytes.get(),
        );
    }
}
