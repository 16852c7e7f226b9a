//! What the other clusters hold, read through their own gateways by an operator of theirs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tonic::transport::Channel;
use weft_identity::{BundleSource, SvidSource};
use weft_proto::api::admin_client::AdminClient;
use weft_proto::api::{AskRequest, GetRequest, StatusRequest};
use weft_test_support::{Dev, SOON, eventually, run};

use crate::door::{ask, knock};
use crate::{Loot, Node};

/// The gateways whose word counts: one of each cluster that is not hers.
pub const GATEWAYS: [(&str, &str); 3] = [
    ("us-east-1", "gw-1"),
    ("eu-west-1", "gw-1"),
    ("ap-south-1", "gw-1"),
];
/// Her cluster.
pub const CLUSTER: &str = "mallory-1";
/// Everything that resources can say.
const KINDS: [&str; 7] = [
    "Cluster",
    "ServiceExport",
    "WorkloadEntry",
    "Route",
    "TrafficPolicy",
    "Release",
    "RoleBinding",
];
/// Who looks.
const EYES: &str = "spiffe://dev.weft.internal/user/eyes";

/// The other clusters, seen by an operator who may look and nothing else.
pub struct Victims {
    admins: BTreeMap<String, AdminClient<Channel>>,
    pids: BTreeMap<String, u32>,
    runtime: Handle,
}

/// All that may not change, by gateway and kind.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen(BTreeMap<String, Value>);

impl Victims {
    /// Gives an operator the viewer's role, and connects as that one.
    ///
    /// # Errors
    /// A gateway does not answer.
    pub fn meet(dev: &Dev, founder: &Loot, bundles: &BundleSource, on: &Handle) -> Result<Self> {
        dev.apply("us-east-1", &binding("eyes", "viewer"))?;
        dev.apply("us-east-1", &binding("hands", "operator"))?;
        let eyes = founder.issue_operator(EYES)?;
        let mut admins = BTreeMap::new();
        for (cluster, gateway) in GATEWAYS {
            let address = dev.gateway(cluster, gateway)?.api.parse()?;
            let admin = eventually("an operator who may look", SOON, || {
                let channel = on.block_on(knock(address, &eyes, bundles))?;
                let mut admin = AdminClient::new(channel);
                let asked = ask(StatusRequest { consistent: false });
                on.block_on(admin.status(asked))?;
                Ok(admin)
            })?;
            admins.insert(format!("{cluster}/{gateway}"), admin);
        }
        Ok(Self {
            admins,
            pids: dev.processes()?,
            runtime: on.clone(),
        })
    }

    /// Everything that the clusters hold that is not hers.
    ///
    /// # Errors
    /// A gateway does not answer.
    pub fn look(&self) -> Result<Seen> {
        let mut seen = BTreeMap::new();
        for (name, admin) in &self.admins {
            for kind in KINDS {
                seen.insert(format!("{name} {kind}"), self.get(admin, kind)?);
            }
            let tokens = self.ask(admin, "tokens", &json!({}))?;
            seen.insert(format!("{name} tokens"), tokens["items"].clone());
            let services = self.ask(admin, "services", &json!({}))?;
            let services = services["items"].as_array().cloned().unwrap_or_default();
            for service in services {
                let key = service["name"].as_str().context("a name")?.to_owned();
                let listed = self.ask(admin, "endpoints", &json!({ "service": key }))?;
                seen.insert(format!("{name} endpoints {key}"), foreign(&listed));
                seen.insert(format!("{name} service {key}"), service);
            }
            seen.insert(format!("{name} members"), self.members(admin)?);
        }
        Ok(Seen(seen))
    }

    /// Everything that the clusters hold, once it has come to rest.
    ///
    /// # Errors
    /// It does not.
    pub fn settled(&self) -> Result<Seen> {
        eventually("what the others hold comes to rest", SOON, || {
            let (one, other) = (self.look()?, self.look()?);
            one.compare(&other)?;
            Ok(other)
        })
    }

