//! Paths in recipes: environment variables, and the folder that they are relative to.
//!
//! Written here rather than taken from a crate because of two needs: an unset variable is an error and never an
//! empty string, and a `..` behind a symbolic link must stay.

use std::env::VarError;
use std::path::{Component, Path, PathBuf};

/// Expands `${NAME}` and `${NAME:-default}` in `text`, then takes the path relative to `folder`. A path that begins
/// with a variable that is set is relative to the working folder, as in a shell.
pub(super) fn resolve(
    text: &str,
    folder: &Path,
    lookup: impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<PathBuf, String> {
    let (expanded, defaulted) = expand(text, lookup)?;
    let from_environment = text.starts_with("${") && !defaulted;
    Ok(if from_environment { PathBuf::from(expanded) } else { tidy(&folder.join(expanded)) })
}

/// Removes `name/..` where `name` is no symbolic link: behind a link, `..` leads elsewhere.
pub(super) fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for component in path.components() {
        let named = matches!(tidied.components().next_back(), Some(Component::Normal(_)));
        match component {
            Component::ParentDir if named && !tidied.is_symlink() => {
                tidied.pop();
            }
            other => tidied.push(other),
        }
    }
    tidied
}

/// The value of an environment variable; an empty one counts as unset.
///
/// # Errors
/// A value that is not UTF-8: recipes are text.
pub(super) fn variable(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("the environment variable {name} is not UTF-8")),
    }
}

/// Replaces `${NAME}` and `${NAME:-default}`; the flag is true if a default was used.
fn expand(
    text: &str,
    lookup: impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<(String, bool), String> {
    let mut out = String::new();
    let mut defaulted = false;
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or_else(|| format!("`${{` without `}}` in {text:?}"))?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        match (lookup(name)?, default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => {
                defaulted = true;
                out.push_str(default);
            }
            (None, None) => return Err(format!("the environment variable {name} is not set")),
        }
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok((out, defaulted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_back_are_left_out_of_paths() {
        for (path, tidied) in
            [("a/b/../../out/x", "out/x"), ("../a/../b", "../b"), ("/a/../b", "/b"), ("a", "a")]
        {
            assert_eq!(tidy(Path::new(path)), Path::new(tidied));
        }
    }

    #[test]
    fn variables_expand_like_a_shell() {
        let lookup = |name: &str| match name {
            "A" => Ok(Some("x".to_owned())),
            "ODD" => Err("not UTF-8".to_owned()),
            _ => Ok(None),
        };
        assert_eq!(expand("${A}/b", lookup).unwrap(), ("x/b".to_owned(), false));
        assert_eq!(expand("${B:-../y}/b", lookup).unwrap(), ("../y/b".to_owned(), true));
        assert!(expand("${B}", lookup).is_err());
        assert!(expand("${ODD:-y}", lookup).is_err(), "a default does not hide a value that cannot be used");
        assert_eq!(resolve("${A}/b", Path::new("f"), lookup).unwrap(), Path::new("x/b"));
        assert_eq!(resolve("${B:-y}/b", Path::new("f"), lookup).unwrap(), Path::new("f/y/b"));
    }
}
