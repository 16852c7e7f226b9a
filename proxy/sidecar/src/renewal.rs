//! Renews this workload's certificate at half its life, with whichever gateway answers.
//!
//! Expiry governs handshakes: connections that are up go on. What a key, a
//! request and a chain are is the identity's affair and handed in.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use weft_proto::identity::RenewRequest;
use weft_proto::identity::renewal_client::RenewalClient;

use crate::catalog::{Connect, ConnectError};

/// A gateway answers within this time, or the next one is asked.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Pauses after all gateways failed: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The due time is looked at again at least this often: a suspended machine's
/// timers stand still while certificates age.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Puts a chain (DER, leaf first) to use together with the key that it was asked for with.
pub type Install = Box<dyn FnOnce(Vec<Vec<u8>>) -> Result<(), ConnectError> + Send>;

/// Makes a new key: its CSR (DER), and what to do with the chain that answers it.
pub type MakeRequest = Box<dyn Fn() -> Result<(Vec<u8>, Install), ConnectError> + Send + Sync>;

/// What renewal needs of the identity.
pub struct Renewal {
    /// API addresses (`host:port`) of this cluster's gateways.
    pub gateways: Vec<String>,
    /// Opens a channel under the present identity.
    pub connect: Connect,
    /// Time until half the present certificate's life is over; zero if it is.
    pub due: Box<dyn Fn() -> Duration + Send + Sync>,
    /// Makes a new key and asks for its certificate.
    pub request: MakeRequest,
}

impl Renewal {
    /// Renews for ever.
    pub async fn run(self) {
        let mut pause = PAUSES.0;
        loop {
            let due = (self.due)();
            if !due.is_zero() {
                sleep(due.min(LOOK_INTERVAL)).await;
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    tracing::info!("the certificate is renewed");
                    pause = PAUSES.0;
                    // However short lives are, or however far our clock is ahead.
                    sleep(PAUSES.0).await;
                }
                Err(why) => {
                    tracing::warn!(%why, "the certificate is not renewed yet");
                    sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Asks one gateway after the other; the error is the last one's.
    async fn renew(&self) -> Result<(), ConnectError> {
        let mut last: ConnectError = "no gateway is configured".into();
        for address in &self.gateways {
            let answer = timeout(ANSWER_MAX, self.ask(address)).await;
            match answer.unwrap_or_else(|_| Err("no answer".into())) {
                Ok(()) => return Ok(()),
                Err(why) => last = format!("{address}: {why}").into(),
            }
        }
        Err(last)
    }

    async fn ask(&self, address: &str) -> Result<(), ConnectError> {
        let channel = (self.connect)(address.to_owned()).await?;
        let (csr, install) = (self.request)()?;
        let request = RenewRequest { csr: csr.into() };
        let answer = RenewalClient::new(channel).renew(request).await;
        let answer = answer.map_err(|status| status.message().to_owned())?;
        let chain = answer.into_inner().chain;
        if chain.is_empty() {
            return Err("the answer has no certificate".into());
        }
        install(chain.into_iter().map(|der| der.to_vec()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::{Channel, Server};
    use tonic::{Request, Response, Status};
    use weft_proto::identity::RenewResponse;
    use weft_proto::identity::renewal_server::{Renewal as Service, RenewalServer};

    use super::*;

    struct Issuer;

    #[tonic::async_trait]
    impl Service for Issuer {
        async fn renew(
            &self,
            request: Request<RenewRequest>,
        ) -> Result<Response<RenewResponse>, Status> {
            let chain = vec![request.into_inner().csr, vec![0xca].into()];
            Ok(Response::new(RenewResponse { chain }))
        }
    }

    #[tokio::test]
    async fn a_due_certificate_is_renewed_by_whoever_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::builder().add_service(RenewalServer::new(Issuer));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let renewed = Arc::new(AtomicU32::new(0));
        let (installed, lives) = (Arc::clone(&renewed), Arc::clone(&renewed));
        let (done, is_done) = tokio::sync::oneshot::channel();
        let done = std::sync::Mutex::new(Some(done));
        let renewal = Renewal {
            // Nobody listens on the first.
            gateways: vec!["127.0.0.1:1".into(), address],
            connect: Arc::new(|address| {
                Box::pin(async move {
                    let endpoint = Channel::from_shared(format!("http://{address}"))?;
                    Ok(endpoint.connect().await?)
                })
            }),
            due: Box::new(move || match lives.load(Ordering::Relaxed) {
                0 => Duration::ZERO,
                _ => Duration::from_secs(3600),
            }),
            request: Box::new(move || {
                let installed = Arc::clone(&installed);
                let done = done.lock().unwrap().take();
                let install: Install = Box::new(move |chain| {
                    assert_eq!(chain, [vec![7, 7], vec![0xca]]);
                    installed.fetch_add(1, Ordering::Relaxed);
                    done.map(|done| done.send(()));
                    Ok(())
                });
                Ok((vec![7, 7], install))
            }),
        };
        let running = tokio::spawn(renewal.run());
        let patience = Duration::from_secs(10);
        timeout(patience, is_done).await.unwrap().unwrap();
        assert_eq!(renewed.load(Ordering::Relaxed), 1);
        running.abort();
    }
}
