//! Gradients of every operator against central differences, in `f64`; equality over threads.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_ir::{BatchNorm, Graph, Grid, LayerWeights, Rounding, Weights, parameter_counts};

use super::operator::Maps;
use super::{BatchVariance, Engine, EngineOptions, Kind};
use crate::scalar::Scalar;

pub(super) const IMAGES: usize = 3;

/// Networks whose last layer is what the loss reads.
const NETWORKS: &[(&str, &str)] = &[
    ("dense", "[convolutional]\nfilters=5\nsize=3\nstride=1\npad=1\nactivation=linear"),
    (
        "dense, stride 2, batch norm, mish",
        "[convolutional]\nbatch_normalize=1\nfilters=5\nsize=3\nstride=2\npad=1\nactivation=mish",
    ),
    (
        "dense and pointwise, batch norm, leaky",
        "[convolutional]\nbatch_normalize=1\nfilters=5\nsize=3\nstride=1\npad=1\nactivation=leaky\n[convolutional]\nbatch_normalize=1\nfilters=4\nsize=1\nactivation=relu",
    ),
    (
        "read twice, batch norm, leaky",
        "[convolutional]\nbatch_normalize=1\nfilters=6\nsize=3\npad=1\ngroups=6\nactivation=leaky\n[convolutional]\nbatch_normalize=1\nfilters=6\nsize=1\nactivation=linear\n[shortcut]\nfrom=-2\nactivation=linear",
    ),
    ("stride 3 past the kernel", "[convolutional]\nfilters=4\nsize=2\nstride=3\nactivation=linear"),
    ("1×1 with stride 2", "[convolutional]\nfilters=4\nsize=1\nstride=2\nactivation=linear"),
    (
        "5×5, stride of columns alone",
        "[convolutional]\nfilters=3\nsize=5\nstride_y=1\nstride_x=2\npad=1\nactivation=linear",
    ),
    ("even kernel", "[convolutional]\nfilters=3\nsize=4\nstride=2\npadding=1\nactivation=linear"),
    ("dilated", "[convolutional]\nfilters=4\nsize=3\nstride=1\ndilation=2\npad=1\nactivation=linear"),
    (
        "groups",
        "[convolutional]\nbatch_normalize=1\nfilters=6\nsize=3\nstride=2\npad=1\ngroups=3\nactivation=swish",
    ),
    ("pointwise", "[convolutional]\nbatch_normalize=1\nfilters=13\nsize=1\nactivation=logistic"),
    ("depthwise", "[convolutional]\nbatch_normalize=1\nfilters=6\nsize=3\npad=1\ngroups=6\nactivation=tanh"),
    (
        "depthwise, stride 2",
        "[convolutional]\nfilters=6\nsize=5\nstride=2\npad=1\ngroups=6\nactivation=linear",
    ),
    ("two filters a channel", "[convolutional]\nfilters=12\nsize=3\npad=1\ngroups=6\nactivation=linear"),
    ("maxpool", "[maxpool]\nsize=2\nstride=2"),
    ("overlapping maxpool", "[maxpool]\nsize=3\nstride=1"),
    ("maxpool over channels", "[maxpool]\nmaxpool_depth=1\nout_channels=2"),
    ("avgpool", "[avgpool]"),
    ("local avgpool", "[local_avgpool]\nsize=3\nstride=2"),
    ("upsample", "[upsample]\nstride=2\nscale=.7"),
    ("downsample", "[upsample]\nstride=-2"),
    ("reorg", "[convolutional]\nfilters=8\nsize=1\nactivation=linear\n[reorg]\nstride=2"),
    ("reorg3d", "[convolutional]\nfilters=8\nsize=1\nactivation=linear\n[reorg3d]\nstride=2"),
    (
        "odd sizes",
        "[convolutional]\nfilters=4\nsize=2\nactivation=elu\n[convolutional]\nfilters=4\nsize=3\nstride=2\npad=1\nactivation=linear",
    ),
    (
        "odd sizes, depthwise",
        "[convolutional]\nfilters=4\nsize=2\nactivation=elu\n[convolutional]\nfilters=4\nsize=3\nstride=2\npad=1\ngroups=4\nactivation=linear",
    ),
    ("batchnorm", "[batchnorm]"),
    ("connected", "[connected]\noutput=7\nbatch_normalize=1\nactivation=elu"),
    ("connected twice", "[connected]\noutput=9\nactivation=tanh\n[connected]\noutput=4\nactivation=linear"),
    (
        "concatenation",
        "[convolutional]\nfilters=4\nsize=1\nactivation=elu\n[route]\nlayers=-1,0\n[convolutional]\nfilters=3\nsize=3\npad=1\nactivation=linear",
    ),
    (
        "half of the channels",
        "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n[convolutional]\nfilters=3\nsize=1\nactivation=linear",
    ),
    ("a channel twice", "[route]\nlayers=-1,-1\n[convolutional]\nfilters=3\nsize=1\nactivation=linear"),
    (
        "shortcut",
        "[convolutional]\nfilters=6\nsize=3\npad=1\nactivation=tanh\n[shortcut]\nfrom=0\nactivation=swish",
    ),
    (
        "shortcut of other channels",
        "[convolutional]\nfilters=4\nsize=1\nactivation=tanh\n[shortcut]\nfrom=0\nactivation=linear\n[shortcut]\nfrom=0\nactivation=linear",
    ),
    (
        "shortcut of a larger map",
        "[convolutional]\nfilters=6\nsize=1\nstride=2\nactivation=tanh\n[shortcut]\nfrom=0\nactivation=linear",
    ),
    ("itself", "[shortcut]\nfrom=-1\nactivation=elu"),
    (
        "weighted",
        "[convolutional]\nfilters=6\nsize=1\nactivation=tanh\n[shortcut]\nfrom=0\nweights_type=per_feature\nactivation=linear",
    ),
    (
        "weighted by channel, softmax",
        "[convolutional]\nfilters=6\nsize=1\nactivation=tanh\n[convolutional]\nfilters=6\nsize=1\nactivation=tanh\n[shortcut]\nfrom=0,1\nweights_type=per_channel\nweights_normalization=softmax\nactivation=linear",
    ),
    (
        "weighted, relu",
        "[convolutional]\nfilters=6\nsize=1\nactivation=tanh\n[shortcut]\nfrom=0\nweights_type=per_channel\nweights_normalization=relu\nactivation=linear",
    ),
    (
        "squeeze-excite",
        "[avgpool]\n[convolutional]\nfilters=6\nsize=1\nactivation=logistic\n[scale_channels]\nfrom=0\nactivation=swish",
    ),
    (
        "factors of pixels",
        "[convolutional]\nfilters=1\nsize=1\nactivation=logistic\n[scale_channels]\nfrom=0\nscale_wh=1\nactivation=linear",
    ),
    ("sam", "[convolutional]\nfilters=6\nsize=1\nactivation=logistic\n[sam]\nfrom=0\nactivation=linear"),
    ("dropout", "[dropout]\nprobability=.4\n[convolutional]\nfilters=3\nsize=1\nactivation=linear"),
];

