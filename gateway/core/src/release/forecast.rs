//! What a release would do to whom, before anybody starts it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use weft_model::{
    AppProtocol, ClusterName, Percent, RegionName, ReleaseSpec, ServicePort, Stage, Version,
    WaveName,
};

use super::CallerPlace;
use super::report::by_wave;

/// Endpoints of the service that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Where they are.
    pub cluster: ClusterName,
    /// Their version label.
    pub version: Option<Version>,
    /// How many take new work.
    pub ready: u32,
    /// How many there are.
    pub total: u32,
}

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// Wave by wave, region by region; what no wave names comes last.
    pub rows: Vec<ForecastRow>,
    /// What is amiss, the worst first.
    pub findings: Vec<Finding>,
}

/// The callers of one region that would be in one wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForecastRow {
    /// Their wave; none if no wave names them.
    pub wave: Option<WaveName>,
    /// Their region.
    pub region: RegionName,
    /// Their clusters.
    pub clusters: Vec<ClusterName>,
    /// The stages that move them, and what each gives the canary.
    pub stages: Vec<(Stage, Percent)>,
    /// Endpoints in their region that take new work.
    pub ready: Ready,
}

/// How many endpoints take new work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ready {
    /// Of the stable version.
    pub stable: u32,
    /// Of the canary's.
    pub canary: u32,
}

/// Something that whoever starts the release should know. The order is by weight.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// No endpoint anywhere has this version: perhaps it is misspelt.
    NoVersion(Version),
    /// No stable endpoint takes work, and the canary never stands in for one.
    NoStable(Version),
    /// No canary endpoint takes work: its audience would meet the stable version.
    NoCanary(Version),
    /// A wave names no cluster of the federation.
    NobodyIn(WaveName),
    /// None takes work in this region of a wave: its callers would cross to another one.
    Elsewhere(Version, WaveName, RegionName),
    /// Endpoints of another version, or of none, that take work and would get none.
    Starved(Option<Version>, u32),
    /// Conditions or clients cannot be told on a port that carries bytes: its callers meet stable.
    Opaque(u16),
}

impl Finding {
    /// Whether nothing good can come of starting the release.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::NoVersion(_) | Self::NoStable(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVersion(version) => write!(f, "no endpoint has version {version}"),
            Self::NoStable(version) => write!(
                f,
                "no endpoint of stable {version} is ready, and the canary never stands in for it"
            ),
            Self::NoCanary(version) => write!(
                f,
                "no endpoint of canary {version} is ready: everybody would meet stable"
            ),
            Self::NobodyIn(wave) => write!(f, "wave {wave} names no cluster of this federation"),
            Self::Elsewhere(version, wave, region) => write!(
                f,
                "no endpoint of {version} is ready in {region}: its callers in wave {wave} would cross to another region"
            ),
            Self::Starved(Some(version), ready) => write!(
                f,
                "{ready} ready endpoint(s) of version {version} would get nothing"
            ),
            Self::Starved(None, ready) => write!(
                f,
                "{ready} ready endpoint(s) without a version would get nothing"
            ),
            Self::Opaque(port) => write!(
                f,
                "port {port} carries TCP, where no audience can be told: its callers meet stable"
            ),
        }
    }
}

/// What `spec` would do in each of `places`, with what serves now.
pub fn forecast(
    spec: &ReleaseSpec,
    places: impl IntoIterator<Item = CallerPlace>,
    serving: &[Serving],
    ports: &[ServicePort],
) -> Forecast {
    let row = |((at, region), clusters): ((usize, RegionName), Vec<ClusterName>)| {
        let wave = spec.waves.get(at);
        let stages = spec.stages();
        let stages = stages.filter(|(_, of, _)| wave.is_some_and(|wave| wave.name == of.name));
        ForecastRow {
            wave: wave.map(|wave| wave.name.clone()),
            stages: stages.map(|(stage, _, weight)| (stage, weight)).collect(),
            ready: Ready::default(),
            region,
            clusters,
        }
    };
    let mut rows: Vec<ForecastRow> = by_wave(spec, places).into_iter().map(row).collect();
    let regions: BTreeMap<ClusterName, RegionName> = rows
        .iter()
        .flat_map(|row| row.clusters.iter().map(|c| (c.clone(), row.region.clone())))
        .collect();
    for row in &mut rows {
        let there = |serving: &&Serving| regions.get(&serving.cluster) == Some(&row.region);
        row.ready = ready(spec, serving.iter().filter(there));
    }
    let findings = findings(spec, &rows, serving, ports);
    Forecast { rows, findings }
}

fn ready<'s>(spec: &ReleaseSpec, serving: impl Iterator<Item = &'s Serving>) -> Ready {
    let mut ready = Ready::default();
    for serving in serving {
        if serving.version.as_ref() == Some(&spec.stable) {
            ready.stable += serving.ready;
        } else if serving.version.as_ref() == Some(&spec.canary) {
            ready.canary += serving.ready;
        }
    }
    ready
}

