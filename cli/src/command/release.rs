//! `weft release`: a service's way from one version to another, moved by hand.

mod ask;
mod back;
mod figures;
mod orders;
mod plan;
mod show;
mod watch;

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use serde_json::{Value, json};
use weft_gateway::admin::view::ReleaseView;
use weft_model::{Namespace, RegionName, ServiceKey, ServiceName, WaveName, code};

pub(crate) use ask::table;

use super::Outcome;
use super::top::Window;
use crate::args::{Files, Global};
use crate::client::Client;
use crate::complete;
use crate::problem::Problem;

const EXAMPLES: &str = "\
Examples:
  weft release plan -f checkout-v2.yaml        who would meet the canary, when, how many serve there
  weft release start -f checkout-v2.yaml       take its first stage
  weft release status checkout-v2 -w           look, until it ends
  weft release promote checkout-v2             take the next stage
  weft release abort checkout-v2               nobody meets the canary any more
  weft release abort checkout-v2 --region eu-west --local
                                               the same for one region, when there is no leader";

/// Move a service's traffic from one version to another, place by place.
///
/// Nothing advances by itself: each stage holds until somebody promotes. What lowers the canary's
/// share is always taken, what raises it names the stage that its author saw.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Release {
    /// Show what starting it would do, and to whom; exits 1 if it would change anything.
    Plan {
        #[command(flatten)]
        files: Files,
    },
    /// Start it: its first stage is taken.
    Start {
        #[command(flatten)]
        files: Files,
        /// Only if nothing was applied after this log position.
        #[arg(long, value_name = "INDEX")]
        if_index: Option<u64>,
        /// Also if its plan finds fault: a version that nothing serves with yet.
        #[arg(long)]
        force: bool,
    },
    /// List releases, ended ones too.
    #[command(visible_alias = "ls")]
    List,
    /// Show how it stands in each wave and region, and what its versions answered to callers there.
    Status {
        #[command(flatten)]
        release: Named,
        #[command(flatten)]
        window: Window,
        /// Go on until it ends; exits 1 if it was aborted or rolled back.
        #[arg(short, long)]
        watch: bool,
    },
    /// Take the next stage; after the last one, complete it.
    Promote {
        #[command(flatten)]
        release: Named,
        /// Only if the next stage is of this wave.
        #[arg(long, value_name = "WAVE", conflicts_with = "full")]
        wave: Option<WaveName>,
        /// Take every stage that is left, and complete it.
        #[arg(long)]
        full: bool,
    },
    /// Keep it from being promoted; its weights hold.
    Pause {
        #[command(flatten)]
        release: Named,
    },
    /// Let it be promoted again, and lift the clamps that are shown.
    Resume {
        #[command(flatten)]
        release: Named,
    },
    /// Take the canary's traffic away. Always taken, whoever promotes at the same time.
    Abort {
        #[command(flatten)]
        release: Named,
        /// All of it, or one wave: its callers stay on stable, and the release pauses.
        #[arg(long, value_enum, default_value_t)]
        scope: Scope,
        /// Which wave; the one that moved last if left out.
        #[arg(long, value_name = "WAVE")]
        wave: Option<WaveName>,
        /// Whose callers, with --local.
        #[arg(long, requires = "local", conflicts_with_all = ["scope", "wave"])]
        region: Option<RegionName>,
        /// Ask a gateway of the region to lower it there on its own: needs no leader, and holds
        /// until a resume.
        #[arg(long, requires = "region")]
        local: bool,
    },
    /// Take it back: nobody meets the canary any more, also of one that was completed.
    Rollback {
        #[command(flatten)]
        release: Named,
        /// Only as far back as it was at this index of `weft release history`; then it pauses.
        #[arg(long, value_name = "INDEX")]
        to: Option<u64>,
    },
    /// Say what was done with it, when, by whom, and which stage that left it at.
    History {
        #[command(flatten)]
        release: Named,
    },
    /// Say what callers of a place get, and why.
    Explain {
        #[command(flatten)]
        release: Named,
        /// Where they call from; the asked cluster if left out.
        #[arg(long, value_name = "CLUSTER|REGION")]
        from: Option<String>,
    },
    /// Say which version one client meets, place by place.
    Who {
        #[command(flatten)]
        release: Named,
        /// The value of the header that tells clients apart.
        #[arg(long, value_name = "KEY")]
        client: String,
        /// Where it calls from; everywhere if left out.
        #[arg(long, value_name = "CLUSTER|REGION")]
        from: Option<String>,
    },
}

