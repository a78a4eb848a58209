//! What `ana` and `prune` share: the network, its pictures, and how much each layer may lose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secateur_base::{Error, Result, files};
use secateur_data::Dataset;
use secateur_eval::Metric;
use secateur_frontend::darknet::{self, Network};
use secateur_ir::{ChannelGroups, Graph, Op};
use secateur_prune::repair::{self, Statistics};
use secateur_prune::store::{Origin, fingerprint};
use secateur_prune::{
    Channels, Criterion, Grain, Granularity, MainFile, Ranking, Repair, Setting, UnitSet, Vectors,
};

/// Largest threshold file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Arguments of both verbs.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The network's .cfg, or a main file with a [pruning] section.
    pub(crate) cfg: PathBuf,
    /// Its .weights.
    pub(crate) weights: PathBuf,
    /// What goes in one piece: `channel`, or `vector:ROWS` (one input × ROWS output channels of a dense
    /// layer, which an accelerator of so many rows skips) [default: channel].
    #[arg(long, value_name = "GRAIN")]
    pub(crate) granularity: Option<Grain>,
    /// Order in which the units go.
    #[arg(long, value_enum)]
    pub(crate) criterion: Option<Criterion>,
    /// Layers that stay as they are.
    #[arg(long, value_name = "LAYER,…", value_delimiter = ',')]
    pub(crate) ignore: Vec<usize>,
    /// Kept counts are multiples of this (lanes of the target).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) kernel_batch: Option<u32>,
    /// Loss that each layer, pruned alone, may cost: the relative drop of mAP or top-1, the relative
    /// rise of the loss, dP, or the disagreement.
    #[arg(long, value_name = "LOSS", value_parser = share)]
    pub(crate) threshold: Option<f64>,
    /// Another threshold for one layer; may be given again.
    #[arg(long, value_name = "LAYER=LOSS", value_parser = layer_threshold)]
    pub(crate) layer_threshold: Vec<(usize, f64)>,
    /// File of `LAYER LOSS` lines, as with --layer-threshold.
    #[arg(long, value_name = "FILE")]
    pub(crate) threshold_file: Option<PathBuf>,
    /// Leave the readers' weights as they are. By default they make up, by least squares on the
    /// analysed pictures, for what is gone; no labels or gradients are used.
    #[arg(long)]
    pub(crate) no_repair: bool,
    /// How strongly a repair holds on to the trained weights, as a share of the inputs' mean square.
    #[arg(long, value_name = "SHARE", default_value_t = repair::DEFAULT_RIDGE, value_parser = share)]
    pub(crate) ridge: f64,
}

/// A number from 0 to 1.
pub(crate) fn share(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1 is needed".to_owned()),
    }
}

fn layer_threshold(text: &str) -> std::result::Result<(usize, f64), String> {
    let parts = text.split_once('=').ok_or("LAYER=LOSS is needed, as in 12=0.01")?;
    let layer = parts.0.trim().parse().map_err(|_| "the layer's number comes first, as in 12=0.01")?;
    Ok((layer, share(parts.1.trim())?))
}

/// The network to prune, with what a main file says of it.
pub(crate) struct Subject {
    pub(crate) network: Network,
    pub(crate) groups: ChannelGroups,
    pub(crate) main: Option<MainFile>,
    pub(crate) grain: Grain,
    pub(crate) criterion: Criterion,
    pub(crate) kernel_batch: usize,
    pub(crate) ignored: Vec<usize>,
    pub(crate) repair: bool,
    pub(crate) ridge: f64,
    model: String,
}

