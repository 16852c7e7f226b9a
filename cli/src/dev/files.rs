//! The configuration files of a [`Plan`](super::plan::Plan), as text. Pure.
//!
//! Text and not serialised values, so that the files read as an author would
//! have written them: `weft dev export` hands them to the user to go on with.
//! Tests read them back with the programs' own types.

use std::fmt::Write;
use std::path::Path;

use super::plan::{ClusterPlan, GatewayPlan, WorkloadPlan};

/// A gateway's `gateway.yaml`.
pub(crate) fn gateway(cluster: &ClusterPlan, gateway: &GatewayPlan, state: &Path) -> String {
    let GatewayPlan {
        name,
        tunnel,
        front,
        api,
        relay,
        stand_in,
        dns,
        console,
        leaf_lifetime,
        ..
    } = gateway;
    let advertise = match front {
        Some(front) => format!("\n    advertise: {front}   # across the emulated network"),
        None => String::new(),
    };
    let identity = match leaf_lifetime {
        Some(lifetime) => format!(
            "\n  identity:\n    leafLifetime: {}s",
            lifetime.as_secs().max(1)
        ),
        None => String::new(),
    };
    format!(
        "\
# Gateway {id}. Every field: weft schema GatewayConfig
apiVersion: weft.dev/v1
kind: GatewayConfig
metadata:
  name: {name}
spec:
  cluster: {cluster}
  region: {region}
  stateDir: {state}
  tunnel:        # UDP, between gateways: all that crosses regions
    bind: {tunnel}{advertise}
  api:           # gRPC: joining, enrolment, catalog, administration
    bind: {api}
  relay:         # this cluster's sidecars, towards other clusters
    bind: {relay}
  dns:
    bind: {dns}
  console:       # and /metrics, /healthz, /readyz
    bind: {console}
  virtualIPs:    # where this cluster answers for services
    ipv4: {virtual_ips}
  standIn:
    inbound:     # for servers without a sidecar
      bind: {stand_in}
  workers: 2
  drain: 5s{identity}
",
        id = gateway.id(),
        cluster = cluster.name,
        region = cluster.region,
        state = quoted(state),
        virtual_ips = cluster.virtual_ips,
    )
}

/// A workload's `sidecar.yaml`.
pub(crate) fn sidecar(
    cluster: &ClusterPlan,
    workload: &WorkloadPlan,
    state: &Path,
    token: &Path,
) -> String {
    let WorkloadPlan {
        service,
        version,
        app,
        registered_port,
        outbound,
        inbound,
        admin,
        ..
    } = workload;
    let gateways: Vec<String> = cluster
        .gateways
        .iter()
        .map(|gateway| format!("{:?}", gateway.api.to_string()))
        .collect();
    format!(
        "\
# The sidecar of {id}. Every field: weft schema SidecarConfig
apiVersion: weft.dev/v1
kind: SidecarConfig
spec:
  workload:
    namespace: {namespace}
    serviceAccount: {name}
  gateways: [{gateways}]
  enrolment:     # for the first identity only
    tokenFile: {token}
  stateDir: {state}
  workers: 1
  outbound: {outbound}   # http_proxy for the workload
  inbound:
    bind: {inbound}      # mutual TLS from peers
  admin: {admin}      # and /metrics, /healthz, /readyz
  services:
    - name: {name}
      version: {version}
      appAddress: {address}
      ports:
        - name: http
          port: 80
          appPort: {registered_port}
          protocol: http
      checks:
        - http: {{ port: {registered_port}, path: /healthz }}
          interval: 1s
",
        id = workload.id(),
        namespace = service.namespace,
        name = service.name,
        gateways = gateways.join(", "),
        token = quoted(token),
        state = quoted(state),
        address = app.ip(),
    )
}

