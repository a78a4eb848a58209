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
/// Range of a fraction.
pub(super) const FRACTION: RangeInclusive<f32> = 0.0..=1.0;
/// Range of numbers that only must not be negative.
pub(super) const NOT_NEGATIVE: RangeInclusive<f32> = 0.0..=f32::MAX;

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
        decay: within(&net, "decay", 0.0001, NOT_NEGATIVE)?,
        schedule: schedule(&net)?,
        augmentation: augmentation(&net, graph)?,
        ema_alpha: within(&net, "ema_alpha", 0.0, FRACTION)?,
        layers: layers(cfg, graph)?,
    })
}

fn refuse(options: &Options, keys: &[&str]) -> Result<()> {
    let help = "remove it to train without it: what is learned then differs from Darknet's";
    options.refuse(keys).map_err(|error| error.help(help))
}

/// Reads a number within `range`.
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

/// Reads a count of batches, or a batch number, of at least `min`.
fn batches(options: &Options, key: &str, default: u64, min: usize) -> Result<u64> {
    if !options.has(key) && default >= min as u64 {
        return Ok(default);
    }
    Ok(options.required(key, "", min..=*BATCHES.end())? as u64)
}

fn optimizer(net: &Options) -> Result<Optimizer> {
    if !net.flag("adam")? {
        return Ok(Optimizer::Sgd { momentum: within(net, "momentum", 0.9, FRACTION)? });
    }
    Ok(Optimizer::Adam {
        beta1: within(net, "B1", 0.9, FRACTION)?,
        beta2: within(net, "B2", 0.999, FRACTION)?,
        epsilon: within(net, "eps", 0.000_001, NOT_NEGATIVE)?,
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
            minimum: within(net, "learning_rate_min", 0.00001, NOT_NEGATIVE)?,
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
        learning_rate: within(net, "learning_rate", 0.001, NOT_NEGATIVE)?,
        burn_in: batches(net, "burn_in", 0, 0)?,
        power: net.float("power", 4.0)?,
        policy,
        max_batches,
    })
}

