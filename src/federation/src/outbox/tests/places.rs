use std::time::Duration;

use tokio::time::Instant;

use crate::outbox::queues::{Done, Job, LIFT_EVERY, LONG, MAX_SENDING, MAX_SLOW, Queues};

/// Takes all jobs that there are places for.
fn take(queues: &Queues) -> Vec<u64> {
    std::iter::from_fn(|| queues.next()).map(|(server, _)| server).collect()
}

fn name(server: u64) -> ruma::OwnedServerName {
    format!("s{server}").try_into().unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_fails_leaves_places_for_others() {
    let queues = Queues::default();
    let silent: Vec<u64> = (1..=100).collect();
    queues.queued(&silent);
    let first = take(&queues);
    assert_eq!(first.len(), MAX_SENDING);
    tokio::time::advance(LONG * 6).await;
    for server in &first {
        queues.done(*server, Done::Wait { name: name(*server), time: Duration::from_secs(1) });
    }
    // Of the others nothing bad is known yet.
    let second = take(&queues);
    assert_eq!(second.len(), 100 - MAX_SENDING);
    tokio::time::advance(LONG * 6).await;
    for server in &second {
        queues.done(*server, Done::Wait { name: name(*server), time: Duration::from_secs(1) });
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    queues.fire();
    queues.queued(&(200..300).collect::<Vec<u64>>());
    let third = take(&queues);
    let slow = third.iter().filter(|server| **server <= 100).count();
    assert_eq!((slow, third.len()), (MAX_SLOW, MAX_SENDING));
    // Whoever is through makes room for one like it.
    let of_slow = *third.iter().find(|server| **server <= 100).unwrap();
    queues.done(of_slow, Done::Sent { more: false });
    let next = take(&queues);
    assert!(matches!(next[..], [server] if server <= 100), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn who_takes_long_is_slow_until_it_answers_soon() {
    let queues = Queues::default();
    let all: Vec<u64> = (1..=MAX_SENDING as u64).collect();
    queues.queued(&all);
    for server in take(&queues) {
        tokio::time::advance(LONG).await;
        queues.done(server, Done::Sent { more: false });
    }
    queues.queued(&all);
    let slow = take(&queues);
    assert_eq!(slow.len(), MAX_SLOW);
    for server in slow {
        queues.done(server, Done::Sent { more: false });
        queues.queued(&[server]);
    }
    assert_eq!(take(&queues).len(), 2 * MAX_SLOW);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_early_now_and_then_only() {
    let queues = Queues::default();
    let hour = Duration::from_secs(3600);
    queues.queued(&[7]);
    let mut tries = Vec::new();
    let start = Instant::now();
    // It sends us something every second, and never answers.
    for _ in 0..180 {
        queues.fire();
        while let Some((server, job)) = queues.next() {
            assert_eq!((server, matches!(job, Job::Send { .. })), (7, true));
            tries.push(start.elapsed().as_secs());
            queues.done(7, Done::Wait { name: name(7), time: hour });
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        queues.heard_from(&name(7));
    }
    assert_eq!(tries, [0, 1, 1 + LIFT_EVERY.as_secs(), 1 + 2 * LIFT_EVERY.as_secs()]);
}
