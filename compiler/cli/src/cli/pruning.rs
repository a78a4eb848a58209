//! The part that `ana` and `prune` share: the network, its images, and how much each layer may lose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use secateur_base::{Error, Result, files, limits, outln};
use secateur_data::Dataset;
use secateur_eval::{Evaluator, Heads, Metric, label_of_path};
use secateur_frontend::darknet::{self, Network};
use secateur_ir::{Graph, Op};
use secateur_prune::criteria::{self, Activations, CRITERIA, ChannelScores, Evidence};
use secateur_prune::reconstruct::{self, Reconstruction, Statistics};
use secateur_prune::store::{Origin, fingerprint};
use secateur_prune::{
    ChannelUnits, ConfigFile, Criterion, Granularity, Numeric, PruneGroup, PruneUnits, RankedUnits, Setting,
    VectorUnits, search,
};

use secateur_train::samples::Labels;
use secateur_train::{TaylorSums, taylor};

use super::images::{ImageSource, data_files};
use super::int8::Int8;
use super::subject::check_names;

/// Arguments of both verbs.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The network's .cfg, or a config file with a [pruning] section.
    pub(crate) cfg: PathBuf,
    /// Its .weights.
    pub(crate) weights: PathBuf,
    /// The weights that are removed together: `channel`, or `vector:ROWS` (one input × ROWS output channels
    /// of a dense layer, which an accelerator of so many rows skips) [default: channel].
    #[arg(long, value_name = "GRANULARITY")]
    pub(crate) granularity: Option<Granularity>,
    /// Ranking criterion: which units are removed first [default: reconstruction].
    #[arg(long, value_parser = criterion_parser())]
    pub(crate) criterion: Option<&'static dyn Criterion>,
    /// Layers that stay as they are.
    #[arg(long, value_name = "LAYER,…", value_delimiter = ',')]
    pub(crate) ignore: Vec<usize>,
    /// Kept counts are multiples of this (lanes of the target).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) kernel_batch: Option<u32>,
    /// Loss that each layer, pruned alone, may cost: the relative drop of mAP or top-1, the relative
    /// rise of the loss, dP, or the disagreement.
    #[arg(long, value_name = "LOSS", value_parser = fraction)]
    pub(crate) threshold: Option<f64>,
    /// Another threshold for one layer; may be given again.
    #[arg(long, value_name = "LAYER=LOSS", value_parser = layer_threshold)]
    pub(crate) layer_threshold: Vec<(usize, f64)>,
    /// File of `LAYER LOSS` lines, as with --layer-threshold.
    #[arg(long, value_name = "FILE")]
    pub(crate) threshold_file: Option<PathBuf>,
    /// Do not re-fit consumer weights. By default they are re-fitted by least squares on the analysed
    /// images to compensate for removed units; no labels or gradients are used.
    #[arg(long)]
    pub(crate) no_reconstruction: bool,
    /// Weight of the trained weights in a reconstruction, as a fraction of the inputs' mean square.
    #[arg(long, value_name = "FRACTION", default_value_t = reconstruct::DEFAULT_RIDGE, value_parser = fraction)]
    pub(crate) ridge: f64,
}

impl Common {
    /// The files that both verbs read, besides their own.
    pub(crate) fn inputs(&self, config: &Option<ConfigFile>, source: &ImageSource) -> Result<Vec<PathBuf>> {
        let mut inputs = source.files()?;
        inputs.extend([&self.cfg, &self.weights].into_iter().chain(&self.threshold_file).cloned());
        if let Some(config) = config {
            inputs.push(config.model_cfg.clone());
            if let Some(data) = config.data.as_ref().filter(|data| data.is_file()) {
                inputs.extend(data_files(data)?);
            }
        }
        Ok(inputs)
    }
}

