//! `recalibrate`: the statistics of batch norm, computed anew.

use std::path::PathBuf;

use secateur_base::{Error, Result, files, outln};
use secateur_data::{DataFile, Fit, Sample, label_path, read_list};
use secateur_frontend::darknet;
use secateur_quant::spread;
use secateur_train::recalibrate;

use super::Global;
use super::images::data_files;
use super::subject::model_cfg;

/// Recompute the batch-norm statistics of a network whose weights or channels have changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur recalibrate model-transform.cfg weights.transform --data coco.data -o healed.weights
  secateur recalibrate model-transform.cfg weights.transform --list train.txt --images 1000 -o healed.weights

Running means and variances become their averages over passes forward in training mode. Labels and
gradients are not used; no other number changes. Do it after `transform` and before training further.")]
pub(crate) struct Args {
    /// The network's .cfg, or a config file with a [pruning] section.
    cfg: PathBuf,
    /// Its .weights.
    weights: PathBuf,
    /// Darknet's .data file: images of its `train` list are used.
    #[arg(long, value_name = "FILE.data", conflicts_with = "list", required_unless_present = "list")]
    data: Option<PathBuf>,
    /// A list of images, instead of a .data file.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Use N images, spread over the list.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// Images of a pass; statistics are taken over each.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// The .weights to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let (cfg, _) = model_cfg(&args.cfg)?;
    let list = match (&args.list, &args.data) {
        (Some(list), _) => list.clone(),
        (None, Some(data)) => DataFile::load(data)?.file("train")?,
        (None, None) => unreachable!("one of them is required"),
    };
    let mut inputs = vec![args.cfg.clone(), cfg.clone(), args.weights.clone(), list.clone()];
    if let Some(data) = &args.data {
        inputs.extend(data_files(data)?);
    }
    let listed = read_list(&list)?;
    inputs.extend(listed.iter().flat_map(|image| [image.clone(), label_path(image)]));
    files::refuse_overwrite(&inputs, &[&args.output])?;

    let network = darknet::load(&cfg, Some(&args.weights))?;
    let (graph, weights) = (&network.graph, network.weights()?);
    let images: Vec<PathBuf> =
        spread(listed.len(), args.images as usize).map(|index| listed[index].clone()).collect();
    if images.is_empty() {
        return Err(Error::new("the list names no image").file(&list));
    }
    let size = images.len().min(args.batch as usize);
    let passes = images.len() / size;
    let fit = Fit::of_network(graph.has_heads(), graph.letter_box);
    let image = |index: usize| Ok(Sample::load(&images[index], graph.input, fit)?.input);
    let recalibrated = recalibrate(graph, weights, &image, passes, size).map_err(|error| error.file(&cfg))?;
    files::write_bytes(&args.output, &darknet::write_weights(graph, network.header, &recalibrated))?;
    let layers = weights.layers.iter().filter(|layer| layer.batch_norm.is_some()).count();
    outln!("statistics of {layers} layers from {} images, {passes} passes of {size}", passes * size);
    outln!("{}", args.output.display());
    Ok(())
}
