//! A cfg's training options become a [`Training`], with Darknet's defaults.
//!
//! Reading a network for anything else ignores these options, mistakes in them included.

use std::ops::RangeInclusive;

use super::cfg::Cfg;
use super::losses;
use super::options::Options;
use secateur_base::Result;
use secateur_ir::Graph;
use secateur_ir::training::{Augmentation, LayerTraining, Mix, Optimizer, Policy, Schedule, Training};

/// Range of batch numbers and counts of batches.
const BATCHES: RangeInclusive<usize> = 0..=1_000_000_000;
/// Range of the images of a batch and of pixels that options of the augmentation count.
const COUNT: RangeInclusive<usize> = 0..=65_536;
/// Range of a share.
pub(super) const SHARE: RangeInclusive<f32> = 0.0..=1.0;
/// Range of what only must not be negative.
pub(super) const POSITIVE: RangeInclusive<f32> = 0.0..=f32::MAX;

/// Options of `[net]` that would train another network than we do.
const REFUSED: &[&str] = &[
    "adversarial",
    "adversarial_lr",
    "attention",
    "badlabels_rejection_percentage",
    "contrastive",
    "dynamic_minibatch",
    "equidistant_point",
    "num_sigmas_reject_badlabels",
    "track",
    "unsupervised",
    "weights_reject_freq",
];
/// Such options of the layers.
const REFUSED_IN_LAYERS: &[&str] =
    &["assisted_excitation", "cbn", "clip", "deform", "dropblock", "grad_centr"];

/// Reads how the network of `cfg`, whose `graph` is, is trained.
///
/// # Errors
/// Options that are not supported in training, values that are no numbers or out of range, a policy without what it
/// needs: each with its line, what was found and what is allowed.
pub fn training(cfg: &Cfg, graph: &Graph) -> Result<Training> {
    let net = Options { cfg, section: cfg.net(), layer: None };
    refuse(&net, REFUSED)?;
    if net.int("time_steps")?.is_some_and(|steps| steps != 1) {
        return Err(net
            .error_at("time_steps", "sequences are not supported")
            .allowed("no time_steps=, or time_steps=1"));
    }
    let batch = net.size("batch", 1, 1..=*COUNT.end())?;
    let subdivisions = net.size("subdivisions", 1, 1..=*COUNT.end())?;
    if batch % subdivisions != 0 {
        return Err(net
            .error_at(
                "subdivisions",
                format!("batch={batch} cannot be divided by subdivisions={subdivisions}"),
            )
            .allowed("a divisor of batch=")
            .help("Darknet would leave out the rest of every batch: correct batch= or subdivisions="));
    }
    Ok(Training {
        batch,
        subdivisions,
        optimizer: optimizer(&net)?,
        decay: within(&net, "decay", 0.0001, POSITIVE)?,
        schedule: schedule(&net)?,
        augmentation: augmentation(&net, graph)?,
        ema_alpha: within(&net, "ema_alpha", 0.0, SHARE)?,
        layers: layers(cfg, graph)?,
    })
}

fn refuse(options: &Options, keys: &[&str]) -> Result<()> {
    let help = "remove it to train without it: what is learned then differs from Darknet's";
    options.refuse(keys).map_err(|error| error.help(help))
}

/// A number within `range`.
pub(super) fn within(options: &Options, key: &str, default: f32, range: RangeInclusive<f32>) -> Result<f32> {
    let value = options.float(key, default)?;
    if range.contains(&value) {
        return Ok(value);
    }
    Err(options.error_at(key, format!("{key} is out of range")).allowed(match *range.end() {
        f32::MAX => format!("{} or more", range.start()),
        end => format!("{} to {end}", range.start()),
    }))
}

/// A count of batches or a batch number, from `least`.
fn batches(options: &Options, key: &str, default: u64, least: usize) -> Result<u64> {
    if !options.has(key) && default >= least as u64 {
        return Ok(default);
    }
    Ok(options.required(key, "", least..=*BATCHES.end())? as u64)
}

fn optimizer(net: &Options) -> Result<Optimizer> {
    if !net.flag("adam")? {
        return Ok(Optimizer::Sgd { momentum: within(net, "momentum", 0.9, SHARE)? });
    }
    Ok(Optimizer::Adam {
        beta1: within(net, "B1", 0.9, SHARE)?,
        beta2: within(net, "B2", 0.999, SHARE)?,
        epsilon: within(net, "eps", 0.000_001, POSITIVE)?,
    })
}

fn schedule(net: &Options) -> Result<Schedule> {
    let max_batches = batches(net, "max_batches", 0, 0)?;
    let policy = match net.word("policy")?.unwrap_or("constant") {
        "constant" => Policy::Constant,
        "step" => Policy::Step { step: batches(net, "step", 1, 1)?, scale: net.float("scale", 1.0)? },
        "steps" => Policy::Steps(steps(net)?),
        "exp" => Policy::Exp { gamma: net.float("gamma", 1.0)? },
        "poly" => {
            batches(net, "max_batches", 0, 1)?;
            Policy::Poly
        }
        "sigmoid" => Policy::Sigmoid { gamma: net.float("gamma", 1.0)?, step: batches(net, "step", 1, 0)? },
        "sgdr" => Policy::Sgdr {
            minimum: within(net, "learning_rate_min", 0.00001, POSITIVE)?,
            cycle: batches(net, "sgdr_cycle", max_batches, 1)?,
            factor: batches(net, "sgdr_mult", 2, 1)?,
        },
        "random" => Policy::Random,
        _ => {
            return Err(net
                .error_at("policy", "unknown policy")
                .allowed("constant, step, steps, exp, poly, sigmoid, sgdr or random")
                .help("Darknet would go on with constant: write that if it is meant"));
        }
    };
    Ok(Schedule {
        learning_rate: within(net, "learning_rate", 0.001, POSITIVE)?,
        burn_in: batches(net, "burn_in", 0, 0)?,
        power: net.float("power", 4.0)?,
        policy,
        max_batches,
    })
}