/// Networks on maps that do not fit one strip. Over so many pixels differences need activations without a kink.
const LARGE: &[(&str, &str)] = &[
    ("dense", "[convolutional]\nbatch_normalize=1\nfilters=3\nsize=3\nstride=1\npad=1\nactivation=linear"),
    ("dense, stride 2", "[convolutional]\nfilters=3\nsize=3\nstride=2\npad=1\nactivation=linear"),
    (
        "depthwise",
        "[convolutional]\nbatch_normalize=1\nfilters=6\nsize=3\npad=1\ngroups=6\nactivation=linear",
    ),
    (
        "depthwise, stride 2",
        "[convolutional]\nfilters=6\nsize=5\nstride=2\npad=1\ngroups=6\nactivation=linear",
    ),
    ("pointwise", "[convolutional]\nbatch_normalize=1\nfilters=5\nsize=1\nactivation=linear"),
    ("maxpool", "[maxpool]\nsize=2\nstride=2"),
    ("overlapping maxpool", "[maxpool]\nsize=3\nstride=1"),
];

/// Height and width of the images of [`NETWORKS`] and of [`LARGE`]; of the latter, rows are no whole vectors.
const SMALL_SIZE: [usize; 2] = [8, 6];
const LARGE_SIZE: [usize; 2] = [150, 83];

