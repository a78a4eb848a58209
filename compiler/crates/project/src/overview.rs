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
pub(crate) const INT8_REPORT: &str = "map-int8.json";

/// Reads the reports of a finished build.
///
/// # Errors
/// A file of the workspace is missing or was changed by hand.
pub fn overview(recipe: &Recipe) -> Result<BuildReport> {
    let folder = &recipe.workspace;
    let trained = darknet::load(&recipe.cfg, None)?.graph;
    let sizes: ManifestSizes = read_json(&folder.join("model.sct.json"))?;
    let mut stages = vec![Stage {
        label: "as trained",
        accuracy: read_json(&folder.join(FLOAT_REPORT))?,
        macs: macs(&trained),
        bytes: size(&recipe.weights)?,
    }];
    let mut last = trained.clone();
    if recipe.prune.is_some() {
        last = darknet::load(&folder.join("pruned.cfg"), None)?.graph;
        stages.push(Stage {
            label: "pruned",
            accuracy: read_json(&folder.join(PRUNED_REPORT))?,
            macs: macs(&last),
            bytes: size(&folder.join("pruned.weights"))?,
        });
    }
    stages.push(Stage {
        label: "int8",
        accuracy: read_json(&folder.join(INT8_REPORT))?,
        macs: macs(&last),
        bytes: sizes.artefact.bytes as u64,
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