/// The registered criteria, by name.
fn criterion_parser() -> impl TypedValueParser<Value = &'static dyn Criterion> {
    let values = CRITERIA.map(|criterion| PossibleValue::new(criterion.name()).help(criterion.help()));
    PossibleValuesParser::new(values)
        .map(|name| criteria::by_name(&name).expect("a possible value is a criterion's name"))
}

/// The metrics, by name.
pub(crate) fn metric_parser() -> impl TypedValueParser<Value = Metric> {
    let values = Metric::ALL.map(|metric| PossibleValue::new(metric.name()).help(metric.help()));
    PossibleValuesParser::new(values).map(|name| name.parse().expect("a possible value is a metric's name"))
}

/// A number from 0 to 1.
pub(crate) fn fraction(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1 is needed".to_owned()),
    }
}

fn layer_threshold(text: &str) -> std::result::Result<(usize, f64), String> {
    let parts = text.split_once('=').ok_or("LAYER=LOSS is needed, as in 12=0.01")?;
    let layer = parts.0.trim().parse().map_err(|_| "the layer's number comes first, as in 12=0.01")?;
    Ok((layer, fraction(parts.1.trim())?))
}

/// The network to prune, with the settings of a config file.
pub(crate) struct Subject {
    pub(crate) network: Network,
    pub(crate) config: Option<ConfigFile>,
    pub(crate) granularity: Granularity,
    pub(crate) criterion: &'static dyn Criterion,
    pub(crate) kernel_batch: usize,
    pub(crate) ignored: Vec<usize>,
    pub(crate) reconstruction: bool,
    pub(crate) ridge: f64,
    /// The arithmetic in which groups are measured.
    pub(crate) numeric: Numeric,
    model: String,
}

impl Subject {
    pub(crate) fn open(args: &Common) -> Result<Self> {
        let config = ConfigFile::open(&args.cfg)?;
        let cfg = config.as_ref().map_or(&args.cfg, |config| &config.model_cfg);
        let network = darknet::load(cfg, Some(&args.weights))?;
        require_finite(&network).map_err(|error| error.file(&args.weights))?;
        let defaults = config.clone().unwrap_or_default();
        let mut ignored = if args.ignore.is_empty() { defaults.ignore_layers } else { args.ignore.clone() };
        ignored.sort_unstable();
        ignored.dedup();
        let layers = network.graph.nodes.len();
        if let Some(layer) = ignored.iter().find(|&&layer| layer >= layers) {
            return Err(Error::new("an ignored layer does not exist")
                .file(cfg)
                .found(layer.to_string())
                .allowed(format!("0 to {}", layers - 1)));
        }
        let bytes = [cfg, &args.weights].map(|path| files::read_limited(path, u64::MAX));
        let [cfg_bytes, weight_bytes] = bytes;
        Ok(Self {
            granularity: args.granularity.unwrap_or_default(),
            criterion: args.criterion.or(defaults.criterion).unwrap_or(&criteria::Reconstruction),
            kernel_batch: args.kernel_batch.map(|n| n as usize).or(defaults.kernel_batch).unwrap_or(1),
            ignored,
            reconstruction: !args.no_reconstruction,
            ridge: args.ridge,
            numeric: Numeric::Float,
            model: fingerprint([cfg_bytes?.as_slice(), weight_bytes?.as_slice()]),
            config,
            network,
        })
    }

    /// Copies the network's cfg to where the config file, if there is one, has that of the pruned network, for
    /// `finetune`. A file that is there is left alone: its keys of training may have been changed.
    pub(crate) fn write_pruned_cfg(&self) -> Result<()> {
        let missing = self.config.as_ref().map(ConfigFile::pruned_cfg).filter(|path| !path.exists());
        let Some(path) = missing else { return Ok(()) };
        files::write_bytes(&path, &self.network.cfg.to_bytes())?;
        outln!("{}", path.display());
        Ok(())
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.network.graph
    }

    /// dP for detectors, top-1 for classifiers.
    pub(crate) fn usual_metric(&self) -> Metric {
        if self.graph().has_heads() { Metric::Dp } else { Metric::Top1 }
    }