/// The network behind a convolution of six channels, in front of a loss.
fn text(layers: &str, [height, width]: [usize; 2]) -> String {
    format!(
        "[net]\nchannels=3\nheight={height}\nwidth={width}\n\
         [convolutional]\nbatch_normalize=1\nfilters=6\nsize=3\npad=1\nactivation=mish\n{layers}\n[cost]\n"
    )
}

fn parse(text: &str) -> Graph {
    let cfg =
        secateur_frontend::darknet::Cfg::parse(std::path::Path::new("test.cfg"), text.as_bytes()).unwrap();
    secateur_frontend::darknet::build_graph(&cfg).unwrap()
}

fn random_weights(graph: &Graph, rng: &mut ChaCha8Rng) -> Weights {
    let mut numbers = |len: usize, low: f32, high: f32| -> Vec<f32> {
        (0..len).map(|_| rng.random_range(low..high)).collect()
    };
    let layers = (0..graph.nodes.len()).map(|i| {
        let counts = parameter_counts(&graph.nodes[i].op, &graph.input_shapes(i));
        let batch_norm = counts.batch_norm.then(|| BatchNorm {
            scale: numbers(counts.bias, 0.5, 1.5),
            mean: numbers(counts.bias, -1.0, 1.0),
            variance: numbers(counts.bias, 0.5, 1.0),
        });
        LayerWeights {
            bias: numbers(counts.bias, -0.5, 0.5),
            batch_norm,
            weights: numbers(counts.weights, -0.5, 0.5),
        }
    });
    Weights { layers: layers.collect() }
}

pub(super) fn engine<T: Scalar>(layers: &str, seed: u64) -> (Engine<T>, Vec<f32>, Vec<f32>) {
    sized_engine(layers, SMALL_SIZE, seed)
}

fn sized_engine<T: Scalar>(layers: &str, size: [usize; 2], seed: u64) -> (Engine<T>, Vec<f32>, Vec<f32>) {
    rounded_engine(layers, size, seed, |_| Vec::new())
}

/// An engine that rounds what `rounding` says of the graph.
fn rounded_engine<T: Scalar>(
    layers: &str,
    size: [usize; 2],
    seed: u64,
    rounding: impl Fn(&Graph) -> Vec<Rounding>,
) -> (Engine<T>, Vec<f32>, Vec<f32>) {
    let graph = parse(&text(layers, size));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let weights = random_weights(&graph, &mut rng);
    let mut dropout = vec![0.0; graph.nodes.len()];
    for (probability, node) in dropout.iter_mut().zip(&graph.nodes) {
        *probability = if node.op == secateur_ir::Op::Dropout { 0.4 } else { 0.0 };
    }
    let options = EngineOptions {
        images: IMAGES,
        variance: BatchVariance::Biased,
        dropout,
        seed: 7,
        rounding: rounding(&graph),
    };
    let input = (0..graph.input.len() * IMAGES).map(|_| rng.random_range(0.0..1.0)).collect();
    let last = graph.nodes.len() - 1;
    let factors = (0..graph.input_shape(last).len() * IMAGES).map(|_| rng.random_range(-1.0..1.0)).collect();
    (Engine::new(&graph, &weights, &options).unwrap(), input, factors)
}

/// `Σ factors · y` of the last layer's input.
pub(super) fn loss(engine: &mut Engine<f64>, input: &[f32], factors: &[f32]) -> f64 {
    engine.forward(input, 3, &mut |_, x| Some(x.to_vec()));
    let view = &engine.views[engine.graph.nodes.len() - 2];
    let plane = view.shape.plane();
    let mut sum = 0.0;
    for (c, row) in Maps(&engine.values).rows(view).into_iter().enumerate() {
        for at in 0..plane * IMAGES {
            let (image, pixel) = (at / plane, at % plane);
            sum += row.at(at) * f64::from(factors[(image * view.shape.c + c) * plane + pixel]);
        }
    }
    sum
}

