//! Verbs from their arguments to their files, on a small detector.

use std::path::{Path, PathBuf};

use clap::Parser;
use image::{Rgb, RgbImage};

use secateur_base::Result;
use secateur_data::{Fit, Sample};
use secateur_eval::Detector;
use secateur_frontend::darknet;
use secateur_ir::{Weights, stat};
use secateur_quant::net::Provenance;
use secateur_quant::{QDetector, QuantiseOptions, quantise, roundings};
use secateur_testing::random_weights;
use secateur_train::engine::{Engine, EngineOptions};

use super::Cli;

const NET: &str = "[net]\nwidth=32\nheight=32\nchannels=3\n\
    [convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky\n\
    [convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=leaky\n\
    [shortcut]\nfrom=-2\nactivation=linear\n\
    [convolutional]\nbatch_normalize=1\nfilters=16\nsize=1\nstride=1\nactivation=leaky\n\
    [convolutional]\nbatch_normalize=1\nfilters=16\ngroups=16\nsize=3\nstride=2\npad=1\nactivation=leaky\n\
    [convolutional]\nfilters=18\nsize=1\nstride=1\nactivation=linear\n\
    [yolo]\nmask=0,1,2\nanchors=8,8,16,16,24,24\nclasses=1\nnum=3\n";

/// A folder with `net.cfg`, `net.weights`, `names`, `list.txt` and twelve images.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::write(folder.at("net.cfg"), NET).unwrap();
        let graph = darknet::load(&folder.at("net.cfg"), None).unwrap().graph;
        let bytes = darknet::write_weights(&graph, Default::default(), &random_weights(1, &graph));
        std::fs::write(folder.at("net.weights"), bytes).unwrap();
        std::fs::write(folder.at("names"), "thing\n").unwrap();
        let mut list = String::new();
        for number in 0..12_u32 {
            let path = folder.at(&format!("{number}.png"));
            let pixel =
                |x: u32, y: u32| Rgb([(x * 7) as u8, (y * 8) as u8, (number * 20 + x * y % 16) as u8]);
            RgbImage::from_fn(32, 32, pixel).save(&path).unwrap();
            list += &format!("{}\n", path.display());
        }
        std::fs::write(folder.at("list.txt"), list).unwrap();
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Labels every image with one box.
    fn label(&self) {
        for number in 0..12 {
            let line = format!("0 0.{}5 0.5 0.4 0.6\n", 3 + number % 4);
            std::fs::write(self.at(&format!("{number}.txt")), line).unwrap();
        }
    }

    /// Runs a command; words that begin with `@` are files of the folder.
    fn run(&self, command: &str) -> Result<()> {
        let words = command.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.at(name).display().to_string(),
            None => word.to_owned(),
        });
        let cli = Cli::try_parse_from(std::iter::once("secateur".to_owned()).chain(words)).unwrap();
        cli.command.run(&cli.global)
    }

    fn macs(&self, cfg: &str) -> u64 {
        let graph = darknet::load(&self.at(cfg), None).unwrap().graph;
        stat(&graph).iter().map(|cost| cost.macs).sum()
    }

    fn weights(&self, cfg: &str, weights: &str) -> Weights {
        darknet::load(&self.at(cfg), Some(&self.at(weights))).unwrap().weights.unwrap()
    }
}

const PRUNE: &str = "prune @net.cfg @net.weights --list @list.txt --train @list.txt --names @names \
                     --criterion taylor --macs 1.5x -o @weights.prune";

#[test]
fn a_network_is_pruned_by_gradients_and_recalibrated() {
    let folder = Folder::new();
    folder.label();
    folder.run(PRUNE).unwrap();
    folder
        .run("transform @net.cfg @weights.prune --masks @weights.mask --out-cfg @cut.cfg --out-weights @cut.weights")
        .unwrap();
    let left = folder.macs("cut.cfg") as f64 / folder.macs("net.cfg") as f64;
    assert!((0.55..0.8).contains(&left), "{left}");

    let recalibrate = "recalibrate @cut.cfg @cut.weights --list @list.txt --batch 4 -o";
    folder.run(&format!("{recalibrate} @healed.weights")).unwrap();
    let (cut, mut healed) =
        (folder.weights("cut.cfg", "cut.weights"), folder.weights("cut.cfg", "healed.weights"));
    assert!(cut != healed);
    for (healed, cut) in healed.layers.iter_mut().zip(&cut.layers) {
        if let (Some(healed), Some(cut)) = (&mut healed.batch_norm, &cut.batch_norm) {
            assert!(healed.mean != cut.mean && healed.variance != cut.variance);
            (healed.mean, healed.variance) = (cut.mean.clone(), cut.variance.clone());
        }
    }
    assert!(cut == healed, "statistics alone change");

    for input in ["@cut.weights", "@list.txt", "@3.png"] {
        let before = std::fs::read(folder.at(&input[1..])).unwrap();
        assert!(folder.run(&format!("{recalibrate} {input}")).is_err(), "{input} is an input");
        assert!(std::fs::read(folder.at(&input[1..])).unwrap() == before);
    }
}

