use std::collections::BTreeMap;

use secateur_eval::Metric;

use super::*;

/// Layers: 0 convolution, 1 convolution, 2 yolo of two classes.
const CFG: &str = "\
[net]
width=8
height=8
channels=1

[convolutional]
filters=4
size=1
activation=linear

[convolutional]
filters=7
size=1
activation=linear

[yolo]
mask=0
anchors=4,4
classes=2
num=1
";

const GOOD: &str = r#"workspace = "out"

[model]
cfg = "a.cfg"
weights = "a.weights"
names = "names"

[data]
train = "train.txt"
val = "val.txt"

[prune]
threshold = 0.01
layers = { 1 = 0.5 }
"#;

fn load(text: &str) -> Result<Recipe> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("a.cfg", CFG.as_bytes());
    // Version 0.2.5 and a count of 64 bits, then biases and weights of both convolutions.
    let numbers = 4 + 4 + 7 + 7 * 4;
    let mut weights: Vec<u8> = [0u32, 2, 5, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    weights.extend(vec![0; 4 * numbers]);
    write("a.weights", &weights);
    write("names", b"one\ntwo\n");
    write("three", b"one\ntwo\nthree\n");
    write("0.png", b"");
    write("train.txt", b"0.png\n");
    write("val.txt", b"0.png\n");
    write("lost.txt", b"0.png\nnone.png\n");
    write("empty.txt", b"\n");
    write("bad.toml", b"name = \"x\"\nalign = 24\noperators = \"all\"\n");
    write("good.toml", b"name = \"x\"\nalign = 16\noperators = \"all\"\n");
    write("recipe.toml", text.as_bytes());
    Recipe::load(&folder.path().join("recipe.toml"))
}

#[test]
fn a_good_recipe_is_read() {
    let recipe = load(GOOD).unwrap();
    assert_eq!(recipe.seed, 1);
    assert_eq!(recipe.target, TargetChoice::BuiltIn("host".to_owned()));
    assert!(recipe.cfg.ends_with("a.cfg"));
    let prune = recipe.prune.unwrap();
    assert!(prune.threshold == Some(0.01));
    assert_eq!(prune.layers, BTreeMap::from([(1, 0.5)]));

    let more =
        "metric = \"dp\"\ncriterion = \"bn-gamma\"\nignore = [0, 2]\n[compile]\ntarget = \"good.toml\"\n";
    let recipe = load(&(GOOD.to_owned() + more)).unwrap();
    assert!(matches!(recipe.target, TargetChoice::File(path) if path.ends_with("good.toml")));
    let prune = recipe.prune.unwrap();
    assert_eq!(prune.metric, Some(Metric::Dp));
    assert_eq!(prune.criterion.map(Criterion::name), Some("bn-gamma"));

    for key in ["images", "pictures"] {
        let recipe = load(&format!("{GOOD}[detect]\n{key} = [\"0.png\"]\n")).unwrap();
        assert_eq!(recipe.images.len(), 1);
    }
}

#[test]
fn sensitivities_are_measured_unless_no_search_reads_them() {
    let prune = |more: &str| load(&GOOD.replace("threshold = 0.01", more)).unwrap().prune.unwrap();
    assert!(prune("threshold = 0.01").needs_sensitivities());
    assert!(prune("rate = 0.5\nallocation = \"greedy\"").needs_sensitivities());
    assert!(!prune("rate = 0.5\nallocation = \"global\"").needs_sensitivities());
}