/// Reads pairs of batch number and scale; scales without a batch number are ignored.
fn steps(net: &Options) -> Result<Vec<(u64, f32)>> {
    let steps = net.ints("steps")?.ok_or_else(|| net.missing("steps", ""))?;
    let scales = net.floats("scales")?.ok_or_else(|| net.missing("scales", ""))?;
    if scales.len() < steps.len() {
        return Err(net
            .error_at("scales", format!("{} scales for {} steps", scales.len(), steps.len()))
            .allowed("a scale for every step"));
    }
    // YOLOv2's files begin with step -1, which is reached from the first batch on.
    Ok(steps.into_iter().map(|step| step.max(0) as u64).zip(scales).collect())
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
        Some(head) => within(head, key, default, NOT_NEGATIVE),
        None => Ok(otherwise),
    };
    let random = of_head("random", 0.0, 0.0)?;
    Ok(Augmentation {
        angle: within(net, "angle", 0.0, NOT_NEGATIVE)?,
        aspect: within(net, "aspect", 1.0, NOT_NEGATIVE)?,
        crop: [net.size("min_crop", side, COUNT)?, net.size("max_crop", 2 * side, 0..=2 * COUNT.end())?],
        saturation: within(net, "saturation", 1.0, NOT_NEGATIVE)?,
        exposure: within(net, "exposure", 1.0, NOT_NEGATIVE)?,
        hue: within(net, "hue", 0.0, NOT_NEGATIVE)?,
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
        label_smooth_eps: within(net, "label_smooth_eps", 0.0, FRACTION)?,
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
            learning_rate_scale: within(&options, "learning_rate", 1.0, NOT_NEGATIVE)?,
            updates_from: match forward_only {
                true => u64::MAX,
                false => {
                    from("burnin_update")?.saturating_mul(burn_in).max(from("dont_update")?.saturating_add(1))
                }
            },
            forward_only,
            dropout: match section.name.as_str() {
                "dropout" => Some(within(&options, "probability", 0.2, FRACTION)?),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use secateur_base::Error;
    use secateur_ir::training::{CostKind, LayerLoss, Overlap};

    use super::*;
    use crate::darknet::build_graph;

    /// Writes a detector's cfg: `net` and `yolo` hold more options of their sections.
    fn detector(net: &str, yolo: &str) -> String {
        format!(
            "[net]\nwidth=32\nheight=32\nchannels=3\n{net}\n[convolutional]\nfilters=16\nsize=1\nstride=1\n\
             activation=linear\n[yolo]\nclasses=3\nnum=2\nanchors=8,8,16,16\n{yolo}\n"
        )
    }

    fn read(text: &str) -> Result<Training> {
        let cfg = Cfg::parse(Path::new("test.cfg"), text.as_bytes()).unwrap();
        let graph = build_graph(&cfg).expect("training options are no matter of the graph");
        training(&cfg, &graph)
    }

    fn refused(text: &str) -> Error {
        read(text).expect_err("must be refused")
    }

    fn layers(text: &str) -> Vec<LayerTraining> {
        read(&format!("[net]\nwidth=8\nheight=8\nchannels=3\n{text}")).unwrap().layers
    }

    #[test]
    fn defaults_are_those_of_darknet() {
        let training = read(&detector("", "")).unwrap();
        assert_eq!((training.batch, training.subdivisions, training.pass()), (1, 1, 1));
        assert_eq!(training.optimizer, Optimizer::Sgd { momentum: 0.9 });
        assert_eq!((training.decay, training.ema_alpha), (0.0001, 0.0));
        let expected = Schedule {
            learning_rate: 0.001,
            burn_in: 0,
            power: 4.0,
            policy: Policy::Constant,
            max_batches: 0,
        };
        assert_eq!(training.schedule, expected);
        let augmentation = training.augmentation;
        assert!(augmentation.flip && !augmentation.letter_box && !augmentation.mosaic_bound);
        assert_eq!((augmentation.jitter, augmentation.resize, augmentation.multi_scale), (0.2, 1.0, None));
        assert_eq!(
            (augmentation.crop, augmentation.resize_step, augmentation.mix),
            ([32, 64], 32, Mix::None)
        );
        assert_eq!(training.layers[0], LayerTraining::default());
        let Some(LayerLoss::Yolo(loss)) = &training.layers[1].loss else {
            panic!("{:?}", training.layers[1])
        };
        assert_eq!((loss.ignore_thresh, loss.truth_thresh, loss.iou_thresh), (0.5, 1.0, 1.0));
        assert_eq!((loss.overlap, loss.iou_thresh_kind), (None, Overlap::Iou));
        assert_eq!((loss.iou_normalizer, loss.obj_normalizer, loss.cls_normalizer), (0.75, 1.0, 1.0));
        assert_eq!((loss.delta_normalizer, loss.max_delta, loss.max_boxes), (1.0, None, 200));
        assert!(loss.class_weights.is_empty() && !loss.focal && !loss.objectness_smooth);
    }

    #[test]
    fn options_are_read() {
        let net = "batch=64\nsubdivisions=16\nadam=1\nB1=.8\nmosaic=1\ncutmix=1\nflip=0\nburn_in=100\n\
            policy=steps\nsteps=400,450\nscales=.1,.2,.3\nmax_batches=500\nlearning_rate=.01\nema_alpha=.9998";
        let yolo = "iou_loss=ciou\nmax_delta=5\ncounters_per_class=100,20,10\nrandom=1\njitter=.3\nmax=50";
        let training = read(&detector(net, yolo)).unwrap();
        assert_eq!(training.pass(), 4);
        assert_eq!(training.optimizer, Optimizer::Adam { beta1: 0.8, beta2: 0.999, epsilon: 0.000_001 });
        assert_eq!(training.schedule.policy, Policy::Steps(vec![(400, 0.1), (450, 0.2)]));
        assert_eq!((training.schedule.burn_in, training.schedule.max_batches), (100, 500));
        let augmentation = training.augmentation;
        assert_eq!((augmentation.mix, augmentation.flip), (Mix::CutmixOrMosaic, false));
        assert_eq!((augmentation.multi_scale, augmentation.jitter), (Some(1.4), 0.3));
        let Some(LayerLoss::Yolo(loss)) = &training.layers[1].loss else { panic!() };
        assert_eq!((loss.overlap, loss.max_delta, loss.max_boxes), (Some(Overlap::Ciou), Some(5.0), 50));
        // 100 / 10 is above max_delta.
        assert_eq!(loss.class_weights, [1.0, 5.0, 5.0]);
        let net = "policy=steps\nsteps=-1,100\nscales=.1,10";
        let policy = Policy::Steps(vec![(0, 0.1), (100, 10.0)]);
        assert_eq!(read(&detector(net, "")).unwrap().schedule.policy, policy);
        let net = "policy=sgdr\nmax_batches=9";
        let policy = Policy::Sgdr { minimum: 0.00001, cycle: 9, factor: 2 };
        assert_eq!(read(&detector(net, "")).unwrap().schedule.policy, policy);
        assert_eq!(read(&detector("", "random=1.2")).unwrap().augmentation.multi_scale, Some(1.2));
    }

    #[test]
    fn losses_of_classifiers() {
        let layers =
            layers("[dropout]\nprobability=.5\n[dropout]\n[softmax]\n[cost]\ntype=smooth\nscale=2\n");
        assert_eq!((layers[0].dropout, layers[1].dropout), (Some(0.5), Some(0.2)));
        assert_eq!(layers[2].loss, Some(LayerLoss::Softmax));
        let Some(LayerLoss::Cost(cost)) = &layers[3].loss else { panic!() };
        assert_eq!((cost.kind, cost.scale), (CostKind::Smooth, 2.0));
        assert_eq!(self::layers("[softmax]\nnoloss=1\n")[0].loss, None);
    }

    #[test]
    fn layers_that_are_not_updated() {
        let conv = |more: &str| format!("[convolutional]\nfilters=4\nactivation=leaky\n{more}\n");
        let from = |options: [&str; 3], net: &str| {
            let text = options.map(conv).concat();
            layers(&format!("{net}{text}")).into_iter().map(|layer| layer.updates_from).collect::<Vec<_>>()
        };
        const NEVER: u64 = u64::MAX;
        assert_eq!(from(["", "", ""], ""), [1, 1, 1]);
        assert_eq!(from(["", "stopbackward=1", ""], ""), [NEVER, NEVER, 1]);
        assert_eq!(from(["", "stopbackward=800", ""], ""), [801, 801, 1]);
        assert_eq!(from(["", "train_only_bn=1", ""], ""), [NEVER, NEVER, 1]);
        assert_eq!(from(["dont_update=7", "", "burnin_update=2"], "burn_in=100\n"), [8, 1, 200]);
        assert_eq!(from(["", "onlyforward=1", ""], ""), [1, NEVER, 1]);
        let layers = layers(&(conv("learning_rate=.25") + &conv("onlyforward=1")));
        assert_eq!((layers[0].learning_rate_scale, layers[0].forward_only), (0.25, false));
        assert!(layers[1].forward_only);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let region = "[net]\nwidth=8\nheight=8\nchannels=9\n\n[region]\nclasses=4\nnum=1\nanchors=1,1\n";
        for (text, line, what) in [
            (detector("adversarial=1", ""), 5, "adversarial is not supported"),
            (detector("track=1", ""), 5, "track is not supported"),
            (detector("dynamic_minibatch=1", ""), 5, "dynamic_minibatch is not supported"),
            (detector("time_steps=3", ""), 5, "sequences are not supported"),
            (detector("batch=6\nsubdivisions=4", ""), 6, "batch=6 cannot be divided by subdivisions=4"),
            (detector("batch=0", ""), 5, "batch must not be zero"),
            (detector("policy=cosine", ""), 5, "unknown policy"),
            (detector("policy=poly", ""), 1, "max_batches= is missing"),
            (detector("policy=poly\nmax_batches=0", ""), 6, "max_batches must not be zero"),
            (detector("policy=sgdr", ""), 1, "sgdr_cycle= is missing"),
            (detector("policy=step\nstep=0", ""), 6, "step must not be zero"),
            (detector("policy=steps\nsteps=1,2\nscales=.1", ""), 7, "1 scales for 2 steps"),
            (detector("momentum=1.5", ""), 5, "momentum is out of range"),
            (detector("learning_rate=-1", ""), 5, "learning_rate is out of range"),
            (detector("learning_rate=fast", ""), 5, "learning_rate is not a number"),
            (detector("", "map=tree.map"), 15, "map is not supported"),
            (detector("", "iou_loss=eiou"), 15, "unknown iou_loss"),
            (detector("", "counters_per_class=1,2"), 15, "2 counters for 3 classes"),
            (format!("{region}classfix=1\n"), 10, "classfix is not supported"),
            (format!("{region}focal_loss=1\n"), 10, "focal_loss needs probabilities of classes"),
            ("[net]\ninputs=8\n[cost]\ntype=wgan\n".to_owned(), 4, "unknown cost"),
            ("[net]\ninputs=8\n[dropout]\ndropblock=1\n".to_owned(), 4, "dropblock is not supported"),
        ] {
            let error = refused(&text);
            assert_eq!((error.what(), error.at_line()), (what, Some(line)), "{text}");
        }
        // 0 turns off what is not supported.
        assert!(read(&detector("adversarial=0\ntrack=0\ntime_steps=1", "")).is_ok());
    }

    proptest! {
        #[test]
        fn any_values_are_read_or_refused(
            net in proptest::collection::vec((0..NET_KEYS.len(), "[-.,0-9a-z]{0,6}"), 0..6),
            yolo in proptest::collection::vec((0..YOLO_KEYS.len(), "[-.,0-9a-z]{0,6}"), 0..6),
        ) {
            let lines = |keys: &[&str], entries: &[(usize, String)]| -> String {
                entries.iter().map(|(key, value)| format!("{}={value}\n", keys[*key])).collect()
            };
            match read(&detector(&lines(NET_KEYS, &net), &lines(YOLO_KEYS, &yolo))) {
                Ok(training) => prop_assert!(training.pass() > 0 && training.layers.len() == 2),
                Err(error) => prop_assert!(error.at_line().is_some(), "{error:?}"),
            }
        }
    }

    const NET_KEYS: &[&str] = &[
        "B1",
        "adam",
        "adversarial",
        "angle",
        "batch",
        "blur",
        "burn_in",
        "decay",
        "gamma",
        "learning_rate",
        "max_batches",
        "max_crop",
        "momentum",
        "mosaic",
        "policy",
        "power",
        "scales",
        "sgdr_cycle",
        "step",
        "steps",
        "subdivisions",
    ];
    const YOLO_KEYS: &[&str] = &[
        "burnin_update",
        "counters_per_class",
        "dont_update",
        "iou_loss",
        "iou_normalizer",
        "jitter",
        "learning_rate",
        "map",
        "max",
        "max_delta",
        "random",
        "stopbackward",
    ];
}
