//! Darknet's own figures, reproduced.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    Detection, Detector, FloatDetector, Heads, MAP_THRESH, MapOptions, NMS_THRESH, Place, bootstrap_map,
    decode, detect_all, mean_ap,
};
use secateur_base::BBox;
use secateur_data::{Dataset, Fit, Frame, Sample, Truth, read_npy};
use secateur_float::oracle;
use secateur_frontend::darknet;
use secateur_testing::data_dir;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn coco_val(data: &Path) -> Dataset {
    Dataset::from_list(&data.join("coco128/val2017.txt"), &data.join("coco128/names")).unwrap()
}

/// The detections that Darknet made, in its order.
fn darknet_detections(data: &Path, dataset: &Dataset) -> Vec<Vec<Detection>> {
    let file =
        std::fs::File::open(data.join("golden/yolo-fastest-1.1/val2017_detections_0.005.txt.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let images: HashMap<_, _> = dataset
        .images
        .iter()
        .enumerate()
        .map(|(index, path)| (path.file_name().unwrap().to_str().unwrap(), index))
        .collect();
    let mut detections = vec![Vec::new(); dataset.len()];
    for line in text.lines() {
        let (image, numbers) = line.split_once(' ').unwrap();
        let numbers: Vec<f32> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        let [class, prob, x, y, w, h] = numbers[..] else { panic!("six numbers: {line}") };
        detections[images[image]].push(Detection {
            class: class as usize,
            prob,
            objectness: prob,
            bbox: BBox { x, y, w, h },
            place: Place { head: 0, anchor: 0, cell: 0 },
        });
    }
    detections
}

#[test]
fn map_of_darknets_detections_is_darknets() {
    let Some(data) = data_dir() else { return };
    let dataset = coco_val(&data);
    let detections = darknet_detections(&data, &dataset);
    let golden = json(&data.join("golden/map.json"));
    for (key, options) in [
        ("yolo-fastest-1.1", MapOptions::default()),
        ("yolo-fastest-1.1.points101", MapOptions { points: 101, ..MapOptions::default() }),
        ("yolo-fastest-1.1.iou75", MapOptions { iou_thresh: 0.75, ..MapOptions::default() }),
    ] {
        let golden = &golden["models"][key];
        let result = mean_ap(&detections, &dataset.labels, 80, options);
        assert_eq!(format!("{:.6}", result.map), format!("{:.6}", golden["mAP"].as_f64().unwrap()), "{key}");
        assert_eq!(result.detections as u64, golden["detections_count"].as_u64().unwrap());
        assert_eq!(result.truths as u64, golden["truth_count"].as_u64().unwrap());
        let counts = &golden["at_conf_0.25"];
        assert_eq!(result.true_positives as u64, counts["TP"].as_u64().unwrap(), "{key}");
        assert_eq!(result.false_positives as u64, counts["FP"].as_u64().unwrap(), "{key}");
        assert_eq!(result.false_negatives as u64, counts["FN"].as_u64().unwrap(), "{key}");
        let iou = counts["avg_iou_percent"].as_f64().unwrap();
        assert!(
            (f64::from(result.mean_iou) * 100.0 - iou).abs() < 0.0051,
            "{key}: {} and {iou}",
            result.mean_iou
        );
        for (class, golden) in golden["ap_percent_per_class"].as_array().unwrap().iter().enumerate() {
            let (ours, golden) = (result.classes[class].ap * 100.0, golden.as_f64().unwrap());
            assert!((ours - golden).abs() < 0.0051, "{key}, class {class}: {ours} and {golden}");
        }
    }
}

#[test]
fn interval_of_the_map_holds_it() {
    let Some(data) = data_dir() else { return };
    let dataset = coco_val(&data);
    let detections = darknet_detections(&data, &dataset);
    let interval = bootstrap_map(&detections, &dataset.labels, 80, MapOptions::default(), 1);
    let middle = (interval.low + interval.high) / 2.0;
    assert!((middle - 0.3288).abs() < 0.01, "{interval:?}");
    assert!((0.02..0.04).contains(&interval.deviation), "{interval:?}");
}

/// `(golden folder, model folder)` of all sets.
fn golden_sets(data: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut sets: Vec<(PathBuf, PathBuf)> = std::fs::read_dir(data.join("golden"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let model = data.join("models").join(name.split('@').next().unwrap());
            (path, model)
        })
        .collect();
    sets.sort();
    assert_eq!(sets.len(), 12);
    sets
}

/// Compares with detections.json at both of its thresholds: the same objects, values within
/// `tolerance`; at .005 objects that close to a threshold may come or go.
fn assert_detections(folder: &Path, heads: &Heads, outputs: &[Vec<f32>], tolerance: f32) {
    let golden = json(&folder.join("detections.json"));
    let near = |a: f32, b: f32| (a - b).abs() <= tolerance * b.abs().max(1.0);
    for set in golden["sets"].as_array().unwrap() {
        let thresh = set["thresh"].as_f64().unwrap() as f32;
        let found = decode(heads, outputs, Frame::stretched(heads.input), thresh, NMS_THRESH);
        let mut left: Vec<&Detection> = found.iter().collect();
        let mut missing = 0;
        for expected in set["detections"].as_array().unwrap() {
            let value = |key: &str| expected[key].as_f64().unwrap() as f32;
            let class = expected["class"].as_u64().unwrap() as usize;
            let same = left.iter().position(|d| {
                d.class == class
                    && near(d.prob, value("prob"))
                    && near(d.objectness, value("objectness"))
                    && near(d.bbox.x, value("cx"))
                    && near(d.bbox.y, value("cy"))
                    && near(d.bbox.w, value("w"))
                    && near(d.bbox.h, value("h"))
            });
            match same {
                Some(index) => drop(left.swap_remove(index)),
                None => missing += 1,
            }
        }
        let strangers = missing + left.len();
        let allowed = if thresh < 0.1 { found.len() / 100 } else { 0 };
        assert!(
            strangers <= allowed,
            "{} at {thresh}: {strangers} of {} differ",
            folder.display(),
            found.len()
        );
    }
}

#[test]
fn decoding_darknets_heads_yields_its_detections() {
    let Some(data) = data_dir() else { return };
    for (folder, model) in golden_sets(&data) {
        let network = darknet::load(&model.join("model.cfg"), None).unwrap();
        let heads = Heads::of(&network.graph).unwrap();
        let outputs: Vec<Vec<f32>> = heads
            .heads
            .iter()
            .map(|head| read_npy(&folder.join(format!("yolo_{}_out.npy", head.layer))).unwrap().1)
            .collect();
        assert_detections(&folder, &heads, &outputs, 1e-6);
    }
}

#[test]
fn the_oracle_finds_what_darknet_finds() {
    let Some(data) = data_dir() else { return };
    for (folder, model) in golden_sets(&data) {
        let network = darknet::load(&model.join("model.cfg"), Some(&model.join("model.weights"))).unwrap();
        let (_, input) = read_npy(&folder.join("input.npy")).unwrap();
        let layers = oracle::run(&network.graph, network.weights().unwrap(), &input);
        let heads = Heads::of(&network.graph).unwrap();
        let outputs: Vec<Vec<f32>> = heads.heads.iter().map(|head| layers[head.layer].clone()).collect();
        assert_detections(&folder, &heads, &outputs, 2e-4);
    }
}

/// Darknet's mAP of whole models, from the JPEG files.
#[test]
fn models_have_darknets_map() {
    let Some(data) = data_dir() else { return };
    let golden = json(&data.join("golden/map.json"));
    let coco = coco_val(&data);
    let voc = Dataset { labels: voc_labels(&data, &coco), ..coco.clone() };
    for (model, dataset) in [
        ("yolo-fastest-1.1", &coco),
        ("yolo-fastest-1.1-xl", &coco),
        ("mobilenetv2-yolov3-nano-coco", &coco),
        ("mobilenetv2-yolo-fastest-voc-v1", &voc),
    ] {
        let golden = &golden["models"][model];
        let folder = data.join("models").join(model);
        let network = darknet::load(&folder.join("model.cfg"), Some(&folder.join("model.weights"))).unwrap();
        let detector = FloatDetector::new(&network.graph, network.weights().unwrap()).unwrap();
        let found = detect_all(&detector, dataset, MAP_THRESH, NMS_THRESH).unwrap();
        let result = mean_ap(&found, &dataset.labels, detector.classes(), MapOptions::default());
        // Another order of summation may carry a single detection over a threshold.
        let expected = golden["mAP"].as_f64().unwrap();
        assert!((result.map - expected).abs() < 5e-5, "{model}: {} and {expected}", result.map);
        let detections = golden["detections_count"].as_u64().unwrap();
        assert!((result.detections as u64).abs_diff(detections) <= 2, "{model}: {}", result.detections);
        assert_eq!(result.truths as u64, golden["truth_count"].as_u64().unwrap());
    }
}

/// Our JPEG decoder and resize yield the very input that Darknet had.
#[test]
fn inputs_are_darknets_to_the_bit() {
    let Some(data) = data_dir() else { return };
    for (folder, model) in golden_sets(&data) {
        let network = darknet::load(&model.join("model.cfg"), None).unwrap();
        let image = std::fs::read_to_string(folder.join("IMAGE")).unwrap();
        let path = data.join("images").join(image.trim());
        let sample = Sample::load(&path, network.graph.input, Fit::Stretch).unwrap();
        let (_, input) = read_npy(&folder.join("input.npy")).unwrap();
        assert!(sample.input == input, "{}", folder.display());
    }
}

/// Labels in VOC's classes; objects of other classes fall away.
fn voc_labels(data: &Path, coco: &Dataset) -> Vec<Vec<Truth>> {
    let text = std::fs::read_to_string(data.join("coco128/coco80_to_voc20.txt")).unwrap();
    let map: HashMap<usize, usize> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(coco, voc)| (coco.parse().unwrap(), voc.trim().parse().unwrap()))
        .collect();
    let remap = |truth: &Truth| map.get(&truth.class).map(|&class| Truth { class, ..*truth });
    coco.labels.iter().map(|truths| truths.iter().filter_map(remap).collect()).collect()
}
