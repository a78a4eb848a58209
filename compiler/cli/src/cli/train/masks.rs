//! Masks that a training keeps: what they remove stays zero.

use secateur_base::{Result, outln};
use secateur_ir::{ChannelGroups, Graph, Weights};
use secateur_prune::{MaskFile, Masks};

use super::Args;

/// The numbers that are trained, 1, and those that masks hold at zero, 0; `None` without masks.
///
/// # Errors
/// Masks of another network, or of weights that are not zero where these masks remove them.
pub(super) fn kept_numbers(args: &Args, graph: &Graph, weights: &Weights) -> Result<Option<Weights>> {
    let masks = match &args.masks {
        Some(path) => {
            let masks = MaskFile::load(graph, path)?.masks;
            masks.require_masked(graph, weights).map_err(|error| error.file(path))?;
            masks
        }
        None if args.zero_filters => Masks::detect(graph, &ChannelGroups::new(graph), weights),
        None => return Ok(None),
    };
    let (kept, all) = masks.kept();
    outln!("masks keep {kept} of {all} units ({})", masks.granularity());
    Ok(Some(masks.kept_numbers(graph, weights)))
}
