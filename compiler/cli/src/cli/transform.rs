//! `transform`: what the masks say, made real.

use std::path::{Path, PathBuf};

use secateur_base::Result;
use secateur_frontend::darknet;
use secateur_frontend::darknet::Network;
use secateur_ir::ChannelGroups;
use secateur_prune::{self as prune, MainFile, Masks, VectorMasks};

use super::Global;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur transform model.cfg pruning/weights.prune --masks pruning/masks.json
  secateur transform main.cfg pruning/weights.prune        (the closed pruner's main file)

The cut network computes what the masked one does. Darknet loads both files unmodified. Masks of
vectors take no channel away: shapes stay, and the weights that go are zero (again, after training).")]
pub(crate) struct Args {
    /// The network's .cfg, or a main file with a [pruning] section.
    cfg: PathBuf,
    /// Weights of the masked network.
    weights: PathBuf,
    /// Masks from `secateur prune` [default: filters that are all zero are removed].
    #[arg(long, value_name = "FILE")]
    masks: Option<PathBuf>,
    /// Where the smaller .cfg goes [default: NAME-transform.cfg beside the weights].
    #[arg(long, value_name = "FILE")]
    out_cfg: Option<PathBuf>,
    /// Where the smaller .weights go [default: weights.transform beside the weights].
    #[arg(long, value_name = "FILE")]
    out_weights: Option<PathBuf>,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let cfg = match MainFile::is_one(&args.cfg)? {
        true => MainFile::load(&args.cfg)?.model_cfg,
        false => args.cfg,
    };
    let network = darknet::load(&cfg, Some(&args.weights))?;
    let beside = |name: String| args.weights.with_file_name(name);
    let stem = cfg.file_stem().unwrap_or_default().to_string_lossy();
    let out_cfg = args.out_cfg.unwrap_or_else(|| beside(format!("{stem}-transform.cfg")));
    let out_weights = args.out_weights.unwrap_or_else(|| beside("weights.transform".to_owned()));
    match &args.masks {
        Some(path) if VectorMasks::is_one(path)? => {
            let masks = VectorMasks::load(&network.graph, path)?;
            let mut weights = network.weights()?.clone();
            masks.apply(&network.graph, &mut weights);
            darknet::write_network(
                &network.cfg,
                &network.graph,
                network.header,
                &weights,
                &out_cfg,
                &out_weights,
            )?;
            let (kept, all) = masks.kept();
            println!("{kept} of {all} vectors kept; the shapes stay");
        }
        masks => cut(&network, masks.as_deref(), &out_cfg, &out_weights)?,
    }
    println!("{}\n{}", out_cfg.display(), out_weights.display());
    Ok(())
}

/// Writes the network without the channels that `masks` remove.
fn cut(network: &Network, masks: Option<&Path>, out_cfg: &Path, out_weights: &Path) -> Result<()> {
    let weights = network.weights()?;
    let groups = ChannelGroups::new(&network.graph);
    let masks = match masks {
        Some(path) => Masks::load(&groups, path)?,
        None => Masks::detect(&network.graph, &groups, weights),
    };
    let cut = prune::transform(&network.graph, &groups, weights, &masks);
    for &(group, position) in &cut.restored {
        eprintln!(
            "kept dead channel {position} of layer {}: a padded convolution reads its constant",
            groups.groups[group].main()
        );
    }
    darknet::write_network(&network.cfg, &cut.graph, network.header, &cut.weights, out_cfg, out_weights)?;
    println!("{}", prune::Summary::of_graphs(&network.graph, &cut.graph));
    Ok(())
}