/// Pairs of batch number and scale; scales that have no batch number are ignored.
fn steps(net: &Options) -> Result<Vec<(u64, f32)>> {
    let steps = net.ints("steps")?.ok_or_else(|| net.missing("steps", ""))?;
    let scales = net.floats("scales")?.ok_or_else(|| net.missing("scales", ""))?;
    if scales.len() < steps.len() {
        return Err(net
            .error_at("scales", format!("{} scales for {} steps", scales.len(), steps.len()))
            .allowed("a scale for every step"));
    }
    let pair = |(&step, &scale): (&i64, &f32)| match u64::try_from(step) {
        Ok(step) => Ok((step, scale)),
        Err(_) => Err(net.error_at("steps", "a batch number is negative").allowed("0 or more")),
    };
    steps.iter().zip(&scales).map(pair).collect()
}

fn augmentation(net: &Options, graph: &Graph) -> Result<Augmentation> {
    let flag = |key: &str| net.flag(key);
    let mix = match (flag("mosaic")?, flag("cutmix")?, flag("mixup")?) {
        (true, true, _) => Mix::CutmixOrMosaic,
        (true, false, _) => Mix::Mosaic,
        (false, true, _) => Mix::Cutmix,
        (false, false, true) => Mix::Mixup,
        (false, false, false) => Mix::None,
    };
    let side = graph.input.w;
    // Darknet cuts out images as the last head says.
    let last = graph.nodes.iter().rposition(|node| node.op.is_head());
    let head =
        last.map(|layer| Options { cfg: net.cfg, section: &net.cfg.layers()[layer], layer: Some(layer) });
    let of_head = |key: &str, default: f32, otherwise: f32| match &head {
        Some(head) => within(head, key, default, POSITIVE),
        None => Ok(otherwise),
    };
    let random = of_head("random", 0.0, 0.0)?;
    Ok(Augmentation {
        angle: within(net, "angle", 0.0, POSITIVE)?,
        aspect: within(net, "aspect", 1.0, POSITIVE)?,
        crop: [net.size("min_crop", side, COUNT)?, net.size("max_crop", 2 * side, 0..=2 * COUNT.end())?],
        saturation: within(net, "saturation", 1.0, POSITIVE)?,
        exposure: within(net, "exposure", 1.0, POSITIVE)?,
        hue: within(net, "hue", 0.0, POSITIVE)?,
        flip: net.int("flip")?.is_none_or(|flip| flip != 0),
        blur: net.size("blur", 0, COUNT)?,
        gaussian_noise: net.size("gaussian_noise", 0, COUNT)?,
        mix,
        mosaic_bound: flag("mosaic_bound")?,
        letter_box: graph.letter_box,
        jitter: of_head("jitter", 0.2, 0.0)?,
        resize: of_head("resize", 1.0, 1.0)?,
        // 1 means yes, another number is the factor.
        multi_scale: (random != 0.0).then_some(if random == 1.0 { 1.4 } else { random }),
        resize_step: net.size("resize_step", 32, 1..=*COUNT.end())?,
        label_smooth_eps: within(net, "label_smooth_eps", 0.0, SHARE)?,
    })
}

fn layers(cfg: &Cfg, graph: &Graph) -> Result<Vec<LayerTraining>> {
    let burn_in = batches(&Options { cfg, section: cfg.net(), layer: None }, "burn_in", 0, 0)?;
    let mut layers = Vec::with_capacity(graph.nodes.len());
    for (layer, section) in cfg.layers().iter().enumerate() {
        let options = Options { cfg, section, layer: Some(layer) };
        refuse(&options, REFUSED_IN_LAYERS)?;
        let op = &graph.nodes[layer].op;
        let from = |key: &str| Ok(options.int(key)?.map_or(0, |value| value.max(0) as u64));
        let forward_only = options.flag("onlyforward")?;
        layers.push(LayerTraining {
            learning_rate_scale: within(&options, "learning_rate", 1.0, POSITIVE)?,
            updates_from: match forward_only {
                true => u64::MAX,
                false => {
                    from("burnin_update")?.saturating_mul(burn_in).max(from("dont_update")?.saturating_add(1))
                }
            },
            forward_only,
            dropout: match section.name.as_str() {
                "dropout" => Some(within(&options, "probability", 0.2, SHARE)?),
                _ => None,
            },
            loss: losses::loss(&options, op)?,
        });
        // Darknet ends the backward pass at such a layer: neither it nor any before it gets a gradient. (It would
        // still let the weights decay.)
        let stopped = match from("stopbackward")? {
            0 => 1,
            1 => u64::MAX,
            batches => batches.saturating_add(1),
        };
        let stopped = if options.flag("train_only_bn")? { u64::MAX } else { stopped };
        layers.iter_mut().for_each(|layer| layer.updates_from = layer.updates_from.max(stopped));
    }
    Ok(layers)
}
