//! `POST /_matrix/client/v3/search`

use std::{collections::HashSet, sync::Arc};

use axum::extract::State;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::search::search_events::v3::{Criteria, GroupingKey, OrderBy, Request, SearchKeys};
use search::{Key, Order, Query};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    answer::{Context, Wanted},
    scope::MAX_NAMED,
    token::{Group, Token},
};
use crate::{ApiError, App, filter::RowFilter};

/// What is looked for, in bytes, at most.
const MAX_TERM: usize = 1024;
/// Results of a page, and at most.
const LIMIT: (usize, usize) = (10, 100);
/// Events on either side of a result, at most.
const MAX_CONTEXT: usize = 50;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Some(search) = &app.search else {
        return Err(MatrixError::unrecognized("This server does not search").into());
    };
    let Ruma { body, requester, json_body, .. } = request;
    let Some(criteria) = body.search_categories.room_events else {
        return Ok(RawJson("{\"search_categories\":{}}".into()));
    };
    check(&criteria)?;
    let order = order_of(&criteria)?;
    // Some clients send an empty token for none.
    let token = body.next_batch.filter(|token| !token.is_empty());
    let token = token.map(|token| Token::decode(&token, order)).transpose()?;

    let mut rooms = app.rooms_to_search(&requester, &criteria.filter).await?;
    let mut senders = match &criteria.filter.senders {
        Some(senders) => Some(app.user_nums_of(senders).await?),
        None => None,
    };
    match token.and_then(|token| token.group) {
        None => {}
        Some(Group::Room(num)) => rooms.retain(|room, _| *room == num),
        Some(Group::Sender(num)) => {
            let is_among = senders.as_ref().is_none_or(|all| all.contains(&num));
            senders = Some(HashSet::from_iter(is_among.then_some(num)));
        }
    }
    let query = Query {
        text: criteria.search_term.clone(),
        keys: keys_of(&criteria)?,
        rooms: Arc::new(rooms),
        senders: senders.map(Arc::new),
        order,
        after: token.map(|token| token.after),
        limit: criteria
            .filter
            .limit
            .map_or(LIMIT.0, |limit| usize::try_from(limit).unwrap_or(LIMIT.1))
            .clamp(1, LIMIT.1),
    };
    let wanted = Wanted {
        term: &criteria.search_term,
        order,
        group: token.and_then(|token| token.group),
        context: context_of(&criteria, &json_body),
        state: criteria.include_state.unwrap_or(false),
        groups: groups_of(&criteria)?,
    };
    let page = app.page_of_results(search, query, &RowFilter::new(&criteria.filter), &requester).await?;
    app.answer_search(page, &wanted, &requester).await
}

fn check(criteria: &Criteria) -> Result<(), ApiError> {
    if criteria.search_term.len() > MAX_TERM {
        return Err(MatrixError::invalid_param("search_term", "longer than 1024 bytes").into());
    }
    let filter = &criteria.filter;
    let named = [
        filter.rooms.as_ref().map_or(0, Vec::len),
        filter.not_rooms.len(),
        filter.senders.as_ref().map_or(0, Vec::len),
        filter.not_senders.len(),
    ];
    if named.into_iter().any(|count| count > MAX_NAMED) {
        return Err(MatrixError::invalid_param("filter", "names more than 1000 rooms or users").into());
    }
    Ok(())
}

fn order_of(criteria: &Criteria) -> Result<Order, ApiError> {
    match &criteria.order_by {
        None | Some(OrderBy::Rank) => Ok(Order::Rank),
        Some(OrderBy::Recent) => Ok(Order::Recent),
        Some(_) => Err(MatrixError::invalid_param("order_by", "neither rank nor recent").into()),
    }
}

fn keys_of(criteria: &Criteria) -> Result<Vec<Key>, ApiError> {
    let Some(keys) = &criteria.keys else { return Ok(vec![Key::Body, Key::Name, Key::Topic]) };
    let mut out = Vec::new();
    for key in keys {
        let key = match key {
            SearchKeys::ContentBody => Key::Body,
            SearchKeys::ContentName => Key::Name,
            SearchKeys::ContentTopic => Key::Topic,
            _ => return Err(MatrixError::invalid_param("keys", "there is a key that cannot be searched").into()),
        };
        if !out.contains(&key) {
            out.push(key);
        }
    }
    Ok(out)
}

fn groups_of(criteria: &Criteria) -> Result<Vec<GroupingKey>, ApiError> {
    let mut out = Vec::new();
    for key in criteria.groupings.group_by.iter().filter_map(|group| group.key.as_ref()) {
        if !matches!(key, GroupingKey::RoomId | GroupingKey::Sender) {
            return Err(MatrixError::invalid_param("group_by", "neither room_id nor sender").into());
        }
        if !out.contains(key) {
            out.push(key.clone());
        }
    }
    Ok(out)
}

/// The context that is asked for: none where nothing is said of it, which the parsed request does not tell from the defaults.
fn context_of(criteria: &Criteria, json: &[u8]) -> Option<Context> {
    #[derive(Deserialize)]
    struct Body {
        search_categories: Categories,
    }
    #[derive(Deserialize)]
    struct Categories {
        room_events: Room,
    }
    #[derive(Deserialize)]
    struct Room {
        event_context: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Body>(json).ok()?.search_categories.room_events.event_context?;
    let asked = &criteria.event_context;
    let limit = |limit| usize::try_from(limit).unwrap_or(MAX_CONTEXT).min(MAX_CONTEXT);
    Some(Context {
        before: limit(asked.before_limit),
        after: limit(asked.after_limit),
        profiles: asked.include_profile,
    })
}
