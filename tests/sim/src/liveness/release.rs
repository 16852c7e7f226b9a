//! The administrator's part: a release, its steps, and who lowers it where.

use rand::Rng;
use rand::rngs::SmallRng;
use weft_model::fixture::{Log, name, release};
use weft_model::{
    Advance, Clamp, ClampId, Command, FormatLevel, Percent, ReleasePhase, ReleaseRecord,
    ServiceKey, WallTime,
};

use super::gateway::Gateway;

/// The one release.
pub(crate) fn key() -> ServiceKey {
    name("shop/v2")
}

/// A federation with the release at its first stage.
pub(crate) fn log() -> Log {
    let mut log = Log::founded();
    for (node, (cluster, _)) in (2..).zip(&weft_model::fixture::CLUSTERS[1..]) {
        log.join(node, cluster);
    }
    let http = weft_model::fixture::export(
        weft_model::ServiceType::ClusterSetIP,
        "http",
        weft_model::AppProtocol::Http,
        80,
    );
    log.export(1, "shop/checkout", &http);
    log.export(2, "shop/checkout", &http);
    log.raise(FormatLevel::RELEASES);
    let spec = Box::new(release("checkout"));
    log.accept(log.admin(), Command::PutRelease(key(), spec));
    log
}

/// What an administrator does next with the release: a promotion, a pause, or a resume, and which
/// clamps it lifts: some of those that the gateway that was asked knows.
pub(crate) fn next(
    record: &ReleaseRecord,
    asked: &Gateway,
    rng: &mut SmallRng,
) -> Option<(Command, Vec<ClampId>)> {
    let mut named = Vec::new();
    let command = match record.phase {
        ReleasePhase::Paused => {
            let release = key();
            let known = asked.clamps.of(&release).map(|clamp| clamp.id);
            named.extend(known.filter(|_| rng.random_bool(0.6)));
            Command::ResumeRelease(key(), named.to_vec())
        }
        _ if rng.random_bool(0.5) => Command::PauseRelease(key()),
        _ => {
            let to = record.next_stage()?;
            let (run, from) = (record.created, record.stage);
            Command::AdvanceRelease(key(), Advance { run, from, to })
        }
    };
    Some((command, named))
}

/// Lowers the release in the gateway's own region, by nobody's leave.
pub(crate) fn clamp(gateway: &mut Gateway, rng: &mut SmallRng) -> Option<Clamp> {
    let run = gateway.federation.release(&key())?.created;
    let clamp = Clamp {
        id: ClampId(rng.random()),
        release: key(),
        run,
        region: name(gateway.region),
        cluster: name(gateway.cluster),
        gateway: gateway.name.clone(),
        weight: Percent::new(rng.random_range(0..30))?,
        made: WallTime(1),
        by: name("ana"),
    };
    gateway.clamps.make(clamp.clone()).ok()?;
    gateway.save_clamps();
    Some(clamp)
}
