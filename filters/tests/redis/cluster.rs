//! Six nodes on this machine: keys that move, a node that dies, and a cluster that is down.

use std::process::Command;
use std::time::Duration;

use outrigger_filters::rate_limit::remote::{Kind, Limit};
use outrigger_filters::store::Config;
use tokio::time::Instant;

use crate::server::{Server, free_port};
use crate::side::{MINUTE, Side, admitted, config, eventually, line};

const TIMEOUT: u64 = 100;

async fn node() -> Server {
    // The bus of a node listens 10,000 ports higher.
    let port = loop {
        let port = free_port();
        if port < 55_000 {
            break port;
        }
    };
    let quick = ["--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
    Server::start_on(port, &[&["--cluster-enabled", "yes"], &quick[..]].concat()).await
}

async fn cluster() -> Vec<Server> {
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(node().await);
    }
    let addresses: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()
        .expect("redis-cli is not installed; `scripts/setup test` installs it");
    assert!(made.status.success(), "the cluster was not made: {}", String::from_utf8_lossy(&made.stdout));
    // A replica that has never had its master's data would not take over.
    let whole = |node: &Server| {
        let replication = text(node.say("INFO replication"));
        info(node).contains("cluster_state:ok")
            && (replication.contains("role:master") || replication.contains("master_link_status:up"))
    };
    eventually("every node sees the cluster whole", async || nodes.iter().all(whole)).await;
    nodes
}

fn text(value: redis::Value) -> String {
    redis::from_redis_value(value).expect("text")
}

fn info(node: &Server) -> String {
    text(node.say("CLUSTER INFO"))
}

fn rpm(tenant: u32) -> Limit {
    Limit { key: format!("outrigger:{{{tenant}}}:rpm"), kind: Kind::Window, amount: 1_000_000, window: MINUTE }
}

/// Asks for the limits of many tenants, on all nodes; true when all were admitted. Each answer must be in time.
async fn all_admitted(side: &Side) -> bool {
    let mut all = true;
    for tenant in 0..30 {
        let asked = Instant::now();
        let lines = vec![line(&rpm(tenant), 1, 0), line(&Limit { kind: Kind::Reserved, ..tokens(tenant) }, 5, 0)];
        all &= side.admit(1, lines).await.is_ok();
        let waited = asked.elapsed();
        assert!(waited < Duration::from_millis(TIMEOUT + 500), "a request waited {waited:?}");
    }
    all
}

fn tokens(tenant: u32) -> Limit {
    Limit { key: format!("outrigger:{{{tenant}}}:tpm"), ..rpm(tenant) }
}

async fn comes_back(what: &str, side: &Side) {
    let begun = Instant::now();
    while !all_admitted(side).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "after {what}: {:?}", side.store.health());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{what}: back after {:?}", begun.elapsed());
}

/// The node that has a slot, and one that has not, by their places.
fn holders(nodes: &[Server], slot: u64) -> (usize, usize) {
    let mine = |node: &&Server| text(node.say("CLUSTER MYID"));
    let layout = text(nodes[0].say("CLUSTER NODES"));
    let masters: Vec<_> = layout.lines().filter(|line| line.contains("master")).collect();
    let has = |line: &str| {
        line.split_whitespace().skip(8).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            matches!((first.parse(), last.parse::<u64>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
        })
    };
    let place = |line: &str| {
        let id = line.split_whitespace().next().expect("an id");
        nodes.iter().position(|node| mine(&node) == id).expect("one of ours")
    };
    let holder = masters.iter().find(|line| has(line)).expect("somebody has it");
    let another = masters.iter().find(|line| !has(line)).expect("somebody has it not");
    (place(holder), place(another))
}

#[tokio::test]
async fn a_cluster_that_moves_fails_over_and_falls() {
    let mut nodes = cluster().await;
    let mut config = Config { cluster: true, timeout_ms: TIMEOUT, ..config(&nodes[0].url()) };
    config.nodes = nodes[1..].iter().map(|node| node.url().parse().expect("an address")).collect();
    let side = Side::with(&config, MINUTE);
    side.ready().await;
    comes_back("the beginning", &side).await;

    // A slot on its way: first asked for on both (ASK), then moved (MOVED).
    let key = rpm(7).key;
    let slot: u64 = redis::from_redis_value(nodes[0].say(&format!("CLUSTER KEYSLOT {key}"))).expect("a slot");
    let (from, to) = holders(&nodes, slot);
    let (from_id, to_id) = (text(nodes[from].say("CLUSTER MYID")), text(nodes[to].say("CLUSTER MYID")));
    nodes[to].say(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"));
    nodes[from].say(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
    let keys: Vec<String> =
        redis::from_redis_value(nodes[from].say(&format!("CLUSTER GETKEYSINSLOT {slot} 10"))).expect("keys");
    for key in &keys {
        nodes[from].say(&format!("MIGRATE 127.0.0.1 {} {key} 0 1000", nodes[to].port));
    }
    let (_, lines) = admitted(side.admit(2, vec![line(&rpm(7), 1, 1)]).await);
    assert!(lines[0].used >= 2, "asked for where it went, it should know what was charged before: {lines:?}");
    for node in [from, to] {
        nodes[node].say(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    }
    let (_, lines) = admitted(side.admit(3, vec![line(&rpm(7), 1, 2)]).await);
    assert!(lines[0].used >= 3, "moved, it should know what was charged before: {lines:?}");
    assert!(side.store.health().is_up(), "a move is no fault");
    comes_back("a move", &side).await;

    // A node dies and its replica takes over, which the others allow only when all agree who has what.
    let moved = |node: &Server| {
        let layout = text(node.say("CLUSTER NODES"));
        let owner = layout.lines().find(|line| line.starts_with(&to_id)).expect("the new owner");
        owner.split_whitespace().skip(8).any(|range| range == slot.to_string())
    };
    eventually("all know of the move", async || nodes.iter().all(moved)).await;
    nodes[from].stop();
    eventually("that a node is missing", async || !all_admitted(&side).await).await;
    comes_back("a failover", &side).await;
    nodes[from].start_again().await;

    // Too many die: the rest say that the cluster is down.
    let (holder, _) = holders(&nodes, slot);
    let layout = text(nodes[holder].say("CLUSTER NODES"));
    let id = text(nodes[holder].say("CLUSTER MYID"));
    let replica = layout.lines().find(|line| line.contains("slave") && line.contains(&id)).expect("a replica");
    let replica = replica.split_whitespace().next().expect("an id").to_owned();
    let replica = nodes.iter_mut().position(|node| text(node.say("CLUSTER MYID")) == replica).expect("one of ours");
    nodes[replica].stop();
    nodes[holder].stop();
    eventually("that the cluster is down", async || !all_admitted(&side).await).await;
    eventually("that it stays down", async || !side.store.health().is_up()).await;
    nodes[holder].start_again().await;
    nodes[replica].start_again().await;
    comes_back("a cluster down", &side).await;
}