    /// The images that an origin names; `split` is the list of a .data file. Labels are read where the
    /// metric needs them.
    pub(crate) fn dataset(&self, origin: &Origin, split: &str, metric: Metric) -> Result<Dataset> {
        self.images(origin, split, metric.reads_labels(!self.graph().has_heads()))
    }

    /// As [`Self::dataset`], with or without labels.
    fn images(&self, origin: &Origin, split: &str, labels: bool) -> Result<Dataset> {
        let dataset = match (&origin.data, &origin.list, &origin.names) {
            (Some(data), ..) if labels => Dataset::from_data_file(data, split)?,
            (Some(data), ..) => Dataset::images_of_data_file(data, split)?,
            (None, Some(list), Some(names)) if labels => Dataset::from_list(list, names)?,
            (None, Some(list), Some(names)) => Dataset::images_of_list(list, names)?,
            _ => {
                return Err(Error::new("no images given")
                    .allowed("--data FILE.data, or --list FILE --names FILE, or datacfg= in a config file"));
            }
        };
        Ok(match origin.images {
            Some(count) => dataset.take(count),
            None => dataset,
        })
    }

    /// Everything that measurements of `evaluator` depend on. The ranking by gradients depends on labels, which the
    /// metric may not read, so that its scores are a part.
    pub(crate) fn setting(
        &self,
        evaluator: &Evaluator,
        gradients: Option<&ChannelScores>,
        seed: u64,
    ) -> Setting {
        let (images, scores) = (evaluator.images_hash(), gradients.map(ChannelScores::to_bytes));
        Setting {
            model: self.model.clone(),
            images: fingerprint(std::iter::once(images.as_slice()).chain(scores.as_deref())),
            metric: evaluator.metric,
            granularity: self.granularity,
            criterion: self.criterion.name().to_owned(),
            reconstruction: self.reconstruction,
            ridge: self.ridge,
            seed,
            numeric: self.numeric,
        }
    }

    /// The evaluator with losses counted from the int8 original, and what measures an int8 candidate with it; the
    /// evaluator alone where groups are measured in float. Prints what int8 costs the original.
    ///
    /// # Errors
    /// A network without an int8 form.
    pub(crate) fn in_numeric(&self, evaluator: Evaluator, seed: u64) -> Result<(Evaluator, Option<Int8>)> {
        match self.numeric {
            Numeric::Float => Ok((evaluator, None)),
            Numeric::Int8 => {
                let int8 = Int8::new(&evaluator);
                let original = int8.results(&evaluator, self.graph(), self.network.weights()?)?;
                outln!("in int8: {}: {}", evaluator.metric, evaluator.accuracy(&original, seed));
                Ok((evaluator.with_original(original), Some(int8)))
            }
        }
    }

