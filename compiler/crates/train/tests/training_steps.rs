//! Whole steps of training against Darknet's own: every folder of `darknet-training` in the test data.

use std::collections::BTreeMap;
use std::path::Path;

use secateur_base::BBox;
use secateur_data::{Truth, read_npy};
use secateur_frontend::darknet::{self, Network};
use secateur_ir::training::{LayerLoss, Training};
use secateur_ir::{LayerWeights, Weights};
use secateur_testing::data_dir;
use secateur_train::Trainer;
use secateur_train::loss::Truths;

/// What one loss layer was handed back: its output and delta.
type Observed = BTreeMap<usize, (Vec<f32>, Vec<f32>)>;

struct Case {
    name: String,
    network: Network,
    training: Training,
    /// `[image][c][h][w]` of all steps.
    images: Vec<f32>,
    /// Fields of the lines of `truth.txt`.
    truths: Vec<Vec<f32>>,
    /// Words of the lines of `log.txt`.
    log: Vec<Vec<String>>,
    folder: std::path::PathBuf,
}

impl Case {
    fn load(folder: &Path) -> Self {
        let network = darknet::load(&folder.join("model.cfg"), Some(&folder.join("before.weights"))).unwrap();
        let training = darknet::training(&network.cfg, &network.graph).unwrap();
        let bytes = std::fs::read(folder.join("input.npy")).unwrap();
        let pixels = npyz::NpyFile::new(&bytes[..]).unwrap().into_vec::<u8>().unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let numbers = |line: &str| line.split_whitespace().map(|field| field.parse().unwrap()).collect();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            images: pixels.into_iter().map(|byte| f32::from(byte) / 255.0).collect(),
            truths: text("truth.txt").lines().map(numbers).collect(),
            log: text("log.txt").lines().map(words).collect(),
            folder: folder.to_owned(),
            network,
            training,
        }
    }

    /// The number behind a word of a line of the log that begins with `start`.
    fn logged(&self, start: &str, word: &str) -> f64 {
        let start: Vec<&str> = start.split(' ').collect();
        let line = self.log.iter().find(|line| line.iter().zip(&start).all(|(a, b)| a == b)).unwrap();
        let at = line.windows(word.split(' ').count()).position(|words| words.join(" ") == word).unwrap();
        line[at + word.split(' ').count()].parse().unwrap()
    }

    fn weights_after(&self, step: usize) -> Option<Weights> {
        let path = self.folder.join(format!("after-{step}.weights"));
        let bytes = std::fs::read(&path).ok()?;
        Some(darknet::read_weights(&self.network.graph, &path, &bytes).unwrap().1)
    }

    /// Runs pass number `pass` of all.
    fn pass(&self, trainer: &mut Trainer, pass: usize) -> (f64, Observed) {
        let (images, size) = (self.training.pass(), self.network.graph.input.len());
        let input = &self.images[pass * images * size..][..images * size];
        let of_image = |image: usize| self.truths.iter().filter(move |fields| fields[0] as usize == image);
        let of_pass = pass * images..(pass + 1) * images;
        let mut observed = Observed::new();
        let mut observe = |layer: usize, output: &[f32], delta: &[f32]| {
            observed.insert(layer, (output.to_vec(), delta.to_vec()));
        };
        let costs = if self.network.graph.has_heads() {
            let boxes = |image: usize| {
                of_image(image).map(|fields| {
                    let [x, y, w, h] = fields[2..6] else { panic!("{}: a truth has six fields", self.name) };
                    Truth { class: fields[1] as usize, bbox: BBox { x, y, w, h } }
                })
            };
            let boxes: Vec<Vec<Truth>> = of_pass.map(|image| boxes(image).collect()).collect();
            trainer.pass(input, Truths::Boxes(&boxes), Some(&mut observe))
        } else {
            let values = self.network.graph.nodes.last().unwrap().shape.len();
            let mut targets = vec![0.0; images * values];
            for (i, image) in of_pass.enumerate() {
                of_image(image).for_each(|fields| targets[i * values + fields[1] as usize] = 1.0);
            }
            trainer.pass(input, Truths::Targets(&targets), Some(&mut observe))
        };
        let total: f64 = costs.iter().map(|layer| layer.cost.total).sum();
        (total / costs.len() as f64, observed)
    }

    /// The first pass' outputs and deltas of all loss layers.
    fn compare_deltas(&self, observed: &Observed) {
        for (&layer, (output, delta)) in observed {
            let read = |what: &str| read_npy(&self.folder.join(format!("{what}-{layer}.npy"))).unwrap().1;
            let scale = |layer: usize| match &self.training.layers[layer].loss {
                Some(LayerLoss::Cost(cost)) => cost.scale,
                _ => 1.0,
            };
            let mut expected = read("delta");
            expected.iter_mut().for_each(|delta| *delta *= scale(layer));
            let mut found = delta.clone();
            // A loss layer hands on what comes from the next one, added to its own.
            if let Some((_, next)) = observed.get(&(layer + 1)) {
                found.iter_mut().zip(next).for_each(|(delta, next)| *delta += next);
            }
            let what = format!("{}, layer {layer}", self.name);
            close(output, &read("output"), 1e-5, 0.0, &format!("output of {what}"));
            close(&found, &expected, 1e-5, 0.0, &format!("delta of {what}"));
        }
    }

    /// What every tensor changed by, since `before.weights`: the same but for `share` of its largest change and four
    /// units in the last place of its values.
    fn compare_weights(&self, found: &Weights, expected: &Weights, share: f32, step: usize) {
        let before = self.network.weights().unwrap();
        for (i, layer) in before.layers.iter().enumerate() {
            let tensors = [layer, &found.layers[i], &expected.layers[i]].map(tensors);
            for (name, values) in &tensors[0] {
                let [before, found, expected] = [values, &tensors[1][name], &tensors[2][name]];
                let change =
                    |after: &[f32]| -> Vec<f32> { after.iter().zip(before).map(|(a, b)| a - b).collect() };
                let largest = before.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                let what = format!("{}, step {step}, layer {i}: {name}", self.name);
                close(&change(found), &change(expected), share, 4.0 * f32::EPSILON * largest, &what);
            }
        }
    }

    fn run(&self) {
        let weights = self.network.weights().unwrap();
        let seen = self.network.header.seen;
        let mut trainer = Trainer::new(&self.network.graph, weights, &self.training, seen, 0).unwrap();
        let steps = (1..).take_while(|&step| self.weights_after(step).is_some()).count();
        assert!(steps > 0, "{} has steps", self.name);
        for step in 0..steps {
            for part in 0..self.training.subdivisions {
                let (cost, observed) = self.pass(&mut trainer, step * self.training.subdivisions + part);
                let expected = self.logged(&format!("step {step} subdivision {part}"), "cost");
                // Later steps differ as the weights do.
                let share = if step == 0 { 1e-5 } else { 2e-2 };
                assert!(
                    (cost - expected).abs() <= share * expected,
                    "cost of {}, step {step}, pass {part}: {cost} instead of {expected}",
                    self.name
                );
                if (step, part) == (0, 0) {
                    self.compare_deltas(&observed);
                }
            }
            let (rate, _) = trainer.update();
            let expected = self.logged(&format!("step {step} rate"), "rate");
            assert!((f64::from(rate) - expected).abs() <= 1e-6 * expected, "{}: rate {rate}", self.name);
            if step == 0 || step + 1 == steps {
                let share = if step == 0 { 2e-3 } else { 2e-2 };
                self.compare_weights(
                    &trainer.weights(),
                    &self.weights_after(step + 1).unwrap(),
                    share,
                    step + 1,
                );
            }
        }
    }
}

fn tensors(layer: &LayerWeights) -> BTreeMap<&'static str, Vec<f32>> {
    let mut tensors = BTreeMap::from([("weights", layer.weights.clone()), ("bias", layer.bias.clone())]);
    if let Some(norm) = &layer.batch_norm {
        tensors.insert("scale", norm.scale.clone());
        tensors.insert("mean", norm.mean.clone());
        tensors.insert("variance", norm.variance.clone());
    }
    tensors
}

fn close(found: &[f32], expected: &[f32], share: f32, plus: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference <= share * largest + plus,
            "{what}: {found} instead of {expected} at {i}, largest {largest}"
        );
    }
}

#[test]
fn training_steps() {
    let Some(data) = data_dir() else { return };
    let folders = std::fs::read_dir(data.join("darknet-training")).expect("the test data are whole");
    let mut folders: Vec<_> =
        folders.map(|folder| folder.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    let mut failed = Vec::new();
    for folder in &folders {
        let run = std::panic::catch_unwind(|| Case::load(folder).run());
        if run.is_err() {
            failed.push(folder.file_name().unwrap());
        }
    }
    assert!(failed.is_empty(), "{} of {} cases fail: {failed:?}", failed.len(), folders.len());
    assert!(!folders.is_empty());
}