/// A release by its name.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Named {
    /// Its name, or `namespace/name`.
    #[arg(value_name = "RELEASE", value_parser = parse_name, add = ArgValueCandidates::new(complete::releases))]
    name: ReleaseName,
}

#[derive(Debug, Clone)]
pub(super) struct ReleaseName {
    namespace: Option<Namespace>,
    name: ServiceName,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scope {
    /// One wave.
    Wave,
    /// All of it.
    #[default]
    Release,
}

fn parse_name(text: &str) -> Result<ReleaseName, String> {
    let named = match text.split_once('/') {
        Some((namespace, name)) => namespace
            .parse()
            .and_then(|namespace| Ok((Some(namespace), name.parse()?))),
        None => text.parse().map(|name| (None, name)),
    };
    let (namespace, name) = named.map_err(|error: weft_model::NameError| error.to_string())?;
    Ok(ReleaseName { namespace, name })
}

impl ReleaseName {
    /// As a gateway is asked for it; without a namespace it finds the only one of that name.
    fn arguments(&self, global: &Global) -> Value {
        let namespace = self.namespace.as_ref().or(global.namespace.as_ref());
        json!({ "name": self.name, "namespace": namespace })
    }

    async fn view(&self, client: &mut Client, global: &Global) -> Result<ReleaseView, Problem> {
        client.ask("release", self.arguments(global)).await
    }

    /// With what its versions did in that time, as far as the other gateways tell.
    async fn view_with_traffic(
        &self,
        client: &mut Client,
        window: Window,
        global: &Global,
    ) -> Result<ReleaseView, Problem> {
        let mut asked = self.arguments(global);
        asked["windowMs"] = window.millis().into();
        client.ask("release", asked).await
    }
}

/// How the release stands, by its name.
pub(super) async fn view(
    client: &mut Client,
    global: &Global,
    name: &str,
) -> Result<ReleaseView, Problem> {
    let named = parse_name(name).map_err(|error| {
        Problem::new(code::USAGE, format!("{name:?} names no release: {error}"))
    })?;
    named.view(client, global).await
}

/// The key of a release that a gateway told of.
fn key_of(view: &ReleaseView) -> Result<ServiceKey, Problem> {
    let unreadable =
        |error| Problem::new(code::UNREACHABLE, "the gateway's answer does not read").detail(error);
    view.name.parse().map_err(unreadable)
}

impl Release {
    /// Whether it goes on with what comes.
    pub(crate) fn watches(&self) -> bool {
        matches!(self, Self::Status { watch: true, .. })
    }

    pub(crate) async fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Plan { files } => plan::plan(&files, global).await,
            Self::Start {
                files,
                if_index,
                force,
            } => plan::start(&files, if_index, force, global).await,
            Self::List => ask::list(global).await,
            Self::Status {
                release,
                window,
                watch: true,
            } => watch::watch(&release.name, window, global).await,
            Self::Status {
                release, window, ..
            } => ask::status(&release.name, window, global).await,
            Self::Promote {
                release,
                wave,
                full,
            } => orders::promote(&release.name, orders::How::of(wave, full), global).await,
            Self::Pause { release } => orders::pause(&release.name, global).await,
            Self::Resume { release } => orders::resume(&release.name, global).await,
            Self::Abort {
                release,
                region: Some(region),
                ..
            } => orders::clamp(&release.name, &region, global).await,
            Self::Abort {
                release,
                scope,
                wave,
                ..
            } => orders::abort(&release.name, scope, wave, global).await,
            Self::Rollback {
                release,
                to: Some(to),
            } => back::step_back(&release.name, to, global).await,
            Self::Rollback { release, .. } => orders::roll_back(&release.name, global).await,
            Self::History { release } => ask::history(&release.name, global).await,
            Self::Explain { release, from } => {
                ask::explain(
                    &release.name,
                    "release-explain",
                    json!({ "from": from }),
                    global,
                )
                .await
            }
            Self::Who {
                release,
                client,
                from,
            } => {
                let asked = json!({ "client": client, "from": from });
                ask::explain(&release.name, "release-who", asked, global).await
            }
        }
    }
}
