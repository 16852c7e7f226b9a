//! `weft cluster …`: found, join, leave and administer.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use weft_gateway::admin::view::StatusView;
use weft_model::{
    ClusterName, ClusterRole, Command, FederationDomain, Kind, RegionName, UserName, code,
};

use super::status::cluster_row;
use super::{Outcome, consent};
use crate::args::{Global, parse_lifetime};
use crate::client::Client;
use crate::complete;
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

/// Found, join, leave and administer clusters.
#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Found a federation: its first cluster, first gateway, operators' CA and first administrator.
    Init(Init),
    /// Make this gateway a member, with a token.
    Join(Join),
    /// Make and administer join tokens.
    #[command(subcommand)]
    Token(Token),
    /// List the members.
    List,
    /// Take the asked cluster out of the federation, by its own word.
    Leave {
        /// Go on without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Remove a member: its records go, and its name never returns.
    Remove {
        /// The member.
        #[arg(add = ArgValueCandidates::new(complete::clusters))]
        name: ClusterName,
        /// Go on without asking.
        #[arg(long)]
        yes: bool,
    },
}

/// Found a federation.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The gateway's configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The federation's domain: fed.example.org.
    #[arg(long)]
    pub(crate) domain: FederationDomain,
    /// The first administrator.
    #[arg(long, default_value = "admin")]
    pub(crate) admin: UserName,
    /// The name of the context that is made; the domain if left out.
    #[arg(long)]
    pub(crate) save_as: Option<String>,
}

/// Join a federation.
#[derive(Debug, clap::Args)]
pub(crate) struct Join {
    /// A member's API address, host:port; the token names some as well.
    pub(crate) address: Option<String>,
    /// The token.
    #[arg(long, env = "WEFT_JOIN_TOKEN", hide_env_values = true)]
    pub(crate) token: String,
    /// The gateway's configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// Join tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make one; it works once.
    Create {
        /// The cluster that joins, or the one that gets a further gateway; whom to ask stands
        /// before the command: `weft --cluster NAME cluster token create`.
        #[arg(long, add = ArgValueCandidates::new(complete::clusters))]
        cluster: ClusterName,
        /// Its region.
        #[arg(long)]
        region: RegionName,
        /// Whether its gateways may vote.
        #[arg(long, value_enum, default_value_t = RoleArg::Voter)]
        role: RoleArg,
        /// How long it works.
        #[arg(long, value_parser = parse_lifetime, default_value = "10m")]
        ttl: Duration,
    },
    /// List them: who for, and what became of each. Secrets are not kept anywhere.
    List,
    /// Withdraw one.
    Revoke {
        /// Its id, from the list.
        id: String,
    },
}

/// A cluster's role, as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoleArg {
    /// Eligible to vote.
    Voter,
    /// A replica without a vote.
    Member,
    /// A vote and nothing else: the third place for a federation of two clusters.
    Witness,
}

impl From<RoleArg> for ClusterRole {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Voter => Self::Voter,
            RoleArg::Member => Self::Member,
            RoleArg::Witness => Self::Witness,
        }
    }
}

impl Cluster {
    /// Whether its `--cluster` is not whom to ask.
    pub(crate) fn names_who_joins(&self) -> bool {
        matches!(self, Self::Token(Token::Create { .. }))
    }

    pub(crate) async fn run(self, global: &Global) -> Outcome {
        match self {
            Self::List if global.as_of.is_some() => {
                let mut client = Client::connect(global).await?;
                // Of all clusters, whichever is asked.
                let scope = Global {
                    cluster: None,
                    namespace: None,
                    ..global.clone()
                };
                let members = client.resources(&scope, Kind::Cluster, None, false).await?;
                list_past(&members, global.output);
                Ok(Exit::Done)
            }
            Self::Init(init) => crate::membership::init(init),
            Self::Join(join) => crate::membership::join(join).await,
            Self::Token(token) => token.run(global).await,
            Self::List => {
                let status = Client::connect(global).await?.status(false).await?;
                list(&status, global.output);
                Ok(Exit::Done)
            }
            Self::Leave { yes } => {
                let mut client = Client::connect(global).await?;
                let status = client.status(false).await?;
                confirm(&status, &status.cluster, yes)?;
                let index = client.leave().await?;
                output::narrate(&format!("{} left at index {index}", status.cluster));
                Ok(Exit::Done)
            }
            Self::Remove { name, yes } => {
                let mut client = Client::connect(global).await?;
                let status = client.status(false).await?;
                confirm(&status, name.as_str(), yes)?;
                let index = client
                    .submit(Command::RemoveCluster(name.clone()), None, false)
                    .await?;
                output::narrate(&format!("{name} removed at index {index}"));
                Ok(Exit::Done)
            }
        }
    }
}

