//! `transform`: removes the masked units from the network.

use std::path::{Path, PathBuf};

use secateur_base::{Result, errln, files, outln};
use secateur_frontend::darknet;
use secateur_frontend::darknet::Network;
use secateur_ir::ChannelGroups;
use secateur_prune::{self as prune, ConfigFile, Granularity, MaskFile, Masks};

use super::Global;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur transform model.cfg pruning/weights.prune --masks pruning/weights.mask
  secateur transform pruning.cfg pruning/weights.prune     (the closed pruner's config file)

The cut network computes the same as the masked one. Darknet loads both files unmodified. Masks of
vectors remove no channel: shapes stay, and the masked weights are zero (again, after training). Masks
belong to the weights that `prune` wrote with them; say --retrained where those were trained further.")]
pub(crate) struct Args {
    /// The network's .cfg, or a config file with a [pruning] section.
    cfg: PathBuf,
    /// Weights of the masked network.
    weights: PathBuf,
    /// Masks from `secateur prune` [default: filters that are all zero are removed].
    #[arg(long, value_name = "FILE")]
    masks: Option<PathBuf>,
    /// The weights were trained further, under the masks, since `prune` wrote both.
    #[arg(long, requires = "masks")]
    retrained: bool,
    /// File of the smaller .cfg [default: NAME-transform.cfg beside the weights].
    #[arg(long, value_name = "FILE")]
    out_cfg: Option<PathBuf>,
    /// File of the smaller .weights [default: weights.transform beside the weights].
    #[arg(long, value_name = "FILE")]
    out_weights: Option<PathBuf>,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let cfg = ConfigFile::open(&args.cfg)?.map_or(args.cfg.clone(), |config| config.model_cfg);
    let mut name = cfg.file_stem().unwrap_or_default().to_owned();
    name.push("-transform.cfg");
    let out_cfg = args.out_cfg.unwrap_or_else(|| args.weights.with_file_name(name));
    let out_weights = args.out_weights.unwrap_or_else(|| args.weights.with_file_name("weights.transform"));
    let mut inputs = vec![cfg.as_path(), &args.cfg, &args.weights];
    inputs.extend(args.masks.as_deref());
    files::refuse_overwrite(&inputs, &[&out_cfg, &out_weights])?;
    let network = darknet::load(&cfg, Some(&args.weights))?;
    let weights = network.weights()?;
    let masks = match &args.masks {
        Some(path) => {
            let file = MaskFile::load(&network.graph, path)?;
            if !args.retrained {
                file.require_weights(&network.graph, weights).map_err(|error| error.file(path))?;
            }
            file.masks
        }
        None => Masks::detect(&network.graph, &ChannelGroups::new(&network.graph), weights),
    };
    match masks.granularity() {
        Granularity::Channel => cut(&network, &masks, &out_cfg, &out_weights)?,
        Granularity::Vector { .. } => {
            let mut weights = weights.clone();
            masks.apply_vectors(&network.graph, &mut weights);
            let Network { cfg, graph, header, .. } = &network;
            darknet::write_network(cfg, graph, *header, &weights, &out_cfg, &out_weights)?;
            let (kept, all) = masks.kept();
            outln!("{kept} of {all} vectors kept; the shapes stay");
        }
    }
    outln!("{}\n{}", out_cfg.display(), out_weights.display());
    Ok(())
}

/// Writes the network without the channels that `masks` remove.
fn cut(network: &Network, masks: &Masks, out_cfg: &Path, out_weights: &Path) -> Result<()> {
    let groups = ChannelGroups::new(&network.graph);
    let cut = prune::transform(&network.graph, &groups, network.weights()?, masks);
    for &(group, position) in &cut.restored {
        errln!(
            "kept dead channel {position} of layer {}: a padded convolution reads its constant",
            groups.groups[group].primary()
        );
    }
    darknet::write_network(&network.cfg, &cut.graph, network.header, &cut.weights, out_cfg, out_weights)?;
    outln!("{}", prune::Summary::of_graphs(&network.graph, &cut.graph));
    Ok(())
}