/// Compares `numbers` numbers of every parameter's gradient with differences of the loss.
fn check_gradients(
    name: &str,
    (mut engine, input, factors): (Engine<f64>, Vec<f32>, Vec<f32>),
    numbers: usize,
) {
    loss(&mut engine, &input, &factors);
    let last = engine.graph.nodes.len() - 1;
    engine.seed(last, &factors);
    engine.backward();
    let count = engine.parameters().len();
    for parameter in 0..count {
        let gradient = engine.parameters()[parameter].1.gradient.clone();
        let largest = gradient.iter().fold(0.0_f64, |largest, g| largest.max(g.abs()));
        let step = gradient.len().div_ceil(numbers);
        for i in (0..gradient.len()).step_by(step) {
            let mut at = |offset: f64| {
                let old = engine.parameters()[parameter].1.value[i];
                engine.parameters()[parameter].1.value[i] = old + offset;
                let loss = loss(&mut engine, &input, &factors);
                engine.parameters()[parameter].1.value[i] = old;
                loss
            };
            let h = 1e-5;
            // Five points: the error falls with h⁴.
            let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            let error = (gradient[i] - difference).abs();
            assert!(
                error <= 1e-5 * difference.abs().max(1e-3 * largest) + 1e-8,
                "{name}, parameter {parameter}, number {i}: {} instead of {difference}",
                gradient[i]
            );
        }
    }
    assert!(count > 0 && engine.parameters().iter().any(|(_, p)| p.gradient.iter().any(|&g| g != 0.0)));
}

#[test]
fn gradients_are_central_differences() {
    let frozen = |graph: &Graph| vec![Rounding::default(); graph.nodes.len()];
    for (seed, (name, layers)) in NETWORKS.iter().enumerate() {
        let engine = |rounding: &dyn Fn(&Graph) -> Vec<Rounding>| {
            rounded_engine::<f64>(layers, SMALL_SIZE, seed as u64, rounding)
        };
        check_gradients(name, engine(&|_| Vec::new()), 24);
        check_gradients(&format!("{name}, frozen"), engine(&frozen), 24);
    }
}

#[test]
fn vectors_and_threads_change_nothing() {
    for (seed, (name, layers)) in NETWORKS.iter().enumerate() {
        compare_threads(name, layers, SMALL_SIZE, seed as u64);
    }
}

#[test]
fn maps_of_many_strips() {
    for (seed, (name, layers)) in LARGE.iter().enumerate() {
        check_gradients(name, sized_engine(layers, LARGE_SIZE, seed as u64), 1);
        compare_threads(name, layers, LARGE_SIZE, seed as u64);
    }
}

/// `f32` is `f64` rounded, and the same bytes on one thread and on three.
fn compare_threads(name: &str, layers: &str, size: [usize; 2], seed: u64) {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| gradients(sized_engine::<f32>(layers, size, seed)))
    };
    let (one, three) = (run(1), run(3));
    assert!(one == three, "{name}: threads");
    let exact = gradients(sized_engine::<f64>(layers, size, seed));
    for (found, expected) in one.iter().zip(&exact) {
        let largest = expected.iter().fold(0.0_f64, |largest, g| largest.max(g.abs()));
        for (&found, &expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() <= 2e-4 * largest + 1e-5,
                "{name}: {found} instead of {expected}"
            );
        }
    }
}

/// Gradients of all parameters after one pass.
fn gradients<T: Scalar>((mut engine, input, factors): (Engine<T>, Vec<f32>, Vec<f32>)) -> Vec<Vec<f64>> {
    engine.forward(&input, 3, &mut |_, x| Some(x.to_vec()));
    engine.seed(engine.graph.nodes.len() - 1, &factors);
    engine.backward();
    engine.parameters().iter().map(|(_, p)| p.gradient.iter().map(|g| g.to_f64()).collect()).collect()
}

/// Without batch norm and dropout, which training does otherwise, forward is the float oracle's meaning of every layer.
#[test]
fn forward_is_the_oracles() {
    for (seed, (name, layers)) in NETWORKS.iter().enumerate() {
        let graph =
            parse(&text(layers, SMALL_SIZE).replace("batch_normalize=1", "").replace("[batchnorm]", ""));
        let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
        let weights = random_weights(&graph, &mut rng);
        let options = EngineOptions { images: IMAGES, ..EngineOptions::default() };
        let mut engine = Engine::<f32>::new(&graph, &weights, &options).unwrap();
        let input: Vec<f32> = (0..graph.input.len() * IMAGES).map(|_| rng.random_range(0.0..1.0)).collect();
        engine.forward(&input, 0, &mut |_, x| Some(x.to_vec()));
        for (image, pixels) in input.chunks_exact(graph.input.len()).enumerate() {
            let outputs = secateur_float::oracle::run(&graph, &weights, pixels);
            for (node, expected) in outputs.iter().enumerate() {
                let found = &engine.output(node)[image * expected.len()..][..expected.len()];
                let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                // Sums of the oracle are in f64, those of the engine in f32.
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * largest;
                assert!(found.iter().zip(expected).all(close), "{name}, layer {node}, image {image}");
            }
        }
    }
}

