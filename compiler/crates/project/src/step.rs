//! One command of a build.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// One argument of a step's command line.
#[derive(Debug, Clone)]
pub enum Arg {
    /// A verb, a flag or a value: counts as it is written.
    Text(String),
    /// A file that the step reads: its content counts, not its path.
    Input(PathBuf),
    /// A file that the step reads and whose name it writes into its result: content and name count.
    NamedInput(PathBuf),
    /// A file that the step writes, named relative to the workspace.
    Output(String),
    /// A folder of the workspace for what the step keeps for itself.
    Folder(&'static str),
}

/// One command of a build: `secateur` and these arguments.
#[derive(Debug, Clone)]
pub struct Step {
    /// Names the stamp file and the line that is printed.
    pub name: String,
    pub args: Vec<Arg>,
    /// Files that the step reads although its command line does not name them (images of a list).
    pub also_reads: Vec<PathBuf>,
    /// Files that the step writes beside those on its command line, named relative to the workspace.
    pub also_writes: Vec<String>,
    /// A build goes on where the step fails: its result is only for comparison.
    pub is_optional: bool,
}

impl Step {
    /// The command line without the program's name; results are written to `workspace`.
    pub fn command(&self, workspace: &Path) -> Vec<OsString> {
        let word = |arg: &Arg| match arg {
            Arg::Text(text) => text.into(),
            Arg::Input(path) | Arg::NamedInput(path) => path_word(path),
            Arg::Output(name) => path_word(&workspace.join(name)),
            Arg::Folder(name) => path_word(&workspace.join(name)),
        };
        self.args.iter().map(word).collect()
    }

    /// Names of all files that the step writes, relative to the workspace.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        let named = self.args.iter().filter_map(|arg| match arg {
            Arg::Output(name) => Some(name.as_str()),
            _ => None,
        });
        named.chain(self.also_writes.iter().map(String::as_str))
    }

    /// Paths of all files that the step reads.
    pub fn inputs(&self) -> impl Iterator<Item = &Path> {
        let named = self.args.iter().filter_map(|arg| match arg {
            Arg::Input(path) | Arg::NamedInput(path) => Some(path.as_path()),
            _ => None,
        });
        named.chain(self.also_reads.iter().map(PathBuf::as_path))
    }
}

/// A path as an argument that no command line takes for an option.
pub(crate) fn path_word(path: &Path) -> OsString {
    match path.as_os_str().as_encoded_bytes().first() {
        Some(b'-') => Path::new(".").join(path).into(),
        _ => path.into(),
    }
}

/// A command line as a shell reads it; bytes that are not UTF-8 are shown as U+FFFD.
pub fn shell_line(words: &[impl AsRef<OsStr>]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    // Fails on NUL alone, which no argument of a process holds.
    shlex::try_join(words.iter().map(AsRef::as_ref)).unwrap_or_else(|_| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_commands_survive_a_shell() {
        let words = ["a b", "it's", "", "plain-1.0/x", "$HOME", "a\nb", "*"].map(str::to_owned);
        assert_eq!(shlex::split(&shell_line(&words)).unwrap(), words);
        assert_eq!(shell_line(&["plain-1.0/x", "--list"]), "plain-1.0/x --list");
    }

    #[test]
    fn a_path_is_never_an_option() {
        assert_eq!(path_word(Path::new("-x.cfg")), "./-x.cfg");
        assert_eq!(path_word(Path::new("a/-x.cfg")), "a/-x.cfg");
    }
}
