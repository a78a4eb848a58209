//! The losses against Darknet's own first passes, and against finite differences.

use std::path::{Path, PathBuf};

use secateur_base::BBox;
use secateur_data::{Truth, read_npy};
use secateur_frontend::darknet::{self, Network};
use secateur_ir::training::{CostKind, LayerLoss, Training};
use secateur_ir::{Op, Shape};
use secateur_testing::data_dir;

use super::{Pass, Truths, of_layer};

/// A folder of `darknet-training`.
struct Case {
    folder: PathBuf,
    network: Network,
    training: Training,
}

/// One loss layer in the first pass.
struct Layer {
    output: Vec<f32>,
    delta: Vec<f32>,
    cost: f64,
}

impl Case {
    fn load(folder: &Path) -> Self {
        let weights = folder.join("before.weights");
        let network = darknet::load(&folder.join("model.cfg"), Some(&weights)).unwrap();
        let training = darknet::training(&network.cfg, &network.graph).unwrap();
        Self { folder: folder.to_owned(), network, training }
    }

    fn layer(&self, layer: usize) -> Option<Layer> {
        let read = |name: &str| Some(read_npy(&self.folder.join(format!("{name}.npy"))).ok()?.1);
        let log = std::fs::read_to_string(self.folder.join("log.txt")).unwrap();
        let words: Vec<&str> = log.lines().next().unwrap().split_whitespace().collect();
        let named = words.windows(3).find(|words| words[..2] == ["layer", &layer.to_string()])?;
        let mut delta = read(&format!("delta-{layer}"))?;
        // A loss layer hands on what comes from the next one, added to its own; a cost's scale comes in there.
        if let Some(next) = read(&format!("delta-{}", layer + 1)) {
            let scale = self.cost_scale(layer + 1);
            delta.iter_mut().zip(next).for_each(|(delta, next)| *delta -= scale * next);
        }
        delta.iter_mut().for_each(|delta| *delta *= self.cost_scale(layer));
        Some(Layer { output: read(&format!("output-{layer}"))?, delta, cost: named[2].parse().unwrap() })
    }

    fn cost_scale(&self, layer: usize) -> f32 {
        match &self.training.layers[layer].loss {
            Some(LayerLoss::Cost(cost)) => cost.scale,
            _ => 1.0,
        }
    }

    /// Returns the labels of the first pass.
    fn boxes(&self) -> Vec<Vec<Truth>> {
        let mut images = vec![Vec::new(); self.training.pass()];
        for fields in self.truth_lines() {
            let [image, class, x, y, w, h] = fields[..] else { panic!("{:?}", self.folder) };
            let bbox = BBox { x, y, w, h };
            if let Some(image) = images.get_mut(image as usize) {
                image.push(Truth { class: class as usize, bbox });
            }
        }
        images
    }

    /// Returns one target for each of `values` values of each image.
    fn targets(&self, values: usize) -> Vec<f32> {
        let mut targets = vec![0.0; self.training.pass() * values];
        for fields in self.truth_lines() {
            let at = fields[0] as usize * values + fields[1] as usize;
            if let Some(target) = targets.get_mut(at) {
                *target = 1.0;
            }
        }
        targets
    }

    fn truth_lines(&self) -> Vec<Vec<f32>> {
        let text = std::fs::read_to_string(self.folder.join("truth.txt")).unwrap();
        let fields = |line: &str| line.split_whitespace().map(|field| field.parse().unwrap()).collect();
        text.lines().map(fields).collect()
    }
}

fn logit(p: f32) -> f32 {
    let p = f64::from(p);
    (p / (1.0 - p)).ln() as f32
}

/// Returns the input that gives a head's stored output: the input itself is not stored. Rounded once more, it gives the
/// output to a few units in the last place, far within the data's tolerance.
fn input_of_head(op: &Op, shape: Shape, output: &[f32]) -> Vec<f32> {
    let plane = shape.plane();
    let values = output.iter().enumerate();
    match op {
        Op::Yolo(head) => values
            .map(|(i, &y)| {
                let shift = -0.5 * (head.scale_x_y - 1.0);
                let entry = i / plane % (5 + head.classes);
                let unscaled = if entry < 2 { (y - shift) / head.scale_x_y } else { y };
                if head.new_coords || matches!(entry, 2 | 3) { unscaled } else { logit(unscaled) }
            })
            .collect(),
        Op::Region(head) => {
            let mut x = vec![0.0; output.len()];
            for (i, &y) in values {
                let (image, rest) = (i / shape.len(), i % shape.len());
                x[image * shape.len() + rest % shape.c * plane + rest / shape.c] =
                    match rest % (5 + head.classes) {
                        4 => logit(y),
                        5.. if head.softmax => y.ln(),
                        _ => y,
                    };
            }
            x
        }
        op => panic!("{} is no head", op.name()),
    }
}

