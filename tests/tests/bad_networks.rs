//! Broken cfgs and weights: every one is refused with its place, what stands there and what may.

use std::path::Path;

use predicates::prelude::*;
use predicates::str::contains;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_base::Error;
use secateur_frontend::darknet::{Cfg, WeightsHeader, build_graph, file_size, read_weights, write_weights};
use secateur_ir::{dump, verify};
use secateur_testing::{RandomOptions, random_network};
use secateur_tests::secateur;

const NET: &str = "[net]\nwidth=32\nheight=32\nchannels=3\n";
const CONV: &str = "[convolutional]\nfilters=21\nsize=1\nactivation=linear\n";

fn refused(text: impl AsRef<[u8]>) -> Error {
    let cfg = Cfg::parse(Path::new("bad.cfg"), text.as_ref());
    cfg.and_then(|cfg| build_graph(&cfg)).map(|_| ()).expect_err("must be refused")
}

/// A cfg after [net] and one convolution (layer 0, lines 5 to 8), and what its error must say.
struct Case {
    text: &'static str,
    layer: usize,
    line: usize,
    says: &'static [&'static str],
}

const fn case(text: &'static str, layer: usize, line: usize, says: &'static [&'static str]) -> Case {
    Case { text, layer, line, says }
}

#[test]
fn bad_layers_are_refused_with_layer_and_line() {
    let cases = [
        case(
            "[convolutionnal]\nfilters=1",
            1,
            9,
            &["unknown section", "[convolutionnal]", "is [convolutional] meant?"],
        ),
        case("[lstm]\noutput=1", 1, 9, &["not supported", "[lstm]", "convolutional"]),
        case("[net]\nwidth=3", 1, 9, &["second [net]"]),
        case("[conv]\nsize=3\nfiltres=4", 1, 9, &["filters= is missing", "is filtres= meant?"]),
        case("[conv]\nsize=3", 1, 9, &["filters= is missing", "filters=1"]),
        case("[conv]\nfilters=", 1, 9, &["filters= is missing"]),
        case("[conv]\nfilters=0", 1, 10, &["must not be zero", "filters=0", "1 to 65536"]),
        case("[conv]\nfilters=-8", 1, 10, &["must not be negative", "filters=-8"]),
        case("[conv]\nfilters=1099511627776", 1, 10, &["too large", "1 to 65536"]),
        case("[conv]\nfilters=99999999999999999999999", 1, 10, &["not a number", "whole number"]),
        case("[conv]\nfilters=eight", 1, 10, &["not a number", "filters=eight"]),
        case("[conv]\nfilters=4\nsize=0", 1, 11, &["size must not be zero"]),
        case("[conv]\nfilters=4\nstride=0", 1, 11, &["stride must not be zero"]),
        case("[conv]\nfilters=4\nstride_x=-1", 1, 11, &["stride_x must not be negative"]),
        case("[conv]\nfilters=4\npadding=-1", 1, 11, &["padding must not be negative"]),
        case("[conv]\nfilters=65536\nsize=65535\npad=1", 1, 9, &["too many weights"]),
        case("[conv]\nfilters=4\npadding=65536", 1, 9, &["too large", "65536"]),
        case("[conv]\nfilters=4\nsize=33", 1, 9, &["window", "33", "32 rows"]),
        case("[conv]\nfilters=4\ngroups=2", 1, 9, &["groups does not divide", "21 / 2"]),
        case("[conv]\nfilters=4\ngroups=3", 1, 9, &["groups does not divide filters", "4 / 3"]),
        case("[conv]\nfilters=4\nsize=3\ndilation=2", 1, 12, &["dilation", "padding=1"]),
        case("[conv]\nfilters=4\nactivation=leeky", 1, 11, &["unknown activation", "is leaky meant?"]),
        case("[conv]\nfilters=4\nactivation=leaky # best", 1, 11, &["comment", "leaky#best"]),
        case("[conv]\nfilters=4\nxnor=1", 1, 11, &["xnor is not supported"]),
        case("[conv]\nfilters=4\nantialiasing=2", 1, 11, &["antialiasing is not supported"]),
        case(
            "[conv]\nfilters=21\nshare_index=0",
            1,
            11,
            &["share_index is not supported", "no share_index="],
        ),
        case("[connected]\nactivation=linear", 1, 9, &["output= is missing"]),
        case("[connected]\noutput=65536", 1, 9, &["too many weights"]),
        case("[maxpool]\nsize=2\npadding=99", 1, 9, &["outside the input", "at most 2"]),
        case("[maxpool]\nsize=40\npadding=0", 1, 9, &["window"]),
        case("[maxpool]\nmaxpool_depth=1\nout_channels=22", 1, 9, &["out_channels", "1 to 21"]),
        case("[upsample]\nstride=0", 1, 10, &["stride is zero"]),
        case("[upsample]\nstride=4096", 1, 9, &["too large"]),
        case("[upsample]\nstride=-5", 1, 9, &["does not divide", "32 / 5"]),
        case("[reorg]\nstride=2", 1, 9, &["does not divide the input's channels", "21 / 4"]),
        case("[reorg3d]\nstride=5", 1, 9, &["does not divide", "32 / 5"]),
        case("[softmax]\ngroups=5", 1, 9, &["groups does not divide"]),
        case("[softmax]\ntemperature=0", 1, 10, &["temperature must be positive"]),
        case("[softmax]\ntree=coco.tree", 1, 10, &["tree is not supported"]),
        case("[crop]\ncrop_height=33\ncrop_width=8", 1, 9, &["larger than its input"]),
        case("[route]", 1, 9, &["layers= is missing"]),
        case("[route]\nlayers=1", 1, 10, &["reads its own output", "-1 to -1"]),
        case("[route]\nlayers=-2", 1, 10, &["there is no layer -1"]),
        case("[route]\nlayers=0,2\n[conv]\nfilters=1", 1, 10, &["layer 2 comes later"]),
        case("[route]\nlayers=0,,0", 1, 10, &["not a number"]),
        case("[route]\nlayers=0 # and 1, 2", 1, 10, &["comma in the comment"]),
        case("[route]\nlayers=-9223372036854775808", 1, 10, &["there is no layer"]),
        case("[route]\nlayers=0\ngroups=3\ngroup_id=3", 1, 9, &["group_id", "0 to 2"]),
        case("[route]\nlayers=0\ngroups=2", 1, 9, &["does not divide", "21 / 2"]),
        case(
            "[maxpool]\nstride=2\n[route]\nlayers=0,1",
            2,
            11,
            &["differ in height or width", "16 × 16 × 21"],
        ),
        case("[shortcut]\nactivation=linear", 1, 9, &["from= is missing"]),
        case("[shortcut]\nfrom=-5", 1, 10, &["there is no layer -4"]),
        case("[shortcut]\nfrom=7", 1, 10, &["layer 7 comes later"]),
        case("[maxpool]\nstride_x=2\nstride_y=1\n[shortcut]\nfrom=0", 2, 12, &["not by one factor"]),
        case("[shortcut]\nfrom=0\nweights_type=some", 1, 11, &["unknown weights_type", "per_channel"]),
        case("[scale_channels]\nfrom=0", 1, 9, &["scaling input", "1 × 1 × 21"]),
        case("[conv]\nfilters=4\n[sam]\nfrom=0", 2, 11, &["wrong shape"]),
        case(
            "[yolo]\nclasses=2\nnum=3\nanchors=1,1,2,2,3,3\nmask=0,1,3",
            1,
            13,
            &["anchor 3 of 3", "0 to 2"],
        ),
        case(
            "[yolo]\nclasses=2\nnum=3\nanchors=1,1,2,2\nmask=0,1,2",
            1,
            12,
            &["4 numbers for num=3", "6 numbers"],
        ),
        case("[yolo]\nclasses=2\nnum=3\nanchors=1,1,2,2,3", 1, 12, &["5 numbers"]),
        case("[yolo]\nclasses=2\nnum=3\nanchors=1,1,2,2,3,-3", 1, 12, &["positive"]),
        case("[yolo]\nclasses=2\nnum=3\nanchors=1,1,2,2,3,inf", 1, 12, &["not finite"]),
        case("[yolo]\nclasses=2\nnum=3", 1, 9, &["anchors= is missing"]),
        case("[yolo]\nclasses=3\nnum=3\nanchors=1,1,2,2,3,3", 1, 9, &["does not fit this head", "21", "24"]),
        case("[yolo]\nclasses=65536\nnum=65536\nanchors=1,1", 1, 12, &["2 numbers"]),
        case("[yolo]\nclasses=2\nnum=3\nanchors=1,1,2,2,3,3\nnms_kind=best", 1, 13, &["unknown nms_kind"]),
        case("[region]\nclasses=2\nnum=3\nanchors=1,1,2,2,3,3\ncoords=5", 1, 9, &["does not fit this head"]),
        case("[detection]\nclasses=2", 1, 9, &["does not fit this head", "side²"]),
    ];
    for Case { text, layer, line, says } in cases {
        let error = refused(format!("{NET}{CONV}{text}\n"));
        let message = format!("{error:?}");
        assert_eq!((error.at_layer(), error.at_line()), (Some(layer), Some(line)), "{text}\n{message}");
        assert!(message.starts_with(&format!("bad.cfg:{line}:")), "{message}");
        for part in says {
            assert!(message.contains(part), "{part:?} is not said of\n{text}\n{message}");
        }
    }
}

#[test]
fn bad_files_are_refused_with_their_line() {
    let cases: [(&[u8], Option<usize>, &str); 17] = [
        (b"", None, "no sections"),
        (b"\n# nothing\n", None, "no sections"),
        (b"\xEF\xBB\xBF[net]\n", Some(1), "byte-order mark"),
        (b"width=3\n[net]\n", Some(1), "before the first section"),
        (b"[convolutional]\nfilters=1\n", Some(1), "[net] or [network]"),
        (b"[net]\nwidth=3\n[dropout] # half\n", Some(3), "after a section's name"),
        (b"[net]\nwidth 3\n", Some(2), "neither a section"),
        (b"[net\nwidth=3\n", Some(1), "neither a section"),
        (b"[net]\n=3\n", Some(2), "neither a section"),
        (b"[net]\nwidth=\xFF3\n", Some(2), "byte 0xFF at offset 12"),
        (b"[net]\nwid\xC3th=3\n", Some(2), "not UTF-8"),
        (b"[n\xE9t]\n", Some(1), "not UTF-8"),
        (b"[net]\nwidth=3\0\n", Some(2), "control character"),
        (b"[net]\nwidth=32\nheight=32\nchannels=3\n", Some(1), "no layers"),
        (b"[net]\nwidth=32\nheight=32\n[dropout]\n", Some(1), "channels= is missing"),
        (b"[net]\nwidth=0\nheight=32\nchannels=3\n[dropout]\n", Some(2), "width must not be zero"),
        (b"[net]\nwidth=65536\nheight=65536\nchannels=3\n[dropout]\n", Some(1), "too large"),
    ];
    for (bytes, line, says) in cases {
        let error = refused(bytes);
        assert_eq!(error.at_line(), line, "{error:?}");
        assert!(format!("{error:?}").contains(says), "{says:?}: {error:?}");
    }
}

#[test]
fn a_network_is_limited_as_a_whole() {
    let dropouts = refused(format!("{NET}{}", "[dropout]\n".repeat(10_001)));
    assert_eq!(dropouts.at_layer(), Some(10_000), "{dropouts:?}");
    // 2^26 elements each: sixteen of them are too many together, although one is not.
    let net = "[net]\nwidth=8192\nheight=8192\nchannels=1\n";
    let one = format!("{net}[dropout]\n");
    assert!(Cfg::parse(Path::new("wide.cfg"), one.as_bytes()).and_then(|cfg| build_graph(&cfg)).is_ok());
    let wide = refused(format!("{net}{}", "[dropout]\n".repeat(16)));
    assert!(format!("{wide:?}").contains("too large together"), "{wide:?}");
}

#[test]
fn garbage_is_refused_quickly_and_in_little_memory() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("garbage.cfg");
    let file = std::fs::File::create(&path).expect("file");
    file.set_len(200 << 20).expect("200 MB");
    secateur()
        .arg("info")
        .arg(&path)
        .assert()
        .code(1)
        .stderr(contains("too large").and(contains("panicked").not()));
    let good = folder.path().join("good.cfg");
    std::fs::write(&good, format!("{NET}{CONV}")).expect("cfg");
    let error = secateur().arg("info").arg(&good).arg(&path).assert().code(1);
    error.stderr(contains("continues after the last layer").and(contains("209715200 bytes")));
    // As large as is read, in the shapes that cost most.
    for unit in ["\n", "a=\n", "a=1\n", "[x]\n", "[dropout]\n", "[", "a", "=", "#", "a=#,"] {
        for head in ["", NET] {
            let text = format!("{head}{}", unit.repeat(((1 << 20) - head.len()) / unit.len()));
            refused(text);
        }
    }
}

