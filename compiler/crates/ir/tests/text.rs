//! The text form: every graph comes back as it was, every mistake in a text is an error with its place.

use std::path::Path;

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_frontend::darknet::{Cfg, build_graph};
use secateur_ir::{
    Activation, Axis, Conv, Coordinates, Detection, Divisor, Graph, NmsKind, Node, Op, Padding, Pool, Region,
    Resize, ResizeKind, Shape, Shortcut, ShortcutWeights, Slice, Softmax, Source, Transpose, Upsample,
    WeightsNormalization, Yolo, dump, infer, parse, verify,
};
use secateur_testing::{RandomOptions, data_dir, random_network};

fn read(text: &str) -> secateur_base::Result<Graph> {
    parse(Path::new("net.txt"), text)
}

fn comes_back(graph: &Graph) {
    verify(graph).unwrap_or_else(|error| panic!("{error:?}"));
    let text = dump(graph);
    let again = read(&text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    assert_eq!(again.without_origins(), graph.clone().without_origins(), "\n{text}");
}

#[test]
fn random_networks_come_back() {
    for seed in 0..1000 {
        let options =
            RandomOptions { rare: seed % 2 == 0, classifier: seed % 5 == 0, ..RandomOptions::default() };
        comes_back(&random_network(seed, &options).1);
    }
}

/// Every cfg among the test data.
#[test]
fn real_networks_come_back() {
    let Some(data) = data_dir() else { return };
    let mut folders = vec![data];
    let mut networks = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "cfg")
                && let Ok(graph) = Cfg::load(&path).and_then(|cfg| build_graph(&cfg))
            {
                comes_back(&graph);
                networks += 1;
            }
        }
    }
    assert!(networks >= 20, "{networks}");
}

/// An operator that fits an input of `shape`; sometimes one that does not.
fn operator(rng: &mut impl Rng, shape: Shape) -> Op {
    let axes = [Axis::Channels, Axis::Rows, Axis::Columns];
    let mut small = |most: usize| rng.random_range(1..=most);
    let (filters, size) = (small(9), [small(4), small(4)]);
    let stride = [small(3), small(3)];
    let dilation = [small(2), small(2)];
    let numbers = [small(6) - 1, small(6) - 1, small(6) - 1, small(6) - 1];
    let [top, left, bottom, right] = numbers;
    let padding =
        *[Padding::NONE, Padding::all(top), Padding { top, left, bottom, right }].choose(rng).unwrap();
    let activation = *Activation::ALL.choose(rng).unwrap();
    let factor = rng.random_range(-2f32..2.0) * 10f32.powi(rng.random_range(-12..12));
    let flag = rng.random_bool(0.5);
    let axis = *axes.choose(rng).unwrap();
    let groups = *[1, shape.c].choose(rng).unwrap();
    let conv = Conv {
        filters: filters * groups,
        groups,
        kernel: size,
        stride,
        dilation,
        padding,
        batch_norm: flag,
        activation,
    };
    let divisor = if flag { Divisor::Padded } else { Divisor::Inside };
    let pool = Pool { kernel: size, stride, padding, ceil: rng.random(), divisor, depth: None };
    let anchors: Vec<(f32, f32)> = (0..3).map(|_| (factor.abs(), rng.random())).collect();
    let (kind, coordinates) = if flag {
        (ResizeKind::Bilinear, Coordinates::AlignCorners)
    } else {
        (ResizeKind::Nearest, Coordinates::HalfPixel)
    };
    match rng.random_range(0..18) {
        0 => Op::Conv(conv),
        1 => Op::Deconv(conv),
        2 => Op::MaxPool(pool),
        3 => Op::LocalAvgPool(pool),
        4 => Op::MaxPool(Pool { depth: Some(shape.c.div_ceil(2)), ..pool }),
        5 => Op::Resize(Resize { height: top + 1, width: left + 1, kind, coordinates }),
        6 => Op::Slice(Slice { axis, start: top, end: top + left, step: stride[0] }),
        7 => {
            let mut order = axes;
            order.rotate_left(top % 3);
            if flag {
                order.swap(0, 1);
            }
            Op::Transpose(Transpose { order })
        }
        8 => Op::Reshape(Shape::new(shape.w, shape.c, shape.h)),
        9 => Op::Softmax(Softmax { groups, temperature: factor, axis: flag.then_some(axis) }),
        10 => Op::Upsample(Upsample { stride: stride[0], reverse: flag, scale: factor }),
        11 => Op::PRelu,
        12 => Op::Scale,
        13 => Op::BatchNorm(activation),
        14 => Op::Shortcut(Shortcut {
            activation,
            weights: if flag { ShortcutWeights::PerChannel } else { ShortcutWeights::PerFeature },
            normalization: if flag { WeightsNormalization::Softmax } else { WeightsNormalization::Relu },
        }),
        15 => Op::Region(Region {
            classes: shape.c.saturating_sub(5),
            coords: 4,
            anchors: anchors[..1].to_vec(),
            softmax: flag,
            background: !flag,
        }),
        16 => Op::Detection(Detection {
            classes: shape.len().saturating_sub(3 * size[0]),
            coords: 2,
            side: 1,
            num: size[0],
            sqrt: flag,
            softmax: !flag,
        }),
        _ => Op::Yolo(Yolo {
            classes: shape.c.saturating_sub(5),
            mask: vec![2],
            anchors,
            scale_x_y: factor,
            new_coords: flag,
            nms_kind: if flag { NmsKind::Corners } else { NmsKind::Diou },
            beta_nms: factor,
        }),
    }
}

