//! The closed pruner's config file in place of a finetuning's cfg, and what its users expect to be printed.

use secateur_base::terminal::printable_line;
use secateur_base::{Error, Result, outln};
use secateur_prune::ConfigFile;
use secateur_train::log::Log;

use super::{Args, Manner};

/// The arguments and manner of a finetuning; with a config file in place of the cfg those that it says: the cfg, weights
/// and masks that `prune` wrote for it, and its data. Prints the files, as the closed pruner does.
///
/// # Errors
/// As [`ConfigFile::open`]; a config file without data.
pub(super) fn resolve(mut args: Args) -> Result<(Args, Manner)> {
    let Some(config) = ConfigFile::open(&args.cfg)? else { return Ok((args, Manner::Finetune)) };
    // Without one of its own the pruned network has the original's cfg: masks change no shape.
    let cfg = Some(config.pruned_cfg()).filter(|cfg| cfg.exists());
    args.config = Some(std::mem::replace(&mut args.cfg, cfg.unwrap_or_else(|| config.model_cfg.clone())));
    let pruned = config.pruned_weights();
    let weights = args.weights.get_or_insert_with(|| pruned.clone());
    if args.source.is_none() {
        args.source.data = Some(config.data.clone().ok_or_else(|| {
            Error::new("no images given").allowed("--data FILE.data, or datacfg= in the config file")
        })?);
    }
    if args.masks.is_none() {
        let beside = [&*weights, &pruned].map(|weights| weights.with_extension("mask"));
        args.masks = beside.into_iter().find(|masks| masks.exists());
        args.zero_filters = args.masks.is_none();
    }
    let shown = |path: &std::path::Path| printable_line(&path.display().to_string());
    if config.workspace.is_dir() {
        outln!("Workspace exists: {}", shown(&config.workspace));
    }
    outln!("Finetune model  : {}", shown(&args.cfg));
    outln!("Finetune weights: {}", shown(weights));
    Ok((args, Manner::Config))
}

/// Darknet's line of a batch: the log's last step with `left` seconds to go.
pub(super) fn step_line(log: &Log, left: f64) -> Option<String> {
    let history = log.history();
    let step = history.steps.last()?;
    let average = history.smoothed_loss().last().map_or(step.loss, |(_, loss)| *loss);
    let before = history.steps.len().checked_sub(2).map_or(0, |last| history.steps[last].images);
    let seconds = step.images.saturating_sub(before) as f64 / step.images_per_second;
    Some(format!(
        " {}: {:.6}, {average:.6} avg loss, {:.6} rate, {seconds:.6} seconds, {} images, {:.6} hours left",
        step.batch,
        step.loss,
        step.rate,
        step.images,
        left / 3600.0
    ))
}

/// Darknet's line of an evaluation.
pub(super) fn accuracy_line(is_detector: bool, accuracy: f64) -> String {
    if is_detector {
        format!(" mean_average_precision (mAP@0.50) = {accuracy:.6}")
    } else {
        format!(" top-1 accuracy = {accuracy:.6}")
    }
}
