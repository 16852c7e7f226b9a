//! Debian's etcd: three members, as it is shipped, with its log synced.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use weft_test_support::{Background, SOON, command, eventually};

/// What a client writes: as much as one of our records takes in the log.
const VALUE_BYTES: usize = 256;

/// A cluster of three.
pub(crate) struct Etcd {
    members: Vec<Background>,
}

// The parts of etcd's API that are asked for here, by the numbers of its rpc.proto.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

fn client_url(number: usize) -> String {
    format!("http://127.81.0.{number}:2379")
}

impl Etcd {
    pub(crate) fn start(scratch: &Path) -> Result<Self> {
        let peer = |number: usize| format!("http://127.81.0.{number}:2380");
        let all: Vec<String> = (1..=3).map(|n| format!("e{n}={}", peer(n))).collect();
        let all = all.join(",");
        let mut members = Vec::new();
        for number in 1..=3 {
            let name = format!("e{number}");
            let data = scratch.join(&name);
            let mut etcd = command(["etcd", "--logger", "zap", "--log-level", "error"]);
            etcd.args(["--name", &name, "--initial-cluster", &all]);
            etcd.args(["--initial-cluster-state", "new"]);
            etcd.arg("--data-dir").arg(&data);
            let (client, peer) = (client_url(number), peer(number));
            etcd.args(["--listen-client-urls", &client]);
            etcd.args(["--advertise-client-urls", &client]);
            etcd.args(["--listen-peer-urls", &peer]);
            etcd.args(["--initial-advertise-peer-urls", &peer]);
            let log = scratch.join(format!("{name}.log"));
            members.push(Background::start(&mut etcd, &log)?);
        }
        Ok(Self { members })
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.members.iter().map(Background::pid).collect()
    }

    /// Writers at the leader.
    pub(crate) fn writers(
        &self,
        runtime: &tokio::runtime::Runtime,
        count: usize,
    ) -> Result<Vec<Writer>> {
        let leader = eventually("etcd leads", SOON, || runtime.block_on(leader()))?;
        runtime.block_on(async {
            let mut writers = Vec::new();
            for number in 0..count {
                writers.push(Writer {
                    api: connect(leader).await?,
                    key: format!("bench/{number}").into_bytes(),
                });
            }
            Ok(writers)
        })
    }
}

async fn connect(number: usize) -> Result<Grpc<Channel>> {
    let endpoint = Endpoint::from_shared(client_url(number))?.tcp_nodelay(true);
    Ok(Grpc::new(endpoint.connect().await?))
}

/// The number of the member that leads.
async fn leader() -> Result<usize> {
    for number in 1..=3 {
        let mut api = connect(number).await?;
        let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Status");
        let status: StatusResponse = call(&mut api, path, StatusRequest {}).await?;
        let own = status.header.context("a header")?.member;
        ensure!(status.leader != 0, "nobody leads yet");
        if own == status.leader {
            return Ok(number);
        }
    }
    anyhow::bail!("the leader is none of the members")
}

async fn call<A, B>(api: &mut Grpc<Channel>, path: PathAndQuery, message: A) -> Result<B>
where
    A: prost::Message + Send + Sync + 'static,
    B: prost::Message + Default + Send + Sync + 'static,
{
    api.ready().await?;
    let codec: ProstCodec<A, B> = ProstCodec::default();
    let answer = api.unary(tonic::Request::new(message), path, codec).await?;
    Ok(answer.into_inner())
}

/// A client with a connection and a key of its own.
pub(crate) struct Writer {
    api: Grpc<Channel>,
    key: Vec<u8>,
}

impl Writer {
    pub(crate) async fn write(&mut self) -> Result<()> {
        let put = PutRequest {
            key: self.key.clone(),
            value: vec![7; VALUE_BYTES],
        };
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let done: PutResponse = call(&mut self.api, path, put).await?;
        ensure!(
            done.header.is_some_and(|header| header.revision > 0),
            "not done"
        );
        Ok(())
    }
}
