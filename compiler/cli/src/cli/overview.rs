//! What a build came to: a table on the screen and a picture beside the results.

use std::path::Path;

use secateur_base::{Error, Result, files};
use secateur_frontend::darknet;
use secateur_ir::{Graph, stat};
use secateur_report::{Accuracy, Overview, draw_overview};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::recipe::Recipe;

/// Reports of the `map` steps, in the workspace.
pub(crate) const FLOAT: &str = "map-float.json";
pub(crate) const PRUNED: &str = "map-pruned.json";
pub(crate) const INT8: &str = "map-int8.json";

/// A report is a page of numbers for each class or layer.
const LIMIT: u64 = 64 << 20;

/// What is needed of a `map` report.
#[derive(Debug, Deserialize)]
struct MapReport {
    map: f64,
    interval: Interval,
    against: Option<Against>,
}

#[derive(Debug, Deserialize)]
struct Interval {
    low: f64,
    high: f64,
}

/// How closely the integers follow the float network.
#[derive(Debug, Deserialize)]
struct Against {
    agree: f64,
    score_shift: ScoreShift,
    head_sqnr_db: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct ScoreShift {
    absolute: f64,
    signed: f64,
}

/// What is needed of an artefact's manifest.
#[derive(Debug, Deserialize)]
struct Manifest {
    artefact: Artefact,
    arena: Arena,
}

#[derive(Debug, Deserialize)]
struct Artefact {
    bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Arena {
    bytes: u64,
    lower_bound: u64,
}

/// One column of the table.
struct Column {
    label: &'static str,
    report: MapReport,
    macs: u64,
    /// Bytes of the file that holds the weights.
    bytes: u64,
}

/// Prints the table and writes `overview.svg`.
pub(crate) fn show(recipe: &Recipe) -> Result<()> {
    let folder = &recipe.workspace;
    let trained = darknet::load(&recipe.cfg, None)?.graph;
    let manifest: Manifest = read_json(&folder.join("model.sct.json"))?;
    let mut columns = vec![Column {
        label: "as trained",
        report: read_json(&folder.join(FLOAT))?,
        macs: macs(&trained),
        bytes: size(&recipe.weights)?,
    }];
    let mut last = trained.clone();
    if recipe.prune.is_some() {
        last = darknet::load(&folder.join("pruned.cfg"), None)?.graph;
        let bytes = size(&folder.join("pruned.weights"))?;
        columns.push(Column {
            label: "pruned",
            report: read_json(&folder.join(PRUNED))?,
            macs: macs(&last),
            bytes,
        });
    }
    let report = read_json(&folder.join(INT8))?;
    columns.push(Column { label: "int8", report, macs: macs(&last), bytes: manifest.artefact.bytes });
    print(&columns, &manifest.arena);
    let path = folder.join("overview.svg");
    files::write_bytes(&path, picture(recipe, &trained, &last, &columns)?.as_bytes())?;
    println!("results in {}, picture {}", folder.display(), path.display());
    Ok(())
}

fn print(columns: &[Column], arena: &Arena) {
    let row = |name: &str, cell: &dyn Fn(&Column) -> String| {
        let cells: String = columns.iter().map(|column| format!(" {:>22}", cell(column))).collect();
        println!("{name:<22}{cells}");
    };
    row("", &|c| c.label.to_owned());
    row("mAP [95 % interval]", &|c| {
        format!("{:.4} [{:.3}, {:.3}]", c.report.map, c.report.interval.low, c.report.interval.high)
    });
    row("multiply-accumulates", &|c| format!("{:.1} M", c.macs as f64 / 1e6));
    row("file", &|c| format!("{:.0} kB", c.bytes as f64 / 1e3));
    if let Some(against) = columns.last().and_then(|column| column.report.against.as_ref()) {
        let heads: Vec<String> = against.head_sqnr_db.iter().map(|db| format!("{db:.1}")).collect();
        println!(
            "int8 follows its float network: agreement {:.3}, score shift {:.4} (signed {:+.4}), heads {} dB",
            against.agree,
            against.score_shift.absolute,
            against.score_shift.signed,
            heads.join(", ")
        );
    }
    println!("arena {} bytes; no plan is under {}", arena.bytes, arena.lower_bound);
}

fn picture(recipe: &Recipe, before: &Graph, after: &Graph, columns: &[Column]) -> Result<String> {
    let name = recipe.workspace.file_name().unwrap_or_default().to_string_lossy();
    let bars = columns.iter().map(|column| Accuracy {
        label: column.label.to_owned(),
        value: column.report.map,
        low: column.report.interval.low,
        high: column.report.interval.high,
    });
    draw_overview(&Overview {
        title: name.into_owned(),
        macs: stat(before).iter().zip(stat(after)).map(|(before, after)| (before.macs, after.macs)).collect(),
        measure: "mAP@0.5".to_owned(),
        accuracy: bars.collect(),
    })
}

fn macs(graph: &Graph) -> u64 {
    stat(graph).iter().map(|cost| cost.macs).sum()
}

fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).map_err(|e| Error::io("read", path, &e))?.len())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&files::read_limited(path, LIMIT)?).map_err(|e| {
        Error::new(format!("not the report that this version writes: {e}")).file(path).line(e.line())
    })
}
