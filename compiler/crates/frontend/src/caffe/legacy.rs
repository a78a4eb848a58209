//! The older forms of a layer: V1 names types by an enum, V0 also keeps the parameters of all layers in one message
//! and pads by layers of their own.
//!
//! Source: Caffe, src/caffe/util/upgrade_proto.cpp (`UpgradeV0Net`, `UpgradeV0PaddingLayers`, `UpgradeV1LayerType`).

use secateur_base::Result;

use crate::text_format::View;

use super::net::Layer;

/// V1's enum by name and number, V0's string, and today's type; `""` where a form does not have it.
const TYPES: &[(&str, i64, &str, &str)] = &[
    ("ABSVAL", 35, "", "AbsVal"),
    ("ACCURACY", 1, "accuracy", "Accuracy"),
    ("ARGMAX", 30, "", "ArgMax"),
    ("BNLL", 2, "bnll", "BNLL"),
    ("CONCAT", 3, "concat", "Concat"),
    ("CONTRASTIVE_LOSS", 37, "", "ContrastiveLoss"),
    ("CONVOLUTION", 4, "conv", "Convolution"),
    ("DATA", 5, "data", "Data"),
    ("DECONVOLUTION", 39, "", "Deconvolution"),
    ("DROPOUT", 6, "dropout", "Dropout"),
    ("DUMMY_DATA", 32, "", "DummyData"),
    ("ELTWISE", 25, "", "Eltwise"),
    ("EUCLIDEAN_LOSS", 7, "euclidean_loss", "EuclideanLoss"),
    ("EXP", 38, "", "Exp"),
    ("FLATTEN", 8, "flatten", "Flatten"),
    ("HDF5_DATA", 9, "hdf5_data", "HDF5Data"),
    ("HDF5_OUTPUT", 10, "hdf5_output", "HDF5Output"),
    ("HINGE_LOSS", 28, "", "HingeLoss"),
    ("IM2COL", 11, "im2col", "Im2col"),
    ("IMAGE_DATA", 12, "images", "ImageData"),
    ("INFOGAIN_LOSS", 13, "infogain_loss", "InfogainLoss"),
    ("INNER_PRODUCT", 14, "innerproduct", "InnerProduct"),
    ("LRN", 15, "lrn", "LRN"),
    ("MEMORY_DATA", 29, "", "MemoryData"),
    ("MULTINOMIAL_LOGISTIC_LOSS", 16, "multinomial_logistic_loss", "MultinomialLogisticLoss"),
    ("MVN", 34, "", "MVN"),
    ("POOLING", 17, "pool", "Pooling"),
    ("POWER", 26, "", "Power"),
    ("RELU", 18, "relu", "ReLU"),
    ("SIGMOID", 19, "sigmoid", "Sigmoid"),
    ("SIGMOID_CROSS_ENTROPY_LOSS", 27, "", "SigmoidCrossEntropyLoss"),
    ("SILENCE", 36, "", "Silence"),
    ("SLICE", 33, "", "Slice"),
    ("SOFTMAX", 20, "softmax", "Softmax"),
    ("SOFTMAX_LOSS", 21, "softmax_loss", "SoftmaxWithLoss"),
    ("SPLIT", 22, "split", "Split"),
    ("TANH", 23, "tanh", "TanH"),
    ("THRESHOLD", 31, "", "Threshold"),
    ("WINDOW_DATA", 24, "window_data", "WindowData"),
    ("", -1, "padding", PADDING),
];

/// The type of V0's padding layers, which no later form has.
const PADDING: &str = "padding";

/// A layer of the forms V1 and V0.
pub(super) fn layer(view: View<'_>) -> Result<Layer<'_>> {
    if let Some(flat) = view.message("layer")? {
        let name = flat.text("name")?.unwrap_or_default();
        let word = flat.text("type")?.unwrap_or_default();
        let known = TYPES.iter().find(|(_, _, v0, _)| !v0.is_empty() && *v0 == word);
        return match known {
            Some((.., kind)) => Layer::new(name, (*kind).to_owned(), view, Some(flat)),
            None => Err(flat
                .error("the layer has no type that Caffe's first format knows")
                .section(name)
                .found(word)
                .allowed("conv, pool, innerproduct, relu, padding and so on")),
        };
    }
    let name = view.text("name")?.unwrap_or_default();
    let word = view.text("type")?.unwrap_or_default();
    let number: Option<i64> = word.parse().ok();
    let known =
        TYPES.iter().find(|(v1, value, ..)| !v1.is_empty() && (*v1 == word || number == Some(*value)));
    match known {
        Some((.., kind)) => Layer::new(name, (*kind).to_owned(), view, None),
        None => Err(view
            .error("the layer has no type that `layers` knows")
            .section(name)
            .found(word)
            .allowed("CONVOLUTION, POOLING and so on; newer types need `layer`")),
    }
}

/// A parameter's name in V0's one message.
pub(super) fn flat_name(name: &str) -> &str {
    match name {
        "bias_term" => "biasterm",
        "kernel_size" => "kernelsize",
        _ => name,
    }
}

/// Takes padding layers away and gives their `pad` to the convolutions and poolings that read them.
pub(super) fn fold_padding(layers: &mut Vec<Layer<'_>>) -> Result<()> {
    for at in 0..layers.len() {
        if layers[at].kind == PADDING && (layers[at].bottoms.len() != 1 || layers[at].tops.len() != 1) {
            return Err(layers[at].error("a padding layer has one bottom and one top"));
        }
        for bottom in 0..layers[at].bottoms.len() {
            let name = &layers[at].bottoms[bottom];
            let writer = layers[..at].iter().rposition(|layer| layer.tops.contains(name));
            let Some(writer) = writer.filter(|writer| layers[*writer].kind == PADDING) else { continue };
            if !matches!(layers[at].kind.as_str(), "Convolution" | "Pooling") {
                return Err(layers[at]
                    .error("a padding layer stands in front of another layer")
                    .found(layers[at].kind.clone())
                    .allowed("a convolution or a pooling"));
            }
            let pad = layers[writer].params("")?.size("pad", 0, 0)?;
            let padded = layers[writer].bottoms[0].clone();
            layers[at].padding = i64::try_from(pad).ok();
            layers[at].bottoms[bottom] = padded;
        }
    }
    layers.retain(|layer| layer.kind != PADDING);
    Ok(())
}
