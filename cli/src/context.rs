//! Contexts: which federation the admin commands talk to, and as whom.
//!
//! One file, `config.yaml`, 0600, in `$WEFT_CONFIG_DIR`, `$XDG_CONFIG_HOME/weft` or
//! `~/.config/weft`. It holds private keys.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use weft_gateway::admin::view::ClusterView;
use weft_model::{ClusterName, FederationDomain, SignerEpoch, UserName, code};

use crate::problem::Problem;

/// All contexts of this user.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One federation, and who we are there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Context {
    /// The federation's domain.
    pub(crate) domain: FederationDomain,
    /// The gateways' API addresses (`host:port`) by cluster; the first cluster is asked by default.
    pub(crate) clusters: BTreeMap<ClusterName, Member>,
    /// The cluster asked when none is named.
    pub(crate) home: ClusterName,
    /// The operator.
    pub(crate) user: UserName,
    /// Certificate chain, PEM.
    pub(crate) certificate: String,
    /// Its private key, PEM.
    pub(crate) key: String,
    /// The seed of the Ed25519 key that signs commands, hexadecimal.
    pub(crate) signing_seed: String,
    /// Which of the user's signing keys this is.
    pub(crate) signing_epoch: SignerEpoch,
}

/// How to reach a cluster and know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Member {
    /// API addresses, `host:port`.
    pub(crate) api: Vec<String>,
    /// Its CA certificates, PEM.
    pub(crate) bundle: String,
}

impl Context {
    /// Every cluster that it knows, the home first.
    pub(crate) fn contacts(&self) -> impl Iterator<Item = &ClusterName> {
        let others = self.clusters.keys().filter(|name| **name != self.home);
        std::iter::once(&self.home).chain(others)
    }

    /// The same, with what a gateway says of the members.
    pub(crate) fn with_members(mut self, members: Vec<ClusterView>) -> Self {
        for ClusterView {
            name, api, bundle, ..
        } in members
        {
            if let Ok(cluster) = ClusterName::new(&name) {
                self.clusters.insert(cluster, Member { api, bundle });
            }
        }
        self
    }
}

impl Contexts {
    /// Reads the file; none is no contexts.
    pub(crate) fn load() -> Result<Self, Problem> {
        let path = path()?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(Problem::new(
                    code::FILE_UNREADABLE,
                    format!("cannot read {}", path.display()),
                )
                .detail(error));
            }
        };
        serde_saphyr::from_str(&text).map_err(|error| {
            Problem::new(code::SYNTAX, format!("{} does not parse", path.display()))
                .detail(error.render())
        })
    }

    /// Writes the file whole, or not at all.
    pub(crate) fn save(&self) -> Result<(), Problem> {
        let path = path()?;
        let failed = |error: std::io::Error| {
            Problem::new(
                code::FILE_UNREADABLE,
                format!("cannot write {}", path.display()),
            )
            .detail(error)
        };
        let text = serde_saphyr::to_string(self)
            .map_err(|error| Problem::new(code::SYNTAX, "cannot write contexts").detail(error))?;
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(failed)?;
        }
        let temporary = path.with_extension(format!("tmp{}", std::process::id()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        fs::rename(&temporary, &path).map_err(failed)
    }

    /// The context named, or the one in use.
    pub(crate) fn pick(&self, name: Option<&str>) -> Result<(&str, &Context), Problem> {
        let name = name
            .or(self.current.as_deref())
            .ok_or_else(|| Problem::new(code::NO_CONTEXT, "no context is selected"))?;
        self.contexts
            .get_key_value(name)
            .map(|(name, context)| (name.as_str(), context))
            .ok_or_else(|| {
                let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
                let problem =
                    Problem::new(code::NO_CONTEXT, format!("there is no context {name:?}"));
                match crate::document::nearest(name, &known) {
                    Some(near) => problem.next(format!(
                        "Did you mean {near:?}? `weft context list` shows all."
                    )),
                    None => problem,
                }
            })
    }
}

/// Where the file is.
pub(crate) fn path() -> Result<PathBuf, Problem> {
    let from = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty());
    let folder = from("WEFT_CONFIG_DIR")
        .map(PathBuf::from)
        .or_else(|| from("XDG_CONFIG_HOME").map(|base| PathBuf::from(base).join("weft")))
        .or_else(|| from("HOME").map(|home| PathBuf::from(home).join(".config/weft")))
        .ok_or_else(|| {
            Problem::new(
                code::NO_CONTEXT,
                "none of WEFT_CONFIG_DIR, XDG_CONFIG_HOME and HOME is set",
            )
        })?;
    Ok(folder.join("config.yaml"))
}
