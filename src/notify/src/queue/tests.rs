use super::*;

fn rooms(rooms: &[RoomNum]) -> Rooms {
    Rooms::These(rooms.iter().copied().collect())
}

fn idle(pushers: &[Key]) -> Queue {
    let queue = Queue::default();
    for (user, num) in pushers {
        queue.add_idle(*user, *num, 5);
    }
    queue
}

#[tokio::test(start_paused = true)]
async fn only_those_who_are_concerned_have_a_turn_and_each_one_at_a_time() {
    let queue = idle(&[(1, 10), (1, 11), (2, 20), (3, 30)]);
    queue.heard(7, 50, Some(Arc::from([1, 2])), &[]);
    queue.heard(8, 50, None, &[1]);
    queue.heard(7, 50, None, &[2, 9]);
    assert!(queue.next().is_none(), "nobody looked who is concerned");
    assert!(queue.spread(50) && queue.next().is_none(), "it is not visible yet");
    queue.spread(51);
    let mut turns: Vec<_> = std::iter::from_fn(|| queue.next()).map(|job| (job.user, job.num, job.rooms)).collect();
    turns.sort_by_key(|(_, num, _)| *num);
    assert_eq!(turns, [(1, 10, rooms(&[7, 8])), (1, 11, rooms(&[7, 8])), (2, 20, rooms(&[7]))]);
    queue.heard(7, 50, Some(Arc::from([2])), &[]);
    queue.spread(51);
    assert!(queue.next().is_none(), "its turn is not over");
    queue.done((2, 20), Done::UpTo(6));
    let again = queue.next().unwrap();
    assert_eq!((again.num, again.after, again.rooms), (20, 6, rooms(&[7])));
}

#[tokio::test(start_paused = true)]
async fn who_waits_has_the_turn_when_the_time_has_come_with_what_came_meanwhile() {
    let queue = idle(&[(1, 10)]);
    queue.heard(7, 50, None, &[1]);
    queue.spread(51);
    let job = queue.next().unwrap();
    let wait = Duration::from_secs(9);
    queue.done((1, 10), Done::Later { from: 6, rooms: job.rooms, wait, kept: true });
    queue.heard(8, 50, None, &[1]);
    queue.spread(51);
    assert!(queue.next().is_none());
    queue.fire();
    assert!(queue.next().is_none());
    tokio::time::sleep_until(queue.next_timer().unwrap()).await;
    queue.fire();
    let job = queue.next().unwrap();
    assert_eq!((job.after, job.rooms), (6, rooms(&[7, 8])));
    assert_eq!(queue.next_timer(), None);
    queue.done((1, 10), Done::Later { from: 6, rooms: rooms(&[7]), wait, kept: true });
    queue.try_now(1, 10);
    assert!(queue.next().is_some() && queue.next_timer().is_none());
    queue.done((1, 10), Done::Gone);
    queue.heard(7, 50, None, &[1]);
    queue.spread(51);
    assert!(queue.next().is_none() && queue.slots.lock().users.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_user_does_not_take_all_turns() {
    let queue = idle(&(0..10).map(|num| (1, num)).chain([(2, 20)]).collect::<Vec<_>>());
    queue.heard(7, 50, Some(Arc::from([1, 2])), &[]);
    queue.spread(51);
    let turns: Vec<_> = std::iter::from_fn(|| queue.next()).map(|job| job.user).collect();
    assert_eq!(turns.iter().filter(|user| **user == 1).count(), PER_USER);
    assert_eq!(turns.len(), PER_USER + 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_known_up_to_where_everybody_has_looked() {
    let queue = idle(&[(1, 10), (2, 20)]);
    assert_eq!(queue.looked_up_to(50), Some(50));
    queue.heard(7, 50, None, &[1]);
    assert_eq!(queue.looked_up_to(51), None);
    queue.spread(51);
    assert_eq!(queue.looked_up_to(51), Some(5));
    let job = queue.next().unwrap();
    assert_eq!(queue.looked_up_to(51), Some(5));
    let wait = Duration::from_secs(1);
    queue.done((1, 10), Done::Later { from: 5, rooms: job.rooms.clone(), wait, kept: false });
    assert_eq!(queue.looked_up_to(51), Some(5));
    queue.try_now(1, 10);
    assert!(queue.next().is_some());
    queue.done((1, 10), Done::Later { from: 5, rooms: job.rooms, wait, kept: true });
    assert_eq!(queue.looked_up_to(51), Some(51), "who waits has a row that says so");
}

#[test]
fn too_many_rooms_are_all() {
    let mut some = Rooms::default();
    (0..=MANY as u64).for_each(|room| some.add(room));
    assert_eq!(some, Rooms::All);
    let mut few = rooms(&[1]);
    few.add_all(rooms(&[2]));
    assert_eq!(few, rooms(&[1, 2]));
    few.add_all(Rooms::All);
    assert_eq!(few, Rooms::All);
}

#[tokio::test(start_paused = true)]
async fn turns_to_one_host_leave_places_for_others() {
    let users: Vec<UserNum> = (1..=50).collect();
    let queue = idle(&users.iter().map(|user| (*user, *user)).collect::<Vec<_>>());
    let next = || std::iter::from_fn(|| queue.next()).map(|job| job.user).collect::<Vec<_>>();
    let tell = |frontier: Pos| {
        queue.heard(7, frontier, Some(Arc::from(&users[..])), &[]);
        queue.spread(frontier + 1);
    };
    tell(50);
    // Nobody knows yet where they go.
    assert_eq!(next(), users);
    let busy = |user: &UserNum| *user <= 45;
    for user in &users {
        queue.sends_to((*user, *user), if busy(user) { "busy" } else { "other" });
        queue.done((*user, *user), Done::UpTo(6));
    }
    tell(60);
    let second = next();
    assert_eq!((second.iter().filter(|user| busy(user)).count(), second.len()), (PER_HOST, PER_HOST + 5));
    queue.done((1, 1), Done::UpTo(7));
    let third = next();
    assert!(matches!(third[..], [user] if busy(&user)), "{third:?}");
    // One that goes while it waits for its turn keeps none from theirs.
    let waiting: Vec<_> = users.iter().filter(|user| !second.contains(user) && !third.contains(user)).collect();
    queue.remove(*waiting[0], *waiting[0]);
    let (mut running, mut had) = ([&second[1..], &third[..]].concat(), second.len() + third.len());
    while let Some(user) = running.pop() {
        queue.done((user, user), Done::UpTo(7));
        let more = next();
        had += more.len();
        running.extend(more);
    }
    assert_eq!(had, users.len() - 1);
    let slots = queue.slots.lock();
    assert!(slots.running.is_empty() && slots.at_host.is_empty() && slots.parked.is_empty());
}
