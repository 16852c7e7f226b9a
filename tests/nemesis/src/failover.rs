//! How long nobody can write when the leader has died, at a given distance between gateways.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_test_support::{SOON, eventually};
use weft_wan::LinkSpec;

use crate::clients::Clients;
use crate::timeline::Series;
use crate::world::{ALL, World};

/// How long after a kill the longest pause between two writes is looked for: far longer than any
/// that is promised. A gap this long means that none was done.
pub const AFTERMATH: Duration = Duration::from_secs(6);
/// Between two kills, once all is well again.
const REST: Duration = Duration::from_secs(1);

/// Kills whoever leads so many times, on links with this round trip, while all clients write; how long
/// no client of any gateway was told of a write, each time.
///
/// # Errors
/// The group does not come back, or a gateway ended by itself.
pub fn failover(
    world: &mut World,
    clients: &Clients,
    round_trip: Duration,
    kills: usize,
) -> Result<Series> {
    let mut gaps = Series::default();
    world.weather(LinkSpec::with_delay(round_trip / 2))?;
    for _ in 0..kills {
        let leader = eventually("all follow one leader", SOON, || {
            let looks = ALL.map(|site| world.look(site));
            let looks: Vec<_> = looks.into_iter().collect::<Result<_>>()?;
            let led = looks.iter().all(|look| look.leader == looks[0].leader);
            ensure!(led, "{looks:?}");
            world.leader(&ALL).context("a leader")
        })?;
        sleep(REST);
        // It goes where most writes come from, now and then.
        let leader = world.leader(&ALL).unwrap_or(leader);
        let from = clients.now();
        world.site(leader).kill()?;
        clients.killed(leader);
        sleep(AFTERMATH);
        let to = clients.now();
        gaps.note(clients.timeline(|timeline| timeline.gap(from, to)));
        world.restart(leader)?;
    }
    Ok(gaps)
}