    /// An error unless every gateway and sidecar that ran at first still does.
    ///
    /// # Errors
    /// Which one does not.
    pub fn all_live(&self, dev: &Dev) -> Result<()> {
        let now = dev.processes()?;
        ensure!(now == self.pids, "{:?} ran, {now:?} run", self.pids);
        Ok(())
    }

    fn get(&self, admin: &AdminClient<Channel>, kind: &str) -> Result<Value> {
        let asked = ask(GetRequest {
            kind: kind.into(),
            ..GetRequest::default()
        });
        let found = self.runtime.block_on(admin.clone().get(asked))?;
        let mut found: Value = serde_json::from_slice(&found.into_inner().json)?;
        // Her own lease she lets lapse: it is when the leader says so that differs.
        for record in found.as_array_mut().into_iter().flatten() {
            if kind == "Cluster" && record["metadata"]["name"] == CLUSTER {
                record["status"]["lapsed"] = Value::Null;
            }
        }
        Ok(found)
    }

    /// A question of the admin API.
    ///
    /// # Errors
    /// No answer.
    pub fn question(&self, gateway: &str, question: &str, arguments: &Value) -> Result<Value> {
        let admin = self.admins.get(gateway).context("no such gateway")?;
        self.ask(admin, question, arguments)
    }

    fn ask(
        &self,
        admin: &AdminClient<Channel>,
        question: &str,
        arguments: &Value,
    ) -> Result<Value> {
        let asked = ask(AskRequest {
            question: question.into(),
            json: arguments.to_string().into_bytes().into(),
        });
        let found = self.runtime.block_on(admin.clone().ask(asked))?;
        Ok(serde_json::from_slice(&found.into_inner().json)?)
    }

    /// A gateway's view of the federation.
    ///
    /// # Errors
    /// No answer.
    pub fn status(&self, gateway: &str) -> Result<Value> {
        self.status_of(self.admins.get(gateway).context("no such gateway")?)
    }

    fn status_of(&self, admin: &AdminClient<Channel>) -> Result<Value> {
        let asked = ask(StatusRequest { consistent: false });
        let status = self.runtime.block_on(admin.clone().status(asked))?;
        Ok(serde_json::from_slice(&status.into_inner().json)?)
    }

    /// Who is a member, with what role and lease, and who votes.
    fn members(&self, admin: &AdminClient<Channel>) -> Result<Value> {
        let status = self.status_of(admin)?;
        let clusters = status["clusters"].as_array().context("clusters")?;
        let clusters = clusters.iter().map(|cluster| {
            let kept = [
                "name", "region", "role", "gateways", "drain", "api", "bundle",
            ];
            kept.map(|key| cluster[key].clone())
        });
        let leases = status["clusters"].as_array().context("clusters")?.iter();
        let leases = leases.filter(|cluster| cluster["name"] != CLUSTER);
        let leases = leases.map(|cluster| cluster["lease"].clone());
        let raft = status["raft"]["members"].as_array().context("members")?;
        let votes = raft.iter().map(|member| {
            let votes = member["role"] != "learner";
            json!([member["node"], member["cluster"], votes])
        });
        Ok(json!({
            "clusters": clusters.collect::<Vec<_>>(),
            "leases": leases.collect::<Vec<_>>(),
            "votes": votes.collect::<Vec<_>>(),
            "fenced": status["problems"].to_string().contains("WEFT-6035"),
        }))
    }
}

/// The endpoints of others, without the verdict, which paths decide.
fn foreign(listed: &Value) -> Value {
    let items = listed["items"].as_array().cloned().unwrap_or_default();
    let others = items.into_iter().filter(|item| item["cluster"] != CLUSTER);
    let kept = others.map(|item| {
        let keys = [
            "id", "cluster", "version", "health", "weight", "address", "identity",
        ];
        keys.map(|key| item[key].clone())
    });
    kept.map(|keys| json!(keys)).collect()
}

