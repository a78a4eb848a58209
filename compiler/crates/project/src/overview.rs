//! The overview of a finished build, gathered from the workspace.

use std::path::Path;

use secateur_base::{Error, Result};
use secateur_codegen::artefact::ManifestSizes;
use secateur_frontend::darknet;
use secateur_ir::{Graph, stat};
use secateur_report::{BuildReport, Stage, read_json};

use crate::Recipe;

/// Reports of the `map` steps, in the workspace.
pub(crate) const FLOAT_REPORT: &str = "map-float.json";
pub(crate) const PRUNED_REPORT: &str = "map-pruned.json";
pub(crate) const HEALED_REPORT: &str = "map-healed.json";
pub(crate) const INT8_REPORT: &str = "map-int8.json";

/// Reads the reports of a finished build.
///
/// # Errors
/// A file of the workspace is missing or was changed by hand.
pub fn overview(recipe: &Recipe) -> Result<BuildReport> {
    let folder = &recipe.workspace;
    let trained = darknet::load(&recipe.cfg, None)?.graph;
    let sizes: ManifestSizes = read_json(&folder.join("model.sct.json"))?;
    let stage = |label, report, graph: &Graph, weights: &Path| -> Result<Stage> {
        let accuracy = read_json(&folder.join(report))?;
        Ok(Stage { label, accuracy, macs: macs(graph), bytes: size(weights)?, cycles: None })
    };
    let mut stages = vec![stage("as trained", FLOAT_REPORT, &trained, &recipe.weights)?];
    let mut last = trained.clone();
    if recipe.prune.is_some() {
        if recipe.accelerated {
            // The step that makes it is optional.
            let path = folder.join("trained.sct.json");
            let sizes: Option<ManifestSizes> = path.exists().then(|| read_json(&path)).transpose()?;
            stages[0].cycles = sizes.and_then(|sizes| sizes.cycles());
        }
        last = darknet::load(&folder.join("pruned.cfg"), None)?.graph;
        stages.push(stage("pruned", PRUNED_REPORT, &last, &folder.join("pruned.weights"))?);
    }
    if recipe.finetune.is_some() {
        stages.push(stage("healed", HEALED_REPORT, &last, &folder.join("healed.weights"))?);
    }
    stages.push(Stage {
        label: "int8",
        accuracy: read_json(&folder.join(INT8_REPORT))?,
        macs: macs(&last),
        bytes: sizes.artefact.bytes as u64,
        cycles: sizes.cycles(),
    });
    Ok(BuildReport {
        title: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        stages,
        layer_macs: stat(&trained).iter().zip(stat(&last)).map(|(a, b)| (a.macs, b.macs)).collect(),
        arena: (sizes.arena.bytes, sizes.arena.lower_bound),
    })
}

fn macs(graph: &Graph) -> u64 {
    stat(graph).iter().map(|cost| cost.macs).sum()
}

fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).map_err(|e| Error::io("read", path, &e))?.len())
}
