//! Inputs to begin with: those in the tree, and the code that makes them.

use std::fs;
use std::path::{Path, PathBuf};

use secateur_runtime::npu::isa::{Control, Exec, Opcode, Transfer, transfer_flags};
use zerocopy::{FromZeros, IntoBytes};

#[path = "../../runtime-nostd/tests/common/mod.rs"]
mod common;

/// Committed inputs of a target, by file: the corpus, then regressions (inputs that once failed).
pub fn committed(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = ["corpus", "regressions"]
        .iter()
        .filter_map(|folder| fs::read_dir(root.join(folder).join(target)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files.into_iter().filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes))).collect()
}

/// What the corpus of a target is written from: a name and an input each.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let seeds = match target {
        "artefact" | "deployed" => vec![("every-operator".to_owned(), common::build::sample().bytes())],
        "commands" => vec![("one-of-each".to_owned(), stream())],
        _ => Vec::new(),
    };
    #[cfg(feature = "compiler")]
    let seeds = [seeds, compiled::seeds(target)].concat();
    seeds
}

/// A load, a layer and a store of the smallest accelerator.
fn stream() -> Vec<u8> {
    let map = Transfer {
        flags: transfer_flags::REGION_WORK,
        pitch: 32.into(),
        plane: 2.into(),
        words: 2.into(),
        count: 3.into(),
        ..Transfer::new_zeroed()
    };
    let load = Transfer { opcode: Opcode::LoadMap.code(), ..map };
    let table = Transfer { opcode: Opcode::LoadTable.code(), ..Transfer::new_zeroed() };
    let weights = Transfer { opcode: Opcode::LoadWeights.code(), words: 4.into(), ..Transfer::new_zeroed() };
    let exec = Exec {
        opcode: Opcode::Exec.code(),
        wait_load: 3.into(),
        k: 1,
        stride: 1,
        dilation: 1,
        window_words: 3,
        lo: -128,
        hi: 127,
        in_plane: 2.into(),
        in_channels: 3.into(),
        in_h: 2.into(),
        in_w: 8.into(),
        out_base: 32.into(),
        out_plane: 2.into(),
        out_channels: 3.into(),
        out_w: 8.into(),
        tiles: 2.into(),
        rows: 1.into(),
        lane_step_y: 1.into(),
        ..Exec::new_zeroed()
    };
    let store = Transfer {
        opcode: Opcode::StoreMap.code(),
        wait_exec: 1.into(),
        address: 1024.into(),
        base: 32.into(),
        ..map
    };
    let end = Control {
        opcode: Opcode::End.code(),
        wait_load: 3.into(),
        wait_exec: 1.into(),
        wait_store: 1.into(),
        ..Control::new_zeroed()
    };
    [load.as_bytes(), table.as_bytes(), weights.as_bytes(), exec.as_bytes(), store.as_bytes(), end.as_bytes()]
        .concat()
}

#[cfg(feature = "compiler")]
mod compiled {
    use secateur_codegen::target::Target;
    use secateur_codegen::{NpuOptions, Patch, compile_with, random};
    use secateur_frontend::darknet::{Cfg, build_graph};
    use secateur_frontend::tensorflow::checkpoint::write_table;
    use secateur_frontend::wire::Encoder;

    /// A larger input is left out: small ones are mutated more.
    const MAX_BYTES: usize = 12 << 10;