#[test]
fn gradients_need_labels_and_whole_channels() {
    let folder = Folder::new();
    let error = folder.run(PRUNE).unwrap_err().to_string();
    assert!(error.contains("no image of the list has a label file"), "{error}");
    assert!(!Path::new(&folder.at("weights.prune")).exists());
    for number in 0..12 {
        std::fs::write(folder.at(&format!("{number}.txt")), "").unwrap();
    }
    let error = folder.run(PRUNE).unwrap_err().to_string();
    assert!(error.contains("needs labelled objects"), "{error}");
    folder.label();
    let error = folder.run(&format!("{PRUNE} --granularity vector:4")).unwrap_err().to_string();
    assert!(error.contains("no units of this granularity"), "{error}");
}

/// Sensitivities depend on the labels by their ranking, so that other labels measure anew.
#[test]
fn sensitivities_by_gradients_resume_with_their_labels() {
    let folder = Folder::new();
    folder.label();
    let ana = "ana @net.cfg @net.weights --list @list.txt --names @names --criterion taylor \
               --metric agree --threshold 0.5 -o @ana.json";
    let setting = || -> serde_json::Value {
        folder.run(ana).unwrap();
        serde_json::from_slice::<serde_json::Value>(&std::fs::read(folder.at("ana.json")).unwrap()).unwrap()["setting"]
            .clone()
    };
    let first = setting();
    assert_eq!(first, setting());
    std::fs::write(folder.at("3.txt"), "0 0.2 0.2 0.3 0.3\n").unwrap();
    assert_ne!(first, setting());
}

#[test]
fn factors_of_the_macs_are_checked() {
    let parse = |factor: &str| {
        Cli::try_parse_from(["secateur", "prune", "a.cfg", "a.weights", "--macs", factor]).is_ok()
    };
    for factor in ["3x", "1x", "2.5x"] {
        assert!(parse(factor), "{factor}");
    }
    for factor in ["3", "0.5x", "x", "infx", "NaNx", "-2x"] {
        assert!(!parse(factor), "{factor}");
    }
}

/// What training through quantisation computes forward is what the integers compute, but for the last bit of a step and
/// the finer roundings that it leaves out.
#[test]
fn rounded_training_computes_what_the_integers_do() {
    let (mut stray, mut all) = (0, 0);
    for seed in 0..4 {
        let folder = Folder::new();
        let graph = darknet::load(&folder.at("net.cfg"), None).unwrap().graph;
        let weights = random_weights(seed, &graph);
        let images: Vec<Vec<f32>> = (0..12)
            .map(|i| Sample::load(&folder.at(&format!("{i}.png")), graph.input, Fit::Stretch).unwrap().input)
            .collect();
        let options = QuantiseOptions::default();
        let int8 = quantise(&graph, &weights, &images, &options, Vec::new(), Provenance::default()).unwrap();
        let network = QDetector::new(&int8.net, &graph).unwrap();
        let rounding = roundings(&graph, &weights, &images, &options).unwrap();
        let step = rounding[5].output[0].step;
        let engine_options = EngineOptions { images: 1, rounding, ..EngineOptions::default() };
        let mut engine = Engine::<f32>::new(&graph, &weights, &engine_options).unwrap();
        for image in &images {
            engine.forward(image, 0, &mut |_, x| Some(x.to_vec()));
            let (found, expected) = (engine.output(5), network.head_inputs(image).remove(0));
            assert!(found.iter().any(|x| x.abs() > 10.0 * step), "there is something to compare");
            for (found, expected) in found.iter().zip(&expected) {
                let steps = ((found - expected) / step).round().abs();
                assert!(steps <= 4.0, "{found} and {expected}, in steps of {step}");
                stray += usize::from(steps > 1.0);
                all += 1;
            }
        }
    }
    assert!(stray * 50 < all, "{stray} of {all} numbers are off by more than a step");
}
