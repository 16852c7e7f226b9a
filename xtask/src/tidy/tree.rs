//! The files of the project: those that git tracks, or would if they were added.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use crate::{failure::Failure, stage};

/// Paths are relative to the root and separated by `/`.
pub(super) struct Tree {
    texts: BTreeMap<String, String>,
    /// Every file and every folder that holds one.
    places: BTreeSet<String>,
}

impl Tree {
    pub(super) fn load(root: &Path) -> Result<Self, Failure> {
        let mut list = Command::new("git");
        list.args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let mut tree = Self::empty();
        for path in stage::output(root, &mut list)?.split_terminator('\0') {
            let file = root.join(path);
            // Git still lists a file that was deleted and not yet staged.
            if !file.is_file() {
                continue;
            }
            let bytes = std::fs::read(&file).map_err(|source| Failure::Read {
                path: file.clone(),
                source,
            })?;
            tree.add(path, bytes);
        }
        Ok(tree)
    }

    fn empty() -> Self {
        Self {
            texts: BTreeMap::new(),
            places: BTreeSet::from([String::new()]),
        }
    }

    fn add(&mut self, path: &str, bytes: Vec<u8>) {
        self.places.insert(path.to_owned());
        for (end, _) in path.match_indices('/') {
            self.places.insert(path[..end].to_owned());
        }
        if let Ok(text) = String::from_utf8(bytes) {
            self.texts.insert(path.to_owned(), text);
        }
    }

    /// The text files, in order of their paths.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text files whose names end in `.` and `extension`.
    pub(super) fn texts_of(&self, extension: &str) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(move |(path, _)| {
            Path::new(path)
                .extension()
                .is_some_and(|found| found == extension)
        })
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether there is such a file or folder. The root is the empty path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.places.contains(path)
    }
}

/// Joins a relative path to a folder, taking `.` and `..` away. `None` if it leads out
/// of the tree.
pub(super) fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The folder of a file; empty at the root.
pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
impl Tree {
    /// A tree of the given paths and texts.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::empty();
        for (path, text) in files {
            tree.add(path, text.as_bytes().to_vec());
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_places_too() {
        let tree = Tree::of(&[("a/b/c.md", "")]);
        for place in ["", "a", "a/b", "a/b/c.md"] {
            assert!(tree.has(place), "{place:?}");
        }
        assert!(!tree.has("a/b/c"));
    }

    #[test]
    fn joined_paths_stay_in_the_tree() {
        assert_eq!(join("docs", "../a/./b.md").as_deref(), Some("a/b.md"));
        assert_eq!(join("", "docs/").as_deref(), Some("docs"));
        assert_eq!(join("docs", "../../x"), None);
    }

    #[test]
    fn binary_files_are_places_without_text() {
        let mut tree = Tree::empty();
        tree.add("logo.png", vec![0x89, 0xff]);
        assert!(tree.has("logo.png"));
        assert_eq!(tree.texts().count(), 0);
    }
}