/// `samples/checkout-v2.yaml`: version 2 of the checkout to the callers of one region, in three
/// stages.
pub(crate) const RELEASE: &str = "\
# Version 2 of the checkout to callers in eu-west. Nothing advances by itself:
#
#     weft release plan -f checkout-v2.yaml
#     weft release start -f checkout-v2.yaml
#     weft release promote checkout-v2
#     weft release abort checkout-v2
apiVersion: weft.dev/v1
kind: Release
metadata: { namespace: shop, name: checkout-v2 }
spec:
  service: checkout
  stable: v1
  canary: v2
  waves:
    - name: west-europe
      regions: [eu-west]                # where the callers are
      steps:                            # the canary's percent of their requests
        - setWeight: 5
        - pause: {}
        - setWeight: 50
        - setWeight: 100
";

/// A cluster's `exports.yaml`: each of its services, offered to everyone.
pub(crate) fn exports(cluster: &ClusterPlan) -> String {
    let mut text = format!("# What {} offers to the other clusters.\n", cluster.name);
    for service in cluster.services() {
        let written = write!(
            text,
            "\
---
apiVersion: weft.dev/v1
kind: ServiceExport
metadata:
  namespace: {}
  name: {}
spec:
  ports:
    - {{ name: http, port: 80, appProtocol: http }}
  exportTo: ['*']
",
            service.namespace, service.name
        );
        written.expect("a string takes any text");
    }
    text
}

/// A path as a YAML scalar that survives blanks, colons and quotes.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::super::plan::Plan;
    use super::*;
    use crate::document::{Document, read_resources};

    #[test]
    fn gateways_read_their_files() {
        let plan = Plan::new(&Options::default());
        for cluster in &plan.clusters {
            for planned in &cluster.gateways {
                let text = gateway(cluster, planned, Path::new("/tmp/a \"b\": c/state"));
                let file: weft_gateway::config::GatewayConfigFile =
                    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{text}\n{e}"));
                assert_eq!(file.metadata.name, planned.name);
                assert_eq!(file.spec.tunnel.bind, planned.tunnel);
                assert_eq!(file.spec.tunnel.advertise, planned.front.map(Into::into));
                assert_eq!(file.spec.dns.bind, planned.dns);
                assert_eq!(file.spec.state_dir, Path::new("/tmp/a \"b\": c/state"));
                assert_eq!(file.spec.virtual_ips.ipv4, cluster.virtual_ips);
            }
        }
    }

    #[test]
    fn sidecars_read_their_files() {
        let plan = Plan::new(&Options::default());
        for cluster in &plan.clusters {
            for workload in &cluster.workloads {
                let text = sidecar(cluster, workload, Path::new("/s"), Path::new("/t"));
                let file: weft_proxy::config::SidecarConfig =
                    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{text}\n{e}"));
                let config = weft_proxy::config::Config::try_from(file).expect("sound");
                assert_eq!(config.services[0].key, workload.service);
                assert_eq!(config.outbound, workload.outbound);
                assert_eq!(config.advertised, workload.inbound);
            }
        }
    }

    #[test]
    fn the_sample_release_is_of_the_sample_service() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkout-v2.yaml");
        std::fs::write(&path, RELEASE).unwrap();
        let documents = read_resources(&path).unwrap();
        let [Document::Release(release)] = &documents[..] else {
            panic!("{documents:?}")
        };
        let plan = Plan::new(&Options::default());
        let service: weft_model::ServiceKey = "shop/checkout".parse().unwrap();
        assert_eq!(release.spec.service, service.name);
        let versions = [&release.spec.stable, &release.spec.canary];
        for version in versions {
            let mut workloads = plan.workloads();
            assert!(workloads.any(|it| it.service == service && it.version == *version));
        }
    }

    #[test]
    fn exports_offer_each_service_once() {
        let plan = Plan::new(&Options::default());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exports.yaml");
        std::fs::write(&path, exports(&plan.clusters[0])).unwrap();
        let documents = read_resources(&path).expect("sound");
        assert_eq!(documents.len(), 4);
        for document in documents {
            let Document::ServiceExport(export) = document else {
                panic!("{document:?}")
            };
            assert_eq!(export.spec.export_to, weft_model::ExportTo::Everyone);
        }
    }
}
