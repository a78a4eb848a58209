//! Paths on the command line: options between them, outputs that are inputs, names that are not UTF-8, config files.

use std::path::Path;

use predicates::str::contains;
use secateur_tests::{done, secateur, tiny_project};

#[test]
fn options_may_stand_between_paths() {
    let project = tiny_project();
    let path = project.path();
    for line in [
        "detect net.cfg net.weights --thresh 0.5 pictures/0.png",
        "detect --thresh 0.5 net.cfg net.weights pictures/0.png pictures/1.png",
        "detect net.cfg --names names net.weights pictures/0.png --json pictures/1.png",
        "dump net.cfg -o out net.weights pictures/0.png",
        "dump -o out net.cfg net.weights pictures/0.png",
        "map net.cfg --list list.txt --names names net.weights",
        "info --ir net.cfg",
        "quantize net.cfg --list list.txt net.weights -o net.int8",
    ] {
        done(path, &line.split(' ').collect::<Vec<_>>());
    }
    // Too few of them are wrong usage still.
    for line in
        ["detect net.cfg", "detect net.cfg --thresh 0.5", "dump net.cfg -o out", "dump a b c d -o out"]
    {
        secateur().current_dir(path).args(line.split(' ')).assert().code(2).stderr(contains("Usage"));
    }
}

/// `--images` counts images; the older name stays.
#[test]
fn older_names_of_options_are_understood() {
    let project = tiny_project();
    for option in ["--images", "--pictures"] {
        let line = ["map", "net.cfg", "net.weights", "--list", "list.txt", "--names", "names", option, "2"];
        assert!(done(project.path(), &line).starts_with("2 images"));
    }
}

fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|p| p.is_file()).map(|p| (p.clone(), std::fs::read(&p).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn an_output_never_overwrites_an_input() {
    let project = tiny_project();
    let path = project.path();
    std::fs::copy(path.join("pictures/0.png"), path.join("0.png")).unwrap();
    std::fs::hard_link(path.join("names"), path.join("hard")).unwrap();
    std::fs::write(path.join("my.data"), "classes = 2\nvalid = list.txt\ntrain = list.txt\nnames = names\n")
        .unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("list.txt", path.join("soft")).unwrap();
    done(path, &["dump", "net.cfg", "net.weights", "0.png", "-o", "dump"]);
    std::fs::copy(path.join("dump/input.npy"), path.join("layer_002.npy")).unwrap();
    let recipe = "workspace = \".\"\n[model]\ncfg = \"pruned.cfg\"\nweights = \"net.weights\"\nnames = \"names\"\n\
                  [data]\ntrain = \"list.txt\"\nval = \"list.txt\"\n[prune]\nrate = 0.1\n";
    std::fs::write(path.join("recipe.toml"), recipe).unwrap();
    std::fs::copy(path.join("net.cfg"), path.join("pruned.cfg")).unwrap();

    std::fs::write(path.join("main.cfg"), "[pruning]\nmodelcfg=net.cfg\ndatacfg=my.data\n").unwrap();

    let before = (files(path), files(&path.join("pictures")), files(&path.join("dump")));
    let map = "map net.cfg net.weights --list list.txt --names names --report";
    for line in [
        format!("{map} list.txt"),
        format!("{map} ./pictures/../list.txt"),
        format!("{map} names"),
        format!("{map} hard"),
        format!("{map} net.cfg"),
        format!("{map} net.weights"),
        format!("{map} pictures/3.png"),
        format!("{map} pictures/3.txt"),
        "map net.cfg net.weights --data my.data --report list.txt".to_owned(),
        "map main.cfg net.weights --report main.cfg".to_owned(),
        "map main.cfg net.weights --report my.data".to_owned(),
        "map main.cfg net.weights --report names".to_owned(),
        "quantize net.cfg net.weights --list list.txt -o net.weights".to_owned(),
        "quantize net.cfg net.weights --list list.txt -o list.txt".to_owned(),
        "quantize net.cfg net.weights --data my.data -o names".to_owned(),
        "quantize net.cfg net.weights --list list.txt --report net.cfg -o net.int8".to_owned(),
        "quantize net.cfg net.weights --list list.txt -o pictures/3.png".to_owned(),
        "ana net.cfg net.weights --list list.txt --names names -o list.txt".to_owned(),
        "ana net.cfg net.weights --data my.data -o pictures/3.png".to_owned(),
        "prune net.cfg net.weights --data my.data --rate 0.1 -o net.weights".to_owned(),
        "prune net.cfg net.weights --data my.data --rate 0.1 --masks list.txt".to_owned(),
        "transform net.cfg net.weights --out-weights net.cfg".to_owned(),
        "permute net.cfg net.weights -o net.weights".to_owned(),
        "map net.cfg net.weights --data my.data --report my.data".to_owned(),
        "map net.cfg net.weights --list list.txt --names names --against pruned.cfg net.weights --report pruned.cfg".to_owned(),
        "dump net.cfg net.weights layer_002.npy -o .".to_owned(),
        "dump net.cfg net.weights dump/input.npy -o dump".to_owned(),
        "build recipe.toml".to_owned(),
        #[cfg(unix)]
        format!("{map} soft"),
    ] {
        let refused = secateur().current_dir(path).args(line.split(' ')).assert();
        refused.code(1).stderr(contains("overwrite an input"));
        assert!(before == (files(path), files(&path.join("pictures")), files(&path.join("dump"))), "{line}");
    }

    for line in [
        "prune net.cfg net.weights --data my.data --rate 0.1 --masks same -o same",
        "quantize net.cfg net.weights --list list.txt --report same -o same",
        "transform net.cfg net.weights --out-cfg same --out-weights ./same",
    ] {
        let refused = secateur().current_dir(path).args(line.split(' ')).assert();
        refused.code(1).stderr(contains("two outputs have the same path"));
        assert!(!path.join("same").exists(), "{line}");
    }

    // Drawn images get another name where an image of the command has theirs.
    let drawn = "detect net.cfg net.weights 0.png ./pictures/0.png pictures/1.png --out pictures";
    done(path, &drawn.split(' ').collect::<Vec<_>>());
    for (file, bytes) in before.1 {
        assert!(std::fs::read(&file).unwrap() == bytes, "{} was overwritten", file.display());
    }
    assert!(["0-2.png", "0-3.png", "1-2.png"].iter().all(|name| path.join("pictures").join(name).exists()));
}

#[cfg(unix)]
#[test]
fn paths_need_not_be_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let project = tiny_project();
    let odd = project.path().join(std::ffi::OsStr::from_bytes(b"odd\xff name"));
    std::fs::create_dir(&odd).unwrap();
    for entry in std::fs::read_dir(project.path()).unwrap() {
        let from = entry.unwrap().path();
        if from != odd {
            std::fs::rename(&from, odd.join(from.file_name().unwrap())).unwrap();
        }
    }
    let at = |name: &str| odd.join(name);
    let run = |arguments: &[&std::ffi::OsStr]| {
        let output = secateur().current_dir(project.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    macro_rules! run {
        ($($word:expr),*) => { run(&[$(std::ffi::OsStr::new(&$word)),*]) };
    }
    let (cfg, weights, image) = (at("net.cfg"), at("net.weights"), at("pictures/0.png"));
    let (list, names) = (at("list.txt"), at("names"));
    for json in [
        run!("detect", cfg, weights, image, "--json", "--out", at("drawn")),
        run!("map", cfg, weights, "--list", list, "--names", names, "--json", "--report", at("map.json")),
    ] {
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert!(value.to_string().contains("odd\u{fffd} name"));
    }
    run!("dump", cfg, weights, image, "-o", at("dump"));
    run!("ana", cfg, weights, "--list", list, "--names", names, "-o", at("ana.json"));
    // What was measured is read back with the paths that it was measured on.
    run!(
        "prune",
        cfg,
        weights,
        "--ana",
        at("ana.json"),
        "--list",
        list,
        "--names",
        names,
        "--rate",
        "0.2",
        "-o",
        at("pruned.weights")
    );

    let recipe = "workspace = \"out\"\n[model]\ncfg = \"net.cfg\"\nweights = \"net.weights\"\nnames = \"names\"\n\
                  [data]\ntrain = \"list.txt\"\nval = \"list.txt\"\n[prune]\nrate = 0.1\n\
                  [detect]\nimages = [\"pictures/0.png\"]\n";
    std::fs::write(at("recipe.toml"), recipe).unwrap();
    run!("build", at("recipe.toml"));
    assert!(at("out/model.sct").exists() && at("out/detections/0.png").exists());
}

/// The closed pruner gives its config file to every command.
#[test]
fn config_files_stand_for_the_network() {
    let project = tiny_project();
    let path = project.path();
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
    write("my.data", "classes = 2\nvalid = list.txt\ntrain = list.txt\nnames = names\n");
    write("main.cfg", "[pruning]\nworkspace=pruning\nmodelcfg=net.cfg\ndatacfg=my.data\nthreshold=0.01\n");
    assert_eq!(done(path, &["stat", "main.cfg"]), done(path, &["stat", "net.cfg"]));
    assert_eq!(done(path, &["info", "main.cfg"]), done(path, &["info", "net.cfg"]));
    let plain = ["map", "net.cfg", "net.weights", "--list", "list.txt", "--names", "names"];
    assert_eq!(done(path, &["map", "main.cfg", "net.weights"]), done(path, &plain));
    done(path, &["detect", "main.cfg", "net.weights", "pictures/0.png"]);
    secateur()
        .current_dir(path)
        .args(["map", "net.cfg", "net.weights"])
        .assert()
        .code(1)
        .stderr(contains("--data"));
}