/// Every weight and output is a multiple of its step, the parameters are those that are trained, and gradients are those
/// of the rounded network, without what was clamped.
#[test]
fn rounded_networks_are_trained_straight_through() {
    let layers = "[convolutional]\nbatch_normalize=1\nfilters=5\nsize=3\npad=1\nactivation=leaky\n\
                  [convolutional]\nfilters=4\nsize=1\nactivation=mish";
    let channels = [6, 5, 4];
    let grid = |step: f32, low: f32| Grid { step, low: low * step, high: (low + 255.0) * step };
    let rounding = |graph: &Graph| {
        let of_layer = |layer: usize| match layer {
            0..3 => Rounding {
                columns: (0..graph.input_shape(layer).c).map(|c| 1.0 + c as f32).collect(),
                block: if layer < 2 { 9 } else { 1 },
                correction: vec![0.125; channels[layer]],
                before: if layer == 2 { vec![grid(1.0 / 64.0, -128.0); 4] } else { Vec::new() },
                output: (0..channels[layer]).map(|c| grid(0.01 * (1.0 + c as f32), -100.0)).collect(),
            },
            _ => Rounding::default(),
        };
        (0..graph.nodes.len()).map(of_layer).collect()
    };
    let (mut engine, input, factors) = rounded_engine::<f64>(layers, SMALL_SIZE, 3, rounding);
    let before = engine.weights();
    let mut rounded = 0;
    for _ in 0..2 {
        engine.forward(&input, 0, &mut |_, x| Some(x.to_vec()));
        for (layer, &channels) in channels.iter().enumerate() {
            let plane = engine.graph().nodes[layer].shape.plane();
            for (i, &y) in engine.output(layer).iter().enumerate() {
                let step = 0.01 * (1.0 + (i / plane % channels) as f32);
                let multiple = y / step;
                assert!(
                    (multiple - multiple.round()).abs() < 1e-3,
                    "{y} of layer {layer} is no multiple of {step}"
                );
                assert!((-101.0..156.0).contains(&multiple), "{y} of layer {layer} is clamped");
                rounded += usize::from(multiple.round() != 0.0);
            }
        }
        engine.seed(engine.graph().nodes.len() - 1, &factors);
        engine.backward();
        assert!(engine.weights() == before, "the weights that are trained are the exact ones");
    }
    assert!(rounded > 1000, "{rounded}");
    // The last layer's bias: the sum of its gradients by the exact pre-activation, but for clamped outputs.
    let last = engine.graph().nodes.len() - 2;
    let shape = engine.graph().nodes[last].shape;
    let mut parameters = engine.parameters().into_iter();
    let bias = parameters.find(|(node, p)| *node == last && p.kind == Kind::Bias).unwrap().1;
    let bias = bias.gradient.clone();
    let exact = engine.layers[last].as_ref().unwrap().rounder.as_ref().unwrap().exact().unwrap();
    for (c, found) in bias.into_iter().enumerate() {
        let row = exact.row(c);
        let expected: f64 = (0..row.raw.len())
            .map(|at| {
                let t = row.normalised(row.raw[at]);
                let (step, y) = (0.01 * (1.0 + c as f64), row.at(at));
                let held =
                    (-100.5 * step..=155.5 * step).contains(&y) && (-128.5..=127.5).contains(&(t * 64.0));
                let (image, pixel) = (at / shape.plane(), at % shape.plane());
                let factor = f64::from(factors[(image * shape.c + c) * shape.plane() + pixel]);
                if held { factor * crate::activation::derivative(row.activation, t) } else { 0.0 }
            })
            .sum();
        assert!((found / 2.0 - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{found} of {expected}");
    }
}