impl Seen {
    /// An error if `now` is anything else.
    ///
    /// # Errors
    /// What differs.
    pub fn compare(&self, now: &Self) -> Result<()> {
        let differ = |(what, was): &(&String, &Value)| now.0.get(*what) != Some(*was);
        let gone: Vec<String> = self
            .0
            .iter()
            .filter(differ)
            .map(|(what, was)| format!("{what}: {was} is now {:?}", now.0.get(what)))
            .collect();
        let more: Vec<&String> = now
            .0
            .keys()
            .filter(|key| !self.0.contains_key(*key))
            .collect();
        ensure!(gone.is_empty(), "changed: {}", gone.join("; "));
        ensure!(more.is_empty(), "appeared: {more:?}");
        Ok(())
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

/// A role for one user.
pub fn binding(user: &str, role: &str) -> String {
    format!(
        "
apiVersion: weft.dev/v1
kind: RoleBinding
metadata: {{ name: {user} }}
spec: {{ role: {role}, users: [{user}] }}
"
    )
}

/// Has an administrator let her cluster in, as they would any other, and takes its keys; with
/// the token that it joined by, and one that was not used.
///
/// # Errors
/// It could not join.
pub fn join(dev: &Dev, on: &Handle) -> Result<(Node, [String; 2])> {
    let config = configure(dev, CLUSTER, "gw-1")?;
    // Both now: a cluster that is a member is asked for what concerns it, and she answers nobody.
    let tokens = [token(dev, CLUSTER)?, token(dev, CLUSTER)?];
    let mut join = dev.command(["cluster", "join", "127.1.0.1:7444", "--config"]);
    join.arg(&config).env("WEFT_JOIN_TOKEN", &tokens[0]);
    run(&mut join)?.ok()?;
    Ok((Node::start(Loot::take(&config)?, on)?, tokens))
}

/// A token by which `cluster` may become a member without a vote.
///
/// # Errors
/// It is not granted.
pub fn token(dev: &Dev, cluster: &str) -> Result<String> {
    let create = ["cluster", "token", "create", "--cluster", cluster];
    let place = ["--region", "sa-east", "--role", "member"];
    let said = dev.weft(create.into_iter().chain(place))?.ok()?;
    Ok(said.lines().next().context("a token")?.trim().to_owned())
}

/// The configuration of a gateway of hers, in a folder of its own.
///
/// # Errors
/// It cannot be written.
pub fn configure(dev: &Dev, cluster: &str, gateway: &str) -> Result<PathBuf> {
    let folder = dev.scratch().join(format!("{cluster}-{gateway}"));
    fs::create_dir_all(&folder)?;
    let text = format!(
        "\
apiVersion: weft.dev/v1
kind: GatewayConfig
metadata: {{ name: {gateway} }}
spec:
  cluster: {cluster}
  region: sa-east
  stateDir: {}
  tunnel: {{ bind: 127.6.6.6:7443 }}
  api: {{ bind: 127.6.6.6:7444 }}
  relay: {{ bind: 127.6.6.6:7445 }}
  dns: {{ bind: 127.6.6.6:8653 }}
  console: {{ bind: 127.6.6.6:7480 }}
  virtualIPs: {{ ipv4: 127.99.0.0/16 }}
  standIn: {{ inbound: {{ bind: 127.6.6.6:7446 }} }}
",
        folder.join("state").display()
    );
    let path = folder.join("gateway.yaml");
    fs::write(&path, text)?;
    Ok(path)
}

/// The founder's keys: what the judge needs to look, and no attempt may use.
///
/// # Errors
/// They do not read.
pub fn founder(dev: &Dev) -> Result<Loot> {
    Loot::take(&dev.folder().join("us-east-1/gw-1/gateway.yaml"))
}

/// An operator of any name, with whatever role the log says.
///
/// # Errors
/// The founder's keys do not read.
pub fn operator(founder: &Loot, user: &str) -> Result<SvidSource> {
    founder.issue_operator(&format!("spiffe://dev.weft.internal/user/{user}"))
}
