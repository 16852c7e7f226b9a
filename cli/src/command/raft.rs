//! `weft raft …`: the registry's consensus.

mod recover;

use std::path::PathBuf;

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use weft_gateway::admin::view::{RaftMemberView, StatusView};
use weft_model::{NodeId, code};

pub(crate) use recover::{folder, problem as recover_problem};

use super::Outcome;
use super::status::microseconds;
use crate::args::Global;
use crate::client::Client;
use crate::complete;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// The registry's consensus.
#[derive(Debug, Subcommand)]
pub(crate) enum Raft {
    /// Who takes part, and how.
    Members,
    /// Print the leader; exits 7 if there is none.
    Leader,
    /// Have the leader's state take the place of the asked gateway's, whose replica is fenced (WEFT-6035).
    Repair,
    /// Look into the registry of a gateway that does not run; the answer is a report for `recover`.
    Inspect {
        /// The gateway's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Found the registry anew from this host's gateway, whose majority is lost for good.
    ///
    /// Only for when too few voters are left and will not come back: while they may, wait, since
    /// reads, DNS and traffic go on. Stop the gateways that are left, run `weft raft inspect -o json`
    /// on each, and recover on the one that holds most, with the reports of all others: a report
    /// of one that holds more is refused. This gateway votes alone then; start it first. The others take
    /// its state and vote again. A gateway that holds more keeps silent and says so.
    Recover {
        /// The gateway's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// What `weft raft inspect -o json` said on another gateway that is left; once for each.
        #[arg(long = "report", value_name = "FILE")]
        reports: Vec<PathBuf>,
        /// Go on without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Hand leadership to another voter.
    Transfer {
        /// A gateway: `cluster/gateway`, or its node id.
        #[arg(add = ArgValueCandidates::new(complete::gateways))]
        to: String,
    },
}

impl Raft {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Inspect { config } => recover::inspect(&config, global.output),
            Self::Recover {
                config,
                reports,
                yes,
            } => recover::recover(&config, &reports, yes),
            live => super::block_on(live.ask(global)),
        }
    }

    async fn ask(self, global: &Global) -> Outcome {
        let mut client = Client::connect(global).await?;
        let status: StatusView = client.status(false).await?;
        match self {
            Self::Inspect { .. } | Self::Recover { .. } => {}
            Self::Members => members(&status, global.output),
            Self::Leader => {
                let leader = status
                    .raft
                    .members
                    .iter()
                    .find(|m| Some(m.node) == status.raft.leader);
                let leader =
                    leader.ok_or_else(|| Problem::new(code::NO_LEADER, "no leader is known"))?;
                match global.output {
                    format @ (Format::Json | Format::Yaml) => output::document(format, leader),
                    _ => output::data(&full_name(leader)),
                }
            }
            Self::Repair => repair(&mut client, &status, global).await?,
            Self::Transfer { to } => {
                let target = find(&status, &to)?;
                client.transfer(NodeId(target.node)).await?;
                output::narrate(&format!("leadership is handed to {}", full_name(target)));
            }
        }
        Ok(Exit::Done)
    }
}

/// Asks for it, and waits until it is done.
async fn repair(client: &mut Client, status: &StatusView, global: &Global) -> Result<(), Problem> {
    let name = format!("{}/{}", status.cluster, status.gateway);
    let asked: serde_json::Value = client.ask("raft-repair", serde_json::json!({})).await?;
    if asked["begun"] != true {
        output::narrate(&format!("{name} is not fenced: there is nothing to repair"));
        return Ok(());
    }
    let until = std::time::Instant::now() + global.timeout;
    let outranked = code::OUTRANKED.to_string();
    loop {
        let status: StatusView = client.status(false).await?;
        if let Some(found) = status.problems.iter().find(|it| it.code == outranked) {
            return Err(Problem::new(code::OUTRANKED, found.what.clone()));
        }
        if status.raft.fenced.is_none() {
            break;
        }
        if std::time::Instant::now() > until {
            let what = format!("{name} waits for the leader's state still");
            return Err(Problem::new(code::WAIT_OVER, what).next(
                "It goes on by itself once a leader is there (`weft raft leader`), unless it is started again: then ask again.",
            ));
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    output::narrate(&format!(
        "{name} has the leader's state, and takes part again"
    ));
    Ok(())
}

pub(crate) fn full_name(member: &RaftMemberView) -> String {
    format!("{}/{}", member.cluster, member.gateway)
}

pub(crate) fn find<'a>(status: &'a StatusView, name: &str) -> Result<&'a RaftMemberView, Problem> {
    let named =
        |member: &&RaftMemberView| full_name(member) == name || member.node.to_string() == name;
    status.raft.members.iter().find(named).ok_or_else(|| {
        let known: Vec<String> = status.raft.members.iter().map(full_name).collect();
        Problem::new(code::USAGE, format!("there is no gateway {name:?}"))
            .next(format!("Name one of {}.", known.join(", ")))
    })
}

fn members(status: &StatusView, format: Format) {
    match format {
        Format::Json | Format::Yaml => output::document(format, &status.raft),
        Format::Name => status
            .raft
            .members
            .iter()
            .for_each(|member| output::data(&full_name(member))),
        Format::Table | Format::Wide => output::table(
            &["NODE", "GATEWAY", "ROLE", "REACHABLE", "RTT"],
            status.raft.members.iter().map(|member| {
                vec![
                    member.node.to_string(),
                    full_name(member),
                    member.role.clone(),
                    if member.reachable { "yes" } else { "no" }.to_owned(),
                    microseconds(member.rtt_us),
                ]
            }),
        ),
    }
}
