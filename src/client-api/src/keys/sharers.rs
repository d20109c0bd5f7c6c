use std::collections::BTreeSet;

use engine::{Engine, EngineError, Membership, UserNum};

/// The local users who share a room with a user: those who see that the user's devices changed.
pub(crate) async fn sharers(engine: &Engine, user: UserNum) -> Vec<UserNum> {
    match collect(engine, user).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(user, %error, "it is not known who sees a change of a user's devices: they see it with what wakes them next");
            Vec::new()
        }
    }
}

async fn collect(engine: &Engine, user: UserNum) -> Result<Vec<UserNum>, EngineError> {
    let mut out = BTreeSet::new();
    for (room, place) in engine.user_rooms().of(user).await?.iter() {
        if place.membership == Membership::Join {
            out.extend(engine.room_by_num(*room).await?.info().local_members.iter().copied());
        }
    }
    Ok(out.into_iter().collect())
}
