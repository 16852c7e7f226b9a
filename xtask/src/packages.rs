//! The programs that the end-to-end tests talk to and nobody here wrote.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    failure::Failure,
    stage::{Stages, answers, line},
};

/// Where programs are looked for beside `PATH`, which leaves out the administrator's
/// folders for ordinary users.
const SYSTEM_FOLDERS: &[&str] = &["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// Debian keeps several releases of PostgreSQL's server programs apart, off `PATH`.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// A Debian package that tests need.
struct Package {
    name: &'static str,
    /// What is there when the package is.
    proof: Proof,
    /// The tests that fail without it.
    needed_by: &'static str,
}

enum Proof {
    /// A program on `PATH` or in a system folder.
    Program(&'static str),
    /// A program that root does without.
    UnlessRoot(&'static str),
    /// A file of which there is only one place.
    File(&'static str),
    /// A server program of some release of PostgreSQL.
    PostgreSql(&'static str),
}

const PACKAGES: &[Package] = &[
    Package {
        name: "bind9-dnsutils",
        proof: Proof::Program("dig"),
        needed_by: "DNS answers as dig sees them",
    },
    Package {
        name: "unbound",
        proof: Proof::Program("unbound"),
        needed_by: "DNS behind a forwarding resolver",
    },
    Package {
        name: "dnsmasq-base",
        proof: Proof::Program("dnsmasq"),
        needed_by: "DNS behind a forwarding resolver",
    },
    Package {
        name: "python3-dnspython",
        // Only Debian's own interpreter sees it: tests start /usr/bin/python3.
        proof: Proof::File("/usr/lib/python3/dist-packages/dns/message.py"),
        needed_by: "DNS wire conformance",
    },
    Package {
        name: "postgresql",
        proof: Proof::PostgreSql("pg_ctl"),
        needed_by: "a database in another region",
    },
    Package {
        name: "postgresql-client",
        proof: Proof::Program("psql"),
        needed_by: "a database in another region",
    },
    Package {
        name: "redis-server",
        proof: Proof::Program("redis-server"),
        needed_by: "a cache in another region",
    },
    Package {
        name: "redis-tools",
        proof: Proof::Program("redis-cli"),
        needed_by: "a cache in another region",
    },
    Package {
        name: "curl",
        proof: Proof::Program("curl"),
        needed_by: "HTTP through sidecars",
    },
    Package {
        name: "nghttp2-client",
        proof: Proof::Program("h2load"),
        needed_by: "HTTP/2 through sidecars",
    },
    Package {
        name: "python3-grpcio",
        proof: Proof::File("/usr/lib/python3/dist-packages/grpc/__init__.py"),
        needed_by: "gRPC by another implementation",
    },
    Package {
        name: "python3-websockets",
        proof: Proof::File("/usr/lib/python3/dist-packages/websockets/__init__.py"),
        needed_by: "WebSocket across regions",
    },
    Package {
        name: "iproute2",
        proof: Proof::Program("ip"),
        needed_by: "tests in network namespaces",
    },
    Package {
        name: "iputils-ping",
        proof: Proof::Program("ping"),
        needed_by: "delay and loss of emulated links",
    },
    Package {
        name: "nftables",
        proof: Proof::Program("nft"),
        needed_by: "capture; cut and lossy links",
    },
    Package {
        name: "faketime",
        proof: Proof::Program("faketime"),
        needed_by: "gateways whose clocks jump",
    },
    Package {
        name: "uidmap",
        proof: Proof::UnlessRoot("newuidmap"),
        needed_by: "tests of capture, which tells programs apart by their user",
    },
    Package {
        name: "fiu-utils",
        proof: Proof::Program("fiu-run"),
        needed_by: "a sync that fails",
    },
    Package {
        name: "tcpdump",
        proof: Proof::Program("tcpdump"),
        needed_by: "what a capture between gateways shows",
    },
];

/// What only a benchmark needs: no test runs it.
const PEERS: &[Package] = &[Package {
    name: "etcd-server",
    proof: Proof::Program("etcd"),
    needed_by: "the registry beside etcd",
}];

/// Installs what tests need and is missing, saying so first.
///
/// Where we may not install, says what the user has to run.
pub(crate) fn ensure(root: &Path) -> Result<(), Failure> {
    ensure_all(root, PACKAGES)
}

/// The same for what is measured beside us.
pub(crate) fn ensure_peers(root: &Path) -> Result<(), Failure> {
    ensure_all(root, PEERS)
}

fn ensure_all(root: &Path, packages: &'static [Package]) -> Result<(), Failure> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        eprintln!("  missing: {} (for {})", package.name, package.needed_by);
    }
    let script = root.join("xtask/install-packages.sh");
    let mut command = installer(&script, &missing)?;
    eprintln!("  running: {}", line(&command));
    Stages::new(root).run("installation of packages", &mut command)?;
    still_missing(packages)
}

fn missing(packages: &'static [Package]) -> Vec<&'static Package> {
    let lacks = |package: &&Package| !package.proof.holds();
    packages.iter().filter(lacks).collect()
}

fn still_missing(packages: &'static [Package]) -> Result<(), Failure> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Missing {
        what: format!(
            "{} was installed, yet what tests need of it is not there",
            names(&missing)
        ),
        next: "correct its row in xtask/src/packages.rs".into(),
    })
}

/// The command that installs `missing`, run as root one way or the other.
fn installer(script: &Path, missing: &[&Package]) -> Result<Command, Failure> {
    if find("apt-get").is_none() {
        return Err(Failure::Missing {
            what: "end-to-end tests need programs that are not here, and there is no apt-get"
                .into(),
            next: format!(
                "install what corresponds to these Debian packages: {}; or leave end-to-end tests out with --quick",
                names(missing)
            ),
        });
    }
    let mut command = if is_root() {
        Command::new("sh")
    } else if answers(Command::new("sudo").args(["-n", "true"])) {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    } else {
        return Err(Failure::Missing {
            what: "installing the missing packages takes root".into(),
            next: format!(
                "sudo sh {} {}\n        (or leave end-to-end tests out: cargo xtask test --quick)",
                script.display(),
                names(missing)
            ),
        });
    };
    command.arg(script);
    command.args(missing.iter().map(|package| package.name));
    Ok(command)
}

fn names(packages: &[&Package]) -> String {
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    names.join(" ")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

impl Proof {
    fn holds(&self) -> bool {
        match self {
            Self::Program(name) => find(name).is_some(),
            Self::UnlessRoot(name) => is_root() || find(name).is_some(),
            Self::File(path) => Path::new(path).is_file(),
            Self::PostgreSql(name) => find_in_releases(Path::new(POSTGRESQL), name).is_some(),
        }
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// `name` in the `bin` folder of some release under `folder`.
fn find_in_releases(folder: &Path, name: &str) -> Option<PathBuf> {
    let releases = std::fs::read_dir(folder).ok()?;
    releases
        .filter_map(Result::ok)
        .map(|release| release.path().join("bin").join(name))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_proof_of_its_package() {
        assert!(Proof::Program("sh").holds());
        assert!(!Proof::Program("no-such-program-anywhere").holds());
    }

    #[test]
    fn a_file_is_proof_of_its_package() {
        assert!(Proof::File(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).holds());
        assert!(!Proof::File("/no/such/file").holds());
    }

    #[test]
    fn no_release_of_postgresql_is_no_proof() {
        assert_eq!(
            find_in_releases(Path::new("/no/such/folder"), "pg_ctl"),
            None
        );
    }

    #[test]
    fn each_package_is_listed_once() {
        let mut names: Vec<&str> = PACKAGES
            .iter()
            .chain(PEERS)
            .map(|package| package.name)
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PACKAGES.len() + PEERS.len());
    }
}
