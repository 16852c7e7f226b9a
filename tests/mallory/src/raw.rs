//! A tunnel's handshake and hello in her own words: what weft's own code would not say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use prost::Message;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint};
use tokio::time::timeout;
use weft_identity::{BundleSource, PeerRule, SvidSource, client_config};

/// The tunnels' protocol.
const ALPN: &[u8] = b"weft-tunnel/1";
/// How long a gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The hello, as it stands on the wire.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// Of the form; 1.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Who dials, by its own account.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// Its name.
    #[prost(string, tag = "3")]
    pub gateway: String,
    /// Of its process.
    #[prost(fixed64, tag = "4")]
    pub incarnation: u64,
    /// 1 for control, 2 for data.
    #[prost(uint32, tag = "5")]
    pub purpose: u32,
    /// The dialler's worker.
    #[prost(uint32, tag = "6")]
    pub worker: u32,
}

/// What came of a hello.
#[derive(Debug)]
pub enum Welcome {
    /// The gateway took her for that node.
    In(Connection),
    /// It did not, and why if it said so.
    Out(String),
}

/// Dials a tunnel port with a certificate and says `hello`.
///
/// # Errors
/// The gateway is not there, or says nothing at all.
pub async fn greet(
    to: SocketAddr,
    svid: &SvidSource,
    bundles: &BundleSource,
    hello: &Hello,
) -> Result<Welcome> {
    let tls = client_config(svid, bundles, PeerRule::Gateway, &[ALPN]);
    let crypto = Arc::new(QuicClientConfig::try_from(tls)?);
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let endpoint = Endpoint::client(local)?;
    let config = quinn::ClientConfig::new(crypto);
    let connecting = endpoint.connect_with(config, to, "weft.invalid")?;
    match timeout(PATIENCE, said(connecting, hello)).await {
        Ok(welcome) => welcome,
        Err(_) => bail!("neither welcome nor refusal"),
    }
}

async fn said(connecting: quinn::Connecting, hello: &Hello) -> Result<Welcome> {
    let connection = match connecting.await {
        Ok(connection) => connection,
        Err(error) => return Ok(Welcome::Out(error.to_string())),
    };
    let body = hello.encode_to_vec();
    let head = u16::try_from(body.len()).context("a short hello")?;
    let exchange = async {
        let (mut send, mut recv) = connection.open_bi().await?;
        send.write_all(&head.to_be_bytes()).await?;
        send.write_all(&body).await?;
        send.finish()?;
        let mut answer = [0; 2];
        recv.read_exact(&mut answer).await?;
        anyhow::Ok(())
    };
    Ok(match exchange.await {
        Ok(()) => Welcome::In(connection),
        Err(error) => {
            let reason = connection.close_reason();
            let said = reason.map_or_else(|| error.to_string(), |reason| reason.to_string());
            Welcome::Out(said)
        }
    })
}