impl Subject {
    pub(crate) fn open(args: &Common) -> Result<Self> {
        let main = MainFile::is_one(&args.cfg)?.then(|| MainFile::load(&args.cfg)).transpose()?;
        let cfg = main.as_ref().map_or(&args.cfg, |main| &main.model_cfg);
        let network = darknet::load(cfg, Some(&args.weights))?;
        let of_main = main.clone().unwrap_or_default();
        let mut ignored = if args.ignore.is_empty() { of_main.ignore_layers } else { args.ignore.clone() };
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
            groups: ChannelGroups::new(&network.graph),
            grain: args.granularity.unwrap_or_default(),
            criterion: args.criterion.or(of_main.criterion).unwrap_or(Criterion::Repair),
            kernel_batch: args.kernel_batch.map(|n| n as usize).or(of_main.kernel_batch).unwrap_or(1),
            ignored,
            repair: !args.no_repair,
            ridge: args.ridge,
            model: fingerprint([cfg_bytes?.as_slice(), weight_bytes?.as_slice()]),
            main,
            network,
        })
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.network.graph
    }

    /// dP for detectors, top-1 for classifiers.
    pub(crate) fn usual_metric(&self) -> Metric {
        match self.graph().has_heads() {
            true => Metric::Dp,
            false => Metric::Top1,
        }
    }

    /// What sensitivities measured on `dataset` depend on.
    pub(crate) fn setting(&self, metric: Metric, dataset: &Dataset, seed: u64) -> Setting {
        let labels: Vec<String> = dataset.labels.iter().map(|labels| format!("{labels:?}")).collect();
        let names = dataset.pictures.iter().map(|picture| picture.as_os_str().as_encoded_bytes());
        Setting {
            model: self.model.clone(),
            pictures: fingerprint(names.chain(labels.iter().map(String::as_bytes))),
            metric,
            granularity: self.grain,
            criterion: self.criterion,
            repair: self.repair,
            ridge: self.ridge,
            seed,
        }
    }

    /// The units in the order of a criterion. `statistics` as [`Self::needs_statistics`] wants them;
    /// `pictures` are what a repair of the whole network is fitted to.
    pub(crate) fn units<'a>(
        &'a self,
        criterion: Criterion,
        statistics: Option<&'a Statistics>,
        repaired: bool,
        pictures: &'a [&'a [f32]],
        seed: u64,
    ) -> Result<Box<dyn Granularity + 'a>> {
        let (graph, weights) = (self.graph(), self.network.weights()?);
        let ridge = self.ridge;
        let repair = statistics.filter(|_| repaired).map(|statistics| Repair { statistics, pictures, ridge });
        Ok(match self.grain {
            Grain::Channel => {
                let ranking = Ranking::new(criterion, graph, &self.groups, weights, statistics, seed);
                Box::new(Channels::new(graph, &self.groups, weights, ranking, repair))
            }
            Grain::Vector { rows } => Box::new(Vectors::new(graph, weights, rows, criterion, repair, seed)),
        })
    }

    /// Whether calibration moments are needed at all.
    pub(crate) fn needs_statistics(&self) -> bool {
        self.repair || self.criterion == Criterion::Repair
    }

    /// Every set's threshold: its layers' smallest own one, else `common`.
    pub(crate) fn thresholds(&self, args: &Common, sets: &[UnitSet], common: f64) -> Result<Vec<f64>> {
        let mut own: BTreeMap<usize, f64> = BTreeMap::new();
        if let Some(main) = &self.main
            && main.thresholds.len() > 1
        {
            let convolutions: Vec<usize> = (0..self.graph().nodes.len())
                .filter(|&layer| matches!(self.graph().nodes[layer].op, Op::Conv(_)))
                .collect();
            if main.thresholds.len() != convolutions.len() {
                return Err(Error::new("the list of thresholds does not fit the network")
                    .file(&args.cfg)
                    .found(format!("{} values", main.thresholds.len()))
                    .allowed(format!("1, or {} (one a convolutional layer)", convolutions.len())));
            }
            own.extend(convolutions.into_iter().zip(main.thresholds.iter().copied()));
        }
        if let Some(path) = &args.threshold_file {
            own.extend(read_thresholds(path)?);
        }
        own.extend(args.layer_threshold.iter().copied());
        for &layer in own.keys() {
            if !sets.iter().any(|set| set.changes(layer)) {
                let what = Error::new("a threshold is given for a layer that cannot be pruned").layer(layer);
                return Err(
                    what.help("layers that feed a head, and layers without weights, stay as they are")
                );
            }
        }
        let of_set = |set: &UnitSet| {
            let mine = own.iter().filter(|(layer, _)| set.changes(**layer)).map(|(_, threshold)| *threshold);
            mine.reduce(f64::min).unwrap_or(common)
        };
        Ok(sets.iter().map(of_set).collect())
    }

    /// The common threshold: flag, main file, or none.
    pub(crate) fn common_threshold(&self, args: &Common) -> Option<f64> {
        let main = self.main.as_ref().filter(|main| main.thresholds.len() == 1);
        args.threshold.or(main.map(|main| main.thresholds[0]))
    }
}

/// `LAYER LOSS` lines with `#` comments.
fn read_thresholds(path: &Path) -> Result<Vec<(usize, f64)>> {
    let bytes = files::read_limited(path, MAX_FILE_BYTES)?;
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

/// The pictures that an origin names; `split` is the list of a .data file.
pub(crate) fn dataset(origin: &Origin, split: &str) -> Result<Dataset> {
    let dataset = match (&origin.data, &origin.list, &origin.names) {
        (Some(data), ..) => Dataset::from_data_file(data, split)?,
        (None, Some(list), Some(names)) => Dataset::from_list(list, names)?,
        _ => {
            return Err(Error::new("no pictures given")
                .allowed("--data FILE.data, or --list FILE --names FILE, or datacfg= in a main file"));
        }
    };
    Ok(match origin.pictures {
        Some(count) => dataset.take(count),
        None => dataset,
    })
}

/// Prints which layers a set prunes, in the closed pruner's words.
pub(crate) fn print_set(set: &UnitSet, keep: usize, kernel_batch: usize) {
    println!("prune main layer {}", set.main);
    set.slaves.iter().for_each(|layer| println!("prune slave layer {layer}"));
    set.related.iter().for_each(|layer| println!("prune related layer {layer}"));
    let rate = secateur_prune::search::nominal_rate(set.units, keep, kernel_batch);
    println!("kernel_batch:{kernel_batch}, rate:{rate:.4}, keep_num:{keep}");
}
