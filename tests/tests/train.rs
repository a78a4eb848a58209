//! Training as its users run it: to the end, killed and resumed, on one thread and on two, and on bad input.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use secateur_tests::{done, secateur_path, tiny_project};

/// The tiny project with a .data file of its six images.
fn project() -> tempfile::TempDir {
    let project = tiny_project();
    let data = "classes=2\ntrain=list.txt\nvalid=list.txt\nnames=names\nbackup=backup\n";
    std::fs::write(project.path().join("my.data"), data).unwrap();
    project
}

const TRAIN: [&str; 12] = [
    "train",
    "net.cfg",
    "net.weights",
    "--data",
    "my.data",
    "--batches",
    "40",
    "--batch",
    "4",
    "--evaluate-every",
    "10",
    "--rate=0.01",
];

/// Runs the command, which must fail with code 1; returns what it said.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(secateur_path())
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

/// The numbers of a .weights file.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes[20..].chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
}

fn final_weights(folder: &Path) -> Vec<u8> {
    read(folder, "backup/net_final.weights")
}

#[test]
fn training_learns_and_writes_darknets_files() {
    let project = project();
    let folder = project.path();
    let said = done(folder, &TRAIN);
    assert!(said.contains("batch 40: mAP@0.5") && said.contains("best weights: "), "{said}");
    for name in ["_last.weights", "_best.weights", "_final.weights", ".csv", ".json", ".svg", ".png"] {
        assert!(folder.join(format!("backup/net{name}")).is_file(), "{name}");
    }
    let log = std::fs::read_to_string(folder.join("backup/net.csv")).unwrap();
    let losses: Vec<f64> =
        log.lines().skip(1).filter_map(|line| line.split(',').nth(2)?.parse().ok()).collect();
    assert_eq!(losses.len(), 40, "{log}");
    assert!(losses[35..].iter().sum::<f64>() < losses[..5].iter().sum::<f64>(), "the loss falls: {losses:?}");
    // Darknet's own reader takes exactly what the network has.
    done(folder, &["map", "net.cfg", "backup/net_best.weights", "--data", "my.data"]);
}

#[test]
fn threads_and_kills_change_no_byte() {
    let whole = project();
    done(whole.path(), &[&TRAIN[..], &["--threads", "1"]].concat());
    let expected = final_weights(whole.path());

    let threads = project();
    done(threads.path(), &[&TRAIN[..], &["--threads", "3"]].concat());
    assert!(final_weights(threads.path()) == expected, "three threads");

    let killed = project();
    let mut kills = 0;
    for moment in 1.. {
        let mut child = Command::new(secateur_path())
            .current_dir(killed.path())
            .args(TRAIN)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(20 * moment));
        if child.try_wait().unwrap().is_some_and(|status| status.success()) {
            break;
        }
        kills += 1;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills > 0, "the training outlasts a twentieth of a second");
    assert!(final_weights(killed.path()) == expected, "after {kills} kills");
}

#[test]
fn a_second_training_of_the_same_files_is_refused() {
    let project = project();
    let folder = project.path();
    std::fs::create_dir(folder.join("backup")).unwrap();
    let lock = std::fs::File::create(folder.join("backup/net.lock")).unwrap();
    lock.lock().unwrap();
    let said = refused(folder, &TRAIN);
    assert!(said.contains("another training is at work on the same files"), "{said}");
    drop(lock);
    done(folder, &TRAIN);
}

#[test]
fn new_heads_begin_at_random_and_keep_the_body() {
    let project = project();
    std::fs::write(project.path().join("names"), "square\ndisc\nring\n").unwrap();
    let data =
        std::fs::read_to_string(project.path().join("my.data")).unwrap().replace("classes=2", "classes=3");
    std::fs::write(project.path().join("my.data"), data).unwrap();
    let more = ["--classes", "3", "--anchors", "auto"];
    let output = Command::new(secateur_path())
        .current_dir(project.path())
        .args([&TRAIN[..], &more].concat())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("layers that begin with random weights: 4"), "{said}");
    assert!(said.contains("classes in no label") && said.contains("ring"), "{said}");
    let cfg = std::fs::read_to_string(project.path().join("backup/net.cfg")).unwrap();
    assert!(cfg.contains("filters=16") && cfg.contains("classes=3"), "{cfg}");
}