    /// The prune units of the network.
    pub(crate) fn units(&self) -> Result<Box<dyn PruneUnits + '_>> {
        let (graph, weights) = (self.graph(), self.network.weights()?);
        Ok(match self.granularity {
            Granularity::Channel => Box::new(ChannelUnits::new(graph, weights)),
            Granularity::Vector { rows } => Box::new(VectorUnits::new(graph, weights, rows)),
        })
    }

    /// Units in the order of a criterion. `evidence` as [`Self::statistics`] and [`Self::gradients`] have it; `images`
    /// are the inputs that a reconstruction of the whole network is fitted to.
    pub(crate) fn ranked<'a>(
        &self,
        units: &'a dyn PruneUnits,
        criterion: &dyn Criterion,
        evidence: Evidence<'a>,
        reconstructed: bool,
        images: &'a [&'a [f32]],
        seed: u64,
    ) -> RankedUnits<'a> {
        let ridge = self.ridge;
        let reconstruction = evidence.statistics.filter(|_| reconstructed).map(|statistics| Reconstruction {
            statistics,
            images,
            ridge,
        });
        RankedUnits::new(units, criterion, evidence, reconstruction, seed)
    }

    /// Moments of the activations, where criterion or reconstruction need them.
    pub(crate) fn statistics(&self, evaluator: &Evaluator) -> Result<Option<Statistics>> {
        if !self.reconstruction && !self.criterion.needs_statistics() {
            return Ok(None);
        }
        let (graph, weights) = (self.graph(), self.network.weights()?);
        Ok(Some(Statistics::collect(graph, weights, &evaluator.inputs(), self.ridge)?))
    }

    /// Outputs of the channels of `units`; `None` where the criterion needs none.
    ///
    /// # Errors
    /// A group of which the criterion has nothing to say.
    pub(crate) fn activations(
        &self,
        units: &dyn PruneUnits,
        evaluator: &Evaluator,
    ) -> Result<Option<Activations>> {
        self.criterion.check(units, &self.ignored)?;
        let needed = self.criterion.needs_activations();
        needed.then(|| Activations::collect(units, &evaluator.inputs())).transpose()
    }

    /// Scores of channels from gradients of the loss on the images of `origin`, which `evaluator` has prepared; `None`
    /// where the criterion needs none.
    ///
    /// # Errors
    /// A granularity that the criterion does not rank, images without labels, and those of [`taylor`].
    pub(crate) fn gradients(
        &self,
        origin: &Origin,
        split: &str,
        evaluator: &Evaluator,
    ) -> Result<Option<ChannelScores>> {
        let criterion = self.criterion.name();
        if !self.criterion.ranks(self.granularity) {
            return Err(Error::new(format!(
                "the criterion `{criterion}` ranks no units of this granularity"
            ))
            .found(format!("--granularity {}", self.granularity))
            .help("take another criterion, or --granularity channel"));
        }
        if !self.criterion.needs_gradients() {
            return Ok(None);
        }
        let labels = self.labels(origin, split, evaluator)?;
        let training = darknet::training(&self.network.cfg, self.graph())?;
        let image = |image: usize| Ok(evaluator.input(image).to_vec());
        let sums = taylor(self.graph(), self.network.weights()?, &training.layers, &image, &labels)?;
        let scores = ChannelScores::normalised(sums.total());
        let TaylorSums { halves: [even, odd], images } = sums;
        let [even, odd] = [even, odd].map(ChannelScores::normalised);
        let correlation = even.correlation(&odd, self.units()?.as_ref());
        outln!(
            "{criterion}: {images} images; ranks of their two halves correlate by {correlation:.3} (Spearman)"
        );
        Ok(Some(scores))
    }

    /// Labels of the images that `evaluator` has prepared: boxes relative to the network's input, or the class of a
    /// classifier's image as target.
    fn labels(&self, origin: &Origin, split: &str, evaluator: &Evaluator) -> Result<Labels> {
        let heads = Heads::of(self.graph())?;
        if heads.heads.is_empty() {
            let Dataset { images, names, .. } = self.images(origin, split, false)?;
            // The evaluator has checked the names and found a class in every path.
            let target = |image: &PathBuf| {
                let class = label_of_path(image, &names);
                (0..names.len()).map(|other| f32::from(u8::from(class == Some(other)))).collect()
            };
            return Ok(Labels::Targets(images.iter().map(target).collect()));
        }
        let needed = format!(
            "the criterion `{}` needs labels; l1, bn-gamma and reconstruction do not",
            self.criterion.name()
        );
        let labelled = self.images(origin, split, true).map_err(|error| error.help(needed))?;
        let Dataset { mut labels, names, .. } = labelled;
        check_names(&names, heads.classes)?;
        for (image, truths) in labels.iter_mut().enumerate() {
            truths.iter_mut().for_each(|truth| evaluator.frame(image).to_net(&mut truth.bbox));
        }
        Ok(Labels::Boxes(labels))
    }

    /// Every group's threshold: the smallest of its layers' own ones, else `common`.
    pub(crate) fn thresholds(&self, args: &Common, groups: &[PruneGroup], common: f64) -> Result<Vec<f64>> {
        let mut own: BTreeMap<usize, f64> = BTreeMap::new();
        if let Some(config) = &self.config
            && config.thresholds.len() > 1
        {
            let convolutions: Vec<usize> = (0..self.graph().nodes.len())
                .filter(|&layer| matches!(self.graph().nodes[layer].op, Op::Conv(_)))
                .collect();
            if config.thresholds.len() != convolutions.len() {
                return Err(Error::new("the list of thresholds does not fit the network")
                    .file(&args.cfg)
                    .found(format!("{} values", config.thresholds.len()))
                    .allowed(format!("1, or {} (one for each convolutional layer)", convolutions.len())));
            }
            own.extend(convolutions.into_iter().zip(config.thresholds.iter().copied()));
        }
        if let Some(path) = &args.threshold_file {
            own.extend(read_thresholds(path)?);
        }
        own.extend(args.layer_threshold.iter().copied());
        for &layer in own.keys() {
            if !groups.iter().any(|group| group.changes(layer)) {
                let what = Error::new("a threshold is given for a layer that cannot be pruned").layer(layer);
                return Err(
                    what.help("layers that feed a head, and layers without weights, stay as they are")
                );
            }
        }
        let of_group = |group: &PruneGroup| {
            let mine =
                own.iter().filter(|(layer, _)| group.changes(**layer)).map(|(_, threshold)| *threshold);
            mine.reduce(f64::min).unwrap_or(common)
        };
        Ok(groups.iter().map(of_group).collect())
    }

    /// The common threshold: flag, config file, or none.
    pub(crate) fn common_threshold(&self, args: &Common) -> Option<f64> {
        let config = self.config.as_ref().filter(|config| config.thresholds.len() == 1);
        args.threshold.or(config.map(|config| config.thresholds[0]))
    }
}

