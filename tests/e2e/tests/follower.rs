//! A gateway without a vote or a disk: it carries traffic and answers names, and each start is its first.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_e2e::Host;
use weft_test_support::{Background, Ran, SOON, User, command, eventually, isolated, run};

const WEB: &str = "
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: web }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: web-1 }
spec: { service: web, address: 127.2.9.1, ports: { http: 8080 } }
";
const NAME: &str = "web.shop.svc.clusterset.local";
const PAGE: &str = "the page of a server elsewhere";

#[test]
fn a_follower_serves_keeps_nothing_and_begins_anew() -> Result<()> {
    isolated("a_follower_serves_keeps_nothing_and_begins_anew", || {
        let user = User::new()?;
        let mut one = Host::new(&user, 1, "eu", "gw-1")?;
        let mut two = Host::new(&user, 2, "us", "gw-1")?;
        let mut follower = Host::new(&user, 3, "eu", "gw-2")?;
        one.found(&user)?;
        one.start(&user)?;
        two.join(&user, &one)?;
        two.start(&user)?;
        let _server = serve(&user)?;
        apply(&user, WEB)?;
        follower.configure("standIn: { clients: false,", "standIn: { clients: true,")?;
        follower.configure(
            "drain: 1s",
            "drain: 1s\n  role: follower\n  leaveOnStop: true",
        )?;
        eventually("the newest format level", SOON, || {
            follower.join(&user, &one)
        })?;
        follower.start(&user)?;
        serves(&follower, NAME)?;
        let role = member(&user)?.context("it is a gateway")?;
        ensure!(role["role"] == "follower", "{role}");
        // What it kept was all for its next start.
        follower.stop("KILL")?;
        nothing_is_kept(&follower.state())?;
        let late = WEB.replace("web", "late");
        apply(&user, &late)?;
        follower.start(&user)?;
        serves(&follower, NAME)?;
        serves(&follower, &NAME.replace("web", "late"))?;

        for host in [&mut follower, &mut one, &mut two] {
            host.stop("KILL")?;
        }
        follower.start(&user)?;
        knows_nothing(&follower)?;
        one.start(&user)?;
        two.start(&user)?;
        serves(&follower, NAME)?;

        follower.stop("TERM")?;
        eventually("it has left", SOON, || {
            let left = member(&user)?;
            ensure!(left.is_none(), "{left:?}");
            Ok(())
        })?;
        follower.configure("  role: follower\n  leaveOnStop: true", "")?;
        follower.refuses_to_start(&user, 6, "WEFT-6041")
    })
}

/// A server without a sidecar, and the virtual IPs of the follower's cluster on this machine.
fn serve(user: &User) -> Result<Background> {
    let folder = user.scratch().join("served");
    fs::create_dir(&folder)?;
    fs::write(folder.join("index.html"), PAGE)?;
    run(&mut command([
        "ip",
        "route",
        "add",
        "local",
        "240.1.0.0/16",
        "dev",
        "lo",
    ]))?
    .ok()?;
    let mut server = command(["/usr/bin/python3", "-m", "http.server"]);
    server.args(["--bind", "127.2.9.1", "8080"]);
    Background::start(
        server.current_dir(&folder),
        &user.scratch().join("served.log"),
    )
}

fn apply(user: &User, resources: &str) -> Result<()> {
    let file = user.scratch().join("resources.yaml");
    fs::write(&file, resources)?;
    let file = file.display().to_string();
    eventually("the writes", SOON, || {
        user.weft(["--cluster", "us", "apply", "-f", &file])?.ok()
    })?;
    Ok(())
}

/// It answers the name with an address, and carries what is sent there.
fn serves(host: &Host, name: &str) -> Result<()> {
    eventually(name, SOON, || {
        let address = dig(host, name)?.ok()?;
        ensure!(address.starts_with("240.1."), "{address:?}");
        let url = format!("http://{}/", address.trim());
        let asked = ["curl", "--silent", "--fail", "--max-time", "5", &url];
        let page = run(&mut command(asked))?.ok()?;
        ensure!(page == PAGE, "{page}");
        Ok(())
    })
}

fn dig(host: &Host, name: &str) -> Result<Ran> {
    let server = format!("@{}", host.address());
    run(&mut command([
        "dig", "+short", "+tries=1", "+time=2", "-p", "8653", &server, name, "A",
    ]))
}

/// Nobody is there to tell it: it denies nothing, and says why.
fn knows_nothing(host: &Host) -> Result<()> {
    let server = format!("@{}", host.address());
    let asked = [
        "dig", "+tries=1", "+time=2", "-p", "8653", &server, NAME, "A",
    ];
    eventually("it cannot know", SOON, || {
        run(&mut command(asked))?.says("SERVFAIL")?.ok()
    })?;
    let url = format!("http://{}:7480/readyz", host.address());
    run(&mut command(["curl", "--silent", "--max-time", "5", &url]))?
        .says("no state of the federation yet")?;
    eventually("its log says so", SOON, || {
        let said = host.said();
        ensure!(
            said.contains("it knows nothing of the federation yet"),
            "{said}"
        );
        Ok(())
    })
}

/// The follower, as the first gateway sees it.
fn member(user: &User) -> Result<Option<Value>> {
    let members = user.weft(["--cluster", "eu", "raft", "members", "-o", "json"])?;
    let members = members.json()?;
    let members = members["members"].as_array().context("members")?;
    let it = |member: &&Value| member["cluster"] == "eu" && member["gateway"] == "gw-2";
    Ok(members.iter().find(it).cloned())
}

/// No registry, no catalog, and no file that names what is served.
fn nothing_is_kept(state: &Path) -> Result<()> {
    let files = files(state)?;
    ensure!(files.len() > 3, "{files:?}");
    for file in files {
        let name = file.display().to_string();
        ensure!(
            !name.contains("registry") && !name.contains("catalog"),
            "{name}"
        );
        let bytes = fs::read(&file)?;
        let names = |word: &[u8]| bytes.windows(word.len()).any(|it| it == word);
        ensure!(!names(b"shop") && !names(b"web"), "{name}");
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}
