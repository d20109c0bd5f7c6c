//! What another server shows of a room to a user of ours who is invited to it or knocks on it.
//! [Inviting to a room](https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room),
//! [knocking upon a room](https://spec.matrix.org/v1.19/server-server-api/#knocking-upon-a-room).

use room::RoomVersionRules;
use ruma::RoomId;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Federation;

/// Events that are looked at; what comes behind them is not shown.
const MAX_SHOWN: usize = 64;

/// What is left of it when it was checked.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// What can be shown to the user.
    pub(crate) events: Vec<Box<RawValue>>,
    /// What is wrong with the rest, in words.
    pub(crate) complaint: Option<String>,
}

#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    state_key: Option<String>,
    #[serde(borrow)]
    signatures: Option<&'a RawValue>,
}

/// Whether everything that is shown of a room of this version has to be a genuine event of it, its create event among them. In older
/// versions servers show less: an event without its signatures is no more than a claim, and taken for that.
pub(crate) fn is_strict(rules: &RoomVersionRules) -> bool {
    rules.authorization.room_create_event_id_as_room_id
}

impl Federation {
    /// Checks what is shown of a room: events that are not genuine, or of another room, are left out.
    pub(crate) async fn check_shown(
        &self,
        room_id: &RoomId,
        rules: &RoomVersionRules,
        shown: Vec<Box<RawValue>>,
    ) -> Shown {
        let mut out = Shown::default();
        let mut created = false;
        let strict = is_strict(rules);
        let (mut whole, mut places) = (Vec::new(), Vec::new());
        let mut events: Vec<Option<Box<RawValue>>> = Vec::new();
        for event in shown.into_iter().take(MAX_SHOWN) {
            match serde_json::from_str::<Peek<'_>>(event.get()) {
                Ok(peek) if peek.signatures.is_some() || strict => {
                    places.push((events.len(), peek.kind == "m.room.create" && peek.state_key.as_deref() == Some("")));
                    events.push(None);
                    whole.push(event);
                }
                Ok(peek) => {
                    created |= peek.kind == "m.room.create";
                    events.push(Some(event));
                }
                Err(error) => out.complain(&error),
            }
        }
        let texts = whole.clone();
        let checked = self.check_pdus(whole, rules).await.into_iter().zip(texts);
        for ((checked, text), (place, is_create)) in checked.zip(places) {
            match checked {
                Ok(event) if event.pdu.room_id != room_id => out.complain(&"an event of another room"),
                Ok(event) if event.redacted => out.complain(&"an event that was changed after it was signed"),
                Ok(_) => {
                    created |= is_create;
                    if let Some(event) = events.get_mut(place) {
                        *event = Some(text);
                    }
                }
                Err(error) => out.complain(&error),
            }
        }
        if !created {
            out.complain(&"m.room.create is missing");
        }
        out.events = events.into_iter().flatten().collect();
        out
    }
}

impl Shown {
    fn complain(&mut self, why: &dyn std::fmt::Display) {
        self.complaint.get_or_insert_with(|| why.to_string());
    }
}
