//! `weft dev export DIR`: the same federation as configuration files of your own, and
//! the commands that bring it up by hand.

use std::fmt::Write;
use std::path::Path;

use weft_model::code;

use super::files;
use super::folder::Folder;
use super::options::{Options, WanMode};
use super::plan::{ClusterPlan, GatewayPlan, Plan, WorkloadPlan};
use crate::output;
use crate::problem::{Exit, Problem};

/// Writes the files into an empty folder.
pub(crate) fn export(dir: &Path) -> Result<Exit, Problem> {
    let folder = Folder::named(dir)?;
    if folder.founded()?.is_some() {
        return Err(Problem::new(
            code::USAGE,
            format!("{} is a folder of weft dev", dir.display()),
        )
        .next("Name an empty folder."));
    }
    // Without the emulated network: that is a part of `weft dev`, not of a federation.
    let options = Options {
        wan: WanMode::Off,
        ..Options::default()
    };
    let plan = Plan::new(&options);
    for cluster in &plan.clusters {
        folder.write(&folder.exports(&cluster.name), &files::exports(cluster))?;
        for gateway in &cluster.gateways {
            let path = folder.gateway(gateway);
            let text = files::gateway(cluster, gateway, &path.join("state"));
            folder.write(&path.join("gateway.yaml"), &text)?;
        }
        for workload in &cluster.workloads {
            let path = folder.workload(workload);
            let text = files::sidecar(cluster, workload, &path.join("state"), &path.join("token"));
            folder.write(&path.join("sidecar.yaml"), &text)?;
        }
    }
    let readme = folder.root().join("README.md");
    folder.write(&readme, &instructions(&plan))?;
    output::narrate(&format!("written; begin with {}", readme.display()));
    Ok(Exit::Done)
}

/// The README: every command, in an order that works.
fn instructions(plan: &Plan) -> String {
    let mut text = format!(
        "\
# A federation of {clusters} clusters

The one that `weft dev` runs, as files. Its addresses are of this machine's loopback
interface: on hosts of your own, change every `bind` and `stateDir`, and add `advertise`
where others reach a port at another address.

Each gateway, sidecar and sample runs until it is stopped: give each a terminal, or a
service of systemd. Run everything in this folder, while no `weft dev` runs. As there,
something is wrong in the sample shop on purpose: `weft check` finds it.
",
        clusters = plan.clusters.len()
    );
    for cluster in &plan.clusters {
        section(&mut text, plan, cluster);
    }
    text
}

fn section(text: &mut String, plan: &Plan, cluster: &ClusterPlan) {
    push(
        text,
        format_args!("\n## {} ({})\n\n```sh", cluster.name, cluster.region),
    );
    for gateway in &cluster.gateways {
        membership(text, plan, cluster, gateway);
        push(
            text,
            format_args!(
                "weft gateway run --config {}/gateway.yaml &\n\
                 until curl --silent --fail http://{}/readyz; do sleep 1; done",
                gateway.id(),
                gateway.console
            ),
        );
    }
    push(
        text,
        format_args!("weft --cluster {0} apply -f {0}/exports.yaml", cluster.name),
    );
    push(text, format_args!("```\n\n```sh"));
    for workload in &cluster.workloads {
        beside(text, cluster, workload);
    }
    push(text, format_args!("```"));
}

/// Founding, or joining with a token.
fn membership(text: &mut String, plan: &Plan, cluster: &ClusterPlan, gateway: &GatewayPlan) {
    let (id, founder) = (gateway.id(), plan.founder());
    if *gateway == *founder {
        return push(
            text,
            format_args!(
                "weft cluster init --domain {} --config {id}/gateway.yaml",
                plan.domain
            ),
        );
    }
    push(
        text,
        format_args!(
            "WEFT_JOIN_TOKEN=$(weft cluster token create --cluster {} --region {}) \\\n    \
             weft cluster join {} --config {id}/gateway.yaml",
            cluster.name, cluster.region, founder.api
        ),
    );
}

/// A workload and its sidecar.
fn beside(text: &mut String, cluster: &ClusterPlan, workload: &WorkloadPlan) {
    let id = workload.id();
    push(
        text,
        format_args!(
            "weft --cluster {} identity token create --workload {} > {id}/token",
            cluster.name, workload.service
        ),
    );
    push(
        text,
        format_args!("weft sidecar run --config {id}/sidecar.yaml &"),
    );
    let upstreams: String = workload
        .upstreams
        .iter()
        .map(|upstream| format!(" --upstream {upstream}"))
        .collect();
    push(
        text,
        format_args!(
            "weft sample --name {} --version {} --region {} --listen {} --proxy {}{upstreams} &",
            workload.service.name,
            workload.version,
            cluster.region,
            workload.app,
            workload.outbound
        ),
    );
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_has_its_file_and_its_command() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("mine");
        export(&dir).unwrap();
        let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
        let plan = Plan::new(&Options::default());
        let gateways = plan
            .gateways()
            .map(|gateway| format!("{}/gateway.yaml", gateway.id()));
        let sidecars = plan
            .workloads()
            .map(|workload| format!("{}/sidecar.yaml", workload.id()));
        for file in gateways.chain(sidecars) {
            assert!(dir.join(&file).exists(), "{file}");
            assert!(readme.contains(&format!("run --config {file} &")), "{file}");
        }
        assert_eq!(readme.matches("cluster join").count(), 3);
    }
}
