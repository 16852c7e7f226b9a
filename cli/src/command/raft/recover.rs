//! `weft raft inspect` and `recover`: a gateway's registry while it does not run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weft_gateway::config::GatewayConfigFile;
use weft_model::{Federation, GatewayRole, Index, NodeId, code};
use weft_registry::{Inspection, Reach, RecoverError};

use crate::command::gateway::disk_code;
use crate::command::{Outcome, consent};
use crate::document::read_config;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// What one gateway's registry holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The federation.
    domain: String,
    /// `cluster/gateway`.
    gateway: String,
    /// Its id.
    node: u64,
    /// Where the registry was last founded anew; 0 if it never was.
    recovered: u64,
    /// The term of its last entry.
    last_term: u64,
    /// The last position in its log.
    last: u64,
    /// The last position that it knows to be committed.
    commit: u64,
    /// Set if its state is not the others': a majority had another one at this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fenced: Option<u64>,
    /// Who votes, as far as it knows.
    voters: Vec<String>,
    /// Replicas without a vote.
    learners: Vec<String>,
}

impl Report {
    fn of(found: &Inspection) -> Self {
        let names = |nodes: &std::collections::BTreeSet<NodeId>| {
            nodes.iter().map(|node| name(&found.state, *node)).collect()
        };
        Self {
            domain: found.folder.domain.to_string(),
            gateway: name(&found.state, found.folder.node),
            node: found.folder.node.0,
            recovered: found.recovered.0,
            last_term: found.last_term,
            last: found.last.0,
            commit: found.commit.0,
            fenced: found.fenced.map(|it| it.0),
            voters: names(&found.voters),
            learners: names(&found.learners),
        }
    }

    /// What to know of a replica that is fenced.
    fn doubt(&self) -> Option<String> {
        let at = self.fenced?;
        let gateway = &self.gateway;
        Some(format!(
            "{gateway} is fenced (WEFT-6035): its log is right, what it made of it was not what most others had at {at}"
        ))
    }

    fn reach(&self) -> Reach {
        Reach {
            recovered: Index(self.recovered),
            term: self.last_term,
            last: Index(self.last),
        }
    }
}

fn name(state: &Federation, node: NodeId) -> String {
    match state.node(node) {
        Some(record) => format!("{}/{}", record.cluster, record.gateway.name),
        None => format!("node {node}"),
    }
}

/// Where a gateway keeps its registry.
pub(crate) fn folder(config: &Path) -> Result<PathBuf, Problem> {
    let config: GatewayConfigFile = read_config(config, "GatewayConfig")?;
    if config.spec.role == GatewayRole::Follower {
        let what = format!(
            "{}/{} is a follower, which keeps no registry on its disk",
            config.spec.cluster, config.metadata.name
        );
        return Err(Problem::new(code::NOTHING_TO_RECOVER, what));
    }
    Ok(config.spec.state_dir.join("registry"))
}

pub(super) fn inspect(config: &Path, format: Format) -> Outcome {
    let found = weft_registry::inspect(&folder(config)?).map_err(|error| problem(&error))?;
    let report = Report::of(&found);
    let doubt = report.doubt();
    match format {
        Format::Json | Format::Yaml => output::document(format, &report),
        Format::Name => output::data(&report.gateway),
        Format::Table | Format::Wide => output::table(
            &["GATEWAY", "NODE", "TERM", "LAST", "COMMITTED", "VOTERS"],
            [vec![
                report.gateway,
                report.node.to_string(),
                report.last_term.to_string(),
                report.last.to_string(),
                report.commit.to_string(),
                report.voters.join(", "),
            ]],
        ),
    }
    if let Some(doubt) = doubt {
        output::narrate(&doubt);
    }
    Ok(Exit::Done)
}

pub(super) fn recover(config: &Path, reports: &[PathBuf], yes: bool) -> Outcome {
    let folder = folder(config)?;
    let found = weft_registry::inspect(&folder).map_err(|error| problem(&error))?;
    let own = Report::of(&found);
    let reports: Vec<Report> = reports
        .iter()
        .map(|it| read(it))
        .collect::<Result<_, _>>()?;
    check(&own, &reports)?;
    show(&own, &reports);
    consent("the federation's domain", &own.domain, yes)?;
    let at = weft_registry::recover(&folder).map_err(|error| problem(&error))?;
    output::narrate(&format!(
        "the registry is founded anew at index {at}; {} votes alone",
        own.gateway
    ));
    output::narrate(
        "next: start it, then the others; `weft raft members` shows who votes.\n\
         Remove what will not come back: weft gateway remove CLUSTER/GATEWAY, weft cluster remove NAME",
    );
    Ok(Exit::Done)
}