#[test]
fn errors_point_at_their_lines() {
    let after = |line: &str| format!("threshold = 0.01\n{line}");
    let threshold = "threshold = 0.01";
    for (from, to, line, message) in [
        ("\"val.txt", "\"none.txt".to_owned(), 10, "no such file"),
        (threshold, "threshold = 1.5".to_owned(), 13, "out of range"),
        (threshold, "threshold = nan".to_owned(), 13, "out of range"),
        (threshold, "thresold = 0.01".to_owned(), 13, "unknown field"),
        (threshold, String::new(), 12, "needs threshold, rate, target.macs or budget"),
        (threshold, after("rate = 0.5"), 14, "both"),
        ("1 = 0.5", "twelve = 0.5".to_owned(), 14, "Darknet's numbers"),
        ("1 = 0.5", "3 = 0.5".to_owned(), 14, "no such layer"),
        (threshold, after("ignore = [\n0,\n3]"), 16, "no such layer"),
        (threshold, after("metric = \"mAP\""), 14, "unknown metric"),
        (threshold, after("budget_metric = \"MAP\""), 14, "allowed: map, agree, dp, loss, top1"),
        (threshold, after("metric = \"top1\""), 14, "top-1"),
        (threshold, after("criterion = \"l3\""), 14, "allowed: l1, l2, bn-gamma"),
        (threshold, after("criterion = \"taylor\""), 14, "needs labels"),
        (
            threshold,
            after("criterion = \"taylor\"\ngranularity = \"vector:4\""),
            15,
            "no units of this granularity",
        ),
        (threshold, after("allocation = \"best\""), 14, "allowed: threshold, greedy, global, uniform"),
        (
            threshold,
            "allocation = \"uniform\"\ntarget.macs = \"3x\"".to_owned(),
            14,
            "knows no target of MACs",
        ),
        (threshold, "target.macs = \"3\"".to_owned(), 13, "as in 3x"),
        (threshold, "target.macs = \"0.5x\"".to_owned(), 13, "as in 3x"),
        (threshold, "target.latency = \"3x\"".to_owned(), 13, "unknown field"),
        (threshold, after("target.macs = \"3x\""), 14, "both threshold and rate"),
        (threshold, "rate = 0.5\ntarget.macs = \"3x\"".to_owned(), 14, "both rate and target.macs"),
        (threshold, "rate = 0.5\nrounds = 2".to_owned(), 14, "a training after each"),
        (threshold, "rate = 0.5\nrounds = 0".to_owned(), 14, "1 to 20"),
        ("[prune]", "[finetune]\nepochs = 0\n[prune]".to_owned(), 13, "epochs is out of range"),
        ("[prune]", "[finetune]\nrate = 0\n[prune]".to_owned(), 13, "a learning rate above 0"),
        ("[prune]", "[finetune]\nepoch = 1\n[prune]".to_owned(), 13, "unknown field"),
        ("[prune]", "[finetune]\n[prune]".to_owned(), 12, "[finetune] needs labels"),
        ("val = \"val.txt\"", "val = \"val.txt\"\ntest = \"none.txt\"".to_owned(), 11, "no such file"),
        (threshold, after("kernel_batch = 0"), 14, "1 to 1024"),
        (threshold, after("kernel_batch = 1025"), 14, "1 to 1024"),
        (threshold, after("granularity = \"vector:0\""), 14, "unknown granularity"),
        ("[prune]", "[quantize]\nranges = \"narrow\"\n[prune]".to_owned(), 13, "allowed: mse, minmax"),
        ("[prune]", "[quantize]\nsplit = 301.0\n[prune]".to_owned(), 13, "split is out of range"),
        ("[prune]", "[compile]\ntarget = \"moon\"\n[prune]".to_owned(), 13, "allowed: host, x86_64, "),
        ("[prune]", "[compile]\ntarget = \"no.toml\"\n[prune]".to_owned(), 13, "no such file"),
        ("[prune]", "[detect]\nimages = [\"no.png\"]\n[prune]".to_owned(), 13, "no such file"),
        ("[prune]", "[detect]\nthresh = 2\n[prune]".to_owned(), 13, "out of range"),
        ("\"names\"", "\"three\"".to_owned(), 6, "3 names"),
        ("\"out\"", "\"${NO_SUCH_VARIABLE}/x\"".to_owned(), 1, "NO_SUCH_VARIABLE"),
        ("\"out\"", "\"${HOME\"".to_owned(), 1, "without"),
        ("[prune]", "[prune".to_owned(), 12, ""),
    ] {
        let error = load(&GOOD.replace(from, &to)).unwrap_err();
        assert_eq!(error.at_line(), Some(line), "{to}: {error}");
        assert!(error.to_string().contains("recipe.toml"), "{to}: {error}");
        assert!(error.to_string().contains(message), "{to}: {error}");
    }
}

#[test]
fn the_files_of_a_recipe_are_checked_at_their_lines() {
    for (from, to, file, line) in [
        ("\"train.txt", "\"lost.txt", "lost.txt", Some(2)),
        ("\"val.txt", "\"empty.txt", "empty.txt", None),
        ("[prune]", "[compile]\ntarget = \"bad.toml\"\n[prune]", "bad.toml", None),
        ("\"a.cfg\"", "\"names\"", "names", Some(1)),
        ("\"a.weights\"", "\"names\"", "names", None),
    ] {
        let error = load(&GOOD.replace(from, to)).unwrap_err();
        assert!(error.to_string().contains(file), "{to}: {error}");
        assert!(line.is_none() || error.at_line() == line, "{to}: {error}");
    }
}
