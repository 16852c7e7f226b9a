//! `weft status`: one screen, problems last.

mod past;

use weft_gateway::admin::view::{ClusterView, ProblemView, StatusView};

use super::Outcome;
use super::check::FailOn;
use super::release;
use crate::args::Global;
use crate::client::Client;
use crate::output::{self, Format};
use crate::problem::Exit;

/// One screen.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Ask the leader first, so that the answer is linearizable.
    #[arg(long)]
    consistent: bool,
    /// What makes the exit status other than 0.
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
}

impl Status {
    /// Whether the leader is asked first.
    pub(crate) fn is_consistent(&self) -> bool {
        self.consistent
    }

    /// Whether problems that are no failures are to fail it.
    pub(crate) fn fails_on_warnings(&self) -> bool {
        self.fail_on == FailOn::Warn
    }

    pub(crate) async fn run(self, global: &Global) -> Outcome {
        if global.as_of.is_some() {
            return past::run(global).await;
        }
        let mut client = Client::connect(global).await?;
        let status: StatusView = client.status(self.consistent).await?;
        match global.output {
            Format::Json | Format::Yaml => output::value(global.output, &status),
            Format::Name => status
                .clusters
                .iter()
                .for_each(|cluster| output::data(&cluster.name)),
            Format::Table | Format::Wide => print(&status),
        }
        let is_warning = |problem: &ProblemView| problem.severity == "warn";
        Ok(if !status.problems.iter().all(is_warning) {
            Exit::Failed
        } else if self.fail_on == FailOn::Warn && !status.problems.is_empty() {
            Exit::Warnings
        } else {
            Exit::Done
        })
    }
}

fn print(status: &StatusView) {
    let leader = status
        .raft
        .members
        .iter()
        .find(|member| Some(member.node) == status.raft.leader)
        .map_or_else(
            || "none".to_owned(),
            |member| format!("{}/{}", member.cluster, member.gateway),
        );
    output::data(&format!(
        "federation {}   seen from {}/{}   index {}   {} old   leader {leader} (term {})\n",
        status.federation,
        status.cluster,
        status.gateway,
        status.freshness.applied_index,
        milliseconds(status.freshness.age_ms),
        status.raft.term,
    ));
    output::table(
        &[
            "CLUSTER", "REGION", "ROLE", "LEASE", "PATH", "RTT", "GATEWAYS",
        ],
        status.clusters.iter().map(cluster_row),
    );
    if status.services.is_empty() {
        output::narrate("no service is exported to this cluster or registered in it");
    } else {
        print_services(status);
    }
    if !status.releases.is_empty() {
        output::data("");
        release::table(&status.releases);
    }
    for problem in &status.problems {
        output::data(&format!(
            "\n{}: {} ({})\n  next  {}",
            problem.severity, problem.what, problem.code, problem.next
        ));
    }
}

fn print_services(status: &StatusView) {
    output::data("");
    output::table(
        &["SERVICE", "TYPE", "PORTS", "READY", "EXPORTED BY"],
        status.services.iter().map(|service| {
            vec![
                service.name.clone(),
                service.service_type.clone(),
                service.ports.join(","),
                service
                    .ready
                    .iter()
                    .map(|(_, ready)| ready)
                    .sum::<u32>()
                    .to_string(),
                service.exporters.join(","),
            ]
        }),
    );
}

pub(crate) fn cluster_row(cluster: &ClusterView) -> Vec<String> {
    vec![
        cluster.name.clone(),
        cluster.region.clone(),
        cluster.role.clone(),
        cluster.lease.clone(),
        if cluster.drain {
            format!("{}, draining", cluster.path)
        } else {
            cluster.path.clone()
        },
        microseconds(cluster.rtt_us),
        cluster.gateways.join(","),
    ]
}

/// `81.2 ms`, or `-`.
pub(crate) fn microseconds(time: Option<u64>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time) => format!("{}.{} ms", time / 1000, time % 1000 / 100),
    }
}

/// `340 ms`, `12 s`, `3 min`.
pub(crate) fn milliseconds(time: u64) -> String {
    match time {
        0..10_000 => format!("{time} ms"),
        10_000..120_000 => format!("{} s", time / 1000),
        _ => format!("{} min", time / 60_000),
    }
}