    pub(super) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        match target {
            "accelerator" | "deployed" => artefacts(),
            "int8" => (0..6)
                .map(|seed| {
                    (format!("random-{seed}"), random::network(seed, 3 + 2 * seed as usize).to_bytes())
                })
                .filter(|(_, bytes)| bytes.len() <= MAX_BYTES)
                .collect(),
            "cfg" => named(&[("tiny", CFG), ("classifier", CLASSIFIER)]),
            "graph" => named(&[("tiny", CFG), ("classifier", CLASSIFIER)])
                .into_iter()
                .map(|(name, cfg)| (name, dumped(&cfg).into_bytes()))
                .collect(),
            "weights" => vec![("zeros".to_owned(), weights())],
            "labels" => named(&[("three", "0 .5 .5 .25 .25\n19 0.1 0.2 0.3 0.4\n3 1 1 1 1\n")]),
            "names" => named(&[("three", "person\nbicycle\ntraffic light\n")]),
            "list" => named(&[("three", "a.jpg\n# comment\nfolder/b c.png\n/absolute/c.bmp\n")]),
            "data_file" => {
                named(&[("all", "classes=2\ntrain = train.txt\nvalid=valid.txt\nnames=x.names\nbackup=b\n")])
            }
            "array" => vec![("two-by-three".to_owned(), array())],
            "target" => named(&[
                ("host", include_str!("../../configs/targets/host.toml")),
                ("npu-8x16", include_str!("../../configs/targets/npu-8x16.toml")),
            ]),
            "image" => images(),
            "prototxt" => named(&[("v2", PROTOTXT), ("v0", PROTOTXT_V0)]),
            "caffemodel" => vec![("two-layers".to_owned(), caffemodel())],
            "checkpoint" => vec![("two-variables".to_owned(), checkpoint())],
            "graph_def" => {
                let binary = ("binary".to_owned(), graph_def());
                [named(&[("text", PBTXT)]), vec![binary]].concat()
            }
            "onnx" => vec![("conv-reshape".to_owned(), onnx())],
            _ => Vec::new(),
        }
    }

    /// A padded convolution, folded shape arithmetic behind it, a softmax.
    fn onnx() -> Vec<u8> {
        let tensor = |name: &[u8], dims: &[u64], values: &[f32]| {
            Encoder::default().varints(1, dims).varint(2, 1).bytes(8, name).floats(4, values).bytes
        };
        let ints = |name: &[u8], values: &[u64]| {
            let attribute = Encoder::default().bytes(1, name).varint(20, 7);
            attribute.varints(8, values).bytes
        };
        let node = |kind: &[u8], inputs: &[&[u8]], output: &[u8], attribute: Option<Vec<u8>>| {
            let node = inputs.iter().fold(Encoder::default(), |node, input| node.bytes(1, input));
            let node = node.bytes(2, output).bytes(4, kind);
            attribute.iter().fold(node, |node, attribute| node.bytes(5, attribute)).bytes
        };
        let shape = [1, 2, 4, 4].iter().fold(Encoder::default(), |shape, &side| {
            shape.bytes(1, &Encoder::default().varint(1, side).bytes)
        });
        let kind = Encoder::default().varint(1, 1).bytes(2, &shape.bytes).bytes;
        let kind = Encoder::default().bytes(1, &kind).bytes;
        let input = Encoder::default().bytes(1, b"x").bytes(2, &kind).bytes;
        let list =
            Encoder::default().varints(1, &[2]).varint(2, 7).varints(7, &[1, u64::MAX]).bytes(8, b"s").bytes;
        let nodes = [
            node(b"Conv", &[b"x", b"w"], b"c", Some(ints(b"pads", &[1, 1, 1, 1]))),
            node(b"Reshape", &[b"c", b"s"], b"r", None),
            node(b"Softmax", &[b"r"], b"y", None),
        ];
        let graph = nodes.iter().fold(Encoder::default(), |graph, node| graph.bytes(1, node));
        let graph = graph
            .bytes(2, b"g")
            .bytes(5, &tensor(b"w", &[1, 2, 3, 3], &[0.5; 18]))
            .bytes(5, &list)
            .bytes(11, &input)
            .bytes(12, &Encoder::default().bytes(1, b"y").bytes);
        let opset = Encoder::default().varint(2, 17).bytes;
        Encoder::default().varint(1, 8).bytes(7, &graph.bytes).bytes(8, &opset).bytes
    }

    const PROTOTXT: &str = r#"name: "n" # a net
input: "data" input_shape { dim: [1, 3, 8, 8] }
layer { name: "c" type: 'Convolution' bottom: "data" top: "c" include { phase: TEST }
  convolution_param { num_output: 4 kernel_size: 3 pad: 0x1 weight_filler < type: "xavier" > } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" relu_param { negative_slope: 1e-1f } }
"#;
    const PROTOTXT_V0: &str = r#"input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "p" type: "padding" pad: 1 } bottom: "data" top: "p" }
layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 } bottom: "p" top: "c" }
layers { name: "s" type: SOFTMAX bottom: "c" top: "s" }
"#;
    const PBTXT: &str = r#"node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
node { name: "c" op: "Const" attr { key: "value" value { tensor { dtype: DT_INT32
  tensor_shape { dim { size: 2 } } tensor_content: "\001\000\000\000\x02\000\000\000" } } } }
