//! A2: every method of the gRPC API, called with every kind of certificate. The methods are those
//! of the `.proto` files: a new one is called too, and one without a rule fails.

use anyhow::{Context, Result, ensure};
use prost::Message;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Status};
use weft_gateway::api::{RULES, Rule};
use weft_identity::SvidSource;
use weft_mallory::{Loot, door};
use weft_model::Role;
use weft_proto::DESCRIPTORS;

use crate::Stage;

/// A caller, and the rules that let it pass beside [`Rule::Anyone`].
struct Caller {
    what: &'static str,
    svid: Option<SvidSource>,
    passes: &'static [Rule],
}

const VIEWER: &[Rule] = &[Rule::Operator(Role::Viewer)];
const OPERATOR: &[Rule] = &[Rule::Operator(Role::Viewer), Rule::Operator(Role::Operator)];

fn callers(stage: &Stage<'_>, founder: &Loot) -> Result<Vec<Caller>> {
    let loot = &stage.mallory.loot;
    let hers = |what, id: &str| -> Result<Caller> {
        Ok(Caller {
            what,
            svid: Some(loot.issue(id)?),
            passes: &[],
        })
    };
    let theirs = |what, id: &str, passes| -> Result<Caller> {
        Ok(Caller {
            what,
            svid: Some(founder.issue(id)?),
            passes,
        })
    };
    let operator = |what, user: &str, passes| -> Result<Caller> {
        Ok(Caller {
            what,
            svid: Some(weft_mallory::operator(founder, user)?),
            passes,
        })
    };
    Ok(vec![
        Caller {
            what: "nobody",
            svid: None,
            passes: &[],
        },
        Caller {
            what: "her gateway",
            svid: Some(loot.svid()),
            passes: &[],
        },
        hers(
            "her workload",
            "spiffe://mallory-1.dev.weft.internal/ns/shop/sa/web",
        )?,
        hers(
            "a user of her own",
            "spiffe://mallory-1.dev.weft.internal/user/eyes",
        )?,
        theirs(
            "a workload",
            "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/web",
            &[Rule::Own, Rule::OwnWorkload],
        )?,
        theirs(
            "a gateway",
            "spiffe://us-east-1.dev.weft.internal/gateway/gw-2",
            &[Rule::Own],
        )?,
        operator("an operator without a role", "stranger", &[])?,
        operator("a viewer", "eyes", VIEWER)?,
        operator("an operator", "hands", OPERATOR)?,
    ])
}

/// The methods of weft's own services, by path.
fn methods() -> Result<Vec<String>> {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS)?;
    let mut methods = Vec::new();
    for file in files
        .file
        .iter()
        .filter(|file| file.package().starts_with("weft."))
    {
        for service in &file.service {
            let of = format!("/{}.{}", file.package(), service.name());
            methods.extend(service.method.iter().map(|m| format!("{of}/{}", m.name())));
        }
    }
    Ok(methods)
}

/// At us-east-1, by whoever may knock there.
pub(crate) fn every_method(stage: &Stage<'_>) -> Result<()> {
    let founder = weft_mallory::founder(stage.dev)?;
    let address = stage.dev.gateway("us-east-1", "gw-1")?.api.parse()?;
    let mallory = &stage.mallory;
    let (methods, mut denied, mut passed) = (methods()?, 0, 0);
    for caller in callers(stage, &founder)? {
        let channel = match &caller.svid {
            Some(svid) => mallory.wait(door::knock(address, svid, mallory.bundles()))?,
            None => {
                let hash = founder.member.bundle.hash();
                mallory.wait(door::knock_bare(address, hash))?
            }
        };
        for path in &methods {
            let rule = RULES.iter().find(|(known, _)| known == path);
            let (_, rule) = rule.with_context(|| format!("{path} has no rule"))?;
            let may = *rule == Rule::Anyone || caller.passes.contains(rule);
            let answer = mallory.wait(call(channel.clone(), path));
            let is_denied = answer.as_ref().is_err_and(door::is_denied);
            ensure!(is_denied != may, "{} calls {path}: {answer:?}", caller.what);
            match may {
                true => passed += 1,
                false => denied += 1,
            }
        }
        let unknown = mallory.wait(call(channel, "/weft.api.v1.Admin/NoSuchMethod"));
        let code = unknown.err().map(|status| status.code());
        ensure!(
            code == Some(Code::Unimplemented),
            "{}: {code:?}",
            caller.what
        );
    }
    // Less would mean that the callers are not who they should be.
    ensure!(
        denied > 80 && passed > 40,
        "{denied} denied, {passed} passed"
    );
    Ok(())
}

/// Calls a method with an empty message, whatever it takes; the first that comes of it.
async fn call(channel: Channel, path: &str) -> Result<(), Status> {
    let path = PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?;
    let mut client = tonic::client::Grpc::new(channel);
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let answer = client.server_streaming(door::ask(()), path, codec).await?;
    let mut stream = answer.into_inner();
    // A watch with nothing to say is silent: that it began is enough.
    match tokio::time::timeout(SILENCE, stream.message()).await {
        Ok(first) => first.map(|_| ()),
        Err(_) => Ok(()),
    }
}

/// What goes on for this long without a word has begun.
const SILENCE: std::time::Duration = std::time::Duration::from_millis(300);