#[test]
fn every_operator_comes_back_with_every_attribute() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();
    for _ in 0..3000 {
        let [c, h, w] = [8, 7, 9].map(|most| rng.random_range(1..=most));
        let input = Shape::new(c, h, w);
        let mut graph = Graph { input, nodes: Vec::new(), letter_box: rng.random() };
        let name = ["conv1", "a \"quoted\\\" name; not a comment", "größer/\n\u{202e}\u{7}", ""];
        while graph.nodes.len() < 4 {
            let source = graph.nodes.len().checked_sub(1).map_or(Source::Image, Source::Layer);
            let op = operator(&mut rng, graph.shape_of(source));
            let inputs = if let Op::Shortcut(_) = op { vec![source, source] } else { vec![source] };
            let shapes: Vec<Shape> = inputs.iter().map(|&source| graph.shape_of(source)).collect();
            let Ok(shape) = infer(&op, &shapes) else { continue };
            *seen.entry(op.name()).or_default() += 1;
            let name = rng.random_bool(0.3).then(|| name.choose(&mut rng).unwrap().to_string());
            graph.nodes.push(Node { name, ..Node::new(op, inputs, shape) });
        }
        comes_back(&graph);
    }
    assert!(seen.len() == 17 && seen.values().all(|&times| times > 50), "{seen:?}");
}

#[test]
fn blanks_comments_and_line_ends_do_not_matter() {
    let text = "; a network\r\n\n  image :[3,8,8]letter_box\r\n\
        v0 \"a;b\" : [ 4 , 8 , 8 ]=convolutional image batch_norm kernel = 1x1 ; the first\n\
        v1: [4, 8, 8] = shortcut v0 ,v0\n";
    let graph = read(text).unwrap();
    assert_eq!(graph.nodes[0].name.as_deref(), Some("a;b"));
    assert!(graph.letter_box);
    assert_eq!((graph.nodes[0].origin.line, graph.nodes[1].origin.line), (Some(4), Some(5)));
    let expected = "image: [3, 8, 8] letter_box\n\
        v0 \"a;b\": [4, 8, 8] = convolutional image batch_norm\n\
        v1: [4, 8, 8] = shortcut v0, v0\n";
    assert_eq!(dump(&graph), expected);
}

#[test]
fn mistakes_have_their_place() {
    let head = "image: [3, 8, 8]\nv0: [4, 8, 8] = convolutional image\n";
    for (line, says) in [
        ("v2: [4, 8, 8] = dropout v0", "net.txt:3:1"),
        ("v1 [4, 8, 8] = dropout v0", "net.txt:3:4"),
        ("v1: [4, 8] = dropout v0", "net.txt:3:5"),
        ("v1: [4, 8, 8] = dropin v0", "unknown operator"),
        ("v1: [4, 8, 8] = maxpool v0 kernel=a", "kernel has no such value"),
        ("v1: [4, 8, 8] = maxpool v0 kernel=99999999999999999999999", "kernel has no such value"),
        ("v1: [4, 8, 8] = maxpool v0 kernels=1", "unknown attribute"),
        ("v1: [4, 8, 8] = maxpool v0 stride=1 stride=1", "twice"),
        ("v1: [4, 8, 8] = maxpool v0 ceil=1", "flag without a value"),
        ("v1: [4, 8, 8] = yolo v0 classes=1", "mask= is missing"),
        ("v1: [4, 8, 8] = upsample v0 scale=inf", "scale has no such value"),
        ("v1: [4, 8, 8] = dropout v1", "is not above it"),
        ("v1: [4, 8, 8] = dropout", "wrong number of inputs"),
        ("v1: [4, 8, 9] = dropout v0", "wrong shape"),
        ("v1: [4, 8, 8] = dropout v0 (", "net.txt:3:28"),
        ("v1 \"a: [4, 8, 8] = dropout v0", "net.txt:3:4"),
        ("v1: [4, 8, 8] = convolutional v0 padding=[1, 2, 3]", "padding has no such value"),
        ("v1: [4, 8, 8] = convolutional v0 dilation=70000", "too large"),
        ("v1: [18446744073709551615, 2, 2] = reshape v0", "too large"),
    ] {
        let error = read(&format!("{head}{line}\n")).expect_err(line);
        let text = format!("{error:?}");
        assert!(text.contains(says) && text.contains("net.txt:3"), "{line}: {text}");
    }
    assert!(read("").unwrap_err().to_string().contains("begins with its image"));
    assert!(read("v0: [1, 1, 1] = dropout image").unwrap_err().to_string().contains("net.txt:1:1"));
    assert!(read("image: [3, 8, 8] big\n").unwrap_err().to_string().contains("unknown attribute"));
    assert!(read("image: [3, 8, 8]\n").unwrap_err().to_string().contains("no layers"));
}

/// Texts with characters changed, taken out and doubled are read or refused, and never more than that.
#[test]
fn damaged_texts_never_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (_, graph, _) = random_network(2, &RandomOptions { rare: true, ..RandomOptions::default() });
    let good: Vec<char> = dump(&graph).chars().collect();
    let letters: Vec<char> = "[]=,:;\"\\x0189v \nä-.".chars().collect();
    for _ in 0..5000 {
        let mut text = good.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..text.len());
            match rng.random_range(0..3) {
                0 => text[at] = *letters.choose(&mut rng).unwrap(),
                1 => drop(text.remove(at)),
                _ => text.insert(at, *letters.choose(&mut rng).unwrap()),
            }
        }
        if let Ok(graph) = read(&text.iter().collect::<String>()) {
            comes_back(&graph);
        }
    }
}