node { name: "r" op: "Relu" input: "x:0" input: "^c" attr { key: "strides" value { list { i: 1 i: 2 } } } }
"#;

    fn caffemodel() -> Vec<u8> {
        let shape = Encoder::default().varints(1, &[1, 2]).bytes;
        let blob = Encoder::default().bytes(7, &shape).floats(5, &[1.0, 2.0]).bytes;
        let old = Encoder::default().varint(1, 1).varint(4, 1).float(5, 3.0).bytes;
        let layer = Encoder::default().bytes(1, b"c").bytes(7, &blob).bytes;
        let layer_v1 = Encoder::default().bytes(4, b"d").bytes(6, &old).bytes;
        Encoder::default().bytes(100, &layer).bytes(2, &layer_v1).bytes
    }

    fn graph_def() -> Vec<u8> {
        let dim = Encoder::default().varint(1, 2).bytes;
        let shape = Encoder::default().bytes(2, &dim).bytes;
        let tensor = Encoder::default().varint(1, 1).bytes(2, &shape).floats(5, &[0.5]).bytes;
        let value = Encoder::default().bytes(8, &tensor).bytes;
        let attribute = Encoder::default().bytes(1, b"value").bytes(2, &value).bytes;
        let constant = Encoder::default().bytes(1, b"c").bytes(2, b"Const").bytes(5, &attribute).bytes;
        let relu = Encoder::default().bytes(1, b"r").bytes(2, b"Relu").bytes(3, b"c:0").bytes;
        Encoder::default().bytes(1, &constant).bytes(1, &relu).bytes
    }

    /// The index of a checkpoint of two variables.
    fn checkpoint() -> Vec<u8> {
        let dim = Encoder::default().varint(1, 2).bytes;
        let shape = Encoder::default().bytes(2, &dim).bytes;
        let entry = Encoder::default().varint(1, 1).bytes(2, &shape).varint(5, 8).fixed32(6, 7).bytes;
        let header = Encoder::default().varint(1, 1).bytes(3, &[8, 1]).bytes;
        let entries = [("", header), ("conv/bias", entry.clone()), ("conv/weights", entry)];
        write_table(&entries.map(|(key, value)| (key.as_bytes().to_vec(), value)))
    }

    /// The text form of a cfg's graph.
    fn dumped(cfg: &[u8]) -> String {
        let cfg = Cfg::parse("seed.cfg".as_ref(), cfg).expect("a constant");
        secateur_ir::dump(&build_graph(&cfg).expect("a constant"))
    }

    fn named(texts: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        texts.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    /// Random networks for two accelerators, some with steps left to the processor.
    fn artefacts() -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for seed in 0..60 {
            let name = ["npu-8x16", "npu-4x8"][seed as usize % 2];
            let target = Target::load(name).expect("it is built in");
            let net = random::network(seed, 2 + seed as usize % 8);
            let options = NpuOptions { processor: seed % 3 == 0, ..NpuOptions::default() };
            let Ok(compiled) = compile_with(&net, &target, options, Patch::Off, |_, _, _| ()) else {
                continue;
            };
            if compiled.artefact.len() <= MAX_BYTES && found.len() < 8 {
                found.push((format!("{name}-{seed}"), compiled.artefact));
            }
        }
        found
    }

    const CFG: &str = "[net]\nwidth=32\nheight=32\nchannels=3\n\n[convolutional]\nbatch_normalize=1\nfilters=8\n\
        size=3\nstride=2\npad=1\nactivation=leaky\n\n[maxpool]\nsize=2\nstride=2\n\n[convolutional]\nfilters=8\nsize=3\n\
        stride=1\npad=1\ngroups=8\nactivation=relu\n\n[shortcut]\nfrom=-2\nactivation=linear\n\n[upsample]\nstride=2\n\n\
        [route]\nlayers=-1,0\n\n[convolutional]\nfilters=14\nsize=1\nstride=1\nactivation=linear\n\n[yolo]\nmask=0,1\n\
        anchors=4,4, 12,12, 20,20\nclasses=2\nnum=3\n";
    const CLASSIFIER: &str = "[net]\nwidth=8\nheight=8\nchannels=1\n[convolutional]\nfilters=4\nsize=3\npad=1\n\
        activation=mish\n[reorg]\nstride=2\n[avgpool]\n[connected]\noutput=5\nactivation=linear\n[softmax]\n";

    /// The weights that the target `weights` asks for: a header of version 0.2 and zeros.
    fn weights() -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [0u32, 2, 5] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0u64.to_le_bytes());
        let floats = (2 * 4 + 2 * 9) + (2 + 2 * 9) + 2 + 6 + (2 + 4 + 6);
        bytes.resize(bytes.len() + 4 * floats, 0);
        bytes
    }

    fn array() -> Vec<u8> {
        let mut header = String::from("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
        while !(10 + header.len() + 1).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend((0..6).flat_map(|n| (n as f32).to_le_bytes()));
        bytes
    }

    /// A grey and a colour image of a few pixels as BMP and PNG, and JPEG as far as an encoder is at hand.
    fn images() -> Vec<(String, Vec<u8>)> {
        use image::{DynamicImage, ImageFormat, RgbImage};
        let pixels =
            RgbImage::from_fn(20, 13, |x, y| image::Rgb([(x * 12) as u8, (y * 19) as u8, (x * y) as u8]));
        let colour = DynamicImage::from(pixels);
        let encode = |image: &DynamicImage, format: ImageFormat| {
            let mut bytes = std::io::Cursor::new(Vec::new());
            image.write_to(&mut bytes, format).expect("small images encode");
            bytes.into_inner()
        };
        let grey = DynamicImage::from(colour.to_luma8());
        vec![
            ("colour.jpg".to_owned(), encode(&colour, ImageFormat::Jpeg)),
            ("grey.jpg".to_owned(), encode(&grey, ImageFormat::Jpeg)),
            ("colour.png".to_owned(), encode(&colour, ImageFormat::Png)),
            ("grey.bmp".to_owned(), encode(&grey, ImageFormat::Bmp)),
        ]
    }
}