impl Token {
    async fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Create {
                cluster,
                region,
                role,
                ttl,
            } => {
                let mut client = Client::connect_for(global, &cluster).await?;
                let token = client
                    .grant_token(cluster, region, role.into(), ttl)
                    .await?;
                output::data(&token.text);
                output::narrate(&format!(
                    "works once, within {}; on the joining host:\n  weft cluster join {} --config gateway.yaml --token {}",
                    weft_model::duration::format(ttl),
                    token.address,
                    "TOKEN"
                ));
            }
            Self::List => {
                let mut client = Client::connect(global).await?;
                let list: serde_json::Value = client.ask("tokens", serde_json::json!({})).await?;
                tokens(&list, global.output);
            }
            Self::Revoke { id } => {
                let id = parse_token_id(&id)?;
                let mut client = Client::connect(global).await?;
                let index = client.submit(Command::RevokeToken(id), None, false).await?;
                output::narrate(&format!("token {id} revoked at index {index}"));
            }
        }
        Ok(Exit::Done)
    }
}

fn list(status: &StatusView, format: Format) {
    match format {
        Format::Json | Format::Yaml => output::value(
            format,
            &serde_json::json!({ "apiVersion": "weft.dev/v1", "freshness": status.freshness, "items": status.clusters }),
        ),
        Format::Name => status
            .clusters
            .iter()
            .for_each(|cluster| output::data(&cluster.name)),
        Format::Table | Format::Wide => output::table(
            &[
                "CLUSTER", "REGION", "ROLE", "LEASE", "PATH", "RTT", "GATEWAYS",
            ],
            status.clusters.iter().map(cluster_row),
        ),
    }
}

/// Members as the log had them: leases and paths as seen from a gateway are not in it.
fn list_past(members: &[serde_json::Value], format: Format) {
    let text = |item: &serde_json::Value, pointer: &str| match item.pointer(pointer) {
        None | Some(serde_json::Value::Null) => "-".to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match format {
        Format::Json | Format::Yaml => output::value(
            format,
            &serde_json::json!({ "apiVersion": "weft.dev/v1", "items": members }),
        ),
        Format::Name => members
            .iter()
            .for_each(|member| output::data(&text(member, "/metadata/name"))),
        Format::Table | Format::Wide => output::table(
            &["CLUSTER", "REGION", "ROLE", "JOINED AT", "LAPSED AT"],
            members.iter().map(|member| {
                let cells = ["/metadata/name", "/spec/region", "/spec/role"];
                let places = ["/status/joined", "/status/lapsed"];
                let all = cells.into_iter().chain(places);
                all.map(|pointer| text(member, pointer)).collect()
            }),
        ),
    }
}

fn tokens(list: &serde_json::Value, format: Format) {
    let items = list
        .get("items")
        .and_then(|items| items.as_array())
        .cloned()
        .unwrap_or_default();
    match format {
        Format::Json | Format::Yaml => output::value(format, list),
        _ => {
            let text = |item: &serde_json::Value, key: &str| {
                item.get(key)
                    .and_then(|value| value.as_str())
                    .unwrap_or("-")
                    .to_owned()
            };
            output::table(
                &["ID", "CLUSTER", "REGION", "STATE"],
                items.iter().map(|item| {
                    ["id", "cluster", "region", "state"]
                        .map(|key| text(item, key))
                        .to_vec()
                }),
            );
        }
    }
}

/// Prints what would be lost, and goes on only with consent: `--yes`, or a typed yes on a terminal.
fn confirm(status: &StatusView, cluster: &str, yes: bool) -> Result<(), Problem> {
    if !status.clusters.iter().any(|member| member.name == cluster) {
        return Err(Problem::new(
            code::REFUSED,
            format!("{cluster} is no member"),
        ));
    }
    let only_there: Vec<&str> = status
        .services
        .iter()
        .filter(|service| service.exporters.iter().all(|exporter| exporter == cluster))
        .filter(|service| !service.exporters.is_empty())
        .map(|service| service.name.as_str())
        .collect();
    output::tell(&format!(
        "{} of {} services lose their last exporter: {}",
        only_there.len(),
        status.services.len(),
        if only_there.is_empty() {
            "none".to_owned()
        } else {
            only_there.join(", ")
        }
    ));
    output::tell(&format!(
        "the name {cluster} can never join this federation again"
    ));
    consent("the cluster's name", cluster, yes)
}

fn parse_token_id(text: &str) -> Result<weft_model::TokenId, Problem> {
    let bytes: Option<Vec<u8>> = (0..text.len())
        .step_by(2)
        .map(|at| {
            text.get(at..at + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        })
        .collect();
    bytes
        .and_then(|bytes| weft_model::TokenId::from_slice(&bytes))
        .ok_or_else(|| {
            Problem::new(
                code::USAGE,
                format!("{text:?} is no token id: 32 hexadecimal digits"),
            )
        })
}