#[test]
fn a_body_begins_a_training() {
    let project = project();
    let folder = project.path();
    let said = done(folder, &["partial", "net.cfg", "net.weights", "body.weights", "4"]);
    assert!(said.contains("layers 0 to 3 of 6"), "{said}");
    // As Darknet's: version 0.2.5, no image seen, then the first layers' numbers.
    let (whole, body) = (read(folder, "net.weights"), read(folder, "body.weights"));
    let header: Vec<u8> = [0u32, 2, 5, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert!(body[..20] == header && body[20..] == whole[20..body.len()]);
    assert_eq!(whole.len() - body.len(), 4 * 14 * (1 + 12), "the head is missing");

    let output = Command::new(secateur_path())
        .current_dir(folder)
        .args(["train", "net.cfg", "body.weights", "--data", "my.data", "--batches", "1", "--rate", "1e-9"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("layers that begin with random weights: 4 to 5"), "{said}");
    let (before, after) = (floats(&whole), floats(&final_weights(folder)));
    let filters = 4 * 8..4 * 8 + 8 * 27;
    assert!(
        before[filters.clone()].iter().zip(&after[filters]).all(|(a, b)| (a - b).abs() < 1e-4),
        "the body's weights"
    );
    let head = floats(&body).len() + 14..;
    assert!(before[head.clone()].iter().zip(&after[head]).all(|(a, b)| a != b), "a random head");

    let train = ["train", "net.cfg", "body.weights", "--data", "my.data", "--batches", "1"];
    std::fs::write(folder.join("body.weights"), &body[..body.len() - 4]).unwrap();
    let said = refused(folder, &train);
    assert!(said.contains("layer 2") && said.contains("ends within this layer"), "{said}");
    let said = refused(folder, &["partial", "net.cfg", "net.weights", "body.weights", "7"]);
    assert!(said.contains("1 to 6"), "{said}");
    done(folder, &["partial", "net.cfg", "net.weights", "body.weights", "3"]);
    let said = refused(folder, &["partial", "net.cfg", "body.weights", "more.weights", "5"]);
    assert!(said.contains("1 to 4"), "the shortcut after the body has no weights: {said}");
    let said = refused(folder, &["finetune", "net.cfg", "body.weights", "--data", "my.data"]);
    assert!(said.contains("a body of 4 layers"), "{said}");
    let said = refused(folder, &["map", "net.cfg", "body.weights", "--data", "my.data"]);
    assert!(said.contains("the file ends with layer 3, as a body"), "{said}");
    let said = refused(folder, &["partial", "net.cfg", "net.weights", "net.weights", "3"]);
    assert!(said.contains("net.weights"), "inputs are never overwritten: {said}");
}

#[test]
fn a_teacher_is_the_same_detector() {
    let project = project();
    let folder = project.path();
    let finetune = ["finetune", "net.cfg", "net.weights", "--data", "my.data", "--epochs", "2", "--teacher"];
    done(folder, &[&finetune[..], &["net.cfg", "net.weights"]].concat());
    let log = std::fs::read_to_string(folder.join("backup/net.csv")).unwrap();
    assert!(log.starts_with("batch,images,loss,box,objectness,class,teacher,rate"), "{log}");

    let other = std::fs::read_to_string(folder.join("net.cfg")).unwrap().replace("mask=0,1", "mask=0,1,2");
    std::fs::write(folder.join("other.cfg"), other.replace("filters=14", "filters=21")).unwrap();
    let line = "train other.cfg --data my.data --batches 1 --batch 2 --backup other";
    done(folder, &line.split(' ').collect::<Vec<_>>());
    let said = refused(folder, &[&finetune[..], &["other.cfg", "other/other_final.weights"]].concat());
    assert!(said.contains("the teacher's heads are not those of the network"), "{said}");
}

#[test]
fn masks_hold_while_the_others_learn() {
    let project = project();
    let folder = project.path();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
    let run = |line: &str| done(folder, &words(line).iter().map(String::as_str).collect::<Vec<_>>());
    for granularity in ["channel", "vector:8"] {
        let lists = "--names names --train list.txt --list list.txt --allocation uniform --rate 0.4";
        run(&format!(
            "prune net.cfg net.weights -o w.prune {lists} --granularity {granularity} --no-reconstruction"
        ));
        let finetune = "finetune net.cfg w.prune --data my.data --epochs 4 --average 0 --backup";
        let said = run(&format!("{finetune} masked-{granularity} --masks w.mask"));
        assert!(said.contains(&format!("units ({granularity})")), "{said}");
        run(&format!("{finetune} free-{granularity}"));
        let zeros = |name: &str| {
            let (pruned, trained) = (floats(&read(folder, "w.prune")), floats(&read(folder, name)));
            let pairs = pruned.into_iter().zip(trained);
            let (zero, other): (Vec<_>, Vec<_>) = pairs.partition(|(before, _)| *before == 0.0);
            let moved = |pairs: &[(f32, f32)]| pairs.iter().filter(|(before, after)| before != after).count();
            assert!(zero.len() > 20 && moved(&other) * 10 > other.len() * 9, "{name}");
            moved(&zero)
        };
        assert_eq!(zeros(&format!("masked-{granularity}/net_final.weights")), 0, "{granularity}");
        assert!(zeros(&format!("free-{granularity}/net_final.weights")) > 0, "{granularity}: without masks");
        run(&format!(
            "transform net.cfg masked-{granularity}/net_final.weights --masks w.mask --retrained \
             --out-cfg cut.cfg --out-weights cut.weights"
        ));
        run("map cut.cfg cut.weights --data my.data");
        let said = refused(
            folder,
            &[
                "finetune",
                "net.cfg",
                "net.weights",
                "--masks",
                "w.mask",
                "--data",
                "my.data",
                "--backup",
                "b",
            ],
        );
        assert!(said.contains("the masks belong to other weights") && said.contains("not 0"), "{said}");
    }
    let other = std::fs::read_to_string(folder.join("net.cfg")).unwrap().replace("filters=12", "filters=10");
    std::fs::write(folder.join("other.cfg"), other).unwrap();
    run("train other.cfg --data my.data --batches 1 --batch 2 --backup other");
    let line = "finetune other.cfg other/other_final.weights --masks w.mask --data my.data --backup b";
    let said = refused(folder, &line.split(' ').collect::<Vec<_>>());
    assert!(said.contains("the masks belong to another network"), "{said}");
}

/// A classifier's classes are in the paths of its images: no list needs label files, and there is no teacher.
#[test]
fn a_classifier_is_trained_and_measured_without_label_files() {
    let project = project();
    let folder = project.path();
    let mut list = String::new();
    for (i, class) in ["square", "disc", "square", "disc", "square", "disc"].into_iter().enumerate() {
        let name = format!("{class}-{i}.png");
        std::fs::copy(folder.join(format!("pictures/{i}.png")), folder.join(&name)).unwrap();
        list += &format!("{name}\n");
    }
    std::fs::write(folder.join("list.txt"), list).unwrap();
    let cfg = "[net]\nwidth=32\nheight=32\nchannels=3\nbatch=6\nmax_batches=30\nlearning_rate=0.05\n\
               [convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=4\npad=1\nactivation=swish\n\
               [convolutional]\nfilters=2\nsize=1\nactivation=linear\n[avgpool]\n[softmax]\n";
    std::fs::write(folder.join("class.cfg"), cfg).unwrap();
    let said = done(folder, &["train", "class.cfg", "--data", "my.data"]);
    assert!(said.contains("batch 30: top-1 "), "{said}");
    let int8 = ["finetune", "class.cfg", "backup/class_final.weights", "--int8", "--data", "my.data"];
    let said = done(folder, &[&int8[..], &["--epochs", "3", "--backup", "int8"]].concat());
    assert!(said.contains("before, in int8: top-1: ") && said.contains("best top-1: "), "{said}");
}

/// Evaluations are of the int8 network; a kill changes no byte, and without --int8 other weights come out.
#[test]
fn the_int8_form_is_trained_and_measured() {
    let whole = project();
    let finetune =
        ["finetune", "net.cfg", "net.weights", "--data", "my.data", "--epochs", "30", "--rate", "0.01"];
    let said =
        done(whole.path(), &[&finetune[..], &["--int8", "--threads", "1", "-o", "best.weights"]].concat());
    let log = std::fs::read_to_string(whole.path().join("backup/net.csv")).unwrap();
    assert!(log.starts_with("batch,images,loss,box,objectness,class,teacher,rate"), "its own teacher: {log}");
    assert!(said.contains("before, in int8: mAP: "), "{said}");

    // The best accuracy is what its artefact has.
    let best = said.lines().find_map(|line| line.strip_prefix("best mAP@0.5: ")).expect(&said);
    let quantize = ["quantize", "net.cfg", "best.weights", "--data", "my.data", "-o", "net.int8"];
    done(whole.path(), &quantize);
    done(whole.path(), &["compile", "net.int8", "-o", "net.sct"]);
    let json = done(whole.path(), &["map", "net.sct", "--data", "my.data", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(best.starts_with(&format!("{:.4} ", json["map"].as_f64().unwrap())), "{best}: {}", json["map"]);

    let again = project();
    let line = [&finetune[..], &["--int8", "--threads", "2"]].concat();
    let mut child = Command::new(secateur_path())
        .current_dir(again.path())
        .args(&line)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    done(again.path(), &line);
    assert!(final_weights(again.path()) == final_weights(whole.path()), "killed, on two threads");

    // Weights that are worse than those at the start are not handed out.
    let wild = ["--int8", "--rate", "0.5", "--backup", "wild", "-o", "wild.weights"];
    let said = done(whole.path(), &[&finetune[..7], &wild[..]].concat());
    assert!(said.contains(" after batch 0 of "), "{said}");
    assert!(floats(&read(whole.path(), "wild.weights")) == floats(&read(whole.path(), "net.weights")));

    let float = project();
    done(float.path(), &[&finetune[..], &["--teacher", "net.cfg", "net.weights"]].concat());
    assert!(final_weights(float.path()) != final_weights(whole.path()));
    let said = refused(whole.path(), &["train", "net.cfg", "--data", "my.data", "--int8", "--batches", "1"]);
    assert!(said.contains("--int8 needs trained weights"), "{said}");
}

/// The closed pruner's four steps with its config file alone, as its guide has them.
#[test]
fn the_config_file_names_what_finetune_needs() {
    let project = project();
    let folder = project.path();
    let config = "[pruning]\nworkspace=work\ndatacfg=my.data\nmodelcfg=net.cfg\nthreshold=0.3\ncriteria=0\n";
    std::fs::write(folder.join("pruning.cfg"), config).unwrap();
    done(folder, &["ana", "pruning.cfg", "net.weights"]);
    let cfg = std::fs::read_to_string(folder.join("work/net-prune.cfg")).unwrap();
    assert_eq!(cfg.as_bytes(), read(folder, "net.cfg"));
    done(folder, &["prune", "pruning.cfg", "net.weights"]);
    let said = refused(folder, &["finetune", "pruning.cfg"]);
    assert!(
        said.contains("the length of the training is not known") && said.contains("max_batches"),
        "{said}"
    );
    // Its users change the keys of training in the pruned network's cfg; `prune` leaves them alone.
    let keys = "[net]\nbatch=4\nmax_batches=6\nlearning_rate=0.01\n";
    std::fs::write(folder.join("work/net-prune.cfg"), cfg.replace("[net]\n", keys)).unwrap();
    done(folder, &["prune", "pruning.cfg", "net.weights"]);

    let said = done(folder, &["finetune", "pruning.cfg"]);
    for line in [
        "Workspace exists: work",
        "Finetune model  : work/net-prune.cfg",
        "Finetune weights: work/weights.prune",
        " avg loss, 0.010000 rate, ",
        " seconds, 24 images, 0.000000 hours left",
        " mean_average_precision (mAP@0.50) = 0.",
        "Saving weights to ",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.contains("\n 6: "), "a line for each batch: {said}");
    let trained = read(folder, "backup/net-prune_final.weights");
    assert_eq!(trained[12..16], 24_u32.to_le_bytes(), "images seen");
    let (pruned, after) = (floats(&read(folder, "work/weights.prune")), floats(&trained));
    let zeros = |numbers: &[f32]| numbers.iter().filter(|number| **number == 0.0).count();
    assert!(zeros(&pruned) > 20 && pruned != after);
    assert!(pruned.iter().zip(&after).all(|(before, after)| *before != 0.0 || *after == 0.0), "masks hold");
    let cut = done(folder, &["transform", "pruning.cfg", "backup/net-prune_final.weights"]);
    assert!(cut.contains("Operations") && folder.join("backup/net-transform.cfg").is_file(), "{cut}");

    // Weights of its own, without masks beside them: filters that are zero stay so.
    std::fs::remove_file(folder.join("work/weights.mask")).unwrap();
    std::fs::copy(folder.join("work/weights.prune"), folder.join("own.weights")).unwrap();
    done(folder, &["finetune", "pruning.cfg", "own.weights", "--backup", "again"]);
    let again = floats(&read(folder, "again/net-prune_final.weights"));
    assert!(pruned.iter().zip(&again).all(|(before, after)| *before != 0.0 || *after == 0.0));
    std::fs::write(folder.join("pruning.cfg"), config.replace("datacfg=my.data\n", "")).unwrap();
    assert!(refused(folder, &["finetune", "pruning.cfg"]).contains("datacfg="));
}

#[test]
fn bad_input_is_found_before_training() {
    let project = project();
    let folder = project.path();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();

    write("pictures/0.txt", "7 .5 .5 .2 .2\n");
    write("pictures/1.txt", "0 .5 1.5 .2 .2\n0 .5 .5 .2\n");
    let said = refused(folder, &TRAIN);
    assert!(said.contains("3 mistakes") && said.contains("0.txt") && said.contains("1.txt:2"), "{said}");
    write("pictures/0.txt", "0 .5 .5 .2 .2\n");
    write("pictures/1.txt", "1 .5 .5 .2 .2\n");

    write("pictures/2.png", "no image");
    assert!(refused(folder, &TRAIN).contains("2.png"), "an unreadable image");
    std::fs::copy(folder.join("pictures/4.png"), folder.join("pictures/2.png")).unwrap();

    assert!(refused(folder, &["finetune", "net.cfg", "--data", "my.data"]).contains("trained weights"));
    let said = refused(folder, &[&TRAIN[..], &["-o", "net.weights"]].concat());
    assert!(said.contains("net.weights"), "inputs are never overwritten: {said}");

    done(folder, &TRAIN);
    let said = refused(folder, &[&TRAIN[..], &["--seed", "9"]].concat());
    assert!(said.contains("other options") && said.contains("delete it"), "{said}");
    let checkpoint = folder.join("backup/net.checkpoint");
    let bytes = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused(folder, &TRAIN).contains("damaged"));
    let expected = final_weights(folder);
    done(folder, &[&TRAIN[..], &["--renew"]].concat());
    assert!(final_weights(folder) == expected, "a training that begins anew ends as the first one");
}

/// A rate at which everything runs off: the training ends with a reason instead of weights that are no numbers.
#[test]
fn a_training_that_runs_off_says_so() {
    let project = project();
    let wild = ["train", "net.cfg", "net.weights", "--data", "my.data", "--batches", "60", "--batch", "4"];
    let said = refused(project.path(), &[&wild[..], &["--rate", "1e30", "--clip", "1e30"]].concat());
    assert!(said.contains("not finite") && said.contains("pictures/"), "{said}");
}
