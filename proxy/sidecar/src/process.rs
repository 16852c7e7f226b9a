//! The whole sidecar: identity, catalog, health checks and data plane, connected once.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use weft_decide::Place;
use weft_identity::{Bundle, BundleSource, Bundles};
use weft_model::WallTime;

use crate::capture::check_user;
use crate::catalog::{self, CatalogClient, ClientConfig, Interest};
use crate::config::Config;
use crate::data_plane::{Sources, StartError};
use crate::enrolment::{Enrolled, EnrolmentError};
use crate::health::Checks;
use crate::local::{LocalEndpoint, NoRandom};
use crate::metrics::Metrics;
use crate::sidecar::Sidecar;

/// Pauses between tries to enrol while no gateway answers: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Why a sidecar did not start.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It has no identity and gets none.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// A port or a thread is not to be had.
    #[error(transparent)]
    Start(#[from] StartError),
    /// No random bytes for endpoint ids.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// The metrics contradict each other.
    #[error("the metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
}

/// A running sidecar.
pub struct Process {
    sidecar: Sidecar,
    catalog: CatalogClient,
    tasks: JoinSet<()>,
}

impl Process {
    /// Enrols if need be, waiting for a gateway as long as it takes, then serves from what
    /// gateways or the last run say.
    pub async fn start(config: &Config) -> Result<Self, ProcessError> {
        // Before a token is spent.
        config.capture.as_ref().map_or(Ok(()), check_user)?;
        let enrolled = enrol(config).await?;
        let place = Place {
            cluster: enrolled.cluster.clone(),
            region: enrolled.region.clone(),
            zone: config.zone.clone(),
        };
        let client = ClientConfig {
            place,
            gateways: config.gateways.clone(),
            interest: Interest::Everything,
            state_file: Some(config.state_dir.join("catalog.pb")),
        };
        let catalog = CatalogClient::start(client, enrolled.connect());
        let endpoints = LocalEndpoint::all(config, &enrolled.cluster)?;
        let sources = Sources {
            tables: catalog.table(),
            relays: catalog.relays(),
            svid: enrolled.svid.clone(),
            bundles: enrolled.bundles.clone(),
        };
        let metrics = Metrics::new()?;
        catalog.report(metrics.traffic().clone());
        let sidecar = Sidecar::start(config, Arc::clone(&endpoints), &sources, &metrics)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(trust(catalog.clone(), enrolled.bundles.clone()));
        tasks.spawn(enrolled.renewal(config, now).run());
        for endpoint in endpoints.iter() {
            let identity = enrolled.svid.current().id().clone();
            catalog.register(endpoint.record(config, enrolled.cluster.clone(), identity));
            if !endpoint.service.checks.is_empty() {
                tasks.spawn(check(catalog.clone(), endpoint.clone()));
            }
        }
        Ok(Self {
            sidecar,
            catalog,
            tasks,
        })
    }

    /// Takes its endpoints out of service, lets running work finish until `deadline`, and stops.
    pub async fn shutdown(mut self, deadline: Duration) {
        self.tasks.abort_all();
        self.catalog.drain();
        self.sidecar.shutdown(deadline).await;
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Retries while nobody answers; a refusal is final.
async fn enrol(config: &Config) -> Result<Enrolled, EnrolmentError> {
    let mut pause = PAUSES.0;
    loop {
        match Enrolled::obtain(config, now()).await {
            Err(error @ EnrolmentError::Dial(_)) => {
                tracing::warn!(error = %chain(&error), "no gateway answers yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            result => return result,
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Keeps the bundles at what the catalog says. A bundle that does not read is left out.
async fn trust(catalog: CatalogClient, bundles: BundleSource) {
    let mut said = catalog.bundles();
    loop {
        let known = said.borrow_and_update().clone();
        if !known.is_empty() {
            bundles.replace(read(&known));
        }
        if said.changed().await.is_err() {
            return;
        }
    }
}

fn read(said: &catalog::Bundles) -> Bundles {
    let bundle = |(domain, roots): (&weft_model::TrustDomain, &Arc<Vec<Vec<u8>>>)| {
        let certificates = roots.iter().map(|der| CertificateDer::from(der.clone()));
        Bundle::new(domain.clone(), certificates)
            .inspect_err(|error| tracing::warn!(%error, "a bundle does not read"))
            .ok()
    };
    said.iter().filter_map(bundle).collect()
}

/// Tells the catalog of every change of an endpoint's health.
async fn check(catalog: CatalogClient, endpoint: LocalEndpoint) {
    let checks = Checks::start(endpoint.service.app, &endpoint.service.checks);
    let mut verdict = checks.verdict();
    loop {
        let now = verdict.borrow_and_update().clone();
        catalog.set_health(endpoint.id, now);
        if verdict.changed().await.is_err() {
            return;
        }
    }
}

/// The wall clock, for certificates.
fn now() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