#[test]
fn the_command_says_where_and_exits_with_1() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("net.cfg");
    std::fs::write(&path, format!("{NET}{CONV}[shortcut]\nfrom = -7\nactivation=linear\n")).expect("cfg");
    for verb in ["info", "stat"] {
        let error = secateur().arg(verb).arg(&path).assert().code(1);
        let says = |text: &'static str| contains(text);
        error.stderr(
            says("net.cfg:10:8")
                .and(says("layer 1"))
                .and(says("there is no layer -6"))
                .and(says("found: from=-7"))
                .and(says("allowed: 0 to 0, or -1 to -1"))
                .and(says("from = -7"))
                .and(says("panicked").not()),
        );
    }
    secateur().arg("info").arg(folder.path()).assert().code(1).stderr(contains("cannot read"));
}

#[test]
fn weights_of_every_header_version_survive_and_wrong_lengths_are_refused() {
    let headers = [(0, 1, 0), (0, 2, 5), (1, 0, 0), (0, 0, 0), (2000, 0, 1), (0, 1001, 0), (-1, 3, 0)];
    for (seed, (major, minor, revision)) in headers.into_iter().enumerate() {
        let options = RandomOptions { rare: true, classifier: seed % 2 == 0, ..RandomOptions::default() };
        let (_, graph, weights) = random_network(seed as u64, &options);
        let wide = i64::from(major) * 10 + i64::from(minor) >= 2;
        let seen = if wide { 0x1_2345_6789 } else { 0x2345_6789 };
        let header = WeightsHeader { major, minor, revision, seen };
        let bytes = write_weights(&graph, header, &weights);
        assert_eq!(bytes.len(), file_size(&graph, header));
        assert_eq!(bytes.len() % 4, 0);
        let path = Path::new("net.weights");
        assert_eq!(read_weights(&graph, path, &bytes).expect("its own bytes"), (header, weights));

        // Every cut in a small file would be slow in a large one: the ends, and a prime step between.
        let cuts = (0..64).chain((64..bytes.len()).step_by(997)).chain(bytes.len() - 16..bytes.len());
        for length in cuts {
            let error = read_weights(&graph, path, &bytes[..length]).expect_err("cut");
            let message = format!("{error:?}");
            assert!(message.contains(&format!("{length} bytes")), "{message}");
            if length >= 20 {
                let layer = error.at_layer().expect("the layer at which the file ends");
                assert!(
                    message.contains(&format!(
                        "line {} of the cfg",
                        graph.nodes[layer].origin.line.expect("a line")
                    )),
                    "{message}"
                );
            }
        }
        for extra in [1, 4, 1000] {
            let long: Vec<u8> = bytes.iter().copied().chain(std::iter::repeat_n(7, extra)).collect();
            let error = format!("{:?}", read_weights(&graph, path, &long).expect_err("too long"));
            assert!(error.contains(&format!("by {extra} bytes")), "{error}");
        }
    }
}

