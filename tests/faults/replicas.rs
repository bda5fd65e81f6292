//! Two processes with spools of their own: every alert is sent to both, and both are killed.

use std::{collections::HashMap, sync::Arc};

use crate::{
    effort,
    ledger::Ledger,
    report,
    scene::{PATIENCE, serve, settings_with, wait_for},
    store,
    support::Process,
};

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_are_killed_make_one_document_of_an_alert() {
    let store = store!();
    store.make_template().await;
    let rounds = effort::times(5, 60);
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another")];
    // Both number their alerts from 0, so the two send the same ones.
    let replicas = dirs.each_ref().map(|dir| Replica::start(settings_with(&store, dir, &[])));
    let floods = replicas.each_ref().map(|one| one.ledger.flood(4, Some(150.0)));
    let ledgers = replicas.each_ref().map(|one| Arc::clone(&one.ledger));
    let both = replicas.map(|one| tokio::spawn(one.live_through_kills(rounds)));
    let mut last = Vec::new();
    for one in both {
        last.push(one.await.expect("no panic"));
    }
    for flood in floods {
        flood.end().await;
    }
    // What both had is doubled, if at all, only once both have stored theirs.
    for process in &last {
        wait_for(process, |status| status["spool"]["waiting"] == 0).await;
    }
    let (mut either, mut verdicts) = (0, Vec::new());
    for ledger in &ledgers {
        let verdict = ledger.settle(&store, PATIENCE).await;
        verdict.must_hold();
        either = either.max(verdict.acknowledged);
        verdicts.push(verdict);
    }
    let found = verdicts[1].found;
    assert!(either * 3 / 2 > found, "{found} documents: the two did not send the same alerts");
    let how = "SIGKILL to each of two replicas, at moments of its own";
    let notes = format!("{} by the other replica", verdicts[1].acknowledged);
    report::row("replicas killed", how, u64::from(rounds) * 2, &verdicts[0], &notes);
    for process in last {
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(0));
    }
}

struct Replica {
    settings: HashMap<String, String>,
    process: Process,
    ledger: Arc<Ledger>,
}

impl Replica {
    fn start(settings: HashMap<String, String>) -> Self {
        let process = serve(&settings);
        let ledger = Ledger::new(&[process.url("")]);
        Self { settings, process, ledger }
    }

    /// Lives through so many kills, each time after a random number of alerts; gives the last process.
    async fn live_through_kills(mut self, rounds: u32) -> Process {
        for _ in 0..rounds {
            self.ledger.acknowledges(rand::random_range(1..200)).await;
            self.process.kill();
            self.process = serve(&self.settings);
            self.ledger.redirect(&[self.process.url("")]);
        }
        self.ledger.acknowledges(50).await;
        self.process
    }
}