/// Returns the input of a cost layer: the stored costs tell how far off a value is, the stored deltas to which side.
fn input_of_cost(kind: CostKind, layer: &Layer, targets: &[f32]) -> Vec<f32> {
    let values = layer.output.iter().zip(&layer.delta).zip(targets);
    values
        .map(|((&cost, &delta), target)| {
            let linear = kind == CostKind::Smooth && cost >= 1.0;
            let off = if linear { cost.midpoint(1.0) } else { cost.sqrt() };
            target - off.copysign(delta)
        })
        .collect()
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let (at, worst) = differences.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let (now, then) = (found[at], expected[at]);
    assert!(worst <= tolerance * largest, "{what}: {now} instead of {then} at {at}, largest {largest}");
}

fn compare(case: &Case, index: usize, expected: &Layer) {
    let node = &case.network.graph.nodes[index];
    let shape = case.network.graph.input_shape(index);
    let loss = of_layer(&node.op, &case.training.layers[index], shape).unwrap();
    let (boxes, targets);
    let (truths, x) = if node.op.is_head() {
        boxes = case.boxes();
        (Truths::Boxes(&boxes), input_of_head(&node.op, shape, &expected.output))
    } else {
        targets = case.targets(shape.len());
        let x = match &case.training.layers[index].loss {
            Some(LayerLoss::Cost(cost)) => input_of_cost(cost.kind, expected, &targets),
            _ => expected.output.iter().map(|p| p.ln()).collect(),
        };
        (Truths::Targets(&targets), x)
    };
    let pass = Pass { input: case.network.graph.input, truths, seen: case.network.header.seen };
    // Old content must not shine through.
    let (mut output, mut delta) = (vec![9.0; x.len()], vec![9.0; x.len()]);
    let cost = loss.forward(&x, &pass, Some(&mut output), &mut delta);
    let what = format!("{:?}, layer {index}", case.folder.file_name().unwrap());
    assert_close(&output, &expected.output, 1e-6, &format!("output of {what}"));
    assert_close(&delta, &expected.delta, 1e-5, &format!("delta of {what}"));
    let off = (cost.total - expected.cost).abs();
    assert!(off <= 1e-5 * expected.cost, "cost of {what}: {} instead of {}", cost.total, expected.cost);
}

#[test]
fn first_passes_of_darknet() {
    let Some(data) = data_dir() else { return };
    let cases = std::fs::read_dir(data.join("darknet-training")).expect("the test data are whole");
    let mut compared = 0;
    for folder in cases.map(|case| case.unwrap().path()).filter(|case| case.is_dir()) {
        let case = Case::load(&folder);
        let losses = (0..case.training.layers.len()).filter(|&i| case.training.layers[i].loss.is_some());
        for index in losses {
            let layer = case.layer(index).expect("output, delta and cost of every loss layer");
            compare(&case, index, &layer);
            compared += 1;
        }
    }
    assert!(compared >= 22, "{compared} loss layers");
}

#[test]
fn every_model_can_be_trained() {
    let Some(data) = data_dir() else { return };
    let mut heads = 0;
    for model in std::fs::read_dir(data.join("models")).unwrap().map(|model| model.unwrap().path()) {
        let files = std::fs::read_dir(&model).unwrap().map(|file| file.unwrap().path());
        for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "cfg")) {
            let network = darknet::load(&path, None).unwrap();
            let training = darknet::training(&network.cfg, &network.graph).unwrap();
            for (index, node) in network.graph.nodes.iter().enumerate() {
                let loss = of_layer(&node.op, &training.layers[index], network.graph.input_shape(index));
                assert_eq!(loss.is_some(), node.op.is_head(), "{path:?}, layer {index}");
                heads += usize::from(loss.is_some());
            }
        }
    }
    assert!(heads >= 10, "{heads} heads");
}
