//! A closed loop: each user sends the next request when the last is answered and it has thought.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::Hand;
use crate::load::engine::lane::Lane;
use crate::load::plan::Users;

/// A user that finds nobody there waits this long: trying again at once would only count refusals.
const REFUSED: Duration = Duration::from_millis(50);

pub async fn run(hand: Arc<Hand>, stages: Vec<Users>, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let most = stages.iter().map(|stage| stage.count).max().unwrap_or(0);
    let stages: Arc<[Users]> = stages.into();
    let mut users = JoinSet::new();
    for number in 0..most {
        users.spawn(user(Arc::clone(&hand), Arc::clone(&stages), number));
    }
    let all = async {
        while let Some(user) = users.join_next().await {
            user?;
        }
        Ok(())
    };
    tokio::select! {
        done = all => done,
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    }
}

/// Takes part in the stages that have a place for it.
async fn user(hand: Arc<Hand>, stages: Arc<[Users]>, number: usize) {
    let (mut lane, mut end) = (Lane::default(), hand.start);
    for stage in stages.iter() {
        let start = end;
        end += stage.duration;
        if number >= stage.count {
            continue;
        }
        if start > Instant::now() {
            sleep_until(start).await;
        }
        while Instant::now() < end {
            request(&hand, &mut lane).await;
            if !stage.think.is_zero() {
                sleep(stage.think).await;
            }
        }
    }
}

async fn request(hand: &Hand, lane: &mut Lane) {
    let expectation = {
        let mut requests = hand.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let planned = requests.draw();
        requests.write(&planned, &mut lane.request)
    };
    let Some(expectation) = expectation else { return sleep(REFUSED).await };
    if !hand.send(lane, expectation, Instant::now()).await {
        sleep(REFUSED).await;
    }
}