/// `LAYER LOSS` lines with `#` comments.
fn read_thresholds(path: &Path) -> Result<Vec<(usize, f64)>> {
    let bytes = files::read_limited(path, limits::MAX_TEXT_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines =
        text.lines().enumerate().map(|(i, line)| (i + 1, line.split('#').next().unwrap_or("").trim()));
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| {
            let entry = line.replacen([' ', '\t'], "=", 1);
            layer_threshold(&entry).map_err(|allowed| {
                Error::new("not a threshold").file(path).line(number).found(line).allowed(allowed)
            })
        })
        .collect()
}

/// Fails on weights that are not finite numbers: nothing that is measured with them means anything.
fn require_finite(network: &Network) -> Result<()> {
    for (layer, (node, weights)) in network.graph.nodes.iter().zip(&network.weights()?.layers).enumerate() {
        let norm = weights.batch_norm.iter().flat_map(|norm| [&norm.scale, &norm.mean, &norm.variance]);
        let mut values = [&weights.weights, &weights.bias].into_iter().chain(norm).flatten();
        if let Some(value) = values.find(|value| !value.is_finite()) {
            return Err(Error::new("a weight is not a finite number")
                .layer(layer)
                .section(node.op.name())
                .found(value.to_string())
                .help("the training diverged: take an earlier snapshot of the weights"));
        }
    }
    Ok(())
}

/// Prints the layers that a group prunes, in the form of the closed pruner's log.
pub(crate) fn print_group(group: &PruneGroup, keep: usize, kernel_batch: usize) {
    outln!("prune primary layer {}", group.primary);
    group.dependents.iter().for_each(|layer| outln!("prune dependent layer {layer}"));
    group.related.iter().for_each(|layer| outln!("prune related layer {layer}"));
    let rate = search::nominal_rate(group.units, keep, kernel_batch);
    outln!("kernel_batch:{kernel_batch}, rate:{rate:.4}, keep_num:{keep}");
}
