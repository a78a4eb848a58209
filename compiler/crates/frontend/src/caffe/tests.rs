//! Mistakes that users make, and what only a net of several layers shows.

use std::path::Path;

use secateur_base::Result;

use super::net::{Net, Phase, State};
use super::weights::Weights;
use super::{Imported, Options, import};
use crate::text_format::Document;
use crate::wire::Encoder;

const INPUT: &str = "input: 'data' input_shape { dim: 1 dim: 2 dim: 4 dim: 4 }\n";

fn read(layers: &str, weights: Option<&Weights>) -> Result<Imported> {
    let text = format!("{INPUT}{layers}").into_bytes();
    let document = Document::parse(Path::new("net.prototxt"), text)?;
    import(&Net::read(&document, &State::default())?, weights, &Options::default())
}

fn message(layers: &str, weights: Option<&Weights>) -> String {
    format!("{:?}", read(layers, weights).unwrap_err())
}

/// A caffemodel of layers with blobs.
fn weights(layers: &[(&str, &[&[f32]])]) -> Weights {
    let mut net = Encoder::default();
    for (name, blobs) in layers {
        let mut layer = Encoder::default().bytes(1, name.as_bytes());
        for blob in *blobs {
            layer = layer.bytes(7, &Encoder::default().floats(5, blob).bytes);
        }
        net = net.bytes(100, &layer.bytes);
    }
    Weights::parse(Path::new("net.caffemodel"), &net.bytes).unwrap()
}

#[test]
fn mistakes_say_where_and_what_to_do() {
    let conv = "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c'\n\
        convolution_param { num_output: 3 kernel_size: 1 } }";
    for (found, words) in [
        (message(conv, None), ["net.prototxt:2", "caffemodel"]),
        (message(conv, Some(&weights(&[("other", &[&[1.0]])]))), ["net.caffemodel", "other"]),
        (message(conv, Some(&weights(&[("c", &[&[1.0; 5]])]))), ["net.prototxt:2", "6 values"]),
        (message(conv, Some(&weights(&[("c", &[&[1.0; 6]])]))), ["too few blobs", "[c]"]),
        (message("layer { name: 'x' type: 'Python' bottom: 'data' top: 'x' }", None), ["Python", "not read"]),
        (
            message("layer { name: 'x' type: 'ReLU' bottom: 'typo' top: 'x' }", None),
            ["typo", "net.prototxt:2"],
        ),
        (message("layer { name: 'x' bottom: 'data' top: 'x' }", None), ["no type", "net.prototxt:2"]),
        (message("layers { name: 'x' type: MAGIC bottom: 'data' top: 'x' }", None), ["MAGIC", "CONVOLUTION"]),
        (
            message(
                "layer { name: 'p' type: 'Pooling' bottom: 'data' top: 'p' pooling_param { kernel_size: 9 } }",
                None,
            ),
            ["kernel_size", "padded map"],
        ),
        (message("layer { name: 'x' type: 'Input' top: 'x' }", None), ["not known", "--input-shape"]),
    ] {
        for word in words {
            assert!(found.contains(word), "{found}\nlacks {word}");
        }
    }
}

#[test]
fn in_place_layers_see_the_last_writer() {
    let net = "layer { name: 'a' type: 'Power' bottom: 'data' top: 'a' power_param { shift: 1 } }\n\
        layer { name: 'b' type: 'Power' bottom: 'a' top: 'b' power_param { scale: 10 } }\n\
        layer { name: 'c' type: 'Power' bottom: 'a' top: 'a' power_param { scale: 3 } }\n\
        layer { name: 'd' type: 'Eltwise' bottom: 'a' bottom: 'b' top: 'd' }";
    let imported = read(net, None).unwrap();
    assert_eq!(imported.graph.outputs[0].0, "d");
    assert_eq!(output(&imported, 1.0), [26.0; 32]);
}

#[test]
fn statistics_are_stored_whatever_the_net_says() {
    let net = "layer { name: 'b' type: 'BatchNorm' bottom: 'data' top: 'b'\n\
        batch_norm_param { use_global_stats: false eps: 0 } }";
    // BVLC's three blobs with a factor; NVIDIA's and Xilinx's five.
    let bvlc = weights(&[("b", &[&[2.0, 2.0], &[8.0, 8.0], &[2.0]])]);
    let nvidia = weights(&[("b", &[&[1.0, 1.0], &[4.0, 4.0], &[1.0], &[3.0, 3.0], &[5.0, 5.0]])]);
    let xilinx = weights(&[("b", &[&[3.0, 3.0], &[5.0, 5.0], &[1.0, 1.0], &[4.0, 4.0], &[0.0]])]);
    for (weights, expected) in [(bvlc, 2.0), (nvidia, 11.0), (xilinx, 11.0)] {
        let imported = read(net, Some(&weights)).unwrap();
        assert!(imported.warnings[0].contains("use_global_stats"), "{:?}", imported.warnings);
        assert_eq!(output(&imported, 5.0), [expected; 32]);
    }
}