/// Refuses reports of another federation, of a log that holds more, and of one that holds as much
/// where this one's state is in doubt.
fn check(own: &Report, reports: &[Report]) -> Result<(), Problem> {
    if let Some(other) = reports.iter().find(|other| other.domain != own.domain) {
        let what = format!(
            "a report is of {}, this gateway is of {}",
            other.domain, own.domain
        );
        return Err(Problem::new(code::FOREIGN_STATE, what));
    }
    let sound = |report: &Report| report.fenced.is_none();
    let most = reports.iter().max_by_key(|it| (it.reach(), sound(it)));
    let better = most.filter(|it| (it.reach(), sound(it)) > (own.reach(), sound(own)));
    let Some(better) = better else {
        return Ok(());
    };
    let Report {
        gateway,
        last,
        last_term,
        ..
    } = better;
    if better.reach() == own.reach() {
        let doubt = own.doubt().unwrap_or_default();
        let what = format!("{doubt}; {gateway} holds as much, and is not");
        return Err(Problem::new(code::DIVERGED, what).next("Recover on that one."));
    }
    let what = format!(
        "{gateway} holds the log up to {last} (term {last_term}), this gateway up to {} (term {})",
        own.last, own.last_term
    );
    let problem = Problem::new(code::AHEAD, what);
    Err(match better.doubt() {
        Some(doubt) => problem.detail(doubt),
        None => problem,
    })
}

/// What it would mean.
fn show(own: &Report, reports: &[Report]) {
    for doubt in [own].into_iter().chain(reports).filter_map(Report::doubt) {
        output::tell(&doubt);
    }
    let needed = own.voters.len() / 2 + 1;
    output::tell(&format!(
        "{} of {} holds the log up to {} (term {})",
        own.gateway, own.domain, own.last, own.last_term
    ));
    output::tell(&format!(
        "its registry has {} voters and needs {needed}: {}",
        own.voters.len(),
        own.voters.join(", ")
    ));
    let unheard: Vec<&str> = own
        .voters
        .iter()
        .filter(|voter| **voter != own.gateway)
        .filter(|voter| reports.iter().all(|report| report.gateway != **voter))
        .map(String::as_str)
        .collect();
    if !unheard.is_empty() {
        output::tell(&format!(
            "no report of {}: what they alone acknowledged beyond {} is given up. If they run still, apart\n\
             from the others, they go on as the old registry until they hear of the new one",
            unheard.join(", "),
            own.last
        ));
    }
}

fn read(path: &Path) -> Result<Report, Problem> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let what = format!("{} cannot be read", path.display());
        Problem::new(code::FILE_UNREADABLE, what).detail(error)
    })?;
    serde_json::from_str(&text).map_err(|error| {
        let what = format!("{} is no report", path.display());
        Problem::new(code::SYNTAX, what)
            .detail(error)
            .next("Give what `weft raft inspect --config FILE -o json` printed there.")
    })
}

/// A folder that cannot be looked into, or founded anew from.
pub(crate) fn problem(error: &RecoverError) -> Problem {
    let code = match error {
        RecoverError::Disk(error) => disk_code(error),
        RecoverError::Open(_) => code::CORRUPT_STATE,
        RecoverError::Nothing(_) | RecoverError::Removed(_) => code::NOTHING_TO_RECOVER,
    };
    let problem = Problem::new(code, error.to_string());
    match std::error::Error::source(error) {
        Some(source) => problem.detail(source),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(gateway: &str, last_term: u64, last: u64) -> Report {
        Report {
            domain: "fed.example.org".into(),
            gateway: gateway.into(),
            node: 1,
            recovered: 0,
            last_term,
            last,
            commit: last,
            fenced: None,
            voters: vec![],
            learners: vec![],
        }
    }

    #[test]
    fn a_log_that_holds_more_is_found_by_term_first() {
        let check = |own: (u64, u64), other: (u64, u64), expect: bool| {
            let (own, other) = (
                report("a/gw", own.0, own.1),
                report("b/gw", other.0, other.1),
            );
            assert_eq!(
                check(&own, std::slice::from_ref(&other)).is_ok(),
                expect,
                "{own:?} {other:?}"
            );
        };
        check((2, 10), (2, 10), true);
        check((2, 10), (2, 9), true);
        check((2, 10), (2, 11), false);
        check((2, 10), (3, 4), false);
        check((3, 4), (2, 10), true);
    }

    #[test]
    fn of_two_that_hold_as_much_the_one_that_is_not_fenced_is_taken() {
        let sound = report("a/gw", 2, 10);
        let mut fenced = report("b/gw", 2, 10);
        fenced.fenced = Some(7);
        assert!(check(&sound, std::slice::from_ref(&fenced)).is_ok());
        assert!(check(&fenced, std::slice::from_ref(&fenced)).is_ok());
        let refused = check(&fenced, &[sound]).unwrap_err();
        assert_eq!(refused.code, code::DIVERGED);
        // What was acknowledged goes before what can be looked at.
        fenced.last = 11;
        let refused = check(&report("a/gw", 2, 10), &[fenced.clone()]).unwrap_err();
        assert_eq!(refused.code, code::AHEAD);
        assert!(check(&fenced, &[report("a/gw", 2, 10)]).is_ok());
    }

    #[test]
    fn a_report_of_another_federation_is_refused() {
        let mut other = report("b/gw", 1, 1);
        other.domain = "other.example.org".into();
        let refused = check(&report("a/gw", 1, 1), &[other]).unwrap_err();
        assert_eq!(refused.code, code::FOREIGN_STATE);
    }
}