fn findings(
    spec: &ReleaseSpec,
    rows: &[ForecastRow],
    serving: &[Serving],
    ports: &[ServicePort],
) -> Vec<Finding> {
    let mut found = BTreeSet::new();
    let total = |version: &Version| -> u32 {
        let of = serving
            .iter()
            .filter(|s| s.version.as_ref() == Some(version));
        of.map(|s| s.total).sum()
    };
    let ready = ready(spec, serving.iter());
    for (version, ready, none) in [
        (
            &spec.stable,
            ready.stable,
            Finding::NoStable as fn(Version) -> Finding,
        ),
        (&spec.canary, ready.canary, Finding::NoCanary),
    ] {
        match (total(version), ready) {
            (0, _) => found.insert(Finding::NoVersion(version.clone())),
            (_, 0) => found.insert(none(version.clone())),
            _ => continue,
        };
    }
    for row in rows {
        let Some(wave) = &row.wave else { continue };
        let there = [
            (&spec.stable, row.ready.stable, ready.stable),
            (&spec.canary, row.ready.canary, ready.canary),
        ];
        for (version, _, _) in there.iter().filter(|(_, here, all)| *here == 0 && *all > 0) {
            let (version, wave, region) = ((*version).clone(), wave.clone(), row.region.clone());
            found.insert(Finding::Elsewhere(version, wave, region));
        }
    }
    let peopled = |wave: &WaveName| rows.iter().any(|row| row.wave.as_ref() == Some(wave));
    let deserted = spec.waves.iter().filter(|wave| !peopled(&wave.name));
    found.extend(deserted.map(|wave| Finding::NobodyIn(wave.name.clone())));
    let mut starved: BTreeMap<&Option<Version>, u32> = BTreeMap::new();
    for serving in serving {
        let lanes = [Some(&spec.stable), Some(&spec.canary)];
        if serving.ready > 0 && !lanes.contains(&serving.version.as_ref()) {
            *starved.entry(&serving.version).or_default() += serving.ready;
        }
    }
    found.extend(
        starved
            .into_iter()
            .map(|(v, ready)| Finding::Starved(v.clone(), ready)),
    );
    if !spec.audience.is_everyone() {
        let opaque = ports
            .iter()
            .filter(|port| port.app_protocol == AppProtocol::Tcp);
        found.extend(opaque.map(|port| Finding::Opaque(port.port.get())));
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use weft_model::fixture::{name, release};

    use super::*;

    fn places() -> Vec<CallerPlace> {
        let place = |cluster, region| CallerPlace {
            cluster: name(cluster),
            region: name(region),
        };
        vec![
            place("eu-west-1", "eu-west"),
            place("eu-west-2", "eu-west"),
            place("us-east-1", "us-east"),
        ]
    }

    fn serving(cluster: &str, version: &str, ready: u32, total: u32) -> Serving {
        Serving {
            cluster: name(cluster),
            version: (!version.is_empty()).then(|| name(version)),
            ready,
            total,
        }
    }

    #[track_caller]
    fn check(serving: &[Serving], expected: &[&str]) {
        let forecast = forecast(&release("checkout"), places(), serving, &[]);
        let said: Vec<String> = forecast.findings.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (said, part) in said.iter().zip(expected) {
            assert!(said.contains(part), "{said:?} lacks {part:?}");
        }
    }

    #[test]
    fn rows_say_who_is_moved_when_and_by_how_much() {
        let serving = [
            serving("eu-west-1", "v1", 2, 2),
            serving("eu-west-2", "v2", 1, 3),
            serving("us-east-1", "v1", 4, 4),
        ];
        let forecast = forecast(&release("checkout"), places(), &serving, &[]);
        let [eu, us] = &forecast.rows[..] else {
            panic!("{:?}", forecast.rows)
        };
        assert_eq!(eu.clusters, [name("eu-west-1"), name("eu-west-2")]);
        let percent = |row: &ForecastRow| -> Vec<(u16, u8)> {
            let stages = row.stages.iter();
            stages
                .map(|(stage, weight)| (stage.0, weight.value()))
                .collect()
        };
        assert_eq!(percent(eu), [(1, 5), (2, 50), (3, 100)]);
        assert_eq!(percent(us), [(4, 25), (5, 100)]);
        assert_eq!((eu.ready.stable, eu.ready.canary), (2, 1));
        assert_eq!((us.ready.stable, us.ready.canary), (4, 0));
    }

    #[test]
    fn what_is_amiss_is_found() {
        let sound = [
            serving("eu-west-1", "v1", 1, 1),
            serving("eu-west-1", "v2", 1, 1),
            serving("us-east-1", "v1", 1, 1),
            serving("us-east-1", "v2", 1, 1),
        ];
        check(&sound, &[]);
        check(&sound[..3], &["no endpoint of v2 is ready in us-east"]);
        check(
            &sound[..1],
            &["no endpoint has version v2", "of v1 is ready in us-east"],
        );
        let mut unready = sound.clone();
        unready[1].ready = 0;
        unready[3].ready = 0;
        check(&unready, &["canary v2 is ready: everybody"]);
        let mut more = sound.to_vec();
        more.push(serving("eu-west-1", "v3", 2, 2));
        more.push(serving("us-east-1", "", 1, 1));
        check(
            &more,
            &[
                "without a version would get nothing",
                "2 ready endpoint(s) of version v3",
            ],
        );
        check(&[], &["version v1", "version v2"]);
    }

    #[test]
    fn only_faults_keep_it_from_starting() {
        let fault = Finding::NoVersion(name("v9"));
        assert!(fault.is_fault());
        assert!(!Finding::NoCanary(name("v2")).is_fault());
    }
}