#[test]
fn rules_choose_layers_by_phase_level_and_stage() {
    let text = b"layer { name: 'a' type: 'ReLU' include { phase: TRAIN } }
        layer { name: 'b' type: 'ReLU' include { phase: TEST min_level: 2 } include { stage: 's' } }
        layer { name: 'c' type: 'ReLU' exclude { phase: TEST not_stage: 's' } }
        layer { name: 'd' type: 'ReLU' }";
    let document = Document::parse(Path::new("net.prototxt"), text.to_vec()).unwrap();
    let names = |state: &State| -> Vec<String> {
        Net::read(&document, state).unwrap().layers.into_iter().map(|layer| layer.name).collect()
    };
    let test = State::default();
    assert_eq!(names(&test), ["d"]);
    assert_eq!(names(&State { level: 2, ..test.clone() }), ["b", "d"]);
    assert_eq!(names(&State { stages: vec!["s".to_owned()], ..test.clone() }), ["b", "c", "d"]);
    assert_eq!(names(&State { phase: Phase::Train, ..test }), ["a", "c", "d"]);
}

#[test]
fn losses_and_their_labels_are_left_out() {
    let net = "layer { name: 'l' type: 'Data' top: 'label' }\n\
        layer { name: 'r' type: 'ReLU' bottom: 'data' top: 'r' }\n\
        layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'r' bottom: 'label' top: 'loss' }";
    let imported = read(net, None).unwrap();
    assert_eq!(imported.graph.outputs[0].0, "r");
    assert_eq!(imported.warnings.len(), 2);
}

/// The only output for an input of one value everywhere.
fn output(imported: &Imported, value: f32) -> Vec<f32> {
    let graph = &imported.graph;
    let spec = graph.spec(graph.inputs[0]);
    let input = secateur_tensor::Tensor::f32(spec.shape.clone(), vec![value; spec.len()]).unwrap();
    let [output] = &secateur_tensor::evaluate(graph, &[input], &mut |_, _| ()).unwrap()[..] else {
        panic!("one output")
    };
    output.to_f32()
}

#[test]
fn padding_of_one_axis_drops_windows_behind_the_map_of_both() {
    // Columns: (4 − 1) / 2 rounded up + 1 = 3, and the last window begins at 4, behind the map.
    for pool in ["MAX", "AVE"] {
        let net = format!(
            "layer {{ name: 'p' type: 'Pooling' bottom: 'data' top: 'p' pooling_param {{ pool: {pool} \
             kernel_h: 2 kernel_w: 1 stride_h: 3 stride_w: 2 pad_h: 1 pad_w: 0 }} }}"
        );
        let net = read(&net, None).unwrap();
        let values = output(&net, 1.0);
        assert_eq!(net.graph.spec(net.graph.outputs[0].1).shape, [1, 2, 2, 2], "{pool}");
        assert!(values.iter().all(|value| value.is_finite()), "{pool}: {values:?}");
    }
}

#[test]
fn nothing_reads_detections() {
    let net = "layer { name: 'map' type: 'Slice' bottom: 'data' top: 'map' top: 'other' slice_param { axis: 1 } }
        layer { name: 'pb' type: 'PriorBox' bottom: 'map' bottom: 'data' top: 'pb' prior_box_param { min_size: 1 } }
        layer { name: 'both' type: 'Concat' bottom: 'data' bottom: 'data' top: 'both' }
        layer { name: 'loc' type: 'Flatten' bottom: 'both' top: 'loc' }
        layer { name: 'conf' type: 'Flatten' bottom: 'data' top: 'conf' }
        layer { name: 'det' type: 'DetectionOutput' bottom: 'loc' bottom: 'conf' bottom: 'pb' top: 'det' \
        detection_output_param { num_classes: 2 } }";
    read(net, None).unwrap();
    let reader = "layer { name: 'cat' type: 'Concat' bottom: 'det' bottom: 'det' top: 'cat' }";
    let text = message(&format!("{net}\n{reader}"), None);
    assert!(text.contains("cat") && text.contains("reads detections"), "{text}");
}
