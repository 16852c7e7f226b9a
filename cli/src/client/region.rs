//! Finding somebody in a region, whoever else is away.

use std::time::Duration;

use weft_model::{ClusterName, RegionName, code};

use super::Client;
use crate::args::Global;
use crate::context::{Context, Contexts};
use crate::problem::Problem;

impl Client {
    /// Connects to a gateway of some cluster in `region`, by whichever of the context's contacts
    /// answers: a lowering there must work whoever else is away.
    pub(crate) async fn connect_in(global: &Global, region: &RegionName) -> Result<Self, Problem> {
        if global.cluster.is_some() {
            return Self::connect(global).await;
        }
        let contexts = Contexts::load()?;
        let (_, context) = contexts.pick(global.context.as_deref())?;
        let mut last = None;
        for contact in context.contacts() {
            match Self::through(context, contact, region, global.timeout).await {
                Ok(Some(client)) => return Ok(client),
                Ok(None) => {
                    let what = format!("the federation has no cluster in {region}");
                    last = Some(
                        Problem::new(code::CLAMP_REGION, what)
                            .next("`weft status` lists the clusters with their regions."),
                    );
                    break;
                }
                Err(problem) => last = Some(problem),
            }
        }
        let nobody = || Problem::new(code::NO_CONTEXT, "the context knows no cluster");
        Err(last.unwrap_or_else(nobody))
    }

    /// A gateway in `region`, as `contact` knows the members; none if there is none.
    async fn through(
        context: &Context,
        contact: &ClusterName,
        region: &RegionName,
        timeout: Duration,
    ) -> Result<Option<Self>, Problem> {
        let mut client = Self::to(context.clone(), contact, timeout).await?;
        let status = client.status(false).await?;
        if status.region == region.as_str() {
            return Ok(Some(client));
        }
        let members = status
            .clusters
            .iter()
            .filter(|it| it.region == region.as_str());
        let members: Vec<ClusterName> = members.filter_map(|it| it.name.parse().ok()).collect();
        let context = context.clone().with_members(status.clusters);
        let mut last = None;
        for member in &members {
            match Self::to(context.clone(), member, timeout).await {
                Ok(client) => return Ok(Some(client)),
                Err(problem) => last = Some(problem),
            }
        }
        last.map_or(Ok(None), Err)
    }
}
