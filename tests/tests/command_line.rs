//! The command as a user meets it: help, exit codes, completions, the model catalogue.

use std::path::Path;

use predicates::prelude::*;
use predicates::str::contains;
use secateur_tests::secateur;

const VERBS: [&str; 21] = [
    "info",
    "stat",
    "map",
    "detect",
    "dump",
    "ana",
    "permute",
    "prune",
    "transform",
    "recalibrate",
    "train",
    "finetune",
    "partial",
    "quantize",
    "compile",
    "run",
    "build",
    "scenes",
    "models",
    "targets",
    "completions",
];

#[test]
fn every_verb_has_help_with_an_example() {
    let overview = secateur().arg("--help").assert().success();
    let overview = String::from_utf8(overview.get_output().stdout.clone()).unwrap();
    for verb in VERBS {
        assert!(overview.contains(&format!("\n  {verb}")), "{verb} is not in the overview");
        let text = match verb {
            "models" => secateur().args(["models", "get", "--help"]).assert().success(),
            "targets" => secateur().args(["targets", "show", "--help"]).assert().success(),
            _ => secateur().args([verb, "--help"]).assert().success(),
        };
        text.stdout(contains("Usage: secateur").and(contains(format!("  secateur {verb} "))));
    }
}

#[test]
fn wrong_usage_is_2_and_a_failed_job_is_1() {
    secateur().assert().code(2);
    secateur().arg("no-such-verb").assert().code(2);
    secateur().args(["info", "--no-such-flag"]).assert().code(2);
    secateur().args(["--threads", "0", "models", "list"]).assert().code(2);
    for verb in VERBS.iter().filter(|v| !["models", "targets", "completions"].contains(v)) {
        secateur().arg(verb).assert().code(2).stderr(contains("Usage"));
    }
    secateur().args(["info", "no/such.cfg"]).assert().code(1).stderr(contains("no/such.cfg"));
    secateur().arg("--version").assert().code(0).stdout(contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_name_every_verb_in_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = secateur().args(["completions", shell]).assert().success();
        let script = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        for verb in VERBS {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_not() {
    let run = |shell: &str| {
        let path = secateur_tests::secateur_path().display();
        std::process::Command::new("bash")
            .args(["-c", &format!("set -o pipefail; {}", shell.replace("secateur", &path.to_string()))])
            .output()
            .unwrap()
    };
    let full = run("secateur models list > /dev/full");
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&full.stderr).contains("No space left"));
    let closed = run("for i in {1..200}; do secateur models list | true || exit 9; done");
    assert_eq!(closed.status.code(), Some(0), "{}", String::from_utf8_lossy(&closed.stderr));
    assert!(closed.stderr.is_empty());
}

/// A folder as `models get --from` expects it, with wrong contents.
fn folder_with(name: &str, file: &str, bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(name)).unwrap();
    std::fs::write(folder.path().join(name).join(file), bytes).unwrap();
    folder
}

fn models_get(name: &str, from: &Path, out: &Path) -> assert_cmd::assert::Assert {
    secateur().args(["models", "get", name, "--from"]).arg(from).arg("-o").arg(out).assert()
}

#[test]
fn every_model_of_the_catalogue_is_got_and_verified() {
    let Some(data) = secateur_testing::data_dir() else { return };
    let list = secateur().args(["models", "list"]).assert().success();
    let list = String::from_utf8(list.get_output().stdout.clone()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut got = 0;
    for entry in std::fs::read_dir(data.join("models")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(list.contains(&name), "{name} is not listed");
        let to = out.path().join(&name);
        models_get(&name, &data.join("models"), &to).success().stdout(contains("checksum OK").count(3));
        for file in ["model.cfg", "model.weights", "names"] {
            let original = std::fs::read(data.join("models").join(&name).join(file)).unwrap();
            assert_eq!(std::fs::read(to.join(file)).unwrap(), original);
        }
        models_get(&name, &data.join("models"), &to).success().stdout(contains("already there").count(3));
        got += 1;
    }
    assert_eq!(got, 10);
}

#[test]
fn a_model_that_is_not_the_right_one_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let from = folder_with("yoloface-50k", "model.cfg", b"[net]\n");
    models_get("yoloface-50k", from.path(), out.path()).code(1).stderr(contains("sha256"));
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    models_get("no-such-model", from.path(), out.path()).code(1).stderr(contains("yoloface-50k"));
    models_get("yoloface-50k", Path::new("/no/such/folder"), out.path()).code(1);
}

#[cfg(unix)]
#[test]
fn a_download_is_verified_and_never_half_written() {
    use std::os::unix::fs::PermissionsExt;
    let Some(data) = secateur_testing::data_dir() else { return };
    let cfg = data.join("models/yoloface-50k/model.cfg");
    // A curl that sends the right file, the start of it, too much of it, or fails.
    for (script, code, says) in [
        (format!("head -c 100 {}", cfg.display()), 1, "sha256"),
        (format!("cat {}; yes", cfg.display()), 1, "sha256"),
        ("echo 'curl: (6) no route' >&2; exit 6".to_owned(), 1, "cannot download"),
        (
            format!(
                "case \"$*\" in *.cfg) f=model.cfg;; *.weights) f=model.weights;; *) f=names;; esac; cat {}/$f",
                cfg.parent().unwrap().display()
            ),
            0,
            "",
        ),
    ] {
        let bin = tempfile::tempdir().unwrap();
        let curl = bin.path().join("curl");
        std::fs::write(&curl, format!("#!/bin/bash\n{script}\n")).unwrap();
        std::fs::set_permissions(&curl, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
        let out = tempfile::tempdir().unwrap();
        let mut command = secateur();
        command.env("PATH", path).args(["models", "get", "yoloface-50k", "-o"]).arg(out.path());
        command.assert().code(code).stderr(contains(says));
        let written = std::fs::read_dir(out.path()).unwrap().count();
        assert_eq!(written, if code == 0 { 3 } else { 0 }, "{script}");
    }
}

/// A server that accepts and stays silent, and a `~/.curlrc` that would send the file elsewhere.
#[cfg(unix)]
#[test]
fn a_server_that_stalls_is_given_up_and_curlrc_is_not_read() {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, Instant};
    let curl = std::process::Command::new("bash").args(["-c", "command -v curl"]).output().unwrap();
    let curl = String::from_utf8(curl.stdout).unwrap();
    assert!(!curl.is_empty(), "this test needs curl");
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    // Connections are accepted by the system and never answered.
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    write(".curlrc", "output = \"elsewhere\"\ndump-header = \"elsewhere\"\ntrace = \"traced\"\n");
    // The real curl with the options in their order, the address replaced by that of the silent server.
    let script = "#!/bin/bash\nargs=()\nfor a in \"$@\"; do\n\
                  case \"$a\" in https:*) a=http://ADDRESS/;; =https) a='=http';; esac\n\
                  args+=(\"$a\")\ndone\nexec CURL \"${args[@]}\"\n";
    write("curl", &script.replace("ADDRESS", &address.to_string()).replace("CURL", curl.trim()));
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let started = Instant::now();
    let mut command = secateur();
    command.env("PATH", path).env("HOME", folder.path()).env("CURL_HOME", folder.path());
    command.current_dir(folder.path()).args([
        "models",
        "get",
        "yoloface-50k",
        "--stall-limit",
        "1",
        "-o",
        "out",
    ]);
    command.assert().code(1).stderr(contains("cannot download"));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "elsewhere" || name == "traced" || name == "out"), "{left:?}");
}
