//! Our crates, as their manifests tell it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{
    failure::Failure,
    stage::{cargo, line, output},
};

/// The members of the workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(super) crates: Vec<Crate>,
    /// Where Cargo puts what it builds.
    pub(crate) target_directory: PathBuf,
}

/// One of our crates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crate {
    pub(super) name: String,
    /// Its folder, relative to the root.
    pub(super) folder: String,
    /// The root files of its library, programs, tests, benchmarks and build script,
    /// relative to the root of the workspace.
    pub(super) roots: Vec<String>,
    pub(super) dependencies: Vec<Dependency>,
}

/// A line of a manifest's dependency tables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) kind: Option<Kind>,
}

/// Which table, if not `[dependencies]` itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Build,
    Dev,
}

impl Workspace {
    pub(crate) fn load(root: &Path) -> Result<Self, Failure> {
        let mut command = cargo();
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let answer = output(root, &mut command)?;
        let metadata: Metadata =
            serde_json::from_str(&answer).map_err(|source| Failure::Answer {
                command: line(&command),
                source,
            })?;
        Ok(metadata.into_workspace())
    }

    /// The crate that a file belongs to: the one with the innermost folder around it.
    pub(super) fn owner(&self, path: &str) -> Option<&Crate> {
        self.crates
            .iter()
            .filter(|owner| owner.holds(path))
            .max_by_key(|owner| owner.folder.len())
    }
}

impl Crate {
    pub(super) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }

    fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&self.folder)
            .is_some_and(|rest| rest.starts_with('/'))
    }
}

/// What we read of the answer of `cargo metadata`.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Target {
    src_path: PathBuf,
}

impl Metadata {
    fn into_workspace(self) -> Workspace {
        let root = self.workspace_root;
        let crates = self.packages.into_iter();
        Workspace {
            crates: crates.map(|package| package.into_crate(&root)).collect(),
            target_directory: self.target_directory,
        }
    }
}

impl Package {
    fn into_crate(self, root: &Path) -> Crate {
        let relative = |path: &Path| {
            let path = path.strip_prefix(root).unwrap_or(path);
            path.to_string_lossy().into_owned()
        };
        let folder = self.manifest_path.parent().unwrap_or(root);
        Crate {
            folder: relative(folder),
            roots: self
                .targets
                .iter()
                .map(|target| relative(&target.src_path))
                .collect(),
            name: self.name,
            dependencies: self.dependencies,
        }
    }
}

#[cfg(test)]
impl Workspace {
    /// A workspace of libraries, given as names and folders.
    pub(super) fn of(crates: &[(&str, &str)]) -> Self {
        let crates = crates.iter().map(|(name, folder)| Crate {
            name: (*name).to_owned(),
            folder: (*folder).to_owned(),
            roots: vec![format!("{folder}/src/lib.rs")],
            dependencies: Vec::new(),
        });
        Self {
            crates: crates.collect(),
            target_directory: PathBuf::new(),
        }
    }

    /// The same, with a line in a manifest.
    pub(super) fn with(mut self, name: &str, dependency: &str, kind: Option<Kind>) -> Self {
        let owner = self.crates.iter_mut().find(|owner| owner.name == name);
        owner.unwrap().dependencies.push(Dependency {
            name: dependency.to_owned(),
            kind,
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_relative_to_the_root() {
        let metadata: Metadata = serde_json::from_str(
            r#"{ "workspace_root": "/r", "target_directory": "/t", "packages": [{
                "name": "a", "manifest_path": "/r/x/a/Cargo.toml",
                "targets": [{ "src_path": "/r/x/a/src/lib.rs", "kind": ["lib"] }],
                "dependencies": [{ "name": "b", "kind": "dev", "req": "*" }, { "name": "c", "kind": null }]
            }] }"#,
        )
        .unwrap();
        let expected = Workspace::of(&[("a", "x/a")])
            .with("a", "b", Some(Kind::Dev))
            .with("a", "c", None);
        assert_eq!(metadata.into_workspace().crates, expected.crates);
    }

    #[test]
    fn a_file_belongs_to_the_innermost_crate() {
        let workspace = Workspace::of(&[("outer", "cli"), ("inner", "cli/wan")]);
        let owner = |path| workspace.owner(path).map(|owner| owner.name.as_str());
        assert_eq!(owner("cli/src/main.rs"), Some("outer"));
        assert_eq!(owner("cli/wan/src/lib.rs"), Some("inner"));
        assert_eq!(owner("client/src/lib.rs"), None);
    }
}