#[test]
fn connected_weights_of_old_files_are_turned() {
    let text = "[net]\ninputs=3\n[connected]\noutput=2\nactivation=linear\n";
    let graph =
        Cfg::parse(Path::new("c.cfg"), text.as_bytes()).and_then(|cfg| build_graph(&cfg)).expect("good");
    let file = |major: i32| -> Vec<u8> {
        let header = [major, 0, 0, 0, 0].into_iter().flat_map(i32::to_le_bytes);
        let numbers = [10.0, 20.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0_f32];
        header.chain(numbers.into_iter().flat_map(f32::to_le_bytes)).collect()
    };
    let read =
        |major| read_weights(&graph, Path::new("c.weights"), &file(major)).expect("good").1.layers.remove(0);
    assert_eq!(read(1).bias, [10.0, 20.0]);
    assert_eq!(read(1).weights, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // Of an old file the numbers are [in][out].
    assert_eq!(read(1001).weights, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
}

/// What turns good cfgs into bad ones.
const TOKENS: [&str; 24] = [
    "0",
    "-1",
    "1",
    "7",
    "99999",
    "1099511627776",
    "-9223372036854775808",
    "1e9",
    "nan",
    "",
    "=",
    ",",
    "#",
    ";",
    "[",
    "]",
    "\n",
    "\r",
    "\0",
    "\u{e9}",
    "[route]\nlayers=-1\n",
    "stride=2\n",
    "groups=3\n",
    "[yolo]\n",
];

#[test]
fn mutated_networks_are_refused_or_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests/import");
    let mut seeds: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .expect("filetests")
        .map(|entry| {
            let text = std::fs::read_to_string(entry.expect("entry").path()).expect("a file test");
            let (cfg, _) = text.split_once("----\n").expect("a cfg, then its graph");
            cfg.into()
        })
        .collect();
    seeds.sort();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut valid, mut bad) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = seeds.choose(&mut rng).expect("some").clone();
        for _ in 0..rng.random_range(1..=4) {
            let at = rng.random_range(0..bytes.len());
            let end = (at + rng.random_range(0..6)).min(bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[at] = rng.random(),
                1 => drop(bytes.drain(at..end)),
                2 => drop(bytes.splice(at..end, TOKENS.choose(&mut rng).expect("some").bytes())),
                _ => {
                    // A number becomes another one, the likeliest slip of a user.
                    let digits: Vec<usize> =
                        (0..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
                    let Some(&digit) = digits.choose(&mut rng) else { continue };
                    bytes.splice(digit..=digit, TOKENS.choose(&mut rng).expect("some").bytes());
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        let built = Cfg::parse(Path::new("mutated.cfg"), &bytes).and_then(|cfg| {
            assert_eq!(cfg.to_bytes(), bytes);
            build_graph(&cfg)
        });
        match built {
            Ok(graph) => {
                verify(&graph)
                    .unwrap_or_else(|error| panic!("{error:?}\n{}", String::from_utf8_lossy(&bytes)));
                assert!(dump(&graph).starts_with("image: "));
                valid += 1;
            }
            Err(error) => {
                let report = format!("{error:?}");
                assert!(report.contains("mutated.cfg"), "{report}");
                bad += 1;
            }
        }
    }
    assert!(valid > 2000 && bad > 2000, "{valid} valid, {bad} bad");
}
