//! `weft cluster init` and `join`: what they ask, and how each stage reads.

use std::collections::BTreeMap;

use weft_gateway::config::GatewayConfigFile;
use weft_gateway::membership::{
    Administrator, JoinError, Membership, MembershipError, found, join as redeem,
};
use weft_identity::{JoinToken, KeyStoreError};
use weft_model::{SignerEpoch, code};

use crate::client::dial_problem;
use crate::clock;
use crate::command::Outcome;
use crate::command::cluster::{Init, Join};
use crate::context::{Context, Contexts, Member};
use crate::document::read_config;
use crate::output;
use crate::problem::{Exit, Problem};

/// Founds a federation and saves the administrator's context.
pub(crate) fn init(init: Init) -> Outcome {
    let config: GatewayConfigFile = read_config(&init.config, "GatewayConfig")?;
    let mut contexts = Contexts::load()?;
    let name = init.save_as.unwrap_or_else(|| init.domain.to_string());
    let (membership, administrator) = found(&config, init.domain, init.admin, clock::now())
        .map_err(|error| membership_problem(&error))?;
    contexts
        .contexts
        .insert(name.clone(), context(&config, &membership, &administrator));
    contexts.current = Some(name.clone());
    contexts.save()?;
    output::narrate(&format!("  ok  federation {}", membership.domain));
    output::narrate(&format!(
        "  ok  cluster    {}, its CA made",
        membership.cluster
    ));
    output::narrate(&format!(
        "  ok  gateway    {}, node {}",
        membership.gateway, membership.node
    ));
    output::narrate(&format!(
        "  ok  operators  {} is admin; context {name} is selected",
        administrator.user
    ));
    output::narrate(&format!(
        "next: weft gateway run --config {}",
        init.config.display()
    ));
    Ok(Exit::Done)
}

fn context(config: &GatewayConfigFile, membership: &Membership, admin: &Administrator) -> Context {
    let certificate = |der: &[u8]| pem::encode(&pem::Pem::new("CERTIFICATE", der));
    let api = config
        .spec
        .api
        .advertised()
        .map(|address| address.to_string());
    let home = Member {
        api: api.into_iter().collect(),
        bundle: membership
            .bundle
            .certificates()
            .map(|der| certificate(der))
            .collect(),
    };
    Context {
        domain: membership.domain.clone(),
        clusters: BTreeMap::from([(membership.cluster.clone(), home)]),
        home: membership.cluster.clone(),
        user: admin.user.clone(),
        certificate: admin
            .svid
            .chain()
            .iter()
            .map(|der| certificate(der))
            .collect(),
        key: pem::encode(&pem::Pem::new("PRIVATE KEY", admin.svid.key().to_vec())),
        signing_seed: admin
            .signing
            .seed()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        signing_epoch: SignerEpoch::FIRST,
    }
}

/// Joins a federation, one line a stage.
pub(crate) async fn join(join: Join) -> Outcome {
    let config: GatewayConfigFile = read_config(&join.config, "GatewayConfig")?;
    let token: JoinToken = join
        .token
        .parse()
        .map_err(|error: weft_identity::TokenError| {
            Problem::new(code::TOKEN_MALFORMED, "the token does not read").detail(error)
        })?;
    let stages = |stage: weft_gateway::membership::Stage| {
        output::narrate(&format!("  ok  {:11}{}", stage.name, stage.found));
    };
    redeem(&config, &token, join.address.as_deref(), clock::now, stages)
        .await
        .map_err(|error| join_problem(&error))?;
    output::narrate(&format!(
        "next: weft gateway run --config {}",
        join.config.display()
    ));
    Ok(Exit::Done)
}

/// A membership that cannot be made or read.
pub(crate) fn membership_problem(error: &MembershipError) -> Problem {
    let code = match error {
        MembershipError::None(_) => code::NOT_MEMBER,
        MembershipError::Exists { .. } => code::ALREADY_MEMBER,
        MembershipError::Foreign { .. } => code::FOREIGN_STATE,
        MembershipError::Damaged { .. } | MembershipError::Svid(_) | MembershipError::Bundle(_) => {
            code::CORRUPT_STATE
        }
        MembershipError::Io { source, .. } => io_code(source),
        MembershipError::Keys(KeyStoreError::Permissions { .. }) => code::KEY_PERMISSIONS,
        MembershipError::Keys(KeyStoreError::Io { source, .. }) => io_code(source),
        MembershipError::Keys(_) | MembershipError::Issue(_) => code::KEY_UNREADABLE,
        MembershipError::Token(_) => code::TOKEN_MALFORMED,
        MembershipError::Role { .. } => code::ROLE_SETTLED,
        MembershipError::FollowsNobody(_) => code::FOLLOWS_NOBODY,
        MembershipError::NotDiallable(_) => code::WRONG_VALUE,
    };
    let problem = Problem::new(code, error.to_string());
    match std::error::Error::source(error) {
        Some(source) => problem.detail(source),
        None => problem,
    }
}

pub(crate) fn io_code(error: &std::io::Error) -> weft_model::Code {
    match weft_registry::disk::is_full(error) {
        true => code::NO_SPACE,
        false => code::FILE_UNREADABLE,
    }
}

fn join_problem(error: &JoinError) -> Problem {
    let plain = |code| Problem::new(code, error.to_string());
    match error {
        JoinError::Membership(error) => membership_problem(error),
        JoinError::Unreachable { source, .. } => dial_problem(source),
        JoinError::ClockSkew { .. } => plain(code::CLOCK_SKEW),
        JoinError::UdpBlocked(_) => plain(code::UDP_BLOCKED),
        JoinError::OtherTarget { .. } => plain(code::TOKEN_UNKNOWN),
        JoinError::Refused(status) => crate::client::problem(status),
        JoinError::Answer(_) => plain(code::UNREACHABLE),
    }
}
