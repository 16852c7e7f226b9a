//! Networks as they are: overlapping addresses, translation, one family only, small
//! packets, loss, and paths that change while they are used.

mod site;
mod weather;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_test_support::{Cases, SOON, User, Wire, eventually, isolated};
use weft_wan::{LinkSpec, Loss, Probability};

use site::{Reach, Site};

#[test]
fn clusters_federate_across_networks_as_they_are() -> Result<()> {
    isolated("clusters_federate_across_networks_as_they_are", || {
        let user = User::new()?;
        let mut world = World::new(&user)?;
        let outcome = world.start(&user).and_then(|()| world.check(&user));
        if outcome.is_err() {
            world.print_logs();
        }
        outcome
    })
}

/// Three sites, and what lies between their routers.
///
/// ```text
/// us 198.51.100.1 ──── IPv4, 80 ms, 1 % loss ──── 198.51.100.2 eu 2001:db8:2::/64
///        └───────────── IPv4 ───────────── 198.51.100.3 ap ─ IPv6, MTU 1280 ─┘
/// ```
/// Nobody can dial ap. us can dial eu once that says a name, which has an address of each family.
struct World {
    us: Site,
    eu: Site,
    ap: Site,
    us_ap: Wire,
    _us_eu: Wire,
    _eu_ap: Wire,
}

impl World {
    fn new(user: &User) -> Result<Self> {
        let scratch = user.scratch();
        let us = Site::new("us", 1, Reach::Forwarded, scratch)?;
        let eu = Site::new("eu", 2, Reach::Forwarded, scratch)?;
        let ap = Site::new("ap", 3, Reach::CallsOnly, scratch)?;
        let us_eu = Wire::between(&us.router, &eu.router, 1)?;
        let us_ap = Wire::between(&us.router, &ap.router, 2)?;
        let eu_ap = Wire::between(&eu.router, &ap.router, 3)?;
        ipv4(&us, &eu)?;
        ipv4(&us, &ap)?;
        ipv6(&eu, &ap)?;
        for (at, to) in [(&eu, &ap), (&ap, &eu)] {
            at.router
                .sh(&format!("ip link set dev {} mtu 1280", to.router.name()))?;
        }
        us_eu.set(LinkSpec {
            delay: Duration::from_millis(40),
            loss: Loss::Independent(Probability::new(0.01)?),
            ..LinkSpec::default()
        })?;
        Ok(Self {
            us,
            eu,
            ap,
            us_ap,
            _us_eu: us_eu,
            _eu_ap: eu_ap,
        })
    }

    fn start(&mut self, user: &User) -> Result<()> {
        let Self { us, eu, ap, .. } = self;
        us.configure(Some("198.51.100.1:7443"))?;
        eu.configure(Some("[2001:db8:2::2]:7443"))?;
        ap.configure(None)?;
        // Of the two addresses each of the others can reach one.
        for site in [&*us, &*ap] {
            site.host.replace(
                "/etc/hosts",
                "2001:db8:2::2 gw.eu.example.net\n198.51.100.2 gw.eu.example.net\n",
            )?;
        }
        us.found(user)?;
        us.start(user)?;
        for site in [&mut *eu, &mut *ap] {
            site.join(user, us, "198.51.100.1:7444")?;
            site.start(user)?;
        }
        for site in [us, eu, ap] {
            site.export(user)?;
        }
        Ok(())
    }

    fn check(&mut self, user: &User) -> Result<()> {
        let mut cases = Cases::default();
        cases.run("everyone reaches everyone by name", || self.all_pairs());
        cases.run("a name in place of an address is heard of", || {
            self.renamed(user)
        });
        cases.run("names have IPv6 addresses too, and they answer", || {
            self.ipv6()
        });
        cases.run("a rebinding cuts nothing", || self.rebinding());
        cases.run("a black hole is survived", || self.black_hole());
        cases.run("loss and disorder leave no stream behind", || {
            self.bad_weather()
        });
        cases.run("a slow path is waited for", || self.slow_path());
        cases.run("a path cut in one direction comes back", || self.one_way());
        cases.verdict()
    }

    fn pairs(&self) -> [(&Site, &Site); 6] {
        let Self { us, eu, ap, .. } = self;
        [(us, eu), (us, ap), (eu, us), (eu, ap), (ap, us), (ap, eu)]
    }

    fn all_pairs(&self) -> Result<()> {
        for (from, to) in self.pairs() {
            let what = format!("{} reaches {}", from.name, to.name);
            let body = eventually(&what, SOON, || from.get(to, "name", &["-4"]))?;
            ensure!(body == to.name, "{what}: {body}");
        }
        for (from, to) in self.pairs() {
            from.reads_big(to, 30)
                .with_context(|| format!("{} from {}", from.name, to.name))?;
        }
        Ok(())
    }

    /// Of eu's address us knew before, it could make nothing.
    fn renamed(&mut self, user: &User) -> Result<()> {
        let dialled = |us: &Site| {
            let logs = us.logs();
            let mut up = logs
                .lines()
                .filter(|line| line.contains("tunnel connection up"));
            up.any(|line| line.contains("//eu.fed") && line.contains(r#""dialled":"Here""#))
        };
        ensure!(!dialled(&self.us));
        self.eu.stop()?;
        self.eu.configure(Some("gw.eu.example.net:7443"))?;
        self.eu.start(user)?;
        eventually("us dials eu", SOON, || {
            ensure!(dialled(&self.us));
            Ok(())
        })?;
        self.all_pairs()
    }

    fn ipv6(&self) -> Result<()> {
        let name = format!("web-{}.shop.svc.clusterset.local", self.eu.name);
        let dig = self.us.host.run(["dig", "+short", "AAAA", &name])?.ok()?;
        ensure!(dig.starts_with("fd77::"), "{dig}");
        for (from, to) in self.pairs() {
            ensure!(from.get(to, "name", &["-6"])? == to.name);
        }
        Ok(())
    }

    #[expect(
        clippy::print_stdout,
        reason = "the test program captures and shows it"
    )]
    fn print_logs(&self) {
        for site in [&self.us, &self.eu, &self.ap] {
            println!("---- {}\n{}", site.name, site.logs());
        }
    }
}

/// Routes between the outsides of two routers.
fn ipv4(a: &Site, b: &Site) -> Result<()> {
    for (at, to) in [(a, b), (b, a)] {
        at.router.sh(&format!(
            "ip address add 198.51.100.{} peer 198.51.100.{} dev {}",
            at.number,
            to.number,
            to.router.name()
        ))?;
    }
    Ok(())
}

/// Routes between the networks of two sites.
fn ipv6(a: &Site, b: &Site) -> Result<()> {
    for (at, to) in [(a, b), (b, a)] {
        at.router.sh(&format!(
            "ip route add 2001:db8:{}::/64 dev {}",
            to.number,
            to.router.name()
        ))?;
    }
    Ok(())
}
